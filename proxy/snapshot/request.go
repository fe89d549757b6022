package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Request says what snapshot is wanted.
type Request struct {
	// Name is what it is called; empty makes a name up.
	Name string
	// Instant is the moment it shows, in whole seconds; zero means now. That
	// the instant is settled is for the caller to see to.
	Instant time.Time
	// Locks are composer.lock files. With them the snapshot has exactly the
	// packages, versions and references that they name.
	Locks [][]byte
	// Options may be left empty: then the rest of the world is that of the
	// instant and archives are lazy; with lock files the world is closed and
	// archives are eager.
	Options Options
	// By and Note are for people.
	By, Note string
}

// Begin checks a request and reserves its name. Build does the work. A
// snapshot that is incomplete gives its name up.
func (s *Snapshots) Begin(req Request) (Snapshot, error) {
	r, err := s.newRecord(req)
	if err != nil {
		return Snapshot{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	made, base := req.Name == "", r.Name
	err = s.store.Update(func(tx *store.Tx) error {
		r.Name = base
		for n := 2; ; n++ {
			err := free(tx, r.Name)
			if err == nil {
				break
			}
			if !made || !errors.Is(err, ErrExists) {
				return err
			}
			r.Name = fmt.Sprintf("%s-%d", base, n)
		}
		r.Locks = r.Locks[:0]
		for _, body := range req.Locks {
			d, err := tx.PutDocument(body)
			if err != nil {
				return err
			}
			r.Locks = append(r.Locks, d)
		}
		return records.Put(tx, r, r.Name)
	})
	if err != nil {
		return Snapshot{}, err
	}
	return r.Snapshot, nil
}

func (s *Snapshots) newRecord(req Request) (record, error) {
	now := s.now().UTC()
	r := record{Snapshot: Snapshot{
		Name: req.Name, State: Building, From: "now", Instant: req.Instant.UTC(), Options: req.Options,
		CreatedAt: now, CreatedBy: req.By, Note: req.Note,
	}}
	if err := r.Options.fill(len(req.Locks) > 0); err != nil {
		return r, err
	}
	switch {
	case r.Instant.IsZero():
		r.Instant = now.Truncate(time.Second)
	case r.Instant.After(now):
		return r, problemf(ErrInvalid, "a snapshot of %s cannot be made before that moment has come", r.Instant.Format(time.RFC3339))
	case r.Instant.Nanosecond() != 0:
		return r, problemf(ErrInvalid, "the instant %s is not a whole second", r.Instant.Format(time.RFC3339Nano))
	default:
		r.From = "instant"
	}
	if len(req.Locks) > 0 {
		r.From = "lock"
		if _, err := readLocks(req.Locks); err != nil {
			return r, err
		}
	}
	if r.Name == "" {
		r.Name = r.From + "-" + strings.ToLower(r.Instant.Format("20060102T150405Z"))
	}
	return r, CheckName(r.Name)
}

// free says whether a new snapshot may take a name.
func free(tx *store.Tx, name string) error {
	if taken, err := channels.Has(tx, name); taken || err != nil {
		if err != nil {
			return err
		}
		return problemf(ErrExists, "%q is the name of a channel", name)
	}
	r, err := records.Get(tx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case r.State == Incomplete:
		return nil
	case r.State == Building:
		return problemf(ErrExists, "a snapshot %q is being built", name)
	}
	return problemf(ErrExists, "there is a snapshot %q already, with the id %s", name, r.ID)
}

// locked is a file that lock files want, with the versions they want in it.
type locked map[composer.File][]composer.LockPackage

// readLocks brings lock files together. Both files of every package are there,
// so that nothing besides the locked versions can be seen of it.
func readLocks(bodies [][]byte) (locked, error) {
	all := locked{}
	for i, body := range bodies {
		lock, err := composer.ParseLock(body)
		if err != nil {
			return nil, problemf(ErrInvalid, "lock file %d cannot be used: %v", i+1, err)
		}
		for _, p := range lock.Packages {
			if p.Dist != nil && p.Dist.Type == "path" {
				continue // it lives in the project itself
			}
			for _, f := range []composer.File{{Name: p.Name}, {Name: p.Name, Dev: true}} {
				if _, ok := all[f]; !ok {
					all[f] = nil
				}
			}
			if err := all.add(p); err != nil {
				return nil, err
			}
		}
	}
	if len(all) == 0 {
		return nil, problemf(ErrInvalid, "the lock files name no packages")
	}
	return all, nil
}

func (l locked) add(p composer.LockPackage) error {
	f := p.File()
	for _, q := range l[f] {
		if q.Normalized != p.Normalized {
			continue
		}
		if q.Reference() != p.Reference() {
			return problemf(ErrInvalid, "the lock files disagree about %s %s: one has the reference %q, another %q; make a snapshot of each",
				p.Name, p.Version, q.Reference(), p.Reference())
		}
		return nil
	}
	l[f] = append(l[f], p)
	return nil
}
