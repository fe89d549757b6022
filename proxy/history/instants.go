package history

import (
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Interval is a stretch of time, both ends included.
type Interval struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Instants says which instants can be seen exactly.
type Instants struct {
	// First is the first observation; zero when there was none.
	First time.Time `json:"first,omitzero"`
	// Known are the intervals in which a state is known, oldest first: the
	// instants in them are exact (or known to be absent), those between them
	// are gaps, those before them are reconstructed.
	Known []Interval `json:"known"`
	// Imported is the earliest instant that a lock file proves something for;
	// zero when none does.
	Imported time.Time `json:"imported,omitzero"`
}

// Instants returns what is known of f, revisions that touch joined.
func (h *History) Instants(f composer.File) (Instants, error) {
	revs, err := h.Revisions(f)
	if err != nil {
		return Instants{}, err
	}
	imported, err := h.imports(f)
	if err != nil {
		return Instants{}, err
	}
	out := Instants{Known: []Interval{}, Imported: imported.Earliest}
	for i, r := range revs {
		if i == 0 {
			out.First = r.FirstSeen
		}
		b := known(r)
		if n := len(out.Known); n > 0 && !b.ValidFrom.After(out.Known[n-1].Until.Add(time.Second)) {
			out.Known[n-1].Until = later(out.Known[n-1].Until, b.LastConfirmed)
			continue
		}
		out.Known = append(out.Known, Interval{b.ValidFrom, b.LastConfirmed})
	}
	return out, nil
}

// Span is what can be said about all recorded files together.
type Span struct {
	// First is the earliest observation of anything; zero when there is none.
	First time.Time `json:"first,omitzero"`
	// Files is how many files are tracked.
	Files int `json:"files"`
	// Holes are the stretches in which the change feed was not followed, oldest
	// first: files are known there only as far as they were asked about.
	Holes []Interval `json:"holes"`
	// FeedUntil is how far the feed has been read; zero when it never was.
	FeedUntil time.Time `json:"feed_until,omitzero"`
}

// Span looks at every tracked file once.
func (h *History) Span() (Span, error) {
	out := Span{Holes: []Interval{}}
	err := h.store.View(func(tx *store.Tx) error {
		out.First, out.Files = time.Time{}, 0
		return states.Scan(tx, nil, func(key []string, st State) error {
			first := st.FirstSeen
			err := revisions.Scan(tx, key, func(_ []string, r Revision) error {
				first = r.FirstSeen
				return store.Stop
			})
			if err != nil {
				return err
			}
			if out.First.IsZero() || first.Before(out.First) {
				out.First = first
			}
			out.Files++
			return nil
		})
	})
	if err != nil {
		return Span{}, err
	}
	spans := h.feed.all()
	slices.SortFunc(spans, func(a, b Interval) int { return a.From.Compare(b.From) })
	for i, s := range spans {
		if i > 0 && s.From.After(spans[i-1].Until) {
			out.Holes = append(out.Holes, Interval{spans[i-1].Until, s.From})
		}
		out.FeedUntil = later(out.FeedUntil, s.Until)
	}
	return out, nil
}
