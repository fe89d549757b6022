package history_test

import (
	"errors"
	"slices"
	"testing"

	"stasis/proxy/history"
)

// What random histories taught, in few words each.

func TestAnEstimatedViewIsStillEstimatedWhenReadBack(t *testing.T) {
	h, _ := recorder(t)
	for _, f := range []history.Fidelity{history.Exact, history.Absent, history.Gap, history.Reconstructed, history.Estimated} {
		for _, k := range []history.Kind{history.WholeDocument, history.FilterDocument, history.GapDocument, history.AbsentDocument} {
			b := history.Binding{Kind: k, Fidelity: f, At: at("2026-09-01T12:00:00Z")}
			if _, err := h.Rebind(pkg, b); err != nil {
				t.Fatal(err)
			}
			got, ok, err := h.Bound(b.At, pkg)
			if err != nil || !ok || got.Fidelity != f || got.Kind != k {
				t.Errorf("%s %s came back as %s %s (%v)", k, f, got.Kind, got.Fidelity, err)
			}
		}
	}
}

// The question was asked at 12:00:00, the document changed at 12:00:03, the
// answer was here at 12:00:05.
func TestARevisionDoesNotBeginBeforeTheAnswerThatShowsIt(t *testing.T) {
	for date, want := range map[string]string{
		"2026-09-01T12:00:03Z": "2026-09-01T12:00:03Z",
		"":                     "2026-09-01T12:00:05Z",
		"2026-09-01T12:00:09Z": "2026-09-01T12:00:05Z", // no date of ours
	} {
		h, c := recorder(t)
		c.t = at("2026-09-01T12:00:05Z")
		got := see(t, h, pkg, "2026-09-01T12:00:00Z", date, document(pkg, one))
		if !got.State.ValidFrom.Equal(at(want)) {
			t.Errorf("dated %q: valid from %s, want %s", date, got.State.ValidFrom, want)
		}
	}
}

// A version that was published and withdrawn between two looks leaves only a
// newer date behind.
func TestEqualBytesUnderANewerDateLeaveAGap(t *testing.T) {
	h, c := recorder(t)
	body := document(pkg, one)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-03-10T08:00:30Z", body)
	c.t = at("2026-09-02T12:00:00Z")
	again := see(t, h, pkg, "2026-09-02T12:00:00Z", "2026-09-02T10:00:00Z", body)
	if again.New {
		t.Error("the same bytes are called a new document")
	}
	for when, want := range map[string]history.Fidelity{
		"2026-09-01T12:00:00Z": history.Exact,
		"2026-09-02T09:59:59Z": history.Gap,
		"2026-09-02T10:00:00Z": history.Exact,
	} {
		if b, got := look(t, h, pkg, when); b.Fidelity != want || !slices.Equal(got, []string{"1.0 a1"}) {
			t.Errorf("at %s: %s %q, want %s", when, b.Fidelity, got, want)
		}
	}
	// Written again within a second of a confirmation, nothing was in between.
	c.t = at("2026-09-03T12:00:00Z")
	see(t, h, pkg, "2026-09-03T12:00:00Z", "2026-09-02T12:00:01Z", body)
	if b, _ := look(t, h, pkg, "2026-09-02T18:00:00Z"); b.Fidelity != history.Exact {
		t.Errorf("a re-dump right after a confirmation: %s", b.Fidelity)
	}
}

// The package was submitted and deleted again while nobody looked; the feed
// tells.
func TestAbsenceDoesNotGoOnAcrossAnAnnouncedChange(t *testing.T) {
	h, c := recorder(t)
	missing := func(asked string) {
		c.t = at(asked)
		observe(t, h, pkg, history.Observation{AskedAt: at(asked)})
	}
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T11:00:00Z")
	missing("2026-09-01T12:00:00Z")
	announce(t, h, pkg, "2026-09-01T12:30:00Z", false)
	announce(t, h, pkg, "2026-09-01T12:40:00Z", true)
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T13:00:00Z")
	missing("2026-09-01T13:00:01Z")
	if b, _ := look(t, h, pkg, "2026-09-01T12:00:00Z"); b.Fidelity != history.Absent {
		t.Errorf("before it was submitted: %s", b.Fidelity)
	}
	if b, _ := look(t, h, pkg, "2026-09-01T12:35:00Z"); b.Fidelity != history.Gap {
		t.Errorf("while it was there: %s", b.Fidelity)
	}
}

// An edge that is behind answers "not modified" long after the change.
func TestAnEdgeThatIsBehindConfirmsNothing(t *testing.T) {
	h, c := recorder(t)
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T12:00:00Z")
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-03-10T08:00:30Z", document(pkg, one))
	same(t, h, pkg, "2026-09-01T12:05:00Z")
	announce(t, h, pkg, "2026-09-01T12:03:00Z", false)
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T12:10:00Z")
	st := same(t, h, pkg, "2026-09-01T12:11:00Z").State
	if want := at("2026-09-01T12:02:59Z"); !h.ConfirmedUntil(st).Equal(want) {
		t.Errorf("confirmed until %s, want %s", h.ConfirmedUntil(st), want)
	}
	c.t = at("2026-09-01T12:30:00Z")
	if _, err := h.Decide(at("2026-09-01T12:04:00Z"), pkg); !errors.Is(err, history.ErrUnconfirmed) {
		t.Errorf("a view after the announced change: %v", err)
	}
}

