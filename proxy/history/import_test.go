package history_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

func lockOf(t *testing.T, versions ...ver) *composer.Lock {
	t.Helper()
	var list []string
	for _, v := range versions {
		text, err := v.object(pkg.Name).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(text))
	}
	lock, err := composer.ParseLock(fmt.Appendf(nil, `{"packages":[%s],"packages-dev":[]}`, strings.Join(list, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func importLock(t *testing.T, h *history.History, when string, versions ...ver) history.ImportResult {
	t.Helper()
	res, err := h.ImportLock(lockOf(t, versions...), at(when))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

var lockOnly = `,"notification-url":"https://packagist.org/downloads/","description":"a <b> & c"`

func TestLockFilesFillInWhatWasThereBefore(t *testing.T) {
	h, c := recorder(t)
	deleted := ver{version: "1.2", ref: "d1", time: "2026-04-01T00:00:00Z", more: lockOnly}
	res := importLock(t, h, "2026-05-01T10:00:00Z", deleted, one)
	if res.Versions != 2 || !slices.Equal(res.Files, []composer.File{pkg}) {
		t.Errorf("%+v", res)
	}
	if res = importLock(t, h, "2026-06-01T10:00:00Z", deleted, one); res.Versions != 0 || res.Known != 2 {
		t.Errorf("again, later: %+v", res)
	}
	c.t = at("2026-09-02T12:00:00Z")
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, two, minor, one))
	for when, want := range map[string][]string{
		"2026-04-15T00:00:00Z": {"1.0 a1"}, // nothing proves 1.2 yet
		"2026-05-01T09:59:59Z": {"1.0 a1"},
		"2026-05-01T10:00:00Z": {"1.2 d1", "1.0 a1"},
		"2026-09-01T21:00:00Z": {"1.2 d1", "1.1 a2", "1.0 a1"},
	} {
		b, got := look(t, h, pkg, when)
		if b.Fidelity != history.Reconstructed || !slices.Equal(got, want) {
			t.Errorf("at %s: %s %q, want %q", when, b.Fidelity, got, want)
		}
	}
	// Exact views are what they were.
	if b, got := look(t, h, pkg, "2026-09-02T10:00:00Z"); b.Fidelity != history.Exact || len(got) != 3 {
		t.Errorf("exact: %s %q", b.Fidelity, got)
	}
	b, err := h.Decide(at("2026-05-01T10:00:00Z"), pkg)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := h.Materialize(pkg, b)
	if err != nil {
		t.Fatal(err)
	}
	if body := string(doc.Encode()); strings.Contains(body, "notification-url") || !strings.Contains(body, "a <b> & c") {
		t.Errorf("%s", body)
	}
}

func TestAnImportChangesNoBoundView(t *testing.T) {
	h, c := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, one))
	importLock(t, h, "2026-05-01T10:00:00Z", ver{version: "1.2", ref: "d1"})
	when := at("2026-06-01T00:00:00Z")
	b, err := h.Decide(when, pkg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Bind(pkg, b); err != nil {
		t.Fatal(err)
	}
	importLock(t, h, "2026-04-01T10:00:00Z", ver{version: "1.3", ref: "d2"}, ver{version: "1.2", ref: "d1"})
	bound, ok, err := h.Bound(when, pkg)
	if err != nil || !ok {
		t.Fatal(err)
	}
	if got := entries(t, h, pkg, bound); !slices.Equal(got, []string{"1.2 d1", "1.0 a1"}) {
		t.Errorf("bound before the second import: %q", got)
	}
	if _, got := look(t, h, pkg, "2026-06-01T00:00:01Z"); !slices.Equal(got, []string{"1.3 d2", "1.2 d1", "1.0 a1"}) {
		t.Errorf("after it: %q", got)
	}
	_ = c
}

// The lock proves the tag as it was before it was moved.
func TestALockKnowsATagFromBeforeItWasMoved(t *testing.T) {
	h, _ := recorder(t)
	moved := ver{version: "1.0", ref: "evil", published: one.published, time: one.time}
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, moved))
	importLock(t, h, "2026-05-01T10:00:00Z", ver{version: "v1.0.0", ref: "a1"})
	for when, want := range map[string][]string{
		"2026-04-01T00:00:00Z": {}, // not the new content, which is from after the lock
		"2026-05-01T10:00:00Z": {"v1.0.0 a1"},
		"2026-08-01T00:00:00Z": {"v1.0.0 a1"},
		"2026-09-01T11:00:00Z": {"1.0 evil"}, // exact
	} {
		if _, got := look(t, h, pkg, when); !slices.Equal(got, want) {
			t.Errorf("at %s: %q, want %q", when, got, want)
		}
	}
}

