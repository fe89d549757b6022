package history_test

import (
	"errors"
	"slices"
	"testing"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// The story most tests look at: version 1.0 was published in March, Stasis met
// the package on 1 September at noon, saw it unchanged at 13:00, and found 1.1
// and 2.0 on 2 September in a document of 10:00.
var (
	pkg   = file("acme/a")
	one   = ver{version: "1.0", ref: "a1", published: "2026-03-10T08:00:00Z", time: "2026-03-09T00:00:00Z"}
	minor = ver{version: "1.1", ref: "a2", published: "2026-09-01T20:00:00Z", time: "2026-08-30T00:00:00Z"}
	two   = ver{version: "2.0", ref: "a3", published: "2026-09-02T09:59:30Z", time: "2026-09-02T09:00:00Z"}
)

func story(t *testing.T) (*history.History, []byte, []byte) {
	h, c := recorder(t)
	first, second := document(pkg, one), document(pkg, two, minor, one)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-03-10T08:00:30Z", first)
	same(t, h, pkg, "2026-09-01T13:00:00Z")
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", second)
	c.t = at("2026-09-02T12:00:00Z")
	return h, first, second
}

func TestAViewInsideARecordedIntervalIsTheDocumentItself(t *testing.T) {
	h, first, second := story(t)
	for when, want := range map[string][]byte{
		"2026-03-10T08:00:30Z": first, // valid since its date, long before it was seen
		"2026-06-01T00:00:00Z": first,
		"2026-09-01T13:00:00Z": first,
		"2026-09-02T10:00:00Z": second,
		"2026-09-02T12:00:00Z": second,
	} {
		b, err := h.Decide(at(when), pkg)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := h.Materialize(pkg, b)
		if err != nil {
			t.Fatal(err)
		}
		if b.Fidelity != history.Exact || string(doc.Encode()) != string(want) {
			t.Errorf("at %s: %s, %s", when, b.Fidelity, doc.Encode())
		}
	}
}

func TestAGapHasWhatWasThereAndWhatWasPublishedSince(t *testing.T) {
	h, _, _ := story(t)
	for when, want := range map[string][]string{
		"2026-09-01T13:00:01Z": {"1.0 a1"},
		"2026-09-01T19:59:59Z": {"1.0 a1"},
		"2026-09-01T20:00:00Z": {"1.1 a2", "1.0 a1"},
		"2026-09-02T09:59:59Z": {"2.0 a3", "1.1 a2", "1.0 a1"},
	} {
		b, got := look(t, h, pkg, when)
		if b.Fidelity != history.Gap || !slices.Equal(got, want) {
			t.Errorf("at %s: %s %q, want %q", when, b.Fidelity, got, want)
		}
		if b.ValidFrom != at("2026-03-10T08:00:30Z") || b.LastConfirmed != at("2026-09-01T13:00:00Z") {
			t.Errorf("at %s: known from %s to %s", when, b.ValidFrom, b.LastConfirmed)
		}
	}
}

func TestBeforeTheFirstObservationTheDocumentIsFiltered(t *testing.T) {
	h, c := recorder(t)
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, two, minor, one))
	c.t = at("2026-09-02T12:00:00Z")
	for when, want := range map[string][]string{
		"2026-01-01T00:00:00Z": {},
		"2026-03-10T07:59:59Z": {},
		"2026-03-10T08:00:00Z": {"1.0 a1"},
		"2026-09-01T23:59:59Z": {"1.1 a2", "1.0 a1"},
	} {
		b, got := look(t, h, pkg, when)
		if b.Fidelity != history.Reconstructed || !slices.Equal(got, want) {
			t.Errorf("at %s: %s %q, want %q", when, b.Fidelity, got, want)
		}
	}
}

func TestWithoutPublicationTimesAViewIsEstimated(t *testing.T) {
	h, _ := recorder(t)
	old := ver{version: "0.9", ref: "a0", time: "2026-02-01T00:00:00Z"}
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, one, old))
	b, got := look(t, h, pkg, "2026-02-01T00:00:00Z")
	if b.Fidelity != history.Estimated || !slices.Equal(got, []string{"0.9 a0"}) {
		t.Errorf("%s %q", b.Fidelity, got)
	}
}

