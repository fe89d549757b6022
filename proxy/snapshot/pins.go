package snapshot

import (
	"errors"
	"io/fs"
	"strings"

	"stasis/store"
)

// Pins belong to a sealed snapshot's id, or to the name of one being built.
// An owner is written down before its first pin and forgotten after its last,
// so that none outlives a crash in between.
const (
	snapshotPrefix = "snapshot:"
	buildPrefix    = "building:"
)

func snapshotOwner(id store.Digest) string { return snapshotPrefix + id.String() }
func buildOwner(name string) string        { return buildPrefix + name }

// holding announces pins of an owner.
func (s *Snapshots) holding(owner string) error {
	return s.store.Update(func(tx *store.Tx) error { return holders.Put(tx, mark{}, owner) })
}

// release ends all pins of an owner.
func (s *Snapshots) release(owner string) error {
	if err := s.store.Unpin(owner); err != nil {
		return err
	}
	return s.store.Update(func(tx *store.Tx) error { return holders.Delete(tx, owner) })
}

// releaseStray ends the pins of an owner that has no right to them.
func (s *Snapshots) releaseStray(owner string) error {
	var entitled bool
	err := s.store.View(func(tx *store.Tx) (err error) {
		entitled, err = mayPin(tx, owner)
		return err
	})
	if err != nil || entitled {
		return err
	}
	return s.release(owner)
}

// mayPin reports whether an owner is a sealed snapshot or one to be built.
func mayPin(tx *store.Tx, owner string) (bool, error) {
	if name, ok := strings.CutPrefix(owner, buildPrefix); ok {
		r, err := records.Get(tx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return r.State == Building, err
	}
	id, err := store.ParseDigest(strings.TrimPrefix(owner, snapshotPrefix))
	if err != nil {
		return false, nil
	}
	_, err = named(tx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// dropStrayPins ends the pins of all owners that have no right to them.
func (s *Snapshots) dropStrayPins() error {
	var owners []string
	err := s.store.View(func(tx *store.Tx) error {
		return holders.Scan(tx, nil, func(key []string, _ mark) error {
			owners = append(owners, key[0])
			return nil
		})
	})
	for _, owner := range owners {
		err = errors.Join(err, s.releaseStray(owner))
	}
	return err
}
