package archive

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

var (
	gzipMagic  = []byte("\x1f\x8b")
	bzip2Magic = []byte("BZh")
	xzMagic    = []byte("\xfd7zXZ\x00")
)

func isTar(head []byte) bool {
	return bytes.HasPrefix(head, gzipMagic) || bytes.HasPrefix(head, bzip2Magic) || bytes.HasPrefix(head, xzMagic) ||
		len(head) > 262 && bytes.Equal(head[257:262], []byte("ustar")) ||
		len(head) == SniffSize && bytes.IndexByte(head[:100], 0) > 0 // a pre-POSIX header: a name, then zeros
}

func checkTar(r io.ReaderAt, size int64, head []byte) (Report, error) {
	var stream io.Reader = io.NewSectionReader(r, 0, size)
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		g, err := gzip.NewReader(stream)
		if err != nil {
			return Report{}, refuse("its gzip header is damaged: %v", err)
		}
		stream = g
	case bytes.HasPrefix(head, bzip2Magic):
		stream = bzip2.NewReader(stream)
	case bytes.HasPrefix(head, xzMagic):
		return Report{}, nil // not looked into
	}
	t := tar.NewReader(stream)
	b := budget{size: size}
	var entries []entry
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return Report{}, refuse("it is damaged after %d entries: %v", len(entries), err)
		}
		if len(entries) >= maxFiles {
			return Report{}, refuse("it has more than the %d entries allowed", maxFiles)
		}
		name, err := safeName(h.Name)
		if err != nil {
			return Report{}, err
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg, tar.TypeLink, tar.TypeSymlink:
		default:
			return Report{}, refuse("its entry %q is a device or another special file", name)
		}
		var body io.Reader = t
		if h.Typeflag != tar.TypeReg {
			body = strings.NewReader(h.Linkname)
		}
		sum, err := b.digest(body)
		if err != nil {
			return Report{}, wrapEntry(name, err)
		}
		entries = append(entries, entry{mode: modeOf(h.FileInfo().Mode()), sum: sum, path: name})
	}
	// Read on to the end, so that a checksum behind the last entry is checked.
	if _, err := io.Copy(io.Discard, io.LimitReader(stream, 1<<20)); err != nil {
		return Report{}, refuse("it is damaged after its last entry: %v", err)
	}
	return Report{Content: contentDigest(entries), Files: len(entries), Unpacked: b.unpacked}, nil
}
