package snapshot

import (
	"strings"

	"stasis/store"
)

// Delete removes a snapshot, stopping it first when it is being built. The one
// that gives a channel's snapshot its last name cannot go. Documents stay, as
// all recorded ones do; archives become evictable.
func (s *Snapshots) Delete(ref string) (Snapshot, error) {
	snap, err := s.Get(ref)
	if err != nil {
		return Snapshot{}, err
	}
	s.stop(snap.Name)
	s.changing.Lock()
	defer s.changing.Unlock()
	var r record
	var last bool
	err = s.store.Update(func(tx *store.Tx) (err error) {
		if r, err = records.Get(tx, snap.Name); err != nil {
			return err
		}
		if last = r.State == Sealed; last {
			if last, err = dropName(tx, r); err != nil {
				return err
			}
		}
		return records.Delete(tx, r.Name)
	})
	if err != nil {
		return Snapshot{}, err
	}
	if last {
		s.manifests.Remove(r.ID)
		err = s.release(snapshotOwner(r.ID))
	}
	if err == nil {
		err = s.release(buildOwner(r.Name))
	}
	return r.Snapshot, err
}

// dropName takes a name off an id, and reports whether that was the last.
func dropName(tx *store.Tx, r record) (last bool, err error) {
	all, err := named(tx, r.ID)
	if err != nil {
		return false, err
	}
	if last = len(all) == 1; last {
		pointing, err := pointingAt(tx, r.ID)
		if err != nil {
			return false, err
		}
		if len(pointing) > 0 {
			return false, problemf(ErrInUse, "the snapshot %q cannot be deleted: the channel %s points at it", r.Name, strings.Join(pointing, " and the channel "))
		}
	}
	return last, names.Delete(tx, r.ID.String(), r.Name)
}

// stop ends the build of a snapshot, if there is one, and waits for that.
func (s *Snapshots) stop(name string) {
	s.mu.Lock()
	b := s.builds[name]
	s.mu.Unlock()
	if b != nil {
		b.cancel()
		<-b.ended
	}
}
