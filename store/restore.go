package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"stasis/store/backup"
)

// Restored says what Restore made.
type Restored struct {
	Backup   backup.Header    // the last one: the moment the folder is back at
	Verified VerifySummary    // what is in it
	Missing  []backup.Missing // what the backups could not include
}

// Restore makes a data folder from a full backup and those that continue it,
// in the order in which they were made, and verifies it as Verify does.
//
// The folder must be empty. From the first byte on a file in it says that it
// is being restored, and until that is over it cannot be opened otherwise. A
// restore that was interrupted is taken up by another one of the same
// backups, or more of the chain: records are written again, what is held of
// documents and archive bodies is kept. Damaged backups are ErrDamaged of the
// package backup.
//
// Nothing is synced in between: what a power cut takes, the next restore brings
// back. The folder becomes one that can be opened when everything is durable.
//
// The sizes in o limit nothing here: what was kept is kept until the folder is
// opened with limits.
func Restore(ctx context.Context, o Options, backups []io.Reader, report func(Problem)) (Restored, error) {
	chain, err := backup.Chain(backups)
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	ids := make([]string, len(chain))
	for i, r := range chain {
		h := r.Header()
		if h.StoreFormat != formatVersion {
			return Restored{}, fmt.Errorf("restore: backup %d of %d is from a data folder of format %d, and this program restores format %d: %w", i+1, len(chain), h.StoreFormat, formatVersion, ErrSchema)
		}
		ids[i] = h.ID
	}
	if err := beginRestore(o.Path, ids); err != nil {
		return Restored{}, err
	}
	o.MaxCacheSize, o.MaxPinnedSize = 0, 0
	s, err := openFolder(ctx, o, true)
	if err != nil {
		return Restored{}, err
	}
	r := &restorer{s: s, ctx: ctx}
	result, err := r.restore(chain, report)
	if err = errors.Join(err, s.Close()); err != nil {
		return result, fmt.Errorf("restore: %w", err)
	}
	return result, endRestore(o.Path)
}

// restorer writes what backups hold. It is a backup.Visitor.
type restorer struct {
	s   *Store
	ctx context.Context

	batch []change // not written yet
	bytes int

	held    map[Digest]backup.Held // of the backup being read
	missing []backup.Missing
}

// change is a record to put, or without a value to remove.
type change struct {
	key, value []byte
	remove     bool
}

// What is written in one transaction, well below its limit.
const (
	restoreBatch = 1000
	restoreBytes = 512 << 10
)

func (r *restorer) restore(chain []*backup.Reader, report func(Problem)) (Restored, error) {
	for i, b := range chain {
		r.held = map[Digest]backup.Held{}
		_, err := b.Each(r)
		if err == nil {
			err = r.flush()
		}
		if err != nil {
			return Restored{}, fmt.Errorf("backup %d of %d, of %s: %w", i+1, len(chain), b.Header().Moment(), err)
		}
	}
	if err := r.settle(); err != nil {
		return Restored{}, err
	}
	if err := r.s.sweepDocuments(r.ctx); err != nil {
		return Restored{}, err
	}
	if err := (&factsSync{dir: filepath.Join(r.s.opts.Path, "facts")}).run(); err != nil {
		return Restored{}, err
	}
	sum, err := r.s.Verify(r.ctx, report)
	if err != nil {
		return Restored{}, err
	}
	result := Restored{Backup: chain[len(chain)-1].Header(), Verified: sum, Missing: r.missing}
	if sum.Problems > 0 {
		return result, fmt.Errorf("%d of the things restored cannot be read back; look at the disk, then restore again", sum.Problems)
	}
	return result, nil
}

func (r *restorer) Put(key, value []byte) error {
	return r.add(change{key: slices.Clone(key), value: slices.Clone(value)})
}

func (r *restorer) Delete(key []byte) error {
	return r.add(change{key: slices.Clone(key), remove: true})
}

