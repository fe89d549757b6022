package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// buffers holds framed chunks for readers and writers.
var buffers = sync.Pool{New: func() any { b := make([]byte, frameHeader+chunkSize); return &b }}

// blobWriter gathers one chunk in memory and hands full ones to the driver.
type blobWriter struct {
	s        *Store
	id       uint64
	chunks   chunkWriter
	promised int64 // only Write, Commit and Abort touch it, one at a time
	grown    int64 // likewise: bytes room was made for
	hash     hash.Hash
	failed   error // the first failure of Write; later writes repeat it

	mu     sync.RWMutex // guards what readers see:
	buf    *[]byte      // frame header, then the chunk being gathered; nil when done
	filled int          // bytes of it
	full   uint32       // chunks in the driver
	sums   []uint32     // of these
	size   int64
	done   bool
	digest Digest // after Commit

	read struct {
		mu  sync.Mutex // guards the chunk followers read last
		buf *[]byte
		at  uint32
		got []byte
	}
}

func newBlobWriter(s *Store, id uint64, promised int64, chunks chunkWriter) *blobWriter {
	return &blobWriter{s: s, id: id, promised: promised, chunks: chunks, hash: sha256.New(), buf: buffers.Get().(*[]byte)}
}

func (w *blobWriter) Write(p []byte) (int, error) {
	if err := w.s.enter(); err != nil {
		return 0, err
	}
	defer w.s.leave()
	if w.failed != nil {
		return 0, w.failed
	}
	if w.done {
		return 0, fmt.Errorf("write blob: %w", os.ErrClosed)
	}
	written := 0
	for len(p) > 0 {
		n := min(len(p), chunkSize-w.filled)
		if err := w.room(int64(n)); err != nil {
			w.failed = fmt.Errorf("write blob: %w", err)
			return written, w.failed
		}
		w.hash.Write(p[:n])
		w.mu.Lock()
		copy((*w.buf)[frameHeader+w.filled:], p[:n])
		w.filled += n
		w.size += int64(n)
		w.mu.Unlock()
		p = p[n:]
		written += n
		if w.filled == chunkSize {
			if err := w.flush(); err != nil {
				w.failed = fmt.Errorf("write blob: %w", err)
				return written, w.failed
			}
		}
	}
	return written, nil
}

// room sees to it that the next n bytes are promised, a chunk at a time.
func (w *blobWriter) room(n int64) error {
	if w.size+n <= w.promised {
		return nil
	}
	more := max(w.size+n-w.promised, chunkSize)
	if err := w.s.blobs.promise(more); err != nil {
		if more = w.size + n - w.promised; w.s.blobs.promise(more) != nil {
			return w.s.blobs.overLimit(err)
		}
	}
	w.promised += more
	return nil
}

// flush hands the gathered chunk to the driver. Readers may look at the buffer
// meanwhile; it is emptied only when the driver has the chunk.
func (w *blobWriter) flush() error {
	if err := w.s.space.need(int64(w.filled)); err != nil {
		return err
	}
	framed := (*w.buf)[:frameHeader+w.filled]
	sum := chunkSum(framed[frameHeader:])
	if err := w.s.blobs.grow(int64(w.filled)); err != nil {
		return err
	}
	w.grown += int64(w.filled)
	if err := w.chunks.put(w.full, framed); err != nil {
		return err
	}
	w.mu.Lock()
	w.sums = append(w.sums, sum)
	w.full++
	w.filled = 0
	w.mu.Unlock()
	return nil
}

func (w *blobWriter) Size() int64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.size
}

