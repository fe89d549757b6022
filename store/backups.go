package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// What an incremental backup has to hold is found by Badger's versions: every
// commit has the next number, each record carries that of its last change, and
// tables without newer ones are not even looked at. Removals are the exception,
// because compaction drops the marks of deleted keys. So while there is a
// backup that could be continued, a transaction that removes records writes
// down which, in the family of removals.
//
// A backup is known by a random name, under which the version it has seen is
// kept. That record is written after the version it names and is durable
// before the first byte of the backup leaves. So a folder that was set back to
// an earlier state, by a power cut or an old disk image, does not know the
// backups made since, and none can be continued with versions that were given
// out twice.
type backups struct {
	running sync.Mutex // held by the one backup that runs, and while backups are forgotten

	// commits is held for reading around every commit, and for writing when it
	// changes whether removals are written down. It guards that.
	commits sync.RWMutex
	burying bool
}

// backupTaken is what is kept of a backup.
type backupTaken struct {
	Version  uint64    `json:"version"` // of the newest commit it has seen
	TakenAt  time.Time `json:"taken_at"`
	Archives string    `json:"archives"`
	Since    string    `json:"since,omitempty"`
}

var (
	backupsTaken = Table[backupTaken]{Family: familyBackup, Name: "backup"}
	instance     = Table[string]{Family: familyBackup, Name: "instance"}
)

// backupsKept is how long a backup can be continued. It bounds what is kept of
// removed records.
const backupsKept = 90 * 24 * time.Hour

// load finds out at Open whether removals are to be written down.
func (b *backups) load(s *Store) error {
	return s.view(func(tx *Tx) error {
		err := backupsTaken.Scan(tx, nil, func([]string, backupTaken) error {
			b.burying = true
			return Stop
		})
		if errors.Is(err, ErrCorrupt) { // it is one, whatever it says
			b.burying = true
			return nil
		}
		return err
	})
}

// begin sees to it that every removal that a view opened after it does not see
// is written down.
func (b *backups) begin() {
	b.commits.Lock()
	defer b.commits.Unlock()
	b.burying = true
}

// commit commits a transaction, with what it removed.
func (b *backups) commit(tx *Tx) error {
	b.commits.RLock()
	defer b.commits.RUnlock()
	if b.burying {
		for _, key := range tx.removed {
			grave := removedKey(key)
			if err := tx.txn.Set(grave, frame(grave, nil)); err != nil {
				return writeError(err)
			}
		}
	}
	return writeError(tx.txn.Commit())
}

// removedKey is where it is written down that a record was removed.
func removedKey(key []byte) []byte {
	return append([]byte{byte(familyRemoved)}, key...)
}

// travels reports whether records of a family are in backups as they are. The
// others are made anew when a backup is restored, or are about backups.
func (f Family) travels() bool {
	switch f {
	case familyDocument, familyDocumentPart, familyBlob, familyUse, familyBackup, familyRemoved:
		return false
	}
	return true
}

// instanceID returns the random name of this folder.
func (s *Store) instanceID() (id string, err error) {
	err = s.view(func(tx *Tx) error {
		id, err = instance.Get(tx, "id")
		return err
	})
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return id, err
	}
	id = rand.Text()
	return id, s.update(func(tx *Tx) error { return instance.Put(tx, id, "id") })
}

// forgetBackups forgets those that are too old to be continued, and the
// removals that no other needs.
func (s *Store) forgetBackups() error {
	b := &s.backups
	if !b.running.TryLock() {
		return nil // Maintain comes again
	}
	defer b.running.Unlock()
	var old []string
	kept, oldest := 0, uint64(0)
	err := s.view(func(tx *Tx) error {
		return backupsTaken.Scan(tx, nil, func(key []string, t backupTaken) error {
			switch {
			case s.now().Sub(t.TakenAt) > backupsKept:
				old = append(old, key[0])
			case kept == 0 || t.Version < oldest:
				oldest = t.Version
				fallthrough
			default:
				kept++
			}
			return nil
		})
	})
	if err != nil || len(old) == 0 && kept > 0 {
		return err
	}
	err = s.update(func(tx *Tx) error {
		for _, id := range old {
			if err := backupsTaken.Delete(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if kept == 0 {
		b.commits.Lock()
		b.burying = false
		b.commits.Unlock()
	}
	return s.forgetRemovals(oldest, kept == 0)
}

// forgetRemovals forgets those up to a version, or all.
func (s *Store) forgetRemovals(upTo uint64, all bool) error {
	for {
		var keys [][]byte
		err := s.view(func(tx *Tx) error {
			_, err := tx.visit(familyRemoved, 0, false, func(item *badger.Item) error {
				if all || item.Version() <= upTo {
					keys = append(keys, item.KeyCopy(nil))
				}
				if len(keys) == forgetBatch {
					return Stop
				}
				return nil
			})
			return stopped(err)
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		err = s.update(func(tx *Tx) error {
			for _, key := range keys {
				if err := tx.delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("forget removed records: %w", err)
		}
	}
}
