package access

import (
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"stasis/proxy/origin"
	"stasis/store"
)

// use is when a token was last accepted, and from where. It is noted in memory, once a second at most, and written
// in batches.
type use struct {
	at      atomic.Int64 // Unix ns; 0 means never
	from    atomic.Pointer[netip.Addr]
	written int64 // at, when it was written; guarded by flushing
}

// noteEvery is how exact the time of the last use is.
const noteEvery = time.Second

func (u *use) note(now time.Time, r *http.Request, trusted []netip.Prefix) {
	last := u.at.Load()
	if now.UnixNano()-last < int64(noteEvery) || !u.at.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	from := origin.ClientAddr(r, trusted)
	u.from.Store(&from)
}

// last returns the time, zero for never, and the address.
func (u *use) last() (at time.Time, from string) {
	if n := u.at.Load(); n != 0 {
		at = time.Unix(0, n).UTC().Truncate(noteEvery)
	}
	if addr := u.from.Load(); addr != nil && addr.IsValid() {
		from = addr.String()
	}
	return at, from
}

// restore puts in what was written by an earlier process.
func (u *use) restore(rec useRecord) {
	u.written = rec.At.UnixNano()
	u.at.Store(u.written)
	if from, err := netip.ParseAddr(rec.From); err == nil {
		u.from.Store(&from)
	}
}

type useRecord struct {
	At   time.Time `json:"at"`
	From string    `json:"from,omitempty"`
}

var useTable = store.Table[useRecord]{Family: store.FamilyToken, Name: "use"}

// usesPerUpdate keeps one batch well below what a transaction holds.
const usesPerUpdate = 1000

// flushUses writes the uses that have been noted since the last time.
func (a *Access) flushUses() error {
	type noted struct {
		id string
		u  *use
		at int64
	}
	var pending []noted
	a.mu.RLock()
	for id, t := range a.tokens {
		if at := t.use.at.Load(); at != 0 {
			pending = append(pending, noted{id, t.use, at})
		}
	}
	a.mu.RUnlock()
	a.flushing.Lock()
	defer a.flushing.Unlock()
	changed := pending[:0]
	for _, n := range pending {
		if n.at != n.u.written {
			changed = append(changed, n)
		}
	}
	for len(changed) > 0 {
		batch := changed[:min(usesPerUpdate, len(changed))]
		changed = changed[len(batch):]
		err := a.o.Store.Update(func(tx *store.Tx) error {
			for _, n := range batch {
				_, from := n.u.last()
				if err := useTable.Put(tx, useRecord{At: time.Unix(0, n.at).UTC(), From: from}, n.id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, n := range batch {
			n.u.written = n.at
		}
	}
	return nil
}
