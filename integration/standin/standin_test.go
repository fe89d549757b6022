package standin_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// clock is a settable time source for the stand-in.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func get(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: reading the body: %v", url, err)
	}
	return resp, body
}

func versions(t *testing.T, body []byte, name string) []string {
	t.Helper()
	doc, err := standin.ParseDocument(body, name)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, v := range doc.Versions {
		out = append(out, v.Text("version"))
	}
	return out
}

func TestAPublishedVersionIsListedAndItsArchiveComesFromAnotherOrigin(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	p := s.Publish(standin.Release{Name: "acme/a", Version: "v1.0.0", Require: map[string]string{"php": ">=8.1"}})
	s.Publish(standin.Release{Name: "acme/a", Version: "dev-main", Default: true})

	resp, body := get(t, s.URL()+"/p2/acme/a.json")
	if got := versions(t, body, "acme/a"); resp.StatusCode != 200 || fmt.Sprint(got) != "[v1.0.0]" {
		t.Errorf("got %d with versions %v, want 200 with [v1.0.0]", resp.StatusCode, got)
	}
	if _, body = get(t, s.URL()+"/p2/acme/a~dev.json"); fmt.Sprint(versions(t, body, "acme/a")) != "[dev-main]" {
		t.Errorf("the dev document holds %v, want [dev-main]", versions(t, body, "acme/a"))
	}
	resp, _ = get(t, p.DistURL)
	if want := s.ArchiveURL() + "/acme/a/legacy.zip/" + p.Reference; resp.StatusCode != 302 || resp.Header.Get("Location") != want {
		t.Errorf("the API answers %d to %q, want 302 to %q", resp.StatusCode, resp.Header.Get("Location"), want)
	}
	_, archive := get(t, resp.Header.Get("Location"))
	if !bytes.Equal(archive, p.Archive) {
		t.Error("the archive host hands out other bytes than were published")
	}
	if _, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive))); err != nil {
		t.Errorf("the archive does not open: %v", err)
	}
	if n := s.Requests("/p2/*"); n != 2 {
		t.Errorf("counted %d metadata requests, want 2", n)
	}
}

func TestConditionalRequestsAndGzip(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	resp, plain := get(t, s.URL()+"/p2/acme/a.json", "Accept-Encoding", "identity")
	modified := resp.Header.Get("Last-Modified")
	if resp, _ = get(t, s.URL()+"/p2/acme/a.json", "If-Modified-Since", modified); resp.StatusCode != 304 {
		t.Errorf("an unchanged file answers %d, want 304", resp.StatusCode)
	}
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	resp, body := get(t, s.URL()+"/p2/acme/a.json", "If-Modified-Since", modified)
	if resp.StatusCode != 200 || bytes.Equal(body, plain) {
		t.Errorf("a changed file answers %d with the old body", resp.StatusCode)
	}
	resp, _ = get(t, s.URL()+"/p2/acme/a.json", "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Error("gzip is not used though the client takes it")
	}
}

func TestTheFeedTellsEveryMoveOnce(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := standin.Start(t, standin.Options{Now: c.now})
	resp, body := get(t, s.URL()+"/metadata/changes.json")
	var feed struct {
		Timestamp int64
		Actions   []struct {
			Type, Package string
			Time          int64
		}
	}
	if err := json.Unmarshal(body, &feed); err != nil || resp.StatusCode != 400 || feed.Timestamp == 0 {
		t.Fatalf("without since: %d %s, want 400 with a timestamp", resp.StatusCode, body)
	}
	poll := func() string {
		_, body := get(t, fmt.Sprintf("%s/metadata/changes.json?since=%d", s.URL(), feed.Timestamp))
		feed.Actions = nil
		if err := json.Unmarshal(body, &feed); err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, a := range feed.Actions {
			out += a.Type + " " + a.Package + ";"
		}
		return out
	}
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	if got, want := poll(), "update acme/a;update acme/a~dev;"; got != want {
		t.Errorf("after publishing: %q, want %q", got, want)
	}
	if got := poll(); got != "" {
		t.Errorf("polling again tells %q once more", got)
	}
	s.Delete("acme/a")
	if got, want := poll(), "delete acme/a;"; got != want {
		t.Errorf("after deleting: %q, want %q", got, want)
	}
	s.Recover("acme/a")
	if got, want := poll(), "update acme/a;update acme/a~dev;"; got != want {
		t.Errorf("after recovering: %q, want %q", got, want)
	}
	s.Publish(standin.Release{Name: "acme/a", Version: "2.0.0"})
	s.ForgetFeed()
	if got, want := poll(), "resync *;"; got != want {
		t.Errorf("after losing its history: %q, want %q", got, want)
	}
}

