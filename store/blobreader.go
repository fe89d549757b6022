package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// blobReader reads a body chunk by chunk: each is copied out of the driver,
// checked, and only then handed on.
type blobReader struct {
	blobs *blobs
	held  *held
	src   chunkReader
	off   int64 // of Read and Seek

	mu     sync.Mutex // guards what follows
	buf    *[]byte    // the chunk read last
	at     uint32
	got    []byte
	closed bool
}

func (r *blobReader) Size() int64 { return r.held.size }

func (r *blobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.blobs.s.enter(); err != nil {
		return 0, err
	}
	defer r.blobs.s.leave()
	n, err := r.readSome(p, r.off)
	r.off += int64(n)
	return n, err
}

func (r *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.held.size
	}
	if offset < 0 {
		return 0, errors.New("seek blob: before its start")
	}
	r.off = offset
	return offset, nil
}

func (r *blobReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.blobs.s.enter(); err != nil {
		return 0, err
	}
	defer r.blobs.s.leave()
	n := 0
	for n < len(p) {
		got, err := r.readSome(p[n:], off+int64(n))
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// WriteTo writes the rest of the body to w. Nothing of the store is locked
// while w is written to.
func (r *blobReader) WriteTo(w io.Writer) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var files sender
	defer files.close()
	begin := r.off
	for r.off < r.held.size {
		if sent, err := r.sendChunk(w, &files); sent || err != nil {
			if err != nil {
				return r.off - begin, err
			}
			continue
		}
		i := uint32(r.off / chunkSize)
		chunk, err := r.chunk(i, *buf)
		if err != nil {
			return r.off - begin, err
		}
		n, err := w.Write(chunk[r.off-int64(i)*chunkSize:])
		r.off += int64(n)
		if err != nil {
			return r.off - begin, err
		}
	}
	return r.off - begin, nil
}

// sendChunk lets the kernel send the chunk that is next, where w can do that
// and the chunk is trusted. When its file is taken away meanwhile, only a part
// of it was sent, and the rest has to be read.
func (r *blobReader) sendChunk(w io.Writer, files *sender) (whole bool, err error) {
	src, inFiles := r.src.(placed)
	to, can := w.(io.ReaderFrom)
	i := uint32(r.off / chunkSize)
	if !inFiles || !can || r.off != int64(i)*chunkSize {
		return false, nil
	}
	f := files.open(src.place(i))
	if f == nil {
		return false, nil
	}
	size := int64(chunkLen(r.held.size, i))
	n, err := to.ReadFrom(&io.LimitedReader{R: f, N: size})
	r.off += n
	return n == size, err
}

func (r *blobReader) chunk(i uint32, buf []byte) ([]byte, error) {
	if err := r.blobs.s.enter(); err != nil {
		return nil, err
	}
	defer r.blobs.s.leave()
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("read blob: %w", os.ErrClosed)
	}
	return r.get(i, buf)
}

// readSome reads from one chunk, which stays in memory for the next step.
func (r *blobReader) readSome(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read blob: negative offset")
	}
	if off >= r.held.size {
		return 0, io.EOF
	}
	i := uint32(off / chunkSize)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fmt.Errorf("read blob: %w", os.ErrClosed)
	}
	if r.got == nil || r.at != i {
		if r.buf == nil {
			r.buf = buffers.Get().(*[]byte)
		}
		r.got = nil
		got, err := r.get(i, *r.buf)
		if err != nil {
			return 0, err
		}
		r.at, r.got = i, got
	}
	return copy(p, r.got[off-int64(i)*chunkSize:]), nil
}

// get reads a chunk; damage drops the body.
func (r *blobReader) get(i uint32, buf []byte) ([]byte, error) {
	chunk, err := r.src.get(i, chunkLen(r.held.size, i), buf)
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			r.blobs.dropDamaged(r.held, err)
		}
		return nil, fmt.Errorf("read blob: %w", err)
	}
	return chunk, nil
}

func (r *blobReader) Close() error {
	if err := r.blobs.s.enter(); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed {
			return nil
		}
		r.closed = true
		return r.src.Close() // the store closed first
	}
	defer r.blobs.s.leave()
	return r.close()
}

func (r *blobReader) close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf, r.got = nil, nil
	}
	r.mu.Unlock()
	return errors.Join(r.src.Close(), r.blobs.release(r.held))
}
