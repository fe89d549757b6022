package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	prefixChunk  = 'c'
	prefixFiller = '~'

	archivesMemTable = 1 << 20

	// chunkThreshold is from where on Badger puts a value into its value log:
	// every chunk, and nothing else. So the tables hold keys only, and a flipped
	// bit in a body cannot keep the database from opening.
	chunkThreshold = frameHeader

	// What Badger's file of values is at least and ordinarily: a cache is kept
	// in many files, because space comes back a file at a time.
	minValueLog = 2 << 20
	maxValueLog = 64 << 20
)

// badgerDriver keeps chunks in a database of their own, whose value log is
// where the bytes are.
type badgerDriver struct {
	s     *Store
	dir   string
	db    *badger.DB
	live  func() int64 // bytes of bodies that are held or being written
	vlog  *reserver
	mem   *reserver
	files int64 // size of a value log file

	places places

	settling *settleGroup

	dead atomic.Int64 // bytes removed since the last reclaim

	// writing is held for reading by every write and for writing while a value
	// log file is collected: Badger's collector looks at the memtable's version
	// without a lock of its own (DB.MaxVersion). It stops writers for as long as
	// copying what lives in one file takes; readers go on.
	writing sync.RWMutex

	background struct {
		stop context.CancelFunc
		kick chan struct{}
		done chan struct{}
	}
	reclaiming sync.Mutex // held by the one reclaim that runs
}

// openBadgerDriver opens the database of chunks. Archives can be fetched again
// and facts cannot, so a chunk database that is too damaged to open is started
// afresh; lost reports that.
func openBadgerDriver(s *Store, live func() int64) (d *badgerDriver, lost bool, err error) {
	d = &badgerDriver{s: s, dir: filepath.Join(s.opts.Path, "archives"), live: live, files: valueLogSize(s.opts.MaxCacheSize)}
	d.settling = newSettleGroup(d)
	d.db, err = openDatabase(d.options())
	if errors.Is(err, ErrCorrupt) {
		s.corrupt("database", d.dir, fmt.Errorf("all archives will be fetched again: %w", err))
		if err := os.RemoveAll(d.dir); err != nil {
			return nil, false, err
		}
		lost = true
		d.db, err = openDatabase(d.options())
	}
	if err != nil {
		return nil, false, err
	}
	d.vlog = newReserver(d.dir, "%06d.vlog", ".vlog", d.files)
	d.mem = newReserver(d.dir, "%05d.mem", ".mem", archivesMemTable)
	d.places.init(d.dir)
	d.startReclaiming()
	return d, lost, nil
}

func (d *badgerDriver) options() badger.Options {
	return badger.DefaultOptions(d.dir).
		// Not synced by Badger, which would sync two files for each chunk: a body
		// is synced once, when it is whole (badgerWriter.finish).
		WithSyncWrites(false).
		WithMemTableSize(archivesMemTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(1).
		WithNumCompactors(2).
		WithValueThreshold(chunkThreshold).
		WithValueLogFileSize(d.files).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithDetectConflicts(false).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{d.s.log.With("database", "archives")})
}

// valueLogSize keeps a cache in some thirty files or more, and very large
// ones in not too many.
func valueLogSize(limit int64) int64 {
	if limit <= 0 {
		return maxValueLog
	}
	return min(max(limit/32, minValueLog, min(limit/4096, 512<<20)), max(maxValueLog, min(limit/4096, 512<<20)))
}

func chunkKey(id uint64, i uint32) []byte {
	k := make([]byte, 0, 13)
	k = append(k, prefixChunk)
	k = binary.BigEndian.AppendUint64(k, id)
	return binary.BigEndian.AppendUint32(k, i)
}

