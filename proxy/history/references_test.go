package history_test

import (
	"fmt"
	"slices"
	"testing"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

func retagged(c history.Change) []string {
	list := []string{}
	for _, r := range c.Retags {
		list = append(list, fmt.Sprintf("%s: %s to %s", r.Version, r.Old, r.New))
	}
	return list
}

func TestAMovedTagIsNoticed(t *testing.T) {
	h, _ := recorder(t)
	moved := ver{version: "1.0", ref: "b1"}
	c := see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	if len(c.Retags) != 0 {
		t.Errorf("at first sight: %q", retagged(c))
	}
	before := c.State.Document
	c = see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, minor, moved))
	if got := retagged(c); !slices.Equal(got, []string{"1.0: a1 to b1"}) {
		t.Errorf("%q", got)
	}
	refs, err := h.References(pkg.Name, composer.ReferenceKey("a1"))
	if err != nil || len(refs) != 1 {
		t.Fatalf("%v %v", refs, err)
	}
	if old := refs[0]; !old.GoneAt.Equal(at("2026-09-02T12:00:00Z")) || old.LastDocument != before || !old.Initial {
		t.Errorf("the old reference: %+v", old)
	}
	// Moved back, the first is current again and the other is gone.
	c = see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-03T10:00:00Z", document(pkg, minor, one))
	if got := retagged(c); !slices.Equal(got, []string{"1.0: b1 to a1"}) {
		t.Errorf("%q", got)
	}
	if refs, err = h.References(pkg.Name, composer.ReferenceKey("a1")); err != nil || !refs[0].GoneAt.IsZero() || !refs[0].LastDocument.IsZero() {
		t.Errorf("current again: %+v %v", refs, err)
	}
}

func TestATagMovedWhileItWasDeletedIsNoticed(t *testing.T) {
	h, _ := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, minor))
	c := see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-03T10:00:00Z", document(pkg, minor, ver{version: "v1.0.0", ref: "b1"}))
	if got := retagged(c); !slices.Equal(got, []string{"v1.0.0: a1 to b1"}) {
		t.Errorf("after the version was away: %q", got)
	}
	observe(t, h, pkg, history.Observation{AskedAt: at("2026-09-04T12:00:00Z")})
	c = see(t, h, pkg, "2026-09-05T12:00:00Z", "2026-09-05T10:00:00Z", document(pkg, ver{version: "1.1", ref: "b2"}, ver{version: "1.0", ref: "b1"}))
	if got := retagged(c); !slices.Equal(got, []string{"1.1: a2 to b2"}) {
		t.Errorf("after the package was away: %q", got)
	}
}

func TestBranchesMoveWithoutNotice(t *testing.T) {
	h, _ := recorder(t)
	dev := file("acme/a~dev")
	see(t, h, dev, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(dev, ver{version: "dev-main", ref: "h1"}))
	c := see(t, h, dev, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(dev, ver{version: "dev-main", ref: "h2"}))
	if len(c.Retags) != 0 {
		t.Errorf("%q", retagged(c))
	}
	all, err := h.AllReferences(dev.Name)
	if err != nil || len(all) != 2 {
		t.Errorf("%v %v", all, err)
	}
}

func TestWhatIsGoneIsMarkedAndKept(t *testing.T) {
	h, _ := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	st := observe(t, h, pkg, history.Observation{AskedAt: at("2026-09-02T12:00:00Z"), Via: history.Feed}).State
	if st.Present() || !st.Ever || !st.Known() {
		t.Errorf("%+v", st)
	}
	all, err := h.AllReferences(pkg.Name)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	for _, r := range all {
		if r.GoneAt.IsZero() || r.LastDocument == (store.Digest{}) {
			t.Errorf("%+v", r)
		}
	}
}

func TestRevisionsKeepEveryDocument(t *testing.T) {
	h, _, _ := story(t)
	revs, err := h.Revisions(pkg)
	if err != nil || len(revs) != 2 {
		t.Fatalf("%v %v", revs, err)
	}
	for i, want := range []struct{ from, until string }{
		{"2026-03-10T08:00:30Z", "2026-09-01T13:00:00Z"},
		{"2026-09-02T10:00:00Z", "2026-09-02T12:00:00Z"},
	} {
		if !revs[i].ValidFrom.Equal(at(want.from)) || !revs[i].LastConfirmed.Equal(at(want.until)) {
			t.Errorf("revision %d: %s to %s", i+1, revs[i].ValidFrom, revs[i].LastConfirmed)
		}
		if _, err := h.Document(revs[i].Document); err != nil {
			t.Error(err)
		}
	}
}

// A registry that is restored from a backup shows old bytes under an old date.
func TestARollbackBeginsWhenItIsSeen(t *testing.T) {
	h, c := recorder(t)
	first, second := document(pkg, one), document(pkg, minor, one)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", first)
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", second)
	c.t = at("2026-09-03T12:00:00Z")
	got := see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-01T10:00:00Z", first)
	if !got.New || !got.State.ValidFrom.Equal(c.t) {
		t.Errorf("%+v", got.State)
	}
	if b, e := look(t, h, pkg, "2026-09-02T10:00:00Z"); b.Fidelity != history.Exact || len(e) != 2 {
		t.Errorf("before it: %s %q", b.Fidelity, e)
	}
	if b, e := look(t, h, pkg, "2026-09-03T12:00:00Z"); b.Fidelity != history.Exact || len(e) != 1 {
		t.Errorf("since: %s %q", b.Fidelity, e)
	}
}

func TestNotModifiedWithoutAnythingHeldIsRefused(t *testing.T) {
	h, _ := recorder(t)
	if _, err := h.Observe(pkg, history.Observation{AskedAt: at("2026-09-01T12:00:00Z"), Unchanged: true}); err == nil {
		t.Error("recorded")
	}
}
