package store

import (
	"errors"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"
)

// Pin keeps bodies from eviction and deletion for as long as owner pins them.
// All of them must be held (else the error matches fs.ErrNotExist) and fit
// into MaxPinnedSize together with what is pinned already (else ErrNoSpace);
// on error nothing is pinned. Pinning again is no error. A pinned body that
// gets damaged is dropped like any other, and is pinned again when it returns.
func (s *Store) Pin(owner string, ds ...Digest) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if owner == "" || len(owner) > maxKey/2 {
		return fmt.Errorf("pin: the owner's name has %d bytes, want 1 to %d", len(owner), maxKey/2)
	}
	b := s.blobs
	b.catalogue.Lock()
	defer b.catalogue.Unlock()
	fresh, err := b.pinnable(owner, ds)
	if err != nil {
		return fmt.Errorf("pin for %s: %w", owner, err)
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := s.putPins(owner, fresh); err != nil {
		return fmt.Errorf("pin for %s: %w", owner, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range fresh {
		b.index.pin(d)
	}
	return nil
}

// pinBatch bounds the records of one transaction.
const pinBatch = 2000

// putPins writes pin records; when a later batch fails the earlier ones are
// taken back.
func (s *Store) putPins(owner string, ds []Digest) error {
	for from := 0; from < len(ds); from += pinBatch {
		err := s.update(func(tx *Tx) error {
			for _, d := range ds[from:min(len(ds), from+pinBatch)] {
				if err := tx.set(pinKey(d, owner), nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return errors.Join(err, s.deletePins(owner, ds[:from]))
		}
	}
	return nil
}

func (s *Store) deletePins(owner string, ds []Digest) error {
	for from := 0; from < len(ds); from += pinBatch {
		err := s.update(func(tx *Tx) error {
			for _, d := range ds[from:min(len(ds), from+pinBatch)] {
				if err := tx.delete(pinKey(d, owner)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pinnable returns which digests owner does not pin yet, when all may be
// pinned.
func (b *blobs) pinnable(owner string, ds []Digest) ([]Digest, error) {
	var fresh []Digest
	seen := map[Digest]bool{}
	err := b.s.view(func(tx *Tx) error {
		for _, d := range ds {
			has, err := tx.has(pinKey(d, owner))
			if err != nil {
				return err
			}
			if !has && !seen[d] {
				fresh = append(fresh, d)
			}
			seen[d] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	more := int64(0)
	for _, d := range fresh {
		h := b.index.get(d)
		if h == nil {
			return nil, missing("blob", d.String())
		}
		if b.index.owners[d] == 0 {
			more += h.size
		}
	}
	if b.pinMax > 0 && more > 0 && b.index.pinnedBytes+more > b.pinMax {
		return nil, fmt.Errorf("%d more bytes do not fit, %d of %d allowed are pinned: %w", more, b.index.pinnedBytes, b.pinMax, ErrNoSpace)
	}
	return fresh, nil
}

// Unpin ends all pins of owner. The bodies become evictable when no other
// owner pins them. An owner without pins is no error.
func (s *Store) Unpin(owner string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.blobs
	b.catalogue.Lock()
	defer b.catalogue.Unlock()
	var ds []Digest
	err := s.view(func(tx *Tx) error {
		for d := range tx.pins(&owner) {
			ds = append(ds, d)
		}
		return nil
	})
	if err == nil {
		err = s.deletePins(owner, ds)
	}
	if err != nil {
		return fmt.Errorf("unpin for %s: %w", owner, err)
	}
	b.mu.Lock()
	for _, d := range ds {
		b.index.unpin(d)
	}
	b.mu.Unlock()
	return nil
}

// Pinned reports whether anyone pins d.
func (s *Store) Pinned(d Digest) bool {
	s.blobs.mu.Lock()
	defer s.blobs.mu.Unlock()
	return s.blobs.index.owners[d] > 0
}

// pins yields the digest and owner of every pin, or of one owner's.
func (tx *Tx) pins(of *string) iter.Seq2[Digest, string] {
	return func(yield func(Digest, string) bool) {
		it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{byte(familyPin)}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().Key()
			d, ok := keyDigest(k)
			if !ok {
				continue
			}
			owner := string(k[1+len(d):])
			if of != nil && owner != *of {
				continue
			}
			if !yield(d, owner) {
				return
			}
		}
	}
}
