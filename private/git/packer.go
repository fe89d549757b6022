package git

import (
	"archive/tar"
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// level is how hard archives are packed: a little smaller than zlib does it by default, in less time.
// The bytes of an archive are part of what is promised, since their checksum stands in lock files. This
// number decides about them, and so do the order of files, their headers, and the library, which go.sum
// pins, unlike the one that comes with whatever Go is used to build. TestArchivesKeepTheirBytes tells
// when one of them changes.
const level = 8

// maxEntries bounds the files and links of an archive, as proxy/archive does.
const maxEntries = 100_000

// packer turns git's tar into the zip.
type packer struct {
	zip       *zip.Writer
	deflate   *flate.Writer
	packed    *packedCache
	prefix    string // of the package's folder in the repository, with its slash
	root      string // of everything in the zip, with its slash
	modified  time.Time
	excludes  excludes
	entries   int
	left, max int64 // bytes
	last      string
}

func (p *packer) pack(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink {
			continue // folders, and the commit's id
		}
		name, ok := strings.CutPrefix(h.Name, p.prefix)
		if !ok || p.excludes.has(name) {
			continue
		}
		if err := p.check(name, h.Size); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeSymlink {
			err = p.link(name, h.Linkname)
		} else {
			err = p.file(name, h.Mode&0o111 != 0, h.Size, t)
		}
		if err != nil {
			return err
		}
	}
}

// check refuses what tools would read differently and git lets through, and what is too much. git's order is that of whole
// paths; a name that is there twice breaks it too.
func (p *packer) check(name string, size int64) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("it holds a file named %.80q, which not every tool can unpack", name)
	}
	if name <= p.last {
		return fmt.Errorf("its folders are damaged: %.80q comes behind %.80q", name, p.last)
	}
	p.last = name
	if p.entries++; p.entries > maxEntries {
		return fmt.Errorf("it holds more than the %d files allowed", maxEntries)
	}
	if p.left -= size; p.left < 0 {
		return fmt.Errorf("it holds more than the %d bytes allowed", p.max)
	}
	return nil
}

func (p *packer) file(name string, executable bool, size int64, content io.Reader) error {
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	h := p.header(name, mode)
	if size > maxPackedFile {
		h.Method = zip.Deflate
		w, err := p.zip.CreateHeader(h)
		if err == nil {
			_, err = io.Copy(w, content)
		}
		return err
	}
	plain := make([]byte, size)
	if _, err := io.ReadFull(content, plain); err != nil {
		return err
	}
	f, err := p.packed.pack(plain, p.deflate)
	if err != nil {
		return err
	}
	return p.write(h, f)
}

func (p *packer) link(name, target string) error {
	if leadsOut(name, target) {
		p.entries--
		return nil
	}
	content := []byte(target)
	return p.write(p.header(name, fs.ModeSymlink|0o777), packedFile{
		method: zip.Store, data: content, size: len(content), crc: crc32.ChecksumIEEE(content),
	})
}

// header is that of an entry, with everything but its sizes. Entries that are written whole have no
// use for what the zip package adds to headers by itself, so the same is done here for all.
func (p *packer) header(name string, mode fs.FileMode) *zip.FileHeader {
	const version, utf8Name, extendedTime = 20, 1 << 11, 0x5455
	h := &zip.FileHeader{Name: p.root + name}
	h.SetMode(mode)
	h.CreatorVersion = h.CreatorVersion&0xff00 | version
	h.ReaderVersion = version
	if utf8.ValidString(name) && strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		h.Flags = utf8Name
	}
	t := p.modified
	// Both are written as they are; Modified would add a field of its own.
	h.ModifiedDate = uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9) //nolint:staticcheck // see above
	h.ModifiedTime = uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)      //nolint:staticcheck // see above
	le := binary.LittleEndian
	h.Extra = le.AppendUint16(h.Extra, extendedTime)
	h.Extra = le.AppendUint16(h.Extra, 5) // bytes
	h.Extra = append(h.Extra, 1)          // the time of modification alone
	h.Extra = le.AppendUint32(h.Extra, uint32(t.Unix()))
	return h
}

// write writes an entry whole.
func (p *packer) write(h *zip.FileHeader, f packedFile) error {
	h.Method, h.CRC32, h.UncompressedSize64, h.CompressedSize64 = f.method, f.crc, uint64(f.size), uint64(len(f.data))
	w, err := p.zip.CreateRaw(h)
	if err == nil {
		_, err = w.Write(f.data)
	}
	return err
}

// leadsOut reports whether a link leaves the package. Steps up are understood at its beginning only:
// behind a name, which may be another link, nobody can tell from the text where they lead.
func leadsOut(name, target string) bool {
	const longest = 4096
	if target == "" || len(target) > longest || target[0] == '/' || strings.ContainsAny(target, "\\\x00") || strings.IndexByte(target, ':') == 1 {
		return true
	}
	depth, named := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}

// zipTime brings a time into the range that zips can hold.
func zipTime(t time.Time) time.Time {
	first, last := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2105, 12, 31, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}
