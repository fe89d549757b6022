package archive

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

var (
	gzipMagic  = []byte("\x1f\x8b")
	bzip2Magic = []byte("BZh")
	xzMagic    = []byte("\xfd7zXZ\x00")
)

const tarBlock = 512

func isTar(head []byte) bool {
	return bytes.HasPrefix(head, gzipMagic) || bytes.HasPrefix(head, bzip2Magic) || bytes.HasPrefix(head, xzMagic) ||
		len(head) > 262 && bytes.Equal(head[257:262], []byte("ustar")) ||
		len(head) == SniffSize && bytes.IndexByte(head[:100], 0) > 0 // a pre-POSIX header: a name, then zeros
}

func checkTar(w *window, size int64, head []byte, p *picker) (Report, error) {
	var raw io.Reader = io.NewSectionReader(w, 0, size)
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		g, err := gzip.NewReader(raw)
		if err != nil {
			return Report{}, refuse("its gzip header is damaged: %v", err)
		}
		raw = g
	case bytes.HasPrefix(head, bzip2Magic):
		raw = bzip2.NewReader(raw)
	case bytes.HasPrefix(head, xzMagic):
		return Report{}, checkXz(w, size)
	}
	t := newTree(size)
	t.picker = p
	s := &stream{r: raw, left: t.limit + size + tarOverhead}
	end, err := readTar(t, s)
	if err != nil {
		return Report{}, err
	}
	// Read on to the end, so that a checksum behind the last entry is checked.
	if err := s.drain(); err != nil {
		return Report{}, err
	}
	if s.read-end < tarBlock {
		return Report{}, refuse("its end is missing")
	}
	return t.report()
}

// readTar reads the entries and returns where the last one ends.
func readTar(t *tree, s *stream) (end int64, err error) {
	r := tar.NewReader(s)
	at := map[string]int{} // of plain files, for hard links
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return 0, s.orDamaged(n, err)
		}
		if n > maxFiles {
			return 0, refuse("it has more than the %d entries allowed", maxFiles)
		}
		if err := addTar(t, r, h, at); err != nil {
			if s.err != nil {
				return 0, s.orDamaged(n, s.err)
			}
			return 0, err
		}
		end = (s.read + tarBlock - 1) / tarBlock * tarBlock
	}
}

func addTar(t *tree, r io.Reader, h *tar.Header, at map[string]int) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		t.summit.see(name, true)
		return nil
	}
	if name == "" {
		return refuse("it has an entry with the forbidden name %.80q", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		mode := modeFile
		if h.Mode&0o111 != 0 {
			mode = modeExec
		}
		at[name] = len(t.entries)
		return t.add(name, mode, r, h.Size)
	case tar.TypeSymlink:
		return t.addLink(name, h.Linkname)
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return err
		}
		i, ok := at[target]
		if !ok {
			return refuse("its link %q points to no file in front of it", name)
		}
		at[name] = len(t.entries)
		e := t.entries[i]
		e.path = name
		return t.append(e)
	}
	return refuse("its entry %q is a device or another special file", name)
}

// tarOverhead is what a tar may have beside its files and their headers: the
// padding at its end.
const tarOverhead = 1 << 20

// stream is an unpacked tar on its way, bounded.
type stream struct {
	r    io.Reader
	left int64
	read int64
	err  error // of the packing, or the bound
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.err = refuse("it unpacks to more than %d times its size", maxRatio)
		return 0, s.err
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// drain reads what follows the last entry: nothing but zeros.
func (s *stream) drain() error {
	s.left = min(s.left, tarOverhead)
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return refuse("it has data behind its end")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.orDamaged(0, err)
		}
	}
}

// orDamaged prefers the reason of the stream to that of who reads it.
func (s *stream) orDamaged(entries int, err error) error {
	if s.err != nil {
		err = s.err
	}
	var bad *Error
	if errors.As(err, &bad) {
		return bad
	}
	return refuse("it is damaged behind its entry %d: %v", entries, err)
}

// checkGzip reads a single packed file through; its checksum is at its end.
func checkGzip(w *window, size int64) error {
	g, err := gzip.NewReader(io.NewSectionReader(w, 0, size))
	if err != nil {
		return refuse("its gzip header is damaged: %v", err)
	}
	s := &stream{r: g, left: newTree(size).limit}
	if _, err := io.Copy(io.Discard, s); err != nil {
		return s.orDamaged(0, err)
	}
	return nil
}

// checkXz looks at the end alone, since nothing here can unpack xz: a stream
// ends with a footer that says how long its index is.
func checkXz(w *window, size int64) error {
	var footer [12]byte
	if size < 32 || size%4 != 0 {
		return refuse("its end is missing")
	}
	if _, err := w.ReadAt(footer[:], size-12); err != nil {
		return err
	}
	index := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	if !bytes.HasSuffix(footer[:], []byte("YZ")) || index > size-24 {
		return refuse("its end is missing")
	}
	return nil
}
