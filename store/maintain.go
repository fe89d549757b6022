package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Usage says how much is held.
type Usage struct {
	Blobs       int   // archive bodies
	Bytes       int64 // of unpinned bodies
	PinnedBlobs int
	PinnedBytes int64
	Limit       int64 // of unpinned bytes, 0 = none
	PinnedLimit int64 // of pinned bytes, 0 = none

	Documents     int64 // verbatim documents
	DocumentBytes int64 // as they came
	PackedBytes   int64 // as they are stored

	DiskBytes int64 // what the data folder takes on the disk
	FreeBytes int64 // what is free on the disk
	Floor     int64 // what is to stay free
	Low       bool  // the floor is reached: nothing new is kept
}

// Usage looks at the files of the databases for DiskBytes, which takes a
// millisecond or so; the rest is at hand.
func (s *Store) Usage() Usage {
	if err := s.enter(); err != nil {
		return Usage{}
	}
	defer s.leave()
	docs := s.documents.get()
	u := Usage{
		Limit: s.opts.MaxCacheSize, PinnedLimit: s.opts.MaxPinnedSize,
		Documents: docs.n, DocumentBytes: docs.size, PackedBytes: docs.packed,
		Floor: s.space.floor,
	}
	x := &s.blobs.index
	s.blobs.mu.Lock()
	u.PinnedBlobs = len(x.pinned)
	u.Blobs = x.lru.Len() + len(x.pinned)
	u.Bytes, u.PinnedBytes = x.bytes, x.pinnedBytes
	s.blobs.mu.Unlock()
	u.DiskBytes = folderUsage(s.opts.Path)
	if s.opts.Archives == DriverFiles {
		u.DiskBytes += u.Bytes + u.PinnedBytes
	}
	if free, err := s.space.free(s.opts.Path); err == nil {
		u.FreeBytes = free
		u.Low = free < s.space.floor
	}
	return u
}

// folderUsage adds up the disk blocks below path. Files come and go meanwhile;
// those that went are not counted. Archives that are files of their own are
// left out: there may be very many, and their sizes are known.
func folderUsage(path string) int64 {
	var sum int64
	filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error { //nolint:errcheck // what cannot be seen is not counted
		if err != nil {
			return nil
		}
		if e.IsDir() && name == filepath.Join(path, filesFolder) {
			return filepath.SkipDir
		}
		if info, err := e.Info(); err == nil {
			sum += diskUsage(info)
		}
		return nil
	})
	return sum
}

// Maintain does what should happen now and then: it writes recency, removes
// bytes nobody owns, counts documents, gives space back to the file system and
// puts the ballast in place. It may run beside everything else.
func (s *Store) Maintain(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	err := s.blobs.flushUses(false)
	if errors.Is(err, ErrNoSpace) {
		err = nil // the alert is raised, and recency can wait
	}
	if err == nil {
		err = s.forgetBackups()
	}
	if err == nil {
		err = s.sweepDocuments(ctx)
	}
	if err == nil {
		err = s.blobs.sweep(ctx)
	}
	if err == nil {
		err = s.blobs.driver.reclaim(ctx)
	}
	s.space.repay()
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("maintain the store: %w", err)
	}
	return ctx.Err()
}

// sweep removes bytes of bodies that have no record.
func (b *blobs) sweep(ctx context.Context) error {
	if b.partial {
		return nil
	}
	b.mu.Lock()
	ids := make(map[uint64]struct{}, b.index.lru.Len()+len(b.index.pinned))
	for _, h := range b.index.all() {
		ids[h.id] = struct{}{}
	}
	for id := range b.index.leaving {
		ids[id] = struct{}{}
	}
	b.mu.Unlock()
	bytes, err := b.driver.sweep(ctx, b.firstID, func(d Digest, id uint64) bool {
		if d.IsZero() {
			_, ok := ids[id]
			return ok
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.index.get(d) != nil
	})
	if bytes > 0 {
		b.s.log.Info("leftovers of archives were removed", "bytes", bytes)
	}
	return err
}

// sweepDocuments counts documents and removes parts that no header names:
// what a crash left between the parts of a large document and its header.
func (s *Store) sweepDocuments(ctx context.Context) error {
	var sum docCounter
	before := s.documents.get()
	err := s.walk([]byte{byte(familyDocument)}, false, func(_ *Tx, key, value []byte) error {
		body, why := unframe(key, value)
		if info, ok := decodeDocumentInfo(body); why == "" && ok {
			sum.n++
			sum.size += info.size
			sum.packed += info.packed
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if s.documents.get() == before { // else some may have been counted and some not
		s.documents.set(sum)
	}
	orphans, err := s.orphanParts(ctx)
	if err != nil {
		return err
	}
	return s.removeParts(orphans)
}
