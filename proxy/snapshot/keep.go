package snapshot

import (
	"context"
	"errors"
	"fmt"

	"stasis/proxy/composer"
	"stasis/store"
)

// Keep pins an archive that has just come for every lazy snapshot that has a
// version of the package with it; has says which versions that are. It returns
// how many snapshots keep it now.
func (s *Snapshots) Keep(ctx context.Context, n composer.Name, has func(composer.Version) bool, d store.Digest) (int, error) {
	list, err := s.List()
	if err != nil {
		return 0, err
	}
	kept := 0
	var failed error
	seen := map[store.Digest]bool{}    // snapshots, which may have several names
	answers := map[store.Digest]bool{} // by document: most snapshots share theirs
	for _, snap := range list {
		if snap.State != Sealed || snap.Options.Archives != ArchivesLazy || seen[snap.ID] {
			continue
		}
		seen[snap.ID] = true
		needs, err := s.needs(ctx, snap.ID, n, has, answers)
		if err == nil && needs {
			err = s.pinFor(snap.ID, d)
		}
		if err == nil && needs {
			kept++
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("keep an archive of %s for the snapshot %q: %w", n, snap.Name, err))
		}
	}
	return kept, failed
}

func (s *Snapshots) needs(ctx context.Context, id store.Digest, n composer.Name, has func(composer.Version) bool, answers map[store.Digest]bool) (bool, error) {
	m, err := s.Manifest(id)
	if err != nil {
		return false, err
	}
	for _, f := range []composer.File{{Name: n}, {Name: n, Dev: true}} {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		e, ok := m.Entry(f)
		if !ok || e.Absent() {
			continue
		}
		needs, known := answers[e.Served()]
		if !known {
			doc, err := s.open(f, e)
			if err != nil {
				return false, err
			}
			index, err := doc.Index()
			if err != nil {
				return false, err
			}
			for _, v := range index {
				needs = needs || has(v)
			}
			answers[e.Served()] = needs
		}
		if needs {
			return true, nil
		}
	}
	return false, nil
}

// pinFor pins one more archive for a snapshot, if that is still there.
func (s *Snapshots) pinFor(id store.Digest, d store.Digest) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	owner := snapshotOwner(id)
	if err := s.holding(owner); err != nil {
		return err
	}
	var entitled bool
	err := s.store.View(func(tx *store.Tx) (err error) {
		entitled, err = mayPin(tx, owner)
		return err
	})
	if err != nil {
		return err
	}
	if !entitled {
		return s.release(owner)
	}
	return s.store.Pin(owner, d)
}
