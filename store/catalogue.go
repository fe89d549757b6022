package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// blobs is the catalogue of archive bodies and their driver.
type blobs struct {
	s      *Store
	kind   byte
	driver driver
	limit  int64 // of unpinned bytes, 0 = none
	pinMax int64 // of pinned bytes, 0 = none

	ids     atomic.Uint64 // the last id given out
	firstID uint64        // ids up to here are from earlier processes
	partial bool          // not all records could be read: the index may lack bodies

	// catalogue is held while records and index change together, so that they
	// cannot disagree about who owns a digest. It is taken before mu.
	catalogue sync.Mutex

	commits commits // taken with the catalogue locked

	mu    sync.Mutex // guards index and the changing fields of every held
	index index
}

// openBlobs reads the catalogue and opens the driver.
func openBlobs(ctx context.Context, s *Store) (*blobs, error) {
	b := &blobs{s: s, limit: s.opts.MaxCacheSize, pinMax: s.opts.MaxPinnedSize, index: newIndex(), kind: s.opts.Archives[0]}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	if s.opts.Archives == DriverFiles {
		d, err := openFileDriver(s)
		if err != nil {
			return nil, err
		}
		b.driver = d
	} else {
		d, lost, err := openBadgerDriver(s, b.liveBytes)
		if err != nil {
			return nil, err
		}
		b.driver = d
		if lost {
			if err := b.forgetLost(); err != nil {
				return b, err
			}
		}
	}
	last, err := b.driver.lastID()
	if err != nil {
		return b, err
	}
	b.ids.Store(max(b.ids.Load(), last))
	b.firstID = b.ids.Load()
	return b, nil
}

// load fills the index: pins, uses, then bodies in order of use.
func (b *blobs) load(ctx context.Context) error {
	foreign := 0
	var bodies, unreadable []*held
	err := b.s.view(func(tx *Tx) error {
		pins, err := tx.each(familyPin, 0, func(item *badger.Item) error {
			if d, ok := keyDigest(item.Key()); ok {
				b.index.owners[d]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		uses, err := tx.uses()
		if err != nil {
			return err
		}
		records, err := tx.each(familyBlob, 0, func(item *badger.Item) error {
			if len(bodies)%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			d, _ := keyDigest(item.Key())
			r, err := tx.readBlobRecord(item, d)
			if err != nil {
				unreadable = append(unreadable, &held{digest: d})
				return nil
			}
			if r.driver != b.kind {
				foreign++
				return nil
			}
			h := &held{digest: d, id: r.id, size: r.size, used: uses[d], saved: uses[d]}
			h.used = max(h.used, r.created)
			bodies = append(bodies, h)
			b.ids.Store(max(b.ids.Load(), r.id))
			return nil
		})
		b.partial = !pins || !records
		return err
	})
	if err != nil {
		return err
	}
	if foreign > 0 {
		return fmt.Errorf("the folder keeps %d archives in the other driver; open it with that one, or purge all archives there first", foreign)
	}
	if b.partial {
		b.s.corrupt("database", "facts", damaged("part of", "the facts", "a table cannot be read to its end; nothing is removed as unowned until a backup is restored"))
	}
	slices.SortFunc(bodies, func(x, y *held) int { return cmp.Compare(x.used, y.used) })
	for _, h := range bodies {
		b.index.add(h)
	}
	for batch := range slices.Chunk(unreadable, forgetBatch) {
		if err := b.forgetRecords(batch); err != nil {
			return err
		}
	}
	return nil
}

func (b *blobs) liveBytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index.bytes + b.index.pinnedBytes + b.index.written
}

// open takes a reference on the body and opens its chunks. now 0 is no use.
func (b *blobs) open(d Digest, now int64) (*blobReader, error) {
	b.mu.Lock()
	h := b.index.get(d)
	if h == nil {
		b.mu.Unlock()
		return nil, missing("blob", d.String())
	}
	if now != 0 {
		b.index.use(d, now)
	}
	h.refs++
	b.mu.Unlock()

	src, err := b.driver.open(h, func() (r blobRecord, err error) {
		err = b.s.view(func(tx *Tx) error {
			r, err = tx.blobRecord(d)
			return err
		})
		return r, err
	})
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			b.dropDamaged(h, err)
		}
		return nil, errors.Join(fmt.Errorf("open blob: %w", err), b.release(h))
	}
	return &blobReader{blobs: b, held: h, src: src}, nil
}

// release gives a reference back, and removes the bytes of a body that left
// the index while it was being read.
func (b *blobs) release(h *held) error {
	b.mu.Lock()
	if h.refs--; h.gone && h.refs == 0 {
		delete(b.index.leaving, h.id)
	}
	last := h.forgotten && h.refs == 0 && b.kind == DriverBadger[0]
	b.mu.Unlock()
	if !last {
		return nil
	}
	return b.driver.remove([]*held{h})
}

// dropDamaged takes a damaged body out of the catalogue, once, so that it is
// fetched again.
func (b *blobs) dropDamaged(h *held, cause error) {
	b.mu.Lock()
	dropped := b.index.remove(h)
	b.mu.Unlock()
	if !dropped {
		return
	}
	b.s.corrupt("blob", h.digest.String(), cause)
	if err := b.forget([]*held{h}); err != nil {
		b.s.log.Error("a damaged archive could not be removed", "digest", h.digest.String(), "error", err)
	}
}

// stop ends what runs in the background.
func (b *blobs) stop() {
	if d, ok := b.driver.(interface{ stop() }); ok {
		d.stop()
	}
}

func (b *blobs) close() error {
	if b.driver == nil {
		return nil
	}
	return b.driver.close()
}
