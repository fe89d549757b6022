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
	// AskedAt is when the request was sent: the answer describes a moment
	// between it and the time Observe is called.
	AskedAt time.Time
	// Unchanged is true for a 304: the current revision still holds.
	Unchanged bool
	// Body is the document, verbatim; nil with Unchanged false means that
	// upstream said, credibly, that the file does not exist.
	Body []byte
	// LastModified and ETag are upstream's headers, verbatim.
	LastModified, ETag string
	// Date is upstream's own time of the answer; zero when it gave none.
	Date time.Time
	// Origin is true when the answer came past every cache: nothing newer is
	// to be had, whatever the feed announced.
	Origin bool
	// Via says how we came to ask.
	Via Via
	// Source is who was asked, as in State.Source.
	Source string
}

// Change is what an observation did.
type Change struct {
	State  State
	New    bool    // the document is another one than before
	Retags []Retag // stable versions whose reference changed
}

// maxOff bounds how far upstream's word about the time is taken.
const maxOff = 400 * 24 * time.Hour

// off is by how much our clock was ahead of upstream's. What is recorded goes by upstream's when they differ by more than
// machines do that know the time: history outlives a clock that was wrong for an hour.
func (o Observation) off() time.Duration {
	if o.Date.IsZero() {
		return 0
	}
	off := o.AskedAt.Sub(o.Date)
	if off.Abs() <= skewed || off.Abs() > maxOff {
		return 0
	}
	return off
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
	off := o.off()
	at := o.AskedAt.Add(-off).UTC()
	if o.Unchanged {
		if !prev.Known() || prev.Source != o.Source {
			return Change{}, fmt.Errorf("record %s: upstream says not modified about a file it was never seen to have", f)
		}
		return h.confirm(f, at, o, prev.Seq)
	}
	var digest store.Digest
	if o.Body != nil {
		digest = store.SumDigest(o.Body)
	}
	same := prev.Known() && prev.Document == digest && prev.Source == o.Source
	if same && h.continues(prev, o) {
		return h.confirm(f, at, o, prev.Seq)
	}

	validFrom := startOf(o, prev, later(at, h.now().Add(-off).UTC()))
	var retags []Retag
	switch {
	case same:
	case o.Body != nil:
		if retags, err = h.recordReferences(f, prev, o, at); err != nil {
			return Change{}, err
		}
	case prev.Present():
		if err := h.closeReferences(f, prev, o, at); err != nil {
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
			return errOvertaken
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
			ValidFrom: validFrom, FirstSeen: at, Checked: o.AskedAt.UTC(),
			LastModified: o.LastModified, ETag: o.ETag, Unsettled: unsettled(o),
			Ever: cur.Ever || o.Body != nil, Source: o.Source,
		}
		if cur.Seq == 0 && o.Source == "" {
			cur.AnnouncedAt = h.feed.announced(f)
		}
		next.AnnouncedAt = stillAnnounced(cur, o)
		next.LastConfirmed = later(validFrom, next.before(at))
		rev := Revision{
			Seq: next.Seq, Document: digest, ValidFrom: validFrom,
			FirstSeen: at, LastConfirmed: next.LastConfirmed, LastModified: o.LastModified, Via: o.Via, Source: o.Source,
		}
		if err := revisions.Put(tx, rev, f.String(), store.SeqKey(next.Seq)); err != nil {
			return err
		}
		return states.Put(tx, next, f.String())
	})
	if err != nil {
		return Change{}, fmt.Errorf("record %s: %w", f, err)
	}
	return Change{State: next, New: !same, Retags: retags}, nil
}

// continues reports whether an answer with the bytes we have means that they
// were there all the time. When upstream wrote the file after our last
// confirmation, or announced that it did, there may have been something else
// in between, such as a version that was published and withdrawn: then a
// revision of its own begins. An answer without a date continues the
// revision unless the feed is followed and knows better, or should have and was
// not read.
func (h *History) continues(prev State, o Observation) bool {
	lm, ok := ParseHTTPTime(o.LastModified)
	if o.Body == nil || !ok {
		followed := o.Source == "" && !h.Feed().Until.IsZero()
		return prev.AnnouncedAt.IsZero() && !(followed && h.confirmed(prev).Before(o.AskedAt.Add(-edgeAge)))
	}
	return o.LastModified == prev.LastModified || !lm.After(h.confirmed(prev).Add(time.Second))
}

