package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
)

const (
	filesFolder = "blobs"
	filesTmp    = "tmp"
)

// fileDriver keeps each body in a file named by its digest. All access goes
// through os.Root, so that no name can lead outside.
type fileDriver struct {
	s    *Store
	dir  string
	root *os.Root
}

// openFileDriver also removes what was being written when the last process
// ended.
func openFileDriver(s *Store) (*fileDriver, error) {
	dir := filepath.Join(s.opts.Path, filesFolder)
	if err := os.MkdirAll(filepath.Join(dir, filesTmp), 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &fileDriver{s: s, dir: dir, root: root}
	leftovers, err := fs.ReadDir(root.FS(), filesTmp)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	for _, e := range leftovers {
		if err := root.RemoveAll(path.Join(filesTmp, e.Name())); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return d, nil
}

// fileName is where the body with digest d is, relative to the root.
func fileName(d Digest) string {
	s := d.String()
	return s[:2] + "/" + s
}

func parseFileName(shard, name string) (Digest, bool) {
	d, err := ParseDigest(name)
	return d, err == nil && name[:2] == shard
}

// fileWriter writes to a temporary file that gets its name when it is whole.
type fileWriter struct {
	d     *fileDriver
	file  *os.File
	tmp   string // "" when renamed or removed
	final string // "" until renamed, and when removed
}

func (d *fileDriver) create(id uint64) (chunkWriter, error) {
	tmp := path.Join(filesTmp, strconv.FormatUint(id, 10))
	f, err := d.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fileError(err)
	}
	return &fileWriter{d: d, file: f, tmp: tmp}, nil
}

func (w *fileWriter) put(i uint32, framed []byte) error {
	chunk := framed[frameHeader:]
	if _, err := w.file.WriteAt(chunk, int64(i)*chunkSize); err != nil {
		return fileError(err)
	}
	return nil
}

func (w *fileWriter) get(i uint32, size int, sum uint32, buf []byte) ([]byte, error) {
	return readFileChunk(w.file, i, size, sum, buf)
}

// settle and finish follow the sequence that survives power cuts: sync the
// file, rename it, sync the folder that has the new name.
func (w *fileWriter) settle() error { return fileError(w.file.Sync()) }

func (w *fileWriter) finish(d Digest) (fileState, error) {
	name := fileName(d)
	shard := path.Dir(name)
	if err := w.d.root.Mkdir(shard, 0o755); err == nil {
		if err := syncFolder(w.d.dir); err != nil {
			return fileState{}, fileError(err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fileState{}, fileError(err)
	}
	if err := w.d.root.Rename(w.tmp, name); err != nil {
		return fileState{}, fileError(err)
	}
	w.tmp, w.final = "", name
	if err := syncFolder(filepath.Join(w.d.dir, shard)); err != nil {
		return fileState{}, errors.Join(fileError(err), w.unfinish())
	}
	info, err := w.file.Stat()
	if err != nil {
		return fileState{}, err
	}
	return stateOf(info), nil
}

func (w *fileWriter) unfinish() error {
	if w.final == "" {
		return nil
	}
	name := w.final
	w.final = ""
	return w.d.root.Remove(name)
}

func (w *fileWriter) discard() error {
	if w.tmp == "" {
		return nil
	}
	name := w.tmp
	w.tmp = ""
	return w.d.root.Remove(name)
}

func (w *fileWriter) Close() error { return w.file.Close() }

// fileReader reads a body's chunks and compares them with the sums of its
// record. A file that was checked from end to end, and has not changed since,
// is trusted: it may be handed to sendfile.
type fileReader struct {
	d       *fileDriver
	held    *held
	file    *os.File
	sums    []uint32
	state   fileState
	trusted bool
	next    uint32 // chunks below were checked by this reader, in order
}

func (d *fileDriver) open(h *held, record func() (blobRecord, error)) (chunkReader, error) {
	f, err := d.root.Open(fileName(h.digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged("archive", h.digest.String(), "its file is gone")
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.Size() != h.size {
		return nil, errors.Join(damaged("archive", h.digest.String(),
			fmt.Sprintf("its file has %d bytes and should have %d", info.Size(), h.size)), f.Close())
	}
	r, err := record()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	reader := &fileReader{d: d, held: h, file: f, sums: r.sums, state: stateOf(info)}
	d.s.blobs.mu.Lock()
	reader.trusted = h.checked == reader.state && reader.state.known()
	d.s.blobs.mu.Unlock()
	return reader, nil
}

func (r *fileReader) get(i uint32, size int, buf []byte) ([]byte, error) {
	if int(i) >= len(r.sums) {
		return nil, damaged("archive chunk", fmt.Sprintf("%s/%d", r.held.digest, i), "its checksum is missing")
	}
	chunk, err := readFileChunk(r.file, i, size, r.sums[i], buf)
	if err != nil {
		return nil, err
	}
	r.seen(i)
	return chunk, nil
}

// seen notes a checked chunk. When all were checked and the file is still what
// it was, later readers may trust it.
func (r *fileReader) seen(i uint32) {
	mu := &r.d.s.blobs.mu
	mu.Lock()
	defer mu.Unlock()
	if r.trusted || i != r.next {
		return
	}
	if r.next++; int(r.next) < len(r.sums) {
		return
	}
	if info, err := r.file.Stat(); err == nil && stateOf(info) == r.state {
		r.held.checked = r.state
	}
}

func (r *fileReader) Close() error { return r.file.Close() }

func readFileChunk(f *os.File, i uint32, size int, sum uint32, buf []byte) ([]byte, error) {
	chunk := buf[:size]
	n, err := f.ReadAt(chunk, int64(i)*chunkSize)
	why := ""
	switch {
	case errors.Is(err, fs.ErrClosed):
		return nil, err
	case n < size && err != nil:
		why = err.Error()
	case chunkSum(chunk) != sum:
		why = "it does not match its checksum"
	default:
		return chunk, nil
	}
	return nil, damaged("archive chunk", fmt.Sprintf("%s/%d", filepath.Base(f.Name()), i), why)
}

// trustedFile is a Blob whose file may be sent as it is.
type trustedFile struct {
	*blobReader
	chunks *fileReader
}

// File returns the open file; see Blob.
func (t trustedFile) File() *os.File { return t.chunks.file }

func (d *fileDriver) remove(bodies []*held) error {
	var errs []error
	for _, h := range bodies {
		if err := d.root.Remove(fileName(h.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *fileDriver) lastID() (uint64, error) { return 0, nil }

// sweep removes files whose digest no record has. A file that has its name but
// not yet its record is protected by the catalogue lock, under which owned is
// asked and the file removed.
func (d *fileDriver) sweep(ctx context.Context, _ uint64, owned func(Digest, uint64) bool) (int64, error) {
	var bytes int64
	shards, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return 0, err
	}
	for _, shard := range shards {
		if !shard.IsDir() || shard.Name() == filesTmp {
			continue
		}
		files, err := fs.ReadDir(d.root.FS(), shard.Name())
		if err != nil {
			return bytes, err
		}
		for _, e := range files {
			if ctx.Err() != nil {
				return bytes, ctx.Err()
			}
			digest, ok := parseFileName(shard.Name(), e.Name())
			n, err := d.sweepFile(path.Join(shard.Name(), e.Name()), e, func() bool { return ok && owned(digest, 0) })
			if err != nil {
				return bytes, err
			}
			bytes += n
		}
	}
	return bytes, nil
}

func (d *fileDriver) sweepFile(name string, e fs.DirEntry, owned func() bool) (int64, error) {
	d.s.blobs.catalogue.Lock()
	defer d.s.blobs.catalogue.Unlock()
	if owned() {
		return 0, nil
	}
	info, err := e.Info()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, err
	}
	if err := d.root.RemoveAll(name); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (d *fileDriver) reclaim(context.Context) error { return nil }

func (d *fileDriver) verify() error { return nil }

func (d *fileDriver) close() error { return d.root.Close() }

// fileError names a full disk as what it is.
func fileError(err error) error {
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// fileState tells whether a file was touched: size, time of change, inode.
type fileState struct {
	size, changed int64
	inode         uint64
}

func (s fileState) known() bool { return s.changed != 0 }
