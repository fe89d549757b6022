package history_test

import (
	"fmt"
	"sync"
	"testing"

	"stasis/proxy/history"
	"stasis/store"
)

func TestTheFirstDecisionStands(t *testing.T) {
	h, c := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	when := at("2026-06-01T00:00:00Z")
	if _, ok, err := h.Bound(when, pkg); ok || err != nil {
		t.Fatalf("bound before anybody asked: %v", err)
	}
	b, err := h.Decide(when, pkg)
	if err != nil {
		t.Fatal(err)
	}
	first, err := h.Bind(pkg, b)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever another decision says, and however much later.
	c.t = at("2027-01-01T00:00:00Z")
	other := history.Binding{Kind: history.AbsentDocument, Fidelity: history.Absent, At: when}
	second, err := h.Bind(pkg, other)
	if err != nil {
		t.Fatal(err)
	}
	bound, ok, err := h.Bound(when, pkg)
	if err != nil || !ok {
		t.Fatalf("%t %v", ok, err)
	}
	for _, got := range []history.Binding{second, bound} {
		if got.Kind != first.Kind || got.Document != first.Document || !got.BoundAt.Equal(first.BoundAt) || got.Fidelity != first.Fidelity {
			t.Errorf("%+v, want %+v", got, first)
		}
		if e := entries(t, h, pkg, got); fmt.Sprint(e) != "[1.0 a1]" {
			t.Errorf("%q", e)
		}
	}
	again, err := h.Rebind(pkg, other)
	if err != nil || again.Kind != history.AbsentDocument || !again.BoundAt.Equal(c.t) {
		t.Errorf("after rebinding: %+v %v", again, err)
	}
}

func TestOneOfManyFirstRequestsDecides(t *testing.T) {
	h, _ := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	var wg sync.WaitGroup
	got := make([]history.Binding, 16)
	for i := range got {
		wg.Go(func() {
			b := history.Binding{
				Kind: history.WholeDocument, Fidelity: history.Gap, At: at("2026-06-01T00:00:00Z"),
				Document: store.SumDigest([]byte{byte(i)}),
			}
			var err error
			if got[i], err = h.Bind(pkg, b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, b := range got {
		if b.Document != got[0].Document {
			t.Fatalf("two decisions: %s and %s", b.Document, got[0].Document)
		}
	}
}

func TestOnlyWholeSecondsAreBound(t *testing.T) {
	h, _ := recorder(t)
	for _, b := range []history.Binding{{}, {At: at("2026-06-01T00:00:00.5Z")}} {
		if _, err := h.Bind(pkg, b); err == nil {
			t.Errorf("%s was bound", b.At)
		}
	}
}

// Everything that makes a binding survives being stored.
func TestABindingIsStoredWhole(t *testing.T) {
	h, c := recorder(t)
	want := history.Binding{
		Kind: history.GapDocument, Fidelity: history.Estimated, At: at("2026-06-01T00:00:00Z"),
		Document: store.SumDigest([]byte("a")), Next: store.SumDigest([]byte("b")), Imported: store.SumDigest([]byte("c")),
		ValidFrom: at("2026-01-01T00:00:00Z"), LastConfirmed: at("2026-05-01T00:00:00Z"), NextFrom: at("2026-07-01T00:00:00Z"),
	}
	if _, err := h.Bind(pkg, want); err != nil {
		t.Fatal(err)
	}
	want.BoundAt = c.t
	if got, ok, err := h.Bound(want.At, pkg); err != nil || !ok || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}
