package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"stasis/store/backup"
)

// Which archive bodies belong to a backup.
const (
	BackupPinned = "pinned" // those that are pinned
	BackupAll    = "all"    // all that are held
	BackupNone   = "none"
)

// BackupOptions say what to back up.
type BackupOptions struct {
	// Since is the ID of a backup of this folder; only what changed after it is
	// included. Empty means a full backup.
	Since string
	// Archives is "pinned", "all" or "none"; empty means that of the backup it
	// continues, or "pinned" for a full one.
	Archives string
}

// BackupError says why there is no backup as it was asked for.
type BackupError struct {
	text string
	busy bool
}

func (e *BackupError) Error() string { return e.text }

// Busy reports whether it is only not possible now; else other options are
// needed.
func (e *BackupError) Busy() bool { return e.busy }

// Backup writes a backup in the form of the package backup, while everything
// else goes on. All records are from one moment. Documents never change and
// are never removed, so they follow page by page, whoever long the receiver
// takes; then archive bodies by their digests. Those evicted by then, and what
// is damaged, are named in the backup as missing.
//
// A view that stays open keeps Badger from dropping what was overwritten since,
// and what it shows cannot be seen again once it is closed. A receiver may take
// hours. So the records of the moment are first copied to an unnamed file in
// the data folder, compressed to about a tenth, at the pace of the disk; the
// view is closed before the first byte leaves.
//
// Only one backup is made at a time.
func (s *Store) Backup(ctx context.Context, w io.Writer, o BackupOptions) (backup.Totals, error) {
	if !s.backups.running.TryLock() {
		return backup.Totals{}, &BackupError{"another backup is being made; try again when it has ended", true}
	}
	defer s.backups.running.Unlock()
	e := &exporter{s: s, ctx: ctx}
	totals, err := e.export(w, o)
	if err != nil {
		return totals, fmt.Errorf("backup: %w", err)
	}
	s.log.Info("a backup was made", "id", e.header.ID, "since", e.header.Since, "records", totals.Records, "removed", totals.Removed,
		"documents", totals.Documents, "archives", totals.Archives, "missing", totals.Missing, "bytes", totals.Bytes)
	return totals, nil
}

// exporter makes one backup.
type exporter struct {
	s       *Store
	ctx     context.Context
	header  backup.Header
	since   uint64 // the version that the backup it continues has seen; 0 for a full one
	w       *backup.Writer
	send    []Digest // archive bodies to include
	unnamed *os.File // records of one moment
}

func (e *exporter) export(w io.Writer, o BackupOptions) (backup.Totals, error) {
	if err := e.s.enter(); err != nil {
		return backup.Totals{}, err
	}
	err := e.records(o)
	e.s.leave()
	if e.unnamed != nil {
		defer e.unnamed.Close()
	}
	if err != nil {
		return backup.Totals{}, err
	}
	if err := e.w.Continue(w); err != nil {
		return backup.Totals{}, err
	}
	if _, err := e.unnamed.Seek(0, io.SeekStart); err != nil {
		return backup.Totals{}, err
	}
	if _, err := io.Copy(w, e.unnamed); err != nil {
		return backup.Totals{}, err
	}
	if err := e.documents(); err != nil {
		return backup.Totals{}, err
	}
	if err := e.bodies(); err != nil {
		return backup.Totals{}, err
	}
	return e.w.Close()
}

