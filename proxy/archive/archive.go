// Package archive checks dist archives before they become cache entries.
//
// Packagist's dists carry no checksum, and hosts do serve broken archives with
// a complete, valid HTTP response. So every archive is opened and read through
// once. A zip must end in a central directory that adds up: as many entries as
// it claims, no two of them sharing bytes, each one the same in the directory
// and in front of its data, each unpacking to the size and CRC it claims. A tar
// must end with its end mark. In both, names and links must stay inside the
// folder they are unpacked to, and no two tools may come to understand them
// differently. The same pass computes the content digest, which tells a rebuilt
// archive of the same tree from one with other content.
//
// It promises bounded memory and bounded work whatever the bytes claim, and
// never writes anything anywhere. Archives within archives are files like any
// other: nobody unpacks them.
package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Report describes a good archive.
type Report struct {
	// Content is the content digest c1 in lower-case hex: SHA-256 over the
	// sorted lines "mode sha256 path" of all files, the single top folder left
	// out. Empty for types that are not looked into.
	Content string
	// Comment is the zip comment, where it is a short line of text; `git
	// archive` puts the commit id there.
	Comment string
	// Top is the folder whose content is the package: the single thing at the
	// top, as Composer looks for it when it unpacks. Empty when there is no such
	// folder.
	Top string
	// Files is the number of files and links.
	Files int
	// Unpacked is the total size of the files in bytes.
	Unpacked int64
}

// Limits of what an archive may hold. An honest package comes nowhere near
// them.
const (
	maxFiles     = 100_000 // the largest packages have some 40,000
	maxName      = 1024    // bytes of one path
	maxDepth     = 128     // folders in one path
	maxDirectory = 32 << 20
	maxUnpacked  = 8 << 30
	// maxRatio and ratioFloor are Composer's own test for zip bombs: more than
	// 100 times the archive, when that is more than 50 MiB.
	maxRatio   = 100
	ratioFloor = 50 << 20
)

// Error says why an archive was refused, as the end of a sentence that begins
// with its name.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// SniffSize is how many leading bytes Sniff wants to see.
const SniffSize = 512

// Sniff looks at the first bytes of an archive of a Composer dist type and
// refuses what cannot be one: HTML error pages, JSON messages, other formats.
// head may be shorter than SniffSize only when the archive is.
func Sniff(typ string, head []byte) error {
	var ok bool
	switch typ {
	case "zip":
		ok = bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
	case "gzip":
		ok = bytes.HasPrefix(head, gzipMagic)
	case "xz":
		ok = bytes.HasPrefix(head, xzMagic)
	case "rar":
		ok = bytes.HasPrefix(head, []byte("Rar!\x1a\x07"))
	case "tar":
		ok = isTar(head)
	default: // file, phar and whatever comes: anything but an error page
		text := bytes.ToLower(bytes.TrimLeft(head, " \t\r\n\ufeff"))
		ok = !bytes.HasPrefix(text, []byte("<!doctype html")) && !bytes.HasPrefix(text, []byte("<html"))
	}
	if ok {
		return nil
	}
	return refuse("it is not a %s archive: it begins with %.40q", typ, head[:min(len(head), 40)])
}

// Check reads an archive of size bytes through and describes it. The error is
// an *Error when the archive is bad, and r's own when it could not be read.
func Check(typ string, r io.ReaderAt, size int64) (Report, error) {
	return run(typ, r, size, nil)
}

func run(typ string, r io.ReaderAt, size int64, p *picker) (Report, error) {
	w := &window{r: r, size: size}
	rep, err := check(typ, w, size, p)
	if err != nil && w.err != nil {
		return Report{}, w.err
	}
	return rep, err
}

func check(typ string, w *window, size int64, p *picker) (Report, error) {
	head := make([]byte, min(size, SniffSize))
	if _, err := w.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return Report{}, err
	}
	if err := Sniff(typ, head); err != nil {
		return Report{}, err
	}
	switch typ {
	case "zip":
		return checkZip(w, size, p)
	case "tar":
		return checkTar(w, size, head, p)
	case "gzip":
		return Report{}, checkGzip(w, size)
	case "xz":
		return Report{}, checkXz(w, size)
	}
	return Report{}, nil
}

// window reads an archive through one buffer. Checking goes forward in small
// steps, and a step of its own into the store for each of them would cost more
// than the checking.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	at   int64 // where buf begins
	err  error // the first failure of r
}

const windowSize = 256 << 10

func (w *window) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at < 0 || at >= w.size {
			return n, io.EOF
		}
		if at < w.at || at >= w.at+int64(len(w.buf)) {
			if err := w.load(at); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], w.buf[at-w.at:])
	}
	return n, nil
}

func (w *window) load(at int64) error {
	if w.buf == nil {
		w.buf = make([]byte, 0, min(windowSize, w.size))
	}
	w.at = at
	w.buf = w.buf[:min(int64(cap(w.buf)), w.size-at)]
	n, err := w.r.ReadAt(w.buf, at)
	if n == len(w.buf) {
		return nil
	}
	w.buf = w.buf[:0]
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // shorter than the caller said
	}
	w.err = err
	return err
}