func TestNothingIsKnownBeyondTheLastConfirmation(t *testing.T) {
	h, _, second := story(t)
	if _, err := h.Decide(at("2026-09-02T12:00:01Z"), pkg); !errors.Is(err, history.ErrUnconfirmed) {
		t.Fatalf("beyond the last confirmation: %v", err)
	}
	if _, err := h.Decide(at("2026-09-02T12:00:01Z"), file("acme/never")); !errors.Is(err, history.ErrUnknown) {
		t.Fatalf("never seen: %v", err)
	}
	same(t, h, pkg, "2026-09-03T00:00:00Z")
	b, err := h.Decide(at("2026-09-02T12:00:01Z"), pkg)
	if err != nil || b.Fidelity != history.Exact {
		t.Fatalf("after a confirmation: %v %v", b, err)
	}
	doc, err := h.Materialize(pkg, b)
	if err != nil || string(doc.Encode()) != string(second) {
		t.Fatalf("%v %s", err, doc.Encode())
	}
}

func TestAbsence(t *testing.T) {
	h, _ := recorder(t)
	gone := func(asked string) {
		observe(t, h, pkg, history.Observation{AskedAt: at(asked), Via: history.Demand})
	}
	gone("2026-09-01T12:00:00Z")
	gone("2026-09-01T13:00:00Z")
	b, _ := look(t, h, pkg, "2026-06-01T00:00:00Z")
	if b.Fidelity != history.Absent || b.Kind != history.AbsentDocument {
		t.Errorf("before, as far as anybody knows: %+v", b)
	}
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, two, minor, one))
	gone("2026-09-05T12:00:00Z")
	for when, want := range map[string]struct {
		f       history.Fidelity
		entries []string
	}{
		// The first document shows that 1.0 had been there before it was missed.
		"2026-06-01T00:00:00Z": {history.Reconstructed, []string{"1.0 a1"}},
		"2026-09-01T12:30:00Z": {history.Absent, []string{}},
		"2026-09-01T13:00:00Z": {history.Absent, []string{}},
		// It was not there at 13:00; 1.1 is from 20:00; when 1.0 came back is not known.
		"2026-09-01T19:00:00Z": {history.Gap, []string{}},
		"2026-09-01T21:00:00Z": {history.Gap, []string{"1.1 a2"}},
		"2026-09-02T11:00:00Z": {history.Exact, []string{"2.0 a3", "1.1 a2", "1.0 a1"}},
		// When it went is not known.
		"2026-09-04T11:00:00Z": {history.Gap, []string{"2.0 a3", "1.1 a2", "1.0 a1"}},
		"2026-09-05T12:00:00Z": {history.Absent, []string{}},
	} {
		b, got := look(t, h, pkg, when)
		if b.Fidelity != want.f || !slices.Equal(got, want.entries) {
			t.Errorf("at %s: %s %q, want %s %q", when, b.Fidelity, got, want.f, want.entries)
		}
	}
}

func TestAMovedTagIsDatedByItsCommit(t *testing.T) {
	h, _ := recorder(t)
	v := ver{version: "1.0", ref: "b1", published: "2026-03-10T08:00:00Z", time: "2026-05-01T00:00:00Z"}
	see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", document(pkg, v))
	if _, got := look(t, h, pkg, "2026-04-30T23:59:59Z"); len(got) != 0 {
		t.Errorf("before its commit: %q", got)
	}
	if _, got := look(t, h, pkg, "2026-05-01T00:00:00Z"); len(got) != 1 {
		t.Errorf("since its commit: %q", got)
	}
}

