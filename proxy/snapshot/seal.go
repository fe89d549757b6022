package snapshot

import (
	"errors"
	"fmt"
	"io/fs"

	"stasis/store"
)

// seal writes the manifest and pins what it lists under its id.
func (b *build) seal() error {
	s := b.s
	digests := make([]store.Digest, 0, len(b.archives))
	for _, a := range b.archives {
		digests = append(digests, a.SHA256)
	}
	if b.r.Options.Archives != ArchivesEager {
		b.archives = nil // which ones happened to be held is not what the snapshot is
	}
	m := &Manifest{
		Format: manifestFormat, Instant: b.r.Instant, Options: b.r.Options,
		Files: b.files, Archives: b.archives,
	}
	m.sort()
	body, err := m.Encode()
	if err == nil {
		_, err = ParseManifest(body) // what cannot be read again must not be sealed
	}
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	b.count()
	r := b.r
	r.State, r.ID, r.SealedAt = Sealed, store.SumDigest(body), s.now().UTC()
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.commit(r, body, digests, b.still); err != nil {
		return err
	}
	b.r = r
	return s.release(buildOwner(r.Name))
}

// still says whether the record that is being built is still there: it may
// have been deleted meanwhile, and its name taken again.
func (b *build) still(tx *store.Tx) error {
	r, err := records.Get(tx, b.r.Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !r.CreatedAt.Equal(b.r.CreatedAt) {
		return problemf(fs.ErrNotExist, "the snapshot %q was deleted while it was being built", b.r.Name)
	}
	return err
}

// commit makes a sealed snapshot exist, unless check objects. Called with
// changing held.
func (s *Snapshots) commit(r record, manifest []byte, digests []store.Digest, check func(*store.Tx) error) error {
	owner := snapshotOwner(r.ID)
	if err := s.holding(owner); err != nil {
		return err
	}
	err := s.store.Pin(owner, digests...)
	if err == nil {
		err = s.store.Update(func(tx *store.Tx) error {
			if err := check(tx); err != nil {
				return err
			}
			if _, err := tx.PutDocument(manifest); err != nil {
				return err
			}
			if err := names.Put(tx, mark{}, r.ID.String(), r.Name); err != nil {
				return err
			}
			return records.Put(tx, r, r.Name)
		})
	}
	if err != nil {
		if stray := s.releaseStray(owner); stray != nil {
			err = fmt.Errorf("%w; and then: %w", err, stray)
		}
		return fmt.Errorf("seal the snapshot %q: %w", r.Name, err)
	}
	return nil
}