var errOvertaken = errors.New("another observation came in between")

// confirm advances the interval of the revision seq.
func (h *History) confirm(f composer.File, at time.Time, o Observation, seq uint64) (Change, error) {
	var st State
	err := h.store.Update(func(tx *store.Tx) (err error) {
		if st, err = states.Get(tx, f.String()); err != nil {
			return err
		}
		if st.Seq != seq {
			return errOvertaken
		}
		st.AnnouncedAt = stillAnnounced(st, o)
		if asked := o.AskedAt.UTC(); asked.After(st.Checked) || st.Checked.After(h.now().Add(skewed)) {
			st.Checked = asked // or else by a clock that was ahead then
		}
		st.LastConfirmed = later(st.LastConfirmed, st.before(at))
		if !o.Unchanged {
			// An identical body under a new Last-Modified is a forced re-dump:
			// the revision goes on, only the validators change.
			st.LastModified, st.ETag, st.Unsettled = o.LastModified, o.ETag, unsettled(o)
		}
		return states.Put(tx, st, f.String())
	})
	if err != nil {
		return Change{}, fmt.Errorf("confirm %s: %w", f, err)
	}
	return Change{State: st}, nil
}

// before is t, or the second before a change that was announced and is not
// here yet: whoever still shows the old document then is behind.
func (s State) before(t time.Time) time.Time {
	if s.AnnouncedAt.IsZero() {
		return t
	}
	return earlier(t, s.AnnouncedAt.Add(-time.Second))
}

// unsettled reports whether a document was fetched in the second of its own
// date, by upstream's clock if that is known. Upstream's dates are no finer, so it may change once more without its
// date changing.
func unsettled(o Observation) bool {
	lm, ok := ParseHTTPTime(o.LastModified)
	date := o.Date
	if date.IsZero() {
		date = o.AskedAt
	}
	return o.Body != nil && ok && date.Before(lm.Add(time.Second))
}

// startOf decides when a new revision began: upstream's Last-Modified unless
// there is none, it lies in the future, or it lies before the revision that it
// replaces (a rollback re-publishes old bytes under an old date). Otherwise it
// began when the answer was here, at the latest: things may have changed while
// the question was under way. Revisions begin one after the other, even when
// our clock was set back.
func startOf(o Observation, prev State, received time.Time) time.Time {
	lm, ok := ParseHTTPTime(o.LastModified)
	if o.Body != nil && ok && !lm.After(received) && (!prev.Known() || lm.After(prev.ValidFrom)) {
		return lm
	}
	if prev.Known() && !received.After(prev.ValidFrom) {
		return prev.ValidFrom.Add(time.Second)
	}
	return received
}

// confirmedBefore is the last instant at which the revision in cur is known to
// have been valid, given that its successor began at next.
func (h *History) confirmedBefore(cur State, next time.Time) time.Time {
	until := h.ConfirmedUntil(cur)
	if !until.Before(next) {
		// Upstream confirmed the old revision after the new one began: an edge
		// was behind. The new one's own date is the better witness.
		until = later(cur.ValidFrom, next.Add(-time.Second))
	}
	return until
}

// stillAnnounced keeps a feed announcement until an answer at least as new as
// it was seen: a file older than its announcement means that the edge lags.
// Where files have no dates, whatever was asked for later is new enough.
func stillAnnounced(st State, o Observation) time.Time {
	if st.AnnouncedAt.IsZero() || o.Origin || o.Body == nil && !o.Unchanged {
		return time.Time{}
	}
	lastModified, mayChange := o.LastModified, unsettled(o)
	if o.Unchanged {
		lastModified, mayChange = st.LastModified, st.Unsettled
	}
	lm, ok := ParseHTTPTime(lastModified)
	if !ok {
		lm = o.AskedAt
	}
	if lm.After(st.AnnouncedAt) || lm.Equal(st.AnnouncedAt) && !mayChange {
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
