package store

import (
	"errors"
	"fmt"
	"slices"
)

// reserve promises n more bytes to a body being written, evicting others to
// make room. Records and bytes of the evicted go after they left the index.
func (b *blobs) reserve(n int64) error {
	b.mu.Lock()
	if b.limit > 0 && b.index.reserved+n > b.limit {
		reserved := b.index.reserved
		b.mu.Unlock()
		return fmt.Errorf("keep %d more bytes of archives, %d are promised and %d allowed: %w", n, reserved, b.limit, ErrNoSpace)
	}
	var out []*held
	if b.limit > 0 {
		out = b.index.evict(b.limit, n)
	}
	b.index.reserved += n
	b.mu.Unlock()
	return b.forget(out)
}

// overLimit tells the operator that the cache limit kept an archive out.
func (b *blobs) overLimit(err error) error {
	if errors.Is(err, ErrNoSpace) {
		b.s.opts.Alert("cache_limit", "archives", "An archive was passed on without being kept: "+err.Error()+".")
	}
	return err
}

func (b *blobs) unreserve(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index.reserved -= n
}

// forgetBatch bounds how many records one transaction removes.
const forgetBatch = 1000

// forget removes the records, then the bytes, of bodies that have left the
// index. A digest that came back meanwhile under another id keeps its record.
func (b *blobs) forget(bodies []*held) error {
	for batch := range slices.Chunk(bodies, forgetBatch) {
		if err := b.forgetSome(batch); err != nil {
			return fmt.Errorf("remove archives: %w", err)
		}
	}
	return nil
}

func (b *blobs) forgetSome(bodies []*held) error {
	b.catalogue.Lock()
	defer b.catalogue.Unlock()
	if err := b.forgetRecords(bodies); err != nil {
		return err
	}
	return b.driver.remove(b.removable(bodies))
}

func (b *blobs) forgetRecords(bodies []*held) error {
	return b.s.update(func(tx *Tx) error {
		for _, h := range bodies {
			if r, err := tx.blobRecord(h.digest); err == nil && r.id != h.id {
				continue
			}
			if err := tx.delete(digestKey(familyBlob, h.digest)); err != nil {
				return err
			}
			if err := tx.delete(digestKey(familyUse, h.digest)); err != nil {
				return err
			}
		}
		return nil
	})
}

// removable returns the bodies, without records by now, whose bytes may go. Chunks are gone when
// they are removed, so those of a body that is being read go with its last
// reader. Files outlive their names, but share them with a body of the same
// digest that came back.
func (b *blobs) removable(bodies []*held) []*held {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*held
	for _, h := range bodies {
		h.forgotten = true
		if b.kind == DriverFiles[0] && b.index.get(h.digest) == nil || b.kind == DriverBadger[0] && h.refs == 0 {
			out = append(out, h)
		}
	}
	return out
}

// forgetLost forgets all bodies, whose bytes are gone. Pins stay: they are
// about digests, and hold again when these come back.
func (b *blobs) forgetLost() error {
	b.mu.Lock()
	all := b.index.all()
	for _, h := range all {
		b.index.remove(h)
	}
	b.mu.Unlock()
	return b.forget(all)
}
