package history

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Observation is one answer of upstream about one file.
type Observation struct {
	// AskedAt is when the request was sent: the answer describes a moment not
	// before it.
	AskedAt time.Time
	// Unchanged is true for a 304: the current revision still holds.
	Unchanged bool
	// Body is the document, verbatim; nil with Unchanged false means that
	// upstream said, credibly, that the file does not exist.
	Body []byte
	// LastModified and ETag are upstream's headers, verbatim.
	LastModified, ETag string
	// Via says how we came to ask.
	Via Via
}

// Change is what an observation did.
type Change struct {
	State  State
	New    bool    // a new revision was recorded
	Retags []Retag // stable versions whose reference changed
}

// referenceBatch bounds how many reference records go into one transaction.
const referenceBatch = 500

// Observe records one answer. References are written before the revision that
// contains them, and the file's state last, so that a crash in between leaves
// nothing that points at something missing.
func (h *History) Observe(f composer.File, o Observation) (Change, error) {
	prev, err := h.State(f)
	if err != nil {
		return Change{}, fmt.Errorf("read the state of %s: %w", f, err)
	}
	at := o.AskedAt.UTC()
	if o.Unchanged {
		if !prev.Known() {
			return Change{}, fmt.Errorf("record %s: upstream says not modified about a file never seen", f)
		}
		return h.confirm(f, at, o)
	}
	var digest store.Digest
	if o.Body != nil {
		digest = store.SumDigest(o.Body)
	}
	if prev.Known() && prev.Document == digest {
		return h.confirm(f, at, o)
	}

	validFrom := startOf(o, prev, at)
	var retags []Retag
	if o.Body != nil {
		if retags, err = h.recordReferences(f, prev, o, at); err != nil {
			return Change{}, err
		}
	} else if prev.Present() {
		if err := h.closeReferences(f, prev, at); err != nil {
			return Change{}, err
		}
	}

	var next State
	err = h.store.Update(func(tx *store.Tx) error {
		cur, err := states.Get(tx, f.String())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if cur.Seq != prev.Seq {
			return fmt.Errorf("record %s: another observation came in between", f)
		}
		if cur.Seq > 0 {
			closed, err := revisions.Get(tx, f.String(), store.SeqKey(cur.Seq))
			if err != nil {
				return err
			}
			closed.LastConfirmed = h.confirmedBefore(cur, validFrom)
			if err := revisions.Put(tx, closed, f.String(), store.SeqKey(cur.Seq)); err != nil {
				return err
			}
		}
		if o.Body != nil {
			if _, err := tx.PutDocument(o.Body); err != nil {
				return err
			}
		}
		next = State{
			Seq: cur.Seq + 1, Document: digest,
			ValidFrom: validFrom, FirstSeen: at, LastConfirmed: at, Checked: at,
			LastModified: o.LastModified, ETag: o.ETag,
			AnnouncedAt: stillAnnounced(cur, o),
			Ever:        cur.Ever || o.Body != nil,
		}
		rev := Revision{
			Seq: next.Seq, Document: digest, ValidFrom: validFrom,
			FirstSeen: at, LastConfirmed: at, LastModified: o.LastModified, Via: o.Via,
		}
		if err := revisions.Put(tx, rev, f.String(), store.SeqKey(next.Seq)); err != nil {
			return err
		}
		return states.Put(tx, next, f.String())
	})
	if err != nil {
		return Change{}, fmt.Errorf("record %s: %w", f, err)
	}
	return Change{State: next, New: true, Retags: retags}, nil
}

// confirm advances the interval of the current revision.
func (h *History) confirm(f composer.File, at time.Time, o Observation) (Change, error) {
	var st State
	err := h.store.Update(func(tx *store.Tx) (err error) {
		if st, err = states.Get(tx, f.String()); err != nil {
			return err
		}
		st.Checked = later(st.Checked, at)
		st.LastConfirmed = later(st.LastConfirmed, at)
		if !o.Unchanged {
			// An identical body under a new Last-Modified is a forced re-dump:
			// the revision goes on, only the validators change.
			st.LastModified, st.ETag = o.LastModified, o.ETag
		}
		st.AnnouncedAt = stillAnnounced(st, o)
		return states.Put(tx, st, f.String())
	})
	if err != nil {
		return Change{}, fmt.Errorf("confirm %s: %w", f, err)
	}
	return Change{State: st}, nil
}

// startOf decides when a new revision began: upstream's Last-Modified unless
// there is none, it lies in the future, or it lies before the revision that it
// replaces (a rollback re-publishes old bytes under an old date).
func startOf(o Observation, prev State, at time.Time) time.Time {
	lm, ok := ParseHTTPTime(o.LastModified)
	if o.Body == nil || !ok || lm.After(at) {
		return at
	}
	if prev.Known() && !lm.After(prev.ValidFrom) {
		return at
	}
	return lm
}

// confirmedBefore is the last instant at which the revision in cur is known to
// have been valid, given that its successor began at next.
func (h *History) confirmedBefore(cur State, next time.Time) time.Time {
	until := h.ConfirmedUntil(cur)
	if !until.Before(next) {
		// Upstream confirmed the old revision after the new one began: an edge
		// was behind. The new one's own date is the better witness.
		until = next.Add(-time.Second)
	}
	return until
}

// stillAnnounced keeps a feed announcement until a document at least as new as
// it was seen: a file older than its announcement means that the edge lags.
func stillAnnounced(st State, o Observation) time.Time {
	if st.AnnouncedAt.IsZero() {
		return time.Time{}
	}
	lastModified := o.LastModified
	if o.Unchanged {
		lastModified = st.LastModified
	}
	if lm, ok := ParseHTTPTime(lastModified); o.Body == nil && !o.Unchanged || ok && !lm.Before(st.AnnouncedAt) {
		return time.Time{}
	}
	return st.AnnouncedAt
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