// begin decides what the backup is.
func (e *exporter) begin(o BackupOptions) error {
	switch o.Archives {
	case "", BackupPinned, BackupAll, BackupNone:
	default:
		return &BackupError{text: fmt.Sprintf("archives %.40q are unknown; use %q, %q or %q", o.Archives, BackupPinned, BackupAll, BackupNone)}
	}
	id, err := e.s.instanceID()
	if err != nil {
		return err
	}
	e.header = backup.Header{StoreFormat: formatVersion, Instance: id, ID: rand.Text(), Since: o.Since, Archives: o.Archives, TakenAt: e.s.now().UTC()}
	if o.Since != "" {
		var base backupTaken
		err := e.s.view(func(tx *Tx) error {
			base, err = backupsTaken.Get(tx, o.Since)
			return err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &BackupError{text: fmt.Sprintf("the backup %.80q cannot be continued here: it is of another data folder, older than %d days, or the folder was set back since; make a full backup", o.Since, int(backupsKept.Hours()/24))}
		case err != nil:
			return err
		case o.Archives != "" && o.Archives != base.Archives:
			return &BackupError{text: fmt.Sprintf("the backup to be continued has archives %q; make a full backup to have %q", base.Archives, o.Archives)}
		}
		e.since, e.header.Archives = base.Version, base.Archives
	}
	if e.header.Archives == "" {
		e.header.Archives = BackupPinned
	}
	return nil
}

// records copies the records of one moment to the unnamed file, with the list
// of the bodies that were held.
func (e *exporter) records(o BackupOptions) (err error) {
	if err := e.begin(o); err != nil {
		return err
	}
	if e.unnamed, err = unnamedFile(e.s.opts.Path); err != nil {
		return err
	}
	if e.w, err = backup.NewWriter(&roomyWriter{w: e.unnamed, space: e.s.space}, e.header); err != nil {
		return err
	}
	e.s.backups.begin()
	return e.s.view(func(tx *Tx) error {
		taken := backupTaken{Version: tx.txn.ReadTs(), TakenAt: e.header.TakenAt, Archives: e.header.Archives, Since: e.header.Since}
		if err := e.s.update(func(tx *Tx) error { return backupsTaken.Put(tx, taken, e.header.ID) }); err != nil {
			return err
		}
		for f := range 255 {
			if !Family(f).travels() {
				continue
			}
			if err := e.family(tx, Family(f)); err != nil {
				return err
			}
		}
		if err := e.removals(tx); err != nil {
			return err
		}
		if err := e.held(tx); err != nil {
			return err
		}
		// Documents are not read here, but whether their headers can be found is.
		return e.each(tx, familyDocument, func(*badger.Item) error { return nil })
	})
}

// each is Tx.each for what changed, and notes when that cannot be all.
func (e *exporter) each(tx *Tx, f Family, fn func(item *badger.Item) error) error {
	all, err := tx.each(f, e.since, func(item *badger.Item) error {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		return fn(item)
	})
	if err == nil && !all {
		err = e.miss("database", "facts", fmt.Errorf("a table with records of family %q cannot be read to its end", f))
	}
	return err
}

func (e *exporter) family(tx *Tx, f Family) error {
	return e.each(tx, f, func(item *badger.Item) error {
		key := item.Key()
		name := func() string { return recordName(key) }
		err := tx.read(item, key, "record", name, func(body []byte) error { return e.w.Put(key, body) })
		if errors.Is(err, ErrCorrupt) {
			return e.miss("record", name(), err)
		}
		return err
	})
}

// removals writes the keys of records that are gone since.
func (e *exporter) removals(tx *Tx) error {
	if e.since == 0 {
		return nil
	}
	return e.each(tx, familyRemoved, func(item *badger.Item) error {
		key := item.Key()[1:]
		if back, err := tx.has(key); back || err != nil {
			return err
		}
		return e.w.Delete(key)
	})
}

// held writes the list of the bodies that belong to the backup, and remembers
// those that the backup it continues does not have: a body in it was held at
// its moment and, if only pinned ones belong to it, pinned.
func (e *exporter) held(tx *Tx) error {
	if e.header.Archives == BackupNone {
		return nil
	}
	pinned, err := firstPins(tx)
	if err != nil {
		return err
	}
	all, err := tx.each(familyBlob, 0, func(item *badger.Item) error {
		d, ok := keyDigest(item.Key())
		pin, isPinned := pinned[d]
		if !ok || e.header.Archives == BackupPinned && !isPinned {
			return e.ctx.Err()
		}
		r, err := tx.readBlobRecord(item, d)
		if errors.Is(err, ErrCorrupt) {
			return e.miss("archive", d.String(), err)
		}
		if err != nil {
			return err
		}
		if e.since == 0 || item.Version() > e.since || e.header.Archives == BackupPinned && pin > e.since {
			e.send = append(e.send, d)
		}
		return e.w.Hold(backup.Held{Digest: d, Size: r.size, Used: e.s.blobs.lastUse(d, r.created)})
	})
	if err == nil && !all {
		err = e.miss("database", "facts", errors.New("a table with records of archives cannot be read to its end"))
	}
	return err
}

// firstPins returns the version of the first pin of every pinned body. A pin is
// written once and never changed.
func firstPins(tx *Tx) (map[Digest]uint64, error) {
	pins := map[Digest]uint64{}
	_, err := tx.each(familyPin, 0, func(item *badger.Item) error {
		if d, ok := keyDigest(item.Key()); ok {
			if first, seen := pins[d]; !seen || item.Version() < first {
				pins[d] = item.Version()
			}
		}
		return nil
	})
	return pins, err
}

// lastUse is when a body was last used, as far as memory knows.
func (b *blobs) lastUse(d Digest, created int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.index.get(d); h != nil {
		return h.used
	}
	return created
}

// documentPage is how many documents are looked up in one view.
const documentPage = 256

// documents writes the documents that are new, each in a view of its own.
func (e *exporter) documents() error {
	from := []byte{byte(familyDocument)}
	for from != nil {
		var page []Digest
		err := e.s.View(func(tx *Tx) (err error) {
			page, from, err = tx.newDocuments(from, e.since)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range page {
			if err := e.ctx.Err(); err != nil {
				return err
			}
			if err := e.document(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// newDocuments returns a page of documents with headers written after a
// version, and where the next page begins, or nil.
func (tx *Tx) newDocuments(from []byte, since uint64) (page []Digest, next []byte, err error) {
	defer recoverDamage(&err)
	it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{byte(familyDocument)}, SinceTs: since})
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		if len(page) == documentPage {
			return page, it.Item().KeyCopy(nil), nil
		}
		if d, ok := keyDigest(it.Item().Key()); ok {
			page = append(page, d)
		}
	}
	return page, nil, nil
}

func (e *exporter) document(d Digest) error {
	var info documentInfo
	var packed []byte
	err := e.s.View(func(tx *Tx) (err error) {
		info, packed, _, err = tx.readDocument(d)
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		return e.miss("document", d.String(), err)
	}
	if err != nil {
		return err
	}
	e.w.Document()
	for i := uint32(0); len(packed) > 0; i++ {
		n := min(len(packed), documentPart)
		if err := e.w.PutPart(partKey(d, i), packed[:n]); err != nil {
			return err
		}
		packed = packed[n:]
	}
	return e.w.PutPart(digestKey(familyDocument, d), info.encode())
}

// bodies writes the archive bodies that are to be included.
func (e *exporter) bodies() error {
	for _, d := range e.send {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		if err := e.body(d); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) body(d Digest) error {
	if err := e.s.enter(); err != nil {
		return err
	}
	r, err := e.s.blobs.open(d, 0)
	e.s.leave()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.miss("archive", d.String(), errors.New("it was removed while the backup was being made"))
	case errors.Is(err, ErrCorrupt):
		return e.miss("archive", d.String(), err)
	case err != nil:
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	source, err := e.w.Body(d, r.Size(), r)
	if err == nil && errors.Is(source, ErrCorrupt) {
		return e.miss("archive", d.String(), source)
	}
	return errors.Join(err, source)
}

func (e *exporter) miss(kind, subject string, why error) error {
	e.s.log.Warn("something is missing from a backup", "kind", kind, "subject", subject, "error", why)
	return e.w.Miss(backup.Missing{Kind: kind, Subject: subject, Why: why.Error()})
}

// unnamedFile makes a file that is gone when it is closed, or when the process
// is. Where files in use keep their names, the next one replaces it.
func unnamedFile(folder string) (*os.File, error) {
	name := filepath.Join(folder, "BACKUP")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_ = os.Remove(name)
	return f, nil
}

// roomyWriter writes as long as the disk has room.
type roomyWriter struct {
	w     io.Writer
	space *space
}

func (r *roomyWriter) Write(p []byte) (int, error) {
	if err := r.space.need(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := r.w.Write(p)
	if isNoSpace(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return n, err
}
