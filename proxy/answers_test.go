package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

const advisoriesPath = "/api/security-advisories/"

// audit asks for advisories and returns their ids by package.
func (w *rig) audit(names ...string) (map[string][]string, answer) {
	w.Helper()
	form := url.Values{}
	for _, n := range names {
		form.Add("packages[]", n)
	}
	a := w.ask("POST", advisoriesPath, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	var out struct {
		Advisories map[string][]struct{ AdvisoryID string }
	}
	if a.status == 200 {
		if err := json.Unmarshal(a.body, &out); err != nil {
			w.Fatalf("%v: %v", a, err)
		}
	}
	ids := map[string][]string{}
	for n, list := range out.Advisories {
		ids[n] = []string{}
		for _, x := range list {
			ids[n] = append(ids[n], x.AdvisoryID)
		}
	}
	return ids, a
}

func TestAdvisories(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.release(standin.Release{Name: "acme/clean", Version: "1.0.0"})
	w.release(standin.Release{Name: "acme/secret", Version: "1.0.0"})
	w.up.Advise("acme/lib", "PKSA-1", "<1.1", nil)
	w.up.Advise("acme/secret", "PKSA-2", "*", nil)
	got, a := w.audit("acme/lib", "ACME/clean", "acme/none", "php", "not a name", "acme/lib")
	if a.status != 200 || fmt.Sprint(got) != "map[acme/clean:[] acme/lib:[PKSA-1]]" {
		t.Errorf("got %v from %v", got, a)
	}
	if rec := w.up.Records(advisoriesPath); len(rec) != 1 || strings.Contains(string(rec[0].Body), "secret") {
		t.Errorf("asked %d times", len(rec))
	}
	// Answered again without asking, in any selection.
	for _, names := range [][]string{{"acme/lib"}, {"acme/clean", "acme/none"}, {"acme/lib", "acme/clean"}} {
		if _, a := w.audit(names...); a.status != 200 || a.cache() != hit {
			t.Errorf("%v: %v", names, a)
		}
	}
	w.asked(advisoriesPath, 1)
	if a := w.get(advisoriesPath + "?packages[]=acme/lib"); a.status != 200 || !bytes.Contains(a.body, []byte("PKSA-1")) {
		t.Errorf("GET: %v", a)
	}
	// With upstream gone, what is known, however old.
	w.up.Down()
	w.Advance(1000 * time.Hour)
	got, a = w.audit("acme/lib", "acme/clean")
	if a.status != 200 || a.cache() != stale || fmt.Sprint(got) != "map[acme/clean:[] acme/lib:[PKSA-1]]" {
		t.Errorf("offline: %v from %v", got, a)
	}
	if _, a := w.audit("acme/never"); a.status < 502 || a.status > 504 {
		t.Errorf("offline and nothing known: %v, want 502 to 504", a)
	}
}

func TestAdvisoriesAreAskedInBatches(t *testing.T) {
	w := newRig(t)
	var names []string
	for i := range 1200 {
		names = append(names, fmt.Sprintf("acme/p%d", i))
	}
	if _, a := w.audit(names...); a.status != 200 {
		t.Fatalf("%v", a)
	}
	if n := w.up.Requests(advisoriesPath); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
	gate := w.up.Hold(advisoriesPath)
	go func() {
		_ = gate.Wait(w.Context(), 1)
		gate.Open()
	}()
	together(t, 50, func(int) error {
		if a := w.get(advisoriesPath + "?packages[]=acme/new"); a.status != 200 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	w.asked(advisoriesPath+"*", 4)
}

func TestAdvisoryRequestsThatMakeNoSense(t *testing.T) {
	w := newRig(t)
	for _, query := range []string{"", "?packages=acme/lib", "?packages[]=acme/lib&updatedSince=5", "?updatedSince=x", "?updatedSince=99999999999", "?updatedSince=-1"} {
		if a := w.get(advisoriesPath + query); a.status != 400 {
			t.Errorf("%q: %v, want 400", query, a)
		}
	}
	if _, a := w.audit(strings.Repeat("x", 2<<20)); a.status != 400 {
		t.Errorf("a body of 2 MiB: %v", a)
	}
	if w.up.Total() != 0 {
		t.Errorf("upstream was asked %d times", w.up.Total())
	}
	for fault, f := range map[string]standin.Fault{"a page": standin.HTML(), "500": standin.Status(500), "no key": standin.Body("application/json", "{}"), "nothing": standin.Empty()} {
		rule := w.up.Fault(advisoriesPath, f)
		if _, a := w.audit("acme/" + strings.ReplaceAll(fault, " ", "")); a.status < 502 || a.status > 504 {
			t.Errorf("%s: %v", fault, a)
		}
		rule.Remove()
		w.Advance(time.Minute)
	}
	rule := w.up.Fault(advisoriesPath, standin.Body("application/json", `{"advisories":[]}`))
	if got, a := w.audit("acme/php"); a.status != 200 || len(got) != 0 {
		t.Errorf("an empty list: %v %v", got, a)
	}
	rule.Remove()
}

func names(t testing.TB, a answer) string {
	t.Helper()
	var out struct{ PackageNames []string }
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != 200 {
		t.Fatalf("%v: %v", a, err)
	}
	return joined(out.PackageNames)
}

func TestTheListIsFilteredOffline(t *testing.T) {
	w := newRig(t)
	for _, n := range []string{"acme/lib", "acme/other", "zeta/lib"} {
		w.release(standin.Release{Name: n, Version: "1.0.0"})
	}
	if got := names(t, w.get("/packages/list.json")); got != "acme/lib acme/other zeta/lib" {
		t.Errorf("got %s", got)
	}
	if got := names(t, w.get("/packages/list.json?vendor=zeta")); got != "zeta/lib" {
		t.Errorf("got %s", got)
	}
	w.up.Down()
	w.Advance(1000 * time.Hour)
	for query, want := range map[string]string{
		"": "acme/lib acme/other zeta/lib", "?vendor=zeta": "zeta/lib", "?vendor=acme": "acme/lib acme/other", "?filter=*/lib": "acme/lib zeta/lib",
		"?filter=acme/*&vendor=acme": "acme/lib acme/other", "?filter=a.me/*": "", "?filter=ACME/L*": "acme/lib", "?unknown=1": "acme/lib acme/other zeta/lib",
	} {
		if got := names(t, w.get("/packages/list.json"+query)); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	if a := w.get("/packages/list.json?type=composer-plugin"); a.status < 502 || a.status > 504 {
		t.Errorf("types cannot be told offline: %v", a)
	}
	if a := w.get("/packages/list.json?filter=" + strings.Repeat("x", 2000)); a.status != 400 {
		t.Errorf("a long filter: %v", a)
	}
}

func TestTheRootIsServedOffline(t *testing.T) {
	w := newRig(t)
	w.up.Down()
	a := w.want("/packages.json", 200, local)
	var root map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &root); err != nil || string(root["metadata-url"]) != `"http://stasis.test/p2/%package%.json"` {
		t.Errorf("never seen: %s, %v", a.body, err)
	}
	if err := w.up.Up(); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	online := w.want("/packages.json", 200, missed)
	if bytes.Contains(online.body, []byte(w.up.URL())) {
		t.Errorf("upstream's addresses are left: %s", online.body)
	}
	for _, key := range []string{"metadata-url", "metadata-changes-url", "search", "list", "providers-api", "notify-batch", "security-advisories", "filter", "warning-versions"} {
		if !bytes.Contains(online.body, []byte(`"`+key+`"`)) {
			t.Errorf("no %s: %s", key, online.body)
		}
	}
	w.up.Down()
	w.Advance(10000 * time.Hour)
	if a := w.want("/packages.json", 200, stale); !bytes.Equal(a.body, online.body) {
		t.Errorf("offline: %s", a.body)
	}
}

func TestOtherEndpoints(t *testing.T) {
	w := newRig(t)
	w.release(standin.Release{Name: "acme/lib", Version: "1.0.0", Description: "a logger", Provide: map[string]string{"psr/log-implementation": "1.0"}})
	w.up.Flag("malware", "acme/lib", "1.0.0")
	for _, path := range []string{"/search.json?q=logger", "/providers/psr/log-implementation.json", "/lists/all/summary.json", "/packages/acme/lib.json"} {
		online := w.get(path)
		if online.status != 200 || !bytes.Contains(online.body, []byte("acme/lib")) {
			t.Errorf("%s: %v", path, online)
		}
		if bytes.Contains(online.body, []byte(w.up.URL())) && path == "/search.json?q=logger" {
			t.Errorf("%s: %s", path, online.body)
		}
	}
	w.up.Down()
	w.Advance(1000 * time.Hour)
	for _, path := range []string{"/search.json?q=logger", "/providers/psr/log-implementation.json", "/lists/all/summary.json", "/packages/acme/lib.json"} {
		if a := w.get(path); a.status != 200 || a.cache() != stale {
			t.Errorf("offline %s: %v", path, a)
		}
	}
	if a := w.get("/search.json?q=other"); a.status < 502 || a.status > 504 {
		t.Errorf("a search never made: %v", a)
	}
	if a := w.get("/search.json"); a.status != 400 {
		t.Errorf("no search: %v", a)
	}
	if a := w.get("/providers/acme/nobody.json"); a.status != 200 || !bytes.Contains(a.body, []byte(`"providers":[]`)) {
		t.Errorf("no providers: %v", a)
	}
	if a := w.ask("POST", "/downloads/", strings.NewReader(`{"downloads":[]}`)); a.status != 201 {
		t.Errorf("a notification: %v", a)
	}
}
