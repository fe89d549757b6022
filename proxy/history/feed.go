package history

import (
	"errors"
	"io/fs"
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

var feeds = store.Table[FeedState]{Family: store.FamilyFeed, Name: "feed"}

const upstreamFeed = "upstream"

type feedSpan struct {
	mu    sync.RWMutex
	state FeedState // guarded by mu
}

func (h *History) loadFeed() error {
	err := h.store.View(func(tx *store.Tx) (err error) {
		h.feed.state, err = feeds.Get(tx, upstreamFeed)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Feed returns how far upstream's change feed was read.
func (h *History) Feed() FeedState {
	h.feed.mu.RLock()
	defer h.feed.mu.RUnlock()
	return h.feed.state
}

// SetFeed records how far the feed was read. Announcements of the same answer
// must have been recorded with Announce before.
func (h *History) SetFeed(st FeedState) error {
	if err := h.store.Update(func(tx *store.Tx) error {
		return feeds.Put(tx, st, upstreamFeed)
	}); err != nil {
		return err
	}
	h.feed.mu.Lock()
	h.feed.state = st
	h.feed.mu.Unlock()
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
			return nil
		}
		if err != nil {
			return err
		}
		if lm, ok := ParseHTTPTime(st.LastModified); st.Present() && ok && !lm.Before(known) {
			return nil
		}
		if deleted && !st.Present() {
			return nil
		}
		// The revision is known valid up to the change, not beyond it.
		st.LastConfirmed = later(st.LastConfirmed, earlier(h.confirmed(st), t.Add(-time.Second)))
		st.AnnouncedAt = later(st.AnnouncedAt, t)
		fresh = true
		return states.Put(tx, st, f.String())
	})
	return fresh, err
}

// ConfirmedUntil is the last instant at which the current revision is known
// to have been the current one, the change feed included.
func (h *History) ConfirmedUntil(st State) time.Time { return h.confirmed(st) }

func (h *History) confirmed(st State) time.Time {
	if !st.AnnouncedAt.IsZero() {
		return st.LastConfirmed
	}
	feed := h.Feed()
	if !feed.Until.IsZero() && !st.LastConfirmed.Before(feed.Since) {
		return later(st.LastConfirmed, feed.Until)
	}
	return st.LastConfirmed
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