func (r *restorer) add(c change) error {
	if len(c.key) < 2 || !Family(c.key[0]).travels() && c.key[0] != byte(familyDocument) && c.key[0] != byte(familyDocumentPart) {
		return fmt.Errorf("%w: it holds a record that backups do not have, %q", backup.ErrDamaged, c.key)
	}
	return r.put(c)
}

func (r *restorer) put(c change) error {
	if n := len(c.key) + len(c.value); r.bytes+n > restoreBytes || len(r.batch) == restoreBatch {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, c)
	r.bytes += len(c.key) + len(c.value)
	return nil
}

func (r *restorer) flush() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if len(r.batch) == 0 {
		return nil
	}
	err := r.s.update(func(tx *Tx) error {
		for _, c := range r.batch {
			if c.remove {
				if err := tx.delete(c.key); err != nil {
					return err
				}
			} else if err := tx.set(c.key, c.value); err != nil {
				return err
			}
		}
		return nil
	})
	clear(r.batch)
	r.batch, r.bytes = r.batch[:0], 0
	return err
}

func (r *restorer) Hold(h backup.Held) error {
	r.held[h.Digest] = h
	return nil
}

func (r *restorer) Body(d backup.Digest, size int64, body io.Reader) error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.s.HasBlob(d) {
		return nil
	}
	w, err := r.s.CreateBlob(size)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, body); err != nil {
		return errors.Join(err, w.Abort())
	}
	got, err := w.Commit()
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	if got != d {
		return errors.Join(fmt.Errorf("%w: the archive body %s has another digest, %s", backup.ErrDamaged, Digest(d), got), r.s.DeleteBlob(got))
	}
	return nil
}

func (r *restorer) Miss(m backup.Missing) error {
	r.missing = append(r.missing, m)
	return nil
}

// settle leaves exactly the bodies that the last backup lists, with their last
// use, and finds out which it lists and are not here.
func (r *restorer) settle() error {
	b := r.s.blobs
	b.mu.Lock()
	var extra []*held
	for _, h := range b.index.all() {
		if _, listed := r.held[h.digest]; !listed {
			b.index.remove(h)
			extra = append(extra, h)
		}
	}
	b.mu.Unlock()
	if err := b.forget(extra); err != nil {
		return err
	}
	told := map[string]bool{}
	for _, m := range r.missing {
		told[m.Subject] = true
	}
	for d, h := range r.held {
		if r.s.HasBlob(d) {
			if err := r.use(d, h.Used); err != nil {
				return err
			}
		} else if subject := d.String(); !told[subject] {
			r.missing = append(r.missing, backup.Missing{Kind: "archive", Subject: subject, Why: "it is listed and not included"})
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.found()
}

// use makes a body one that came and was last used at that time, so that it is
// evicted in its turn.
func (r *restorer) use(d Digest, used int64) error {
	var record blobRecord
	err := r.s.view(func(tx *Tx) (err error) {
		record, err = tx.blobRecord(d)
		return err
	})
	if err != nil {
		return err
	}
	b := r.s.blobs
	b.mu.Lock()
	if h := b.index.get(d); h != nil {
		h.used, h.saved = used, used // closing writes no other
	}
	b.mu.Unlock()
	record.created = used
	if err := r.put(change{key: digestKey(familyBlob, d), value: record.encode()}); err != nil {
		return err
	}
	return r.put(change{key: digestKey(familyUse, d), value: binary.BigEndian.AppendUint64(nil, uint64(used))})
}

// found takes back what was missing from one backup and came with a later one.
func (r *restorer) found() error {
	return r.s.view(func(tx *Tx) error {
		r.missing = slices.DeleteFunc(r.missing, func(m backup.Missing) bool {
			d, err := ParseDigest(m.Subject)
			if err != nil {
				return false
			}
			switch m.Kind {
			case "document":
				has, err := tx.HasDocument(d)
				return has && err == nil
			case "archive":
				_, listed := r.held[d]
				return !listed || r.s.HasBlob(d)
			}
			return false
		})
		return nil
	})
}
