package store

import (
	"context"
	"fmt"
	"io"
)

// Blob is an archive body being read. Every byte it delivers was compared with
// a checksum; damage is ErrCorrupt, the blob is dropped and an alert raised.
// Reading and seeking is for one goroutine, ReadAt for any number. The bytes
// stay readable until Close, even when the blob is evicted meanwhile.
//
// WriteTo hands a writer that has ReadFrom, such as an HTTP server's, files
// in place of bytes where it can, so that the kernel sends them: bytes that
// were compared earlier, in a file that nobody has touched since.
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

// CreateBlob starts an archive body. sizeHint is how large it is said to get,
// -1 when unknown; its space is promised, and ErrNoSpace means that it cannot
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
	if err := s.blobs.promise(hint); err != nil {
		return nil, fmt.Errorf("create blob: %w", s.blobs.overLimit(err))
	}
	id := s.blobs.ids.Add(1)
	chunks, err := s.blobs.driver.create(id)
	if err != nil {
		s.blobs.end(hint, 0)
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

// UseBlob makes a body the most recently used, for those who have its bytes
// already, and reports whether it is held.
func (s *Store) UseBlob(d Digest) bool {
	now := s.now().UnixNano()
	s.blobs.mu.Lock()
	defer s.blobs.mu.Unlock()
	return s.blobs.index.use(d, now) != nil
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

// EvictAll removes every unpinned body, gives their space back to the file
// system, and says how many and how large they were.
func (s *Store) EvictAll() (n int, bytes int64, err error) {
	if err := s.enter(); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	b := s.blobs
	b.mu.Lock()
	out := b.index.evict(-1)
	b.mu.Unlock()
	for _, h := range out {
		bytes += h.size
	}
	if err := b.forget(out); err != nil {
		return len(out), bytes, err
	}
	return len(out), bytes, b.driver.reclaim(context.Background())
}