// A file announced before anybody asked for it may come from an edge that is
// behind when somebody does.
func TestAnAnnouncementBeforeTheFirstRequestCounts(t *testing.T) {
	h, _ := recorder(t)
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T12:00:00Z")
	announce(t, h, pkg, "2026-09-01T11:59:50Z", false)
	st := see(t, h, pkg, "2026-09-01T12:00:01Z", "2026-03-10T08:00:30Z", document(pkg, one)).State
	if want := at("2026-09-01T11:59:50Z"); !st.AnnouncedAt.Equal(want) {
		t.Errorf("announced at %s, want %s", st.AnnouncedAt, want)
	}
	if want := at("2026-09-01T11:59:49Z"); !h.ConfirmedUntil(st).Equal(want) {
		t.Errorf("confirmed until %s, want %s", h.ConfirmedUntil(st), want)
	}
	st = see(t, h, pkg, "2026-09-01T12:00:05Z", "2026-09-01T11:59:50Z", document(pkg, minor, one)).State
	if !st.AnnouncedAt.IsZero() {
		t.Errorf("still announced at %s", st.AnnouncedAt)
	}
}

// Two documents can have one date. Upstream then says "not modified" although
// the held one is not the last.
func TestADocumentFetchedInItsOwnSecondIsAskedForAgain(t *testing.T) {
	h, _ := recorder(t)
	st := see(t, h, pkg, "2026-09-01T12:00:00.4Z", "2026-09-01T12:00:00Z", document(pkg, one)).State
	if !st.Unsettled || st.Conditional(at("2026-09-01T12:00:01Z")) {
		t.Error("fetched within its second, but asked for conditionally after it")
	}
	st = see(t, h, pkg, "2026-09-01T12:00:02Z", "2026-09-01T12:00:00Z", document(pkg, minor, one)).State
	if st.Unsettled || !st.Conditional(at("2026-09-01T12:05:00Z")) {
		t.Error("fetched after its second, but not asked for conditionally")
	}
	revs, err := h.Revisions(pkg)
	if err != nil || len(revs) != 2 || !revs[0].ValidFrom.Before(revs[1].ValidFrom) {
		t.Errorf("%v %+v", err, revs)
	}
}

func TestASpanOfTheFeedThatEndedKeepsWhatItProved(t *testing.T) {
	h, c := recorder(t)
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-01T11:00:00Z")
	see(t, h, pkg, "2026-09-01T12:00:00Z", "2026-03-10T08:00:30Z", document(pkg, one))
	follow(t, h, "2026-09-01T11:00:00Z", "2026-09-05T00:00:00Z")
	follow(t, h, "2026-09-09T00:00:00Z", "2026-09-09T00:00:00Z") // a hole
	c.t = at("2026-09-09T00:01:00Z")
	see(t, h, pkg, "2026-09-09T00:01:00Z", "2026-09-08T00:00:00Z", document(pkg, minor, one))
	if b, _ := look(t, h, pkg, "2026-09-04T00:00:00Z"); b.Fidelity != history.Exact {
		t.Errorf("in the span that ended: %s", b.Fidelity)
	}
	if b, _ := look(t, h, pkg, "2026-09-06T00:00:00Z"); b.Fidelity != history.Gap {
		t.Errorf("in the hole: %s", b.Fidelity)
	}
	span, err := h.Span()
	if err != nil {
		t.Fatal(err)
	}
	hole := history.Interval{From: at("2026-09-05T00:00:00Z"), Until: at("2026-09-09T00:00:00Z")}
	if !slices.Equal(span.Holes, []history.Interval{hole}) || span.Files != 1 || !span.First.Equal(at("2026-09-01T12:00:00Z")) {
		t.Errorf("%+v", span)
	}
	instants, err := h.Instants(pkg)
	if err != nil || len(instants.Known) != 2 || !instants.Known[0].Until.Equal(hole.From) {
		t.Errorf("%+v %v", instants, err)
	}
}

func TestClocksThatGoBackwardsDoNotReorderRevisions(t *testing.T) {
	h, c := recorder(t)
	see(t, h, pkg, "2026-09-01T12:00:00Z", "", document(pkg, one))
	c.t = at("2026-09-01T11:00:00Z")
	see(t, h, pkg, "2026-09-01T11:00:00Z", "", document(pkg, minor, one))
	revs, err := h.Revisions(pkg)
	if err != nil || len(revs) != 2 || !revs[1].ValidFrom.After(revs[0].ValidFrom) {
		t.Errorf("%v %+v", err, revs)
	}
}

func follow(t *testing.T, h *history.History, since, until string) {
	t.Helper()
	if err := h.SetFeed(history.FeedState{Since: at(since), Until: at(until), Cursor: at(until).UnixMicro() / 100}); err != nil {
		t.Fatal(err)
	}
}

func announce(t *testing.T, h *history.History, f interface{ String() string }, when string, deleted bool) {
	t.Helper()
	if _, err := h.Announce(file(f.String()), at(when), deleted); err != nil {
		t.Fatal(err)
	}
}