func (w *blobWriter) ReadAt(p []byte, off int64) (int, error) {
	if err := w.s.enter(); err != nil {
		return 0, err
	}
	defer w.s.leave()
	n := 0
	for n < len(p) {
		got, err := w.readSome(p[n:], off+int64(n))
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readSome reads from one chunk.
func (w *blobWriter) readSome(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read blob: negative offset")
	}
	w.mu.RLock()
	if w.done {
		digest := w.digest
		w.mu.RUnlock()
		return w.readCommitted(digest, p, off)
	}
	if off >= w.size {
		w.mu.RUnlock()
		return 0, io.EOF
	}
	if start := int64(w.full) * chunkSize; off >= start {
		n := copy(p, (*w.buf)[frameHeader+off-start:frameHeader+w.filled])
		w.mu.RUnlock()
		return n, nil
	}
	i := uint32(off / chunkSize)
	size, sum := chunkLen(w.size, i), w.sums[i]
	w.mu.RUnlock()
	n, err := w.readChunk(p, off, size, sum)
	if err != nil {
		// The driver may have been told to finish between the look and the read.
		w.mu.RLock()
		done, digest := w.done, w.digest
		w.mu.RUnlock()
		if done {
			return w.readCommitted(digest, p, off)
		}
	}
	return n, err
}

// readChunk reads from a chunk the driver has. The chunk is kept, because
// followers read in small steps and near each other.
func (w *blobWriter) readChunk(p []byte, off int64, size int, sum uint32) (int, error) {
	i := uint32(off / chunkSize)
	w.read.mu.Lock()
	defer w.read.mu.Unlock()
	if w.read.got == nil || w.read.at != i {
		if w.read.buf == nil {
			w.read.buf = buffers.Get().(*[]byte)
		}
		got, err := w.chunks.get(i, size, sum, *w.read.buf)
		if err != nil {
			w.read.got = nil
			return 0, fmt.Errorf("read blob: %w", err)
		}
		w.read.at, w.read.got = i, got
	}
	return copy(p, w.read.got[off-int64(i)*chunkSize:]), nil
}

func (w *blobWriter) readCommitted(d Digest, p []byte, off int64) (int, error) {
	if d.IsZero() {
		return 0, fmt.Errorf("read blob: %w", os.ErrClosed)
	}
	r, err := w.s.blobs.open(d, 0)
	if err != nil {
		return 0, err
	}
	n, err := r.readSome(p, off)
	return n, errors.Join(err, r.close())
}

// Commit follows the order of doc.go: bytes, then record, then visible.
func (w *blobWriter) Commit() (Digest, error) {
	if err := w.s.enter(); err != nil {
		return Digest{}, err
	}
	defer w.s.leave()
	if w.failed != nil {
		return Digest{}, w.failed
	}
	if w.done {
		return Digest{}, fmt.Errorf("commit blob: %w", os.ErrClosed)
	}
	if w.filled > 0 {
		if err := w.flush(); err != nil {
			w.failed = fmt.Errorf("commit blob: %w", err)
			return Digest{}, w.failed
		}
	}
	var d Digest
	w.hash.Sum(d[:0])
	known, err := false, w.chunks.settle()
	if err == nil {
		known, err = w.s.blobs.commit(w, d)
	}
	if err != nil {
		w.failed = fmt.Errorf("commit blob %s: %w", d, err)
		return Digest{}, w.failed
	}
	w.end(d) // from here on followers read the committed body
	if known {
		err = w.chunks.discard()
	}
	if err = errors.Join(err, w.chunks.Close()); err != nil {
		w.s.log.Warn("a second copy of an archive could not be removed", "digest", d.String(), "error", err)
	}
	return d, nil
}

func (w *blobWriter) Abort() error {
	if w.done {
		return nil
	}
	if err := w.s.enter(); err != nil {
		w.end(Digest{})
		return w.chunks.Close() // the next Open removes what was written
	}
	defer w.s.leave()
	w.s.blobs.end(w.promised, w.grown)
	w.end(Digest{})
	return errors.Join(w.chunks.discard(), w.chunks.Close())
}

// end lets go of the buffers. Readers go on with the committed body.
func (w *blobWriter) end(d Digest) {
	w.mu.Lock()
	w.done, w.digest = true, d
	buffers.Put(w.buf)
	w.buf = nil
	w.mu.Unlock()
	w.read.mu.Lock()
	if w.read.buf != nil {
		buffers.Put(w.read.buf)
		w.read.buf, w.read.got = nil, nil
	}
	w.read.mu.Unlock()
}
