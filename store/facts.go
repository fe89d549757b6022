package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// conflictRetries bounds how often Update runs its function again because
// another transaction changed what it had read.
const conflictRetries = 64

// openFacts opens the database of records and documents.
//
// Every commit is synced, by us, see syncGroup. Values stay in the LSM tree (threshold above every part we write), so that
// compaction alone gives space back and no value-log collection is needed. The
// memtable size bounds a transaction (15 % of it) and what a full disk must
// still take at the next Open. Blocks are checked when they are read.
//
// Badger makes a dozen tables at a time and keeps the memory for eight more. All
// of one size, that of a memtable, they fit into what is set aside for each: while
// 500 MB are restored, 456 MiB are resident at most, and 604 MiB with Badger's own
// sizes of 2 MiB and twice that on every level. It also makes fewer tables to open.
func openFacts(path string, log *slog.Logger) (*badger.DB, error) {
	o := badger.DefaultOptions(path)
	o.TableSizeMultiplier = 1
	return openDatabase(o.
		WithSyncWrites(false).
		WithMemTableSize(factsMemTable).
		WithBaseTableSize(factsMemTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(8).
		WithNumCompactors(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(0).
		WithCompression(options.Snappy).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{log.With("database", "facts")}))
}

const (
	factsMemTable = 8 << 20

	// recordOverhead is what a record takes in Badger's log besides key and
	// body: our frame, its header, timestamp and checksum.
	recordOverhead = 64
)

// Tx is one transaction on the facts. Reads see one moment; writes become
// visible and durable together. It must not be used after its function
// returned, nor by two goroutines at once.
type Tx struct {
	s     *Store
	txn   *badger.Txn
	write bool

	puts      int // values written; an update without any may go below the floor
	deletes   int
	bytes     int64      // about what they take in the log
	documents docCounter // documents this transaction adds
	healed    []Digest   // documents it writes anew because they were damaged
	ahead     bool       // parts were written ahead of this transaction
	removed   [][]byte   // keys of records it removes, for incremental backups
	spare     bool       // half of the floor is its
}

// UseSpare lets the transaction go down to half of the free-space floor. It is
// for the little that has to be written even on a full disk, such as that
// something was removed there.
func (tx *Tx) UseSpare() { tx.spare = true }

// View runs fn on a consistent view of the facts. Keep it short: what a view
// may still see cannot be cleaned up.
func (s *Store) View(fn func(tx *Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.view(fn)
}

func (s *Store) view(fn func(tx *Tx) error) error {
	txn := s.facts.NewTransaction(false)
	defer txn.Discard()
	return fn(&Tx{s: s, txn: txn})
}

// Update runs fn and makes its writes durable at once. When another
// transaction changed what fn had read, fn runs again from the start, so it
// must not have effects of its own. An error of fn discards everything. Below
// the free-space floor an update that puts anything is ErrNoSpace.
func (s *Store) Update(fn func(tx *Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.update(fn)
}

func (s *Store) update(fn func(tx *Tx) error) error {
	for range conflictRetries {
		err := s.tryUpdate(fn)
		if !errors.Is(err, badger.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("update facts: gave up after %d conflicts with other updates", conflictRetries)
}

func (s *Store) tryUpdate(fn func(tx *Tx) error) error {
	txn := s.facts.NewTransaction(true)
	defer txn.Discard()
	tx := &Tx{s: s, txn: txn, write: true}
	defer tx.releaseParts()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.puts > 0 {
		need := s.space.need
		if tx.spare {
			need = s.space.needSpare
		}
		if err := need(tx.bytes); err != nil {
			return fmt.Errorf("update facts: %w", err)
		}
		if err := s.space.facts.reserve(tx.bytes); err != nil {
			return fmt.Errorf("update facts: %w", err)
		}
	}
	if err := s.backups.commit(tx); err != nil {
		return err
	}
	if tx.puts+tx.deletes > 0 {
		if err := s.sync.sync(); err != nil {
			return fmt.Errorf("update facts: %w", err)
		}
	}
	s.documents.add(tx.documents)
	s.damage.healed(tx.healed)
	return nil
}

// set writes the framed body under key.
func (tx *Tx) set(key, body []byte) error {
	if !tx.write {
		return errors.New("write in a view: use Update")
	}
	tx.puts++
	tx.bytes += int64(len(key) + len(body) + recordOverhead)
	return writeError(tx.txn.Set(key, frame(key, body)))
}

// delete removes key; removing what is not there is no error.
func (tx *Tx) delete(key []byte) error {
	if !tx.write {
		return errors.New("delete in a view: use Update")
	}
	tx.deletes++
	if Family(key[0]).travels() {
		tx.removed = append(tx.removed, bytes.Clone(key))
	}
	return writeError(tx.txn.Delete(key))
}

// get calls fn with the checked body under key. fn must not keep the bytes.
// The kind and subject are for errors, spelled only when there is one.
func (tx *Tx) get(key []byte, kind string, subject func() string, fn func(body []byte) error) error {
	item, err := tx.item(key)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(kind, subject())
	}
	if err != nil {
		return tx.damaged(kind, subject(), err.Error())
	}
	return tx.read(item, key, kind, subject, fn)
}

func (tx *Tx) read(item *badger.Item, key []byte, kind string, subject func() string, fn func(body []byte) error) error {
	return item.Value(func(val []byte) error {
		body, why := unframe(key, val)
		if why != "" {
			return tx.damaged(kind, subject(), why)
		}
		return fn(body)
	})
}

// item looks key up. The error matches fs.ErrNotExist when it is not there, and
// ErrCorrupt when the table that should have it cannot be read.
func (tx *Tx) item(key []byte) (item *badger.Item, err error) {
	defer recoverDamage(&err)
	item, err = tx.txn.Get(key)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return nil, fs.ErrNotExist
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return item, nil
}

// has reports whether key exists, without reading its value.
func (tx *Tx) has(key []byte) (bool, error) {
	_, err := tx.item(key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// recoverDamage turns a panic into ErrCorrupt. It stands around calls into
// Badger that read tables: Badger checks a block only after it has followed
// the lengths in it, and some damaged lengths lead out of the block.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: reading a table: %v", ErrCorrupt, p)
	}
}

// writeError puts Badger's errors that a caller can act on into words.
func writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrConflict):
		return err
	case errors.Is(err, badger.ErrTxnTooBig):
		return errors.New("update facts: too much for one transaction, which holds about 1 MiB or 8,000 records")
	case errors.Is(err, badger.ErrDBClosed), errors.Is(err, badger.ErrBlockedWrites):
		return ErrClosed
	case isNoSpace(err):
		return fmt.Errorf("update facts: %w: %w", ErrNoSpace, err)
	default:
		return fmt.Errorf("update facts: %w", err)
	}
}