func TestEveryChangeMovesLastModifiedForward(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := standin.Start(t, standin.Options{Now: c.now})
	last := time.Time{}
	for i, change := range []func(){
		func() { s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"}) },
		func() { s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Salt: "re-tagged"}) },
		func() { s.Abandon("acme/a", "acme/b") },
		func() { s.Advise("acme/a", "PKSA-1", "<1.0", nil) },
		func() { s.Flag("malware", "acme/a", "1.0.0") },
		func() { s.Delete("acme/a"); s.Recover("acme/a") },
		func() { s.DeleteVersion("acme/a", "1.0.0") },
	} {
		change()
		if now := s.Modified("acme/a"); !now.After(last) {
			t.Errorf("change %d leaves Last-Modified at %v", i, now)
		} else {
			last = now
		}
	}
}

func TestMinifyingAndExpandingAreInverse(t *testing.T) {
	const full = `[{"name":"a/b","version":"2.0","require":{"php":">=8"},"bin":["x"]},{"name":"a/b","version":"1.0","require":{"php":">=8"}},{"name":"a/b","version":"0.9","bin":["x"]}]`
	const small = `[{"name":"a/b","version":"2.0","require":{"php":">=8"},"bin":["x"]},{"version":"1.0","bin":"__unset"},{"version":"0.9","bin":["x"],"require":"__unset"}]`
	var list []standin.Object
	if err := json.Unmarshal([]byte(full), &list); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(standin.Minify(list))
	if unescape(got) != small {
		t.Errorf("minified to %s, want %s", got, small)
	}
	got, _ = json.Marshal(standin.Expand(standin.Minify(list)))
	if unescape(got) != full {
		t.Errorf("expanded to %s, want %s", got, full)
	}
}

// unescape undoes the HTML escaping of json.Marshal.
func unescape(b []byte) string { return strings.ReplaceAll(string(b), `\u003e`, ">") }

func TestFaultsBreakAnswersTheWayTheirNamesSay(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	p := s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Dist: "direct"})
	read := func(url string) (int, []byte, error) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, b, err
	}
	half := len(p.Archive) / 2
	for name, c := range map[string]struct {
		fault standin.Fault
		check func(code int, body []byte, err error) bool
	}{
		"a status code":            {standin.Status(503, "Retry-After", "7"), func(code int, _ []byte, err error) bool { return code == 503 && err == nil }},
		"a sign-in page":           {standin.HTML(), func(code int, b []byte, _ error) bool { return code == 200 && bytes.HasPrefix(b, []byte("<!DOCTYPE")) }},
		"a short body":             {standin.CutAt(half, standin.Short), func(_ int, b []byte, err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) && len(b) == half }},
		"a missing last chunk":     {standin.CutAt(half, standin.Chunk), func(_ int, b []byte, err error) bool { return err != nil && len(b) == half }},
		"a reset connection":       {standin.CutAt(half, standin.Reset), func(_ int, _ []byte, err error) bool { return err != nil }},
		"a cut that nothing shows": {standin.CutAt(half, standin.Unknown), func(code int, b []byte, err error) bool { return code == 200 && err == nil && len(b) == half }},
		"a zip without a central directory": {standin.NoCentralDirectory(), func(code int, b []byte, err error) bool {
			return code == 200 && err == nil && len(b) < len(p.Archive) && len(b) > 0
		}},
		"slow pieces": {standin.Drip(half, time.Millisecond), func(code int, b []byte, err error) bool {
			return code == 200 && err == nil && bytes.Equal(b, p.Archive)
		}},
	} {
		rule := s.FaultTimes("/dl/*", 1, c.fault)
		if code, body, err := read(p.DistURL); !c.check(code, body, err) {
			t.Errorf("%s: got %d, %d bytes, %v", name, code, len(body), err)
		}
		if rule.Hits() != 1 {
			t.Errorf("%s: the rule answered %d requests, want 1", name, rule.Hits())
		}
		if code, body, err := read(p.DistURL); code != 200 || err != nil || !bytes.Equal(body, p.Archive) {
			t.Errorf("%s: the request after it got %d, %d bytes, %v", name, code, len(body), err)
		}
	}
	s.Down()
	if _, _, err := read(p.DistURL); err == nil {
		t.Error("a stand-in that is down still answers")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := read(p.DistURL); code != 200 || err != nil {
		t.Errorf("after coming up again: %d, %v", code, err)
	}
}