func TestAPackageThatOnlyALockRemembers(t *testing.T) {
	h, _ := recorder(t)
	importLock(t, h, "2026-05-01T10:00:00Z", one)
	observe(t, h, pkg, history.Observation{AskedAt: at("2026-09-01T12:00:00Z")})
	if b, _ := look(t, h, pkg, "2026-04-01T00:00:00Z"); b.Fidelity != history.Absent {
		t.Errorf("before the proof: %s", b.Fidelity)
	}
	b, got := look(t, h, pkg, "2026-05-01T10:00:00Z")
	if b.Fidelity != history.Reconstructed || !slices.Equal(got, []string{"1.0 a1"}) {
		t.Errorf("since the proof: %s %q", b.Fidelity, got)
	}
	if b, _ := look(t, h, pkg, "2026-09-01T12:00:00Z"); b.Fidelity != history.Absent {
		t.Errorf("when it was seen to be gone: %s", b.Fidelity)
	}
}

func TestLockedBranchesAreReferencesOnly(t *testing.T) {
	h, c := recorder(t)
	dev := file("acme/a~dev")
	res := importLock(t, h, "2026-05-01T10:00:00Z", ver{version: "dev-main", ref: "h0"})
	if res.Branches != 1 || res.Versions != 0 || len(res.Files) != 0 {
		t.Errorf("%+v", res)
	}
	refs, err := h.References(pkg.Name, composer.ReferenceKey("h0"))
	if err != nil || len(refs) != 1 || refs[0].Via != history.Import || !strings.Contains(refs[0].URL, "h0") {
		t.Fatalf("%+v %v", refs, err)
	}
	c.t = at("2026-09-01T12:00:00Z")
	see(t, h, dev, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(dev, ver{version: "dev-main", ref: "h1", published: "2026-08-01T00:00:00Z"}))
	if _, got := look(t, h, dev, "2026-05-01T10:00:00Z"); len(got) != 0 {
		t.Errorf("a head nobody can vouch for: %q", got)
	}
}

func TestReferencesOfALockMadeThroughAProxyFindTheirOrigin(t *testing.T) {
	h, _ := recorder(t)
	for i, url := range []string{
		"http://proxy.example/dist-proxy/acme/a/1.0.0.0/%reference%.zip",
		"http://proxy.example/dist-proxy/acme/a/1.0.0.0/ref1.zip",
	} {
		v := ver{version: "1.0", ref: fmt.Sprintf("ref%d", i)}
		lock := lockOf(t, v)
		p := &lock.Packages[0]
		p.Object = p.Object.With("dist", fmt.Appendf(nil, `{"type":"zip","url":%q,"reference":%q,"shasum":"","mirrors":[{"url":"https://m.example/"}]}`, url, v.ref))
		dist := *p.Dist
		dist.URL = url
		p.Dist = &dist
		if _, err := h.ImportLock(lock, at("2026-05-01T10:00:00Z")); err != nil {
			t.Fatal(err)
		}
		refs, err := h.References(pkg.Name, composer.ReferenceKey(v.ref))
		if err != nil || len(refs) != 1 || refs[0].URL != "https://api.github.com/repos/acme/a/zipball/"+v.ref {
			t.Errorf("%+v %v", refs, err)
		}
	}
	proofs, err := h.Imports(pkg)
	if err != nil || len(proofs) != 2 || strings.Contains(string(proofs[0].Object.Get("dist")), "mirrors") {
		t.Errorf("%v %v", proofs, err)
	}
}

func TestImportsFromTheFutureAreRefused(t *testing.T) {
	h, c := recorder(t)
	if _, err := h.ImportLock(lockOf(t, one), c.t.AddDate(0, 0, 1)); err == nil {
		t.Error("imported")
	}
}

func TestPathRepositoriesAreLeftOut(t *testing.T) {
	h, _ := recorder(t)
	lock := lockOf(t, one)
	dist := *lock.Packages[0].Dist
	dist.Type = "path"
	lock.Packages[0].Dist = &dist
	res, err := h.ImportLock(lock, at("2026-05-01T10:00:00Z"))
	if err != nil || !slices.Equal(res.Skipped, []string{"acme/a"}) || res.Versions != 0 {
		t.Errorf("%+v %v", res, err)
	}
}
