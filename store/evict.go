package store

import (
	"errors"
	"fmt"
	"slices"
)

// promise promises n more bytes to a body being written. It fails when the
// limit cannot hold all that is promised, whatever is evicted. Nothing is
// evicted yet: how large a body is going to be is hearsay.
func (b *blobs) promise(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit > 0 && b.index.promised+n > b.limit {
		return fmt.Errorf("keep %d more bytes of archives, %d are promised and %d allowed: %w", n, b.index.promised, b.limit, ErrNoSpace)
	}
	b.index.promised += n
	return nil
}

// grow makes room for n bytes that are about to be written, of those promised,
// by evicting others. Records and bytes of the evicted go after they left the
// index.
func (b *blobs) grow(n int64) error {
	b.mu.Lock()
	b.index.written += n
	var out []*held
	if b.limit > 0 {
		out = b.index.evict(b.limit)
	}
	b.mu.Unlock()
	if err := b.forget(out); err != nil {
		b.end(0, n)
		return err
	}
	return nil
}

// end takes back what was promised to a body and counted as written of it.
func (b *blobs) end(promised, written int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index.promised -= promised
	b.index.written -= written
}

// overLimit tells the operator that the cache limit kept an archive out.
func (b *blobs) overLimit(err error) error {
	if errors.Is(err, ErrNoSpace) {
		b.s.opts.Alert("cache_limit", "archives", "An archive was passed on without being kept: "+err.Error()+".")
	}
	return err
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