func TestAHeldRequestWaitsForItsGate(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	p := s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Dist: "direct"})
	gate := s.HoldAfter("/dl/*", 10)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, p.DistURL, nil)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := gate.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 10)
	if _, err := io.ReadFull(resp.Body, first); err != nil || !bytes.Equal(first, p.Archive[:10]) {
		t.Fatalf("the first bytes do not come before the gate opens: %v", err)
	}
	gate.Open()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(rest, p.Archive[10:]) {
		t.Errorf("after the gate opened: %d bytes, %v", len(rest), err)
	}
}

func TestAuxiliaryEndpointsAnswerInPackagistsShapes(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Description: "Logs things", Provide: map[string]string{"acme/virtual": "1.0"}})
	s.Publish(standin.Release{Name: "other/p", Version: "1.0.0", Type: "composer-plugin"})
	s.Advise("acme/a", "PKSA-1", "<1.1", map[string]any{"cve": nil})
	s.Flag("malware", "other/p", "1.0.0")
	for path, want := range map[string]string{
		"/packages/list.json":                                `{"packageNames":["acme/a","other/p"]}`,
		"/packages/list.json?filter=acme%2F%2A":              `{"packageNames":["acme/a"]}`,
		"/packages/list.json?type=composer-plugin":           `{"packageNames":["other/p"]}`,
		"/packages/list.json?vendor=acme&filter=acme%2Fb%2A": `{"packageNames":[]}`,
		"/providers/acme/virtual.json":                       `{"providers":[{"name":"acme/a","description":"Logs things","type":"library"}]}`,
		"/providers/acme/nobody.json":                        `{"providers":[]}`,
		"/lists/all/summary.json":                            `{"filter":{"malware":{"other/p":"1.0.0"}}}`,
		"/api/security-advisories/?packages[]=other/p":       `{"advisories":{"other/p":[]}}`,
		"/api/security-advisories/?packages[]=acme/unknown":  `{"advisories":[]}`,
	} {
		if resp, body := get(t, s.URL()+path); resp.StatusCode != 200 || string(body) != want {
			t.Errorf("GET %s: %d %s, want %s", path, resp.StatusCode, body, want)
		}
	}
	for _, path := range []string{"/search.json?q=", "/api/security-advisories/", "/api/security-advisories/?updatedSince=1&packages[]=acme/a", "/metadata/changes.json?since=1"} {
		if resp, _ := get(t, s.URL()+path); resp.StatusCode != 400 {
			t.Errorf("GET %s: %d, want 400", path, resp.StatusCode)
		}
	}
	if _, body := get(t, s.URL()+"/search.json?q=logs&type="); !strings.Contains(string(body), `"name":"acme/a"`) {
		t.Errorf("search does not find a description: %s", body)
	}
	resp, err := http.PostForm(s.URL()+"/api/security-advisories/", url.Values{"packages[0]": {"acme/a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), `"cve":null`) {
		t.Errorf("the advisory is not answered: %s", body)
	}
}

func TestTheRealSliceLoadsAndLooksBack(t *testing.T) {
	dir, ok := standin.SliceDir()
	if !ok {
		t.Log("the real slice is not beside the repository; nothing to load")
		return
	}
	s := standin.Start(t, standin.Options{})
	if err := s.LoadSlice(dir); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Names()); n != 159 {
		t.Errorf("loaded %d packages, want 159", n)
	}
	body, modified := s.Document("psr/log")
	if modified != "Wed, 11 Sep 2024 13:17:53 GMT" || bytes.Contains(body, []byte("api.github.com")) {
		t.Errorf("psr/log is dated %q and may still name the real host", modified)
	}
	if err := s.AsOf(time.Date(2021, 7, 14, 16, 45, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	body, _ = s.Document("psr/log")
	if got := versions(t, body, "psr/log"); len(got) == 0 || got[0] != "2.0.0" {
		t.Errorf("in July 2021 psr/log began with %v, want 2.0.0", got)
	}
}
