package history

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// FeedState is how far the change feed has been read without a break. A file
// that was confirmed inside the span and has not been announced since is known
// to be unchanged until Until: one poll confirms every unlisted file.
type FeedState struct {
	// Since is where the unbroken span began.
	Since time.Time `json:"since"`
	// Until is the time up to which the feed has been read.
	Until time.Time `json:"until"`
	// Cursor is the feed's own timestamp to ask from next, in 10⁻⁴ s.
	Cursor int64 `json:"cursor"`
	// Resync is true while files have to be revalidated one by one after a
	// hole in the feed.
	Resync bool `json:"resync,omitempty"`
}

var (
	feeds = store.Table[FeedState]{Family: store.FamilyFeed, Name: "feed"}
	// spans are the unbroken spans before the current one, by their beginning.
	// A file last confirmed in one of them is known until its end.
	spans = store.Table[Interval]{Family: store.FamilyFeed, Name: "span"}
)

const upstreamFeed = "upstream"

type feedSpan struct {
	mu    sync.RWMutex
	state FeedState  // guarded by mu
	past  []Interval // oldest first; guarded by mu

	// recent has the last announcements of files that are not tracked: who asks
	// for one now may get it from an edge that is behind. Guarded by mu.
	recent map[composer.File]time.Time
}

// edgeAge is how far behind its origin an edge of the CDN may be.
const edgeAge = 15 * time.Minute

func (s *feedSpan) remember(f composer.File, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent == nil {
		s.recent = map[composer.File]time.Time{}
	}
	s.recent[f] = later(s.recent[f], t)
}

// announced returns when f was announced before it was tracked, if lately.
func (s *feedSpan) announced(f composer.File) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.recent[f]
}

func (h *History) loadFeed() error {
	return h.store.View(func(tx *store.Tx) (err error) {
		h.feed.state, err = feeds.Get(tx, upstreamFeed)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return spans.Scan(tx, nil, func(_ []string, past Interval) error {
			h.feed.past = append(h.feed.past, past)
			return nil
		})
	})
}

// all returns the spans in which the feed was followed, oldest first.
func (s *feedSpan) all() []Interval {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := slices.Clone(s.past)
	if !s.state.Until.IsZero() {
		list = append(list, Interval{s.state.Since, s.state.Until})
	}
	return list
}

// until returns how far a confirmation at t reaches.
func (s *feedSpan) until(t time.Time) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.state.Until.IsZero() && !t.Before(s.state.Since) {
		return later(t, s.state.Until)
	}
	for _, past := range slices.Backward(s.past) {
		if !t.Before(past.From) {
			return later(t, past.Until)
		}
	}
	return t
}

// Feed returns how far upstream's change feed was read.
func (h *History) Feed() FeedState {
	h.feed.mu.RLock()
	defer h.feed.mu.RUnlock()
	return h.feed.state
}

// SetFeed records how far the feed was read. Announcements of the same answer
// must have been recorded with Announce before. A new Since begins a new span;
// what the old one proved stays proven.
func (h *History) SetFeed(st FeedState) error {
	held := h.Feed()
	ended := Interval{held.Since, held.Until}
	broken := !held.Until.IsZero() && !st.Since.Equal(held.Since)
	if err := h.store.Update(func(tx *store.Tx) error {
		if broken {
			if err := spans.Put(tx, ended, store.TimeKey(ended.From)); err != nil {
				return err
			}
		}
		return feeds.Put(tx, st, upstreamFeed)
	}); err != nil {
		return err
	}
	h.feed.mu.Lock()
	defer h.feed.mu.Unlock()
	if broken {
		h.feed.past = append(h.feed.past, ended)
	}
	h.feed.state = st
	maps.DeleteFunc(h.feed.recent, func(_ composer.File, t time.Time) bool {
		return t.Before(st.Until.Add(-edgeAge))
	})
	return nil
}

// supersedes is how much newer than a deletion a document must be to have come
// after it (protocol 5.5).
const supersedes = 10 * time.Second

// Announce notes that the feed announced a change of f, or its deletion, at t.
// It returns false when the file is not tracked or the recorded document is
// already as new.
func (h *History) Announce(f composer.File, t time.Time, deleted bool) (bool, error) {
	known := t
	if deleted {
		known = t.Add(supersedes)
	}
	fresh := false
	err := h.store.Update(func(tx *store.Tx) error {
		fresh = false
		st, err := states.Get(tx, f.String())
		if errors.Is(err, fs.ErrNotExist) {
			if !deleted {
				h.feed.remember(f, t)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if st.Source != "" {
			return nil // another package of the same name
		}
		if lm, ok := ParseHTTPTime(st.LastModified); st.Present() && ok && !lm.Before(known) &&
			!(st.Unsettled && lm.Equal(known)) {
			return nil
		}
		if deleted && !st.Present() {
			return nil
		}
		// The revision is known valid up to the change, not beyond it, whatever
		// an edge said that was behind.
		until := h.confirmed(st)
		st.AnnouncedAt = later(st.AnnouncedAt, t)
		st.LastConfirmed = later(st.ValidFrom, earlier(until, t.Add(-time.Second)))
		fresh = true
		return states.Put(tx, st, f.String())
	})
	return fresh, err
}

// ConfirmedUntil is the last instant at which the current revision is known
// to have been the current one, the change feed included.
func (h *History) ConfirmedUntil(st State) time.Time { return h.confirmed(st) }

func (h *History) confirmed(st State) time.Time {
	if !st.AnnouncedAt.IsZero() || st.Source != "" {
		return st.LastConfirmed
	}
	return h.feed.until(st.LastConfirmed)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
