package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// chunkSize is the unit in which bodies are written, checked and read. Memory
// per reader or writer is one or two of these; a checksum covers each.
const chunkSize = 256 << 10

// Blob is an archive body being read. Every byte it delivers was compared with
// a checksum; damage is ErrCorrupt, the blob is dropped and an alert raised.
// Reading and seeking is for one goroutine, ReadAt for any number. The bytes
// stay readable until Close, even when the blob is evicted meanwhile.
//
// With the files driver a Blob whose bytes are known to be undamaged also has
// the method File() *os.File, so that a server can use sendfile. The file
// belongs to the Blob and its offset is undefined. A Blob without that method
// is read through its own methods, which check what they deliver.
type Blob interface {
	io.ReadSeeker
	io.ReaderAt
	io.WriterTo
	io.Closer
	Size() int64
}

// BlobWriter takes an archive body. Nothing is visible before Commit.
type BlobWriter interface {
	// Write fails with ErrNoSpace when the floor or the cache limit is
	// reached; what was written before stays readable until Abort.
	io.Writer
	// ReadAt reads bytes written so far and returns io.EOF at their end. It may
	// be called concurrently with Write, so readers can follow a download, and
	// after Commit for as long as the blob is held.
	io.ReaderAt
	// Size is how many bytes can be read so far.
	Size() int64
	// Commit returns when the body is durable and visible. A body that is
	// already held is kept as it is and the new bytes are dropped.
	Commit() (Digest, error)
	// Abort drops what was written. After Commit it does nothing.
	Abort() error
}

// driver keeps chunks of bodies. The rest (digests, reservations, recency,
// visibility) is common to all drivers.
type driver interface {
	// create starts the body with this id.
	create(id uint64) (chunkWriter, error)
	// open returns a reader of a body's chunks; the error is ErrCorrupt when
	// its bytes are gone.
	open(h *held, record func() (blobRecord, error)) (chunkReader, error)
	// remove drops the bytes of bodies that no record names any more.
	remove(bodies []*held) error
	// sweep drops bytes that belong to no body, of ids below limit. owned is
	// asked for each.
	sweep(ctx context.Context, limit uint64, owned func(d Digest, id uint64) bool) (bytes int64, err error)
	// lastID returns the highest id with bytes in the driver.
	lastID() (uint64, error)
	// reclaim gives space of removed bodies back to the file system.
	reclaim(ctx context.Context) error
	// verify checks what the driver keeps besides chunks.
	verify() error
	close() error
}

type chunkWriter interface {
	// put writes chunk i. framed has room for a frame header before the chunk.
	put(i uint32, framed []byte) error
	// get reads a chunk that was put, of this size and checksum, into buf,
	// which has room for a framed chunk, and returns its bytes.
	get(i uint32, size int, sum uint32, buf []byte) ([]byte, error)
	// finish makes all chunks durable as the body with this digest; unfinish
	// undoes that. Both are called with the catalogue locked. The chunks can
	// still be read through get.
	finish(d Digest) (fileState, error)
	unfinish() error
	// discard drops the chunks of a body that was not finished.
	discard() error
	// close comes last, finished or not.
	io.Closer
}

type chunkReader interface {
	// get reads and checks a chunk of this size like chunkWriter's.
	get(i uint32, size int, buf []byte) ([]byte, error)
	io.Closer
}

// blobs is the catalogue of archive bodies and their driver.
type blobs struct {
	s      *Store
	kind   byte
	driver driver
	limit  int64 // of unpinned bytes, 0 = none
	pinMax int64 // of pinned bytes, 0 = none

	ids     atomic.Uint64 // the last id given out
	firstID uint64        // ids up to here are from earlier processes
	partial bool          // not all records could be read: the index may lack bodies

	// catalogue is held while records and index change together, so that they
	// cannot disagree about who owns a digest. It is taken before mu.
	catalogue sync.Mutex

	mu    sync.Mutex // guards index and the changing fields of every held
	index index
}

// blobRecord is what facts know of a body.
type blobRecord struct {
	driver  byte
	id      uint64
	size    int64
	created int64
	sums    []uint32 // CRC-32C of each chunk, when the chunks do not carry their own
}

const blobRecordHeader = 1 + 8 + 8 + 8

