package store

import (
	"errors"
	"sync"
)

// commits lets bodies that become whole at the same time share one update of
// the facts: a cold install finishes dozens of archives a second, and each
// update waits for the disk.
type commits struct {
	mu      sync.Mutex
	waiting []*commit // guarded by mu: the round that has not begun
}

// commit is a body that is to become visible.
type commit struct {
	w     *blobWriter
	d     Digest
	state fileState
	twin  *commit // an earlier one of the same round with the same digest
	known bool    // held already, so that these bytes are not needed
	err   error
	done  chan struct{}
}

// commit makes the settled body of w visible as d. When d is held already it
// stays as it is, and known is true. Who comes first commits for all who come
// until the catalogue is free.
func (b *blobs) commit(w *blobWriter, d Digest) (known bool, err error) {
	c := &commit{w: w, d: d, done: make(chan struct{})}
	b.commits.mu.Lock()
	b.commits.waiting = append(b.commits.waiting, c)
	lead := len(b.commits.waiting) == 1
	b.commits.mu.Unlock()
	if lead {
		b.commitRound()
	}
	<-c.done
	return c.known, c.err
}

func (b *blobs) commitRound() {
	b.catalogue.Lock()
	defer b.catalogue.Unlock()
	b.commits.mu.Lock()
	round := b.commits.waiting
	b.commits.waiting = nil
	b.commits.mu.Unlock()
	b.record(b.finish(round))
	for _, c := range round {
		if c.twin != nil {
			c.known, c.err = c.twin.err == nil, c.twin.err
		}
		if c.known {
			b.end(c.w.promised, c.w.grown)
		}
		close(c.done)
	}
}

// finish returns the commits of a round whose bytes are needed and in place.
func (b *blobs) finish(round []*commit) (fresh []*commit) {
	first := map[Digest]*commit{}
	for _, c := range round {
		b.mu.Lock()
		c.known = b.index.use(c.d, b.s.now().UnixNano()) != nil
		b.mu.Unlock()
		if c.known {
			continue
		}
		if c.twin = first[c.d]; c.twin != nil {
			continue
		}
		first[c.d] = c
		if c.state, c.err = c.w.chunks.finish(c.d); c.err == nil {
			fresh = append(fresh, c)
		}
	}
	return fresh
}

// record writes the records of finished bodies and makes them visible: all of
// them, or none.
func (b *blobs) record(fresh []*commit) {
	if len(fresh) == 0 {
		return
	}
	now := b.s.now().UnixNano()
	err := b.s.update(func(tx *Tx) error {
		for _, c := range fresh {
			r := blobRecord{driver: b.kind, id: c.w.id, size: c.w.size, created: now}
			if b.kind == DriverFiles[0] {
				r.sums = c.w.sums
			}
			if err := tx.set(digestKey(familyBlob, c.d), r.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range fresh {
		if err != nil {
			c.err = errors.Join(err, c.w.chunks.unfinish())
			continue
		}
		b.index.promised -= c.w.promised
		b.index.written -= c.w.grown
		b.index.add(&held{digest: c.d, id: c.w.id, size: c.w.size, used: now, saved: now, checked: c.state})
	}
}