func parseChunkKey(k []byte) (id uint64, i uint32, ok bool) {
	if len(k) != 13 || k[0] != prefixChunk {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint32(k[9:]), true
}

// badgerChunks is one body, being read; badgerWriter one being written.
type badgerChunks struct {
	d  *badgerDriver
	id uint64
	at *chunkPlaces
}

type badgerWriter struct {
	badgerChunks
	n     uint32 // chunks put
	size  int64
	first int // the value log file of the first chunk
}

func (d *badgerDriver) create(id uint64) (chunkWriter, error) {
	return &badgerWriter{badgerChunks: badgerChunks{d, id, &chunkPlaces{}}}, nil
}

func (d *badgerDriver) open(h *held, _ func() (blobRecord, error)) (chunkReader, error) {
	return badgerChunks{d, h.id, &h.places}, nil
}

func (badgerChunks) Close() error { return nil }

// put commits one chunk in a transaction of its own: what a transaction holds
// stays in memory, and long ones stop compaction.
func (c *badgerWriter) put(i uint32, framed []byte) error {
	d := c.d
	d.throttle()
	n := int64(len(framed) + recordOverhead)
	if err := errors.Join(d.vlog.reserve(n), d.mem.reserve(recordOverhead)); err != nil {
		return err
	}
	before := d.vlog.current()
	key := chunkKey(c.id, i)
	putFrameHeader(framed, key)
	if err := d.update(func(txn *badger.Txn) error { return txn.Set(key, framed) }); err != nil {
		return err
	}
	if c.n == 0 {
		c.first = before
	}
	c.n = max(c.n, i+1)
	c.size += int64(len(framed))
	d.letGo(c.badgerChunks, i)
	return nil
}

func (d *badgerDriver) update(fn func(txn *badger.Txn) error) error {
	d.writing.RLock()
	defer d.writing.RUnlock()
	return writeError(d.db.Update(fn))
}

// get reads what put wrote; the frame carries the checksum.
func (c *badgerWriter) get(i uint32, size int, _ uint32, buf []byte) ([]byte, error) {
	return c.badgerChunks.get(i, size, buf)
}

func (c *badgerWriter) settle() error {
	if c.n == 0 {
		return nil
	}
	return c.d.settling.settle(c.first)
}

func (c *badgerWriter) finish(Digest) (fileState, error) { return fileState{}, nil }

func (c *badgerWriter) unfinish() error { return nil }

func (c *badgerWriter) discard() error {
	n, size := c.n, c.size
	c.n, c.size = 0, 0
	return c.d.removeChunks(c.id, n, size)
}

// valueRetries is how often a chunk that looks damaged is read again, each
// time in a new transaction: collecting a value log file pulls it away from
// under transactions that have its address already.
const valueRetries = 3

func (c badgerChunks) get(i uint32, size int, buf []byte) ([]byte, error) {
	key := chunkKey(c.id, i)
	if at := c.at.get(i); at.file != nil {
		if chunk, ok := c.getPlaced(i, at, buf[:frameHeader+size]); ok {
			return chunk, nil
		}
		c.at.set(i, place{})
	}
	why := ""
	for range valueRetries {
		n, err := c.d.read(c, i, buf)
		if errors.Is(err, badger.ErrDBClosed) {
			return nil, ErrClosed
		}
		if err != nil {
			why = err.Error()
			continue
		}
		var chunk []byte
		if chunk, why = unframe(key, buf[:n]); why == "" && len(chunk) != size {
			why = fmt.Sprintf("it has %d bytes and should have %d", len(chunk), size)
		}
		if why == "" {
			return chunk, nil
		}
		c.at.set(i, place{})
	}
	return nil, damaged("archive chunk", fmt.Sprintf("%d/%d", c.id, i), why)
}

// getPlaced reads a chunk where it should lie.
func (c badgerChunks) getPlaced(i uint32, at place, framed []byte) ([]byte, bool) {
	at.checked = changed(at.file)
	if !c.d.places.read(at, framed) {
		return nil, false
	}
	chunk, why := unframe(chunkKey(c.id, i), framed)
	if why != "" {
		c.d.places.mistaken()
		return nil, false
	}
	c.at.set(i, at)
	return chunk, true
}

// place tells where the bytes of chunk i lie, for sending them as they are.
func (c badgerChunks) place(i uint32) place {
	at := c.at.get(i)
	at.off += frameHeader
	return at
}

// read copies a value out of its transaction, so that nothing slow ever
// happens while Badger's file is locked, and learns where it lies.
func (d *badgerDriver) read(c badgerChunks, i uint32, buf []byte) (n int, err error) {
	defer recoverDamage(&err)
	key := chunkKey(c.id, i)
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if err != nil {
		return 0, err
	}
	err = item.Value(func(val []byte) error {
		if len(val) > len(buf) {
			return fmt.Errorf("a value of %d bytes where a chunk has %d at most", len(val), len(buf))
		}
		if at, ok := d.places.find(val); ok {
			at.checked = changed(at.file) // if what is copied now passes the check
			c.at.set(i, at)
		}
		n = copy(buf, val)
		dropPages(val)
		return nil
	})
	return n, err
}

// letGo unmaps the pages of a chunk just written, see dropPages, and learns
// where it lies for those who follow the writing.
func (d *badgerDriver) letGo(c badgerChunks, i uint32) {
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	item, err := txn.Get(chunkKey(c.id, i))
	if err != nil {
		return
	}
	item.Value(func(val []byte) error { //nolint:errcheck // only a hint
		if at, ok := d.places.find(val); ok {
			c.at.set(i, at)
		}
		dropPages(val)
		return nil
	})
}

func (d *badgerDriver) remove(bodies []*held) error {
	var errs []error
	for _, h := range bodies {
		errs = append(errs, d.removeChunks(h.id, uint32(chunks(h.size)), h.size))
	}
	return errors.Join(errs...)
}

// removeBatch bounds the keys of one transaction, well below what a memtable
// of the archives allows.
const removeBatch = 500

func (d *badgerDriver) removeChunks(id uint64, n uint32, size int64) error {
	for from := uint32(0); from < n; from += removeBatch {
		err := d.update(func(txn *badger.Txn) error {
			for i := from; i < min(n, from+removeBatch); i++ {
				if err := txn.Delete(chunkKey(id, i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	d.buried(size)
	return nil
}

func (d *badgerDriver) lastID() (uint64, error) {
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Reverse: true})
	defer it.Close()
	it.Seek([]byte{prefixChunk + 1})
	if it.Valid() {
		if id, _, ok := parseChunkKey(it.Item().Key()); ok {
			return id, nil
		}
	}
	return 0, nil
}

func (d *badgerDriver) verify() error { return verifyTables(d.db) }

func (d *badgerDriver) stop() {
	d.background.stop()
	<-d.background.done
}

func (d *badgerDriver) close() error {
	d.stop()
	d.places.close()
	d.vlog.close()
	d.mem.close()
	return d.db.Close()
}