func (r blobRecord) encode() []byte {
	b := make([]byte, 0, blobRecordHeader+4*len(r.sums))
	b = append(b, r.driver)
	b = binary.BigEndian.AppendUint64(b, r.id)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = binary.BigEndian.AppendUint64(b, uint64(r.created))
	for _, sum := range r.sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

func decodeBlobRecord(b []byte) (blobRecord, bool) {
	if len(b) < blobRecordHeader || (len(b)-blobRecordHeader)%4 != 0 {
		return blobRecord{}, false
	}
	r := blobRecord{
		driver:  b[0],
		id:      binary.BigEndian.Uint64(b[1:]),
		size:    int64(binary.BigEndian.Uint64(b[9:])),
		created: int64(binary.BigEndian.Uint64(b[17:])),
	}
	for b = b[blobRecordHeader:]; len(b) > 0; b = b[4:] {
		r.sums = append(r.sums, binary.BigEndian.Uint32(b))
	}
	return r, r.size >= 0 && (len(r.sums) == 0 || len(r.sums) == chunks(r.size))
}

// chunks returns how many chunks a body of this size has.
func chunks(size int64) int { return int((size + chunkSize - 1) / chunkSize) }

// chunkLen returns the length of chunk i of a body of this size.
func chunkLen(size int64, i uint32) int {
	return int(min(size-int64(i)*chunkSize, chunkSize))
}

func chunkSum(chunk []byte) uint32 { return crc32.Checksum(chunk, castagnoli) }

// openBlobs reads the catalogue and opens the driver.
func openBlobs(ctx context.Context, s *Store) (*blobs, error) {
	b := &blobs{s: s, limit: s.opts.MaxCacheSize, pinMax: s.opts.MaxPinnedSize, index: newIndex(), kind: s.opts.Archives[0]}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	if s.opts.Archives == DriverFiles {
		d, err := openFileDriver(s)
		if err != nil {
			return nil, err
		}
		b.driver = d
	} else {
		d, lost, err := openBadgerDriver(s, b.liveBytes)
		if err != nil {
			return nil, err
		}
		b.driver = d
		if lost {
			if err := b.forgetLost(); err != nil {
				return b, err
			}
		}
	}
	last, err := b.driver.lastID()
	if err != nil {
		return b, err
	}
	b.ids.Store(max(b.ids.Load(), last))
	b.firstID = b.ids.Load()
	return b, nil
}

// load fills the index: pins, uses, then bodies in order of use.
func (b *blobs) load(ctx context.Context) error {
	foreign := 0
	var bodies, unreadable []*held
	err := b.s.view(func(tx *Tx) error {
		pins, err := tx.each(familyPin, func(item *badger.Item) error {
			if d, ok := keyDigest(item.Key()); ok {
				b.index.owners[d]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		uses, err := tx.uses()
		if err != nil {
			return err
		}
		records, err := tx.each(familyBlob, func(item *badger.Item) error {
			if len(bodies)%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			d, _ := keyDigest(item.Key())
			r, err := tx.readBlobRecord(item, d)
			if err != nil {
				unreadable = append(unreadable, &held{digest: d})
				return nil
			}
			if r.driver != b.kind {
				foreign++
				return nil
			}
			h := &held{digest: d, id: r.id, size: r.size, used: uses[d], saved: uses[d]}
			h.used = max(h.used, r.created)
			bodies = append(bodies, h)
			b.ids.Store(max(b.ids.Load(), r.id))
			return nil
		})
		b.partial = !pins || !records
		return err
	})
	if err != nil {
		return err
	}
	if foreign > 0 {
		return fmt.Errorf("the folder keeps %d archives in the other driver; open it with that one, or purge all archives there first", foreign)
	}
	if b.partial {
		b.s.corrupt("database", "facts", damaged("part of", "the facts", "a table cannot be read to its end; nothing is removed as unowned until a backup is restored"))
	}
	slices.SortFunc(bodies, func(x, y *held) int { return cmp.Compare(x.used, y.used) })
	for _, h := range bodies {
		b.index.add(h)
	}
	for batch := range slices.Chunk(unreadable, forgetBatch) {
		if err := b.forgetRecords(batch); err != nil {
			return err
		}
	}
	return nil
}

// forgetLost forgets all bodies, whose bytes are gone. Pins stay: they are
// about digests, and hold again when these come back.
func (b *blobs) forgetLost() error {
	b.mu.Lock()
	all := b.index.all()
	for _, h := range all {
		b.index.remove(h)
	}
	b.mu.Unlock()
	return b.forget(all)
}

// each visits the items of one of the store's own families. Badger's iterator
// passes over the rest of a table whose block cannot be read, and does not
// tell. So the keys are counted backwards too: from there it passes over other
// keys. When the counts differ, each visits what either way has, and reports
// that this is not all.
func (tx *Tx) each(f Family, fn func(item *badger.Item) error) (all bool, err error) {
	forwards, err := tx.visit(f, false, fn)
	if err != nil {
		return false, err
	}
	nothing := func(*badger.Item) error { return nil }
	backwards, err := tx.visit(f, true, nothing)
	if err != nil || forwards == backwards {
		return err == nil, err
	}
	seen := make(map[string]bool, forwards)
	if _, err := tx.visit(f, false, func(item *badger.Item) error {
		seen[string(item.Key())] = true
		return nil
	}); err != nil {
		return false, err
	}
	_, err = tx.visit(f, true, func(item *badger.Item) error {
		if seen[string(item.Key())] {
			return nil
		}
		return fn(item)
	})
	return false, err
}

// visit counts the items of a family and calls fn for each.
func (tx *Tx) visit(f Family, reverse bool, fn func(item *badger.Item) error) (n int, err error) {
	defer recoverDamage(&err)
	it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{byte(f)}, Reverse: reverse})
	defer it.Close()
	from := []byte{byte(f)}
	if reverse {
		from = []byte{byte(f) + 1}
	}
	for it.Seek(from); it.Valid(); it.Next() {
		n++
		if err := fn(it.Item()); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (tx *Tx) readBlobRecord(item *badger.Item, d Digest) (blobRecord, error) {
	var r blobRecord
	err := tx.read(item, item.KeyCopy(nil), "blob", d.String, func(body []byte) error {
		var ok bool
		if r, ok = decodeBlobRecord(body); !ok {
			return tx.damaged("blob", d.String(), "its record cannot be read")
		}
		return nil
	})
	return r, err
}

// blobRecord returns what facts say of a body.
func (tx *Tx) blobRecord(d Digest) (blobRecord, error) {
	key := digestKey(familyBlob, d)
	item, err := tx.item(key)
	if errors.Is(err, fs.ErrNotExist) {
		return blobRecord{}, missing("blob", d.String())
	}
	if err != nil {
		return blobRecord{}, tx.damaged("blob", d.String(), err.Error())
	}
	return tx.readBlobRecord(item, d)
}

func (b *blobs) liveBytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index.bytes + b.index.pinnedBytes + b.index.reserved
}

// reserve promises n more bytes to a body being written, evicting others to
// make room. Records and bytes of the evicted go after they left the index.
func (b *blobs) reserve(n int64) error {
	b.mu.Lock()
	if b.limit > 0 && b.index.reserved+n > b.limit {
		reserved := b.index.reserved
		b.mu.Unlock()
		return fmt.Errorf("keep %d more bytes of archives, %d are promised and %d allowed: %w", n, reserved, b.limit, ErrNoSpace)
	}
	var out []*held
	if b.limit > 0 {
		out = b.index.evict(b.limit, n)
	}
	b.index.reserved += n
	b.mu.Unlock()
	return b.forget(out)
}

// overLimit tells the operator that the cache limit kept an archive out.
func (b *blobs) overLimit(err error) error {
	if errors.Is(err, ErrNoSpace) {
		b.s.opts.Alert("cache_limit", "archives", "An archive was passed on without being kept: "+err.Error()+".")
	}
	return err
}

func (b *blobs) unreserve(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index.reserved -= n
}

// forgetBatch bounds how many records one transaction removes.
const forgetBatch = 1000

// forget removes the records, then the bytes, of bodies that have left the
// index. A digest that came back meanwhile under another id keeps its record.
func (b *blobs) forget(bodies []*held) error {
	for batch := range slices.Chunk(bodies, forgetBatch) {
		if err := b.forgetSome(batch); err != nil {
			return fmt.Errorf("remove archives: %w", err)
		}
	}
	return nil
}

func (b *blobs) forgetSome(bodies []*held) error {
	b.catalogue.Lock()
	defer b.catalogue.Unlock()
	if err := b.forgetRecords(bodies); err != nil {
		return err
	}
	return b.driver.remove(b.removable(bodies))
}

func (b *blobs) forgetRecords(bodies []*held) error {
	return b.s.update(func(tx *Tx) error {
		for _, h := range bodies {
			if r, err := tx.blobRecord(h.digest); err == nil && r.id != h.id {
				continue
			}
			if err := tx.delete(digestKey(familyBlob, h.digest)); err != nil {
				return err
			}
			if err := tx.delete(digestKey(familyUse, h.digest)); err != nil {
				return err
			}
		}
		return nil
	})
}

// removable returns the bodies, without records by now, whose bytes may go. Chunks are gone when
// they are removed, so those of a body that is being read go with its last
// reader. Files outlive their names, but share them with a body of the same
// digest that came back.
func (b *blobs) removable(bodies []*held) []*held {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*held
	for _, h := range bodies {
		h.forgotten = true
		if b.kind == DriverFiles[0] && b.index.get(h.digest) == nil || b.kind == DriverBadger[0] && h.refs == 0 {
			out = append(out, h)
		}
	}
	return out
}

// stop ends what runs in the background.
func (b *blobs) stop() {
	if d, ok := b.driver.(interface{ stop() }); ok {
		d.stop()
	}
}

func (b *blobs) close() error {
	if b.driver == nil {
		return nil
	}
	return b.driver.close()
}

// CreateBlob starts an archive body. sizeHint is how large it is said to get,
// -1 when unknown; its space is reserved, and ErrNoSpace means that it cannot
// be kept.
func (s *Store) CreateBlob(sizeHint int64) (BlobWriter, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	hint := max(sizeHint, 0)
	if err := s.space.need(hint); err != nil {
		return nil, fmt.Errorf("create blob: %w", err)
	}
	if err := s.blobs.reserve(hint); err != nil {
		return nil, fmt.Errorf("create blob: %w", s.blobs.overLimit(err))
	}
	id := s.blobs.ids.Add(1)
	chunks, err := s.blobs.driver.create(id)
	if err != nil {
		s.blobs.unreserve(hint)
		return nil, fmt.Errorf("create blob: %w", err)
	}
	return newBlobWriter(s, id, hint, chunks), nil
}

// HasBlob reports whether a body is held. It is not a use.
func (s *Store) HasBlob(d Digest) bool {
	s.blobs.mu.Lock()
	defer s.blobs.mu.Unlock()
	return s.blobs.index.get(d) != nil
}

// OpenBlob opens a body for reading and makes it the most recently used. The
// error matches fs.ErrNotExist when it is not held.
func (s *Store) OpenBlob(d Digest) (Blob, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	r, err := s.blobs.open(d, s.now().UnixNano())
	if err != nil {
		return nil, err
	}
	if f, ok := r.src.(*fileReader); ok && f.trusted {
		return trustedFile{r, f}, nil
	}
	return r, nil
}

// open takes a reference on the body and opens its chunks. now 0 is no use.
func (b *blobs) open(d Digest, now int64) (*blobReader, error) {
	b.mu.Lock()
	h := b.index.get(d)
	if h == nil {
		b.mu.Unlock()
		return nil, missing("blob", d.String())
	}
	if now != 0 {
		b.index.use(d, now)
	}
	h.refs++
	b.mu.Unlock()

	src, err := b.driver.open(h, func() (r blobRecord, err error) {
		err = b.s.view(func(tx *Tx) error {
			r, err = tx.blobRecord(d)
			return err
		})
		return r, err
	})
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			b.dropDamaged(h, err)
		}
		return nil, errors.Join(fmt.Errorf("open blob: %w", err), b.release(h))
	}
	return &blobReader{blobs: b, held: h, src: src}, nil
}

// release gives a reference back, and removes the bytes of a body that left
// the index while it was being read.
func (b *blobs) release(h *held) error {
	b.mu.Lock()
	h.refs--
	last := h.forgotten && h.refs == 0 && b.kind == DriverBadger[0]
	b.mu.Unlock()
	if !last {
		return nil
	}
	return b.driver.remove([]*held{h})
}

// dropDamaged takes a damaged body out of the catalogue, once, so that it is
// fetched again.
func (b *blobs) dropDamaged(h *held, cause error) {
	b.mu.Lock()
	dropped := b.index.remove(h)
	b.mu.Unlock()
	if !dropped {
		return
	}
	b.s.corrupt("blob", h.digest.String(), cause)
	if err := b.forget([]*held{h}); err != nil {
		b.s.log.Error("a damaged archive could not be removed", "digest", h.digest.String(), "error", err)
	}
}

// DeleteBlob removes a body. A pinned one is ErrPinned, one that is not held
// matches fs.ErrNotExist.
func (s *Store) DeleteBlob(d Digest) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.blobs
	b.mu.Lock()
	h := b.index.get(d)
	pinned := b.index.owners[d] > 0
	if h != nil && !pinned {
		b.index.remove(h)
	}
	b.mu.Unlock()
	switch {
	case h == nil:
		return missing("blob", d.String())
	case pinned:
		return fmt.Errorf("delete blob %s: %w", d, ErrPinned)
	}
	return b.forget([]*held{h})
}

// EvictAll removes every unpinned body and says how many and how large they
// were.
func (s *Store) EvictAll() (n int, bytes int64, err error) {
	if err := s.enter(); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	b := s.blobs
	b.mu.Lock()
	out := b.index.evict(-1, 0)
	b.mu.Unlock()
	for _, h := range out {
		bytes += h.size
	}
	return len(out), bytes, b.forget(out)
}