func TestVisible(t *testing.T) {
	dumped := at("2026-09-02T10:00:00Z")
	for _, c := range []struct {
		name, published, time, want string
		estimated                   bool
	}{
		{"published", "2026-03-10T08:00:00Z", "2026-01-01T00:00:00Z", "2026-03-10T08:00:00Z", false},
		{"a zone wrong by hours is no moved tag", "2026-03-10T08:00:00Z", "2026-03-11T08:00:00Z", "2026-03-10T08:00:00Z", false},
		{"a moved tag", "2026-03-10T08:00:00Z", "2026-03-11T08:00:01Z", "2026-03-11T08:00:01Z", false},
		{"a commit from after the document", "2026-03-10T08:00:00Z", "2027-01-01T00:00:00Z", "2026-03-10T08:00:00Z", false},
		{"published in the future", "2027-03-10T08:00:00Z", "", "2026-09-02T10:00:00Z", false},
		{"only a commit", "", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", true},
		{"only a commit in the future", "", "2027-01-01T00:00:00Z", "2026-09-02T10:00:00Z", true},
		{"no time at all", "", "", "2026-09-02T10:00:00Z", false},
	} {
		v := ver{version: "1.0", ref: "x", published: c.published, time: c.time}
		doc := composer.NewDocument(pkg.Name, []composer.Object{v.object(pkg.Name)})
		index, err := doc.Index()
		if err != nil {
			t.Fatal(err)
		}
		got, estimated := history.Visible(index[0], dumped)
		if !got.Equal(at(c.want)) || estimated != c.estimated {
			t.Errorf("%s: %s estimated=%t, want %s %t", c.name, got, estimated, c.want, c.estimated)
		}
	}
}

func TestBranchesAreShownOnlyWithAHeadFromThen(t *testing.T) {
	h, _ := recorder(t)
	dev := file("acme/a~dev")
	head := func(ref, published string) ver {
		return ver{version: "dev-main", ref: ref, published: published, time: "2026-01-01T00:00:00Z"}
	}
	see(t, h, dev, "2026-09-01T12:00:00Z", "2026-08-01T00:00:10Z", document(dev, head("h1", "2026-08-01T00:00:00Z")))
	see(t, h, dev, "2026-09-03T12:00:00Z", "2026-09-03T00:00:10Z", document(dev, head("h2", "2026-09-02T18:00:00Z")))
	for when, want := range map[string][]string{
		"2026-07-31T23:59:59Z": {},              // there was another head, or none
		"2026-08-01T00:00:05Z": {"dev-main h1"}, // pushed, about to be written
		"2026-08-20T00:00:00Z": {"dev-main h1"},
		"2026-09-02T17:59:59Z": {"dev-main h1"},
		"2026-09-02T18:00:00Z": {"dev-main h2"},
		"2026-09-03T01:00:00Z": {"dev-main h2"},
	} {
		if _, got := look(t, h, dev, when); !slices.Equal(got, want) {
			t.Errorf("at %s: %q, want %q", when, got, want)
		}
	}
}

func TestAGapNeverShowsAReferenceFromLater(t *testing.T) {
	h, _ := recorder(t)
	moved := ver{version: "1.0", ref: "evil", published: one.published, time: one.time}
	restored := ver{version: "0.9", ref: "other", published: "2026-02-01T00:00:00Z"}
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-03-10T08:00:30Z", document(pkg, one))
	see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-03T00:00:00Z", document(pkg, moved, restored))
	b, got := look(t, h, pkg, "2026-09-02T00:00:00Z")
	if b.Fidelity != history.Gap || !slices.Equal(got, []string{"1.0 a1"}) {
		t.Errorf("%s %q", b.Fidelity, got)
	}
}

func TestADeletedVersionStaysInViewsOfItsTime(t *testing.T) {
	h, _ := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-03T00:00:00Z", document(pkg, two, one))
	_, got := look(t, h, pkg, "2026-09-02T12:00:00Z")
	if want := []string{"2.0 a3", "1.1 a2", "1.0 a1"}; !slices.Equal(got, want) {
		t.Errorf("in the gap: %q, want %q", got, want)
	}
	_, got = look(t, h, pkg, "2026-09-01T12:00:00Z")
	if want := []string{"1.1 a2", "1.0 a1"}; !slices.Equal(got, want) {
		t.Errorf("when it was there: %q, want %q", got, want)
	}
}

func TestAnInstantIsAWholeSecond(t *testing.T) {
	h, _, _ := story(t)
	b, err := h.Decide(at("2026-09-02T10:00:00.999Z"), pkg)
	if err != nil || !b.At.Equal(at("2026-09-02T10:00:00Z")) || b.Fidelity != history.Exact {
		t.Errorf("%+v %v", b, err)
	}
}

// The document that deciding made is handed out once and made again after that.
func TestAViewIsTheSameEveryTimeItIsMade(t *testing.T) {
	h, _, _ := story(t)
	b, err := h.Decide(at("2026-09-02T00:00:00Z"), pkg)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [3]string
	for i := range bodies {
		doc, err := h.Materialize(pkg, b)
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = string(doc.Encode())
	}
	if bodies[0] != bodies[1] || bodies[1] != bodies[2] || bodies[0] == "" {
		t.Errorf("%q", bodies)
	}
}
