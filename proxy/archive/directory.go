package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// EndRecord is the most that the end of a zip can take: the end record with
// the longest comment. Held back while streaming, it keeps a client from
// completing an archive that turns out to be bad.
const EndRecord = endLen + 1<<16 - 1

// Lengths and signatures of the records of a zip (APPNOTE 4.3).
const (
	localLen     = 30
	centralLen   = 46
	endLen       = 22
	end64Len     = 56
	locator64Len = 20
)

var (
	localSig     = []byte("PK\x03\x04")
	centralSig   = []byte("PK\x01\x02")
	endSig       = []byte("PK\x05\x06")
	end64Sig     = []byte("PK\x06\x06")
	locator64Sig = []byte("PK\x06\x07")
)

// Values that mean "look into the zip64 record".
const (
	see64u16 = 1<<16 - 1
	see64u32 = 1<<32 - 1
)

// end is what the end of a zip says about its central directory.
type end struct {
	entries, size, offset int64
	comment               []byte
}

// findEnd returns where in the tail of a zip its end record begins. The record
// must end with the file, and nothing in its comment may look like another:
// some tools take the first that they find, and some the last.
func findEnd(tail []byte) (int, error) {
	found, stray := -1, false
	for i := len(tail) - endLen; i >= 0; i-- {
		if !bytes.HasPrefix(tail[i:], endSig) {
			continue
		}
		comment := tail[i+endLen:]
		if int(binary.LittleEndian.Uint16(tail[i+20:])) != len(comment) {
			stray = true
			continue
		}
		if found >= 0 || bytes.Contains(comment, endSig) {
			return 0, refuse("its comment hides a second central directory")
		}
		found = i
	}
	switch {
	case found >= 0:
		return found, nil
	case stray:
		return 0, refuse("its end is damaged: there are bytes too many or too few behind its central directory")
	}
	return 0, refuse("it has no central directory: its end is missing")
}

// CompleteZip looks only at the tail of a zip that is passed on without being
// kept: whether it ends with an end record that fits its size.
func CompleteZip(tail []byte) bool {
	_, err := findEnd(tail)
	return err == nil
}

// readEnd reads the end record, and the zip64 one where there is one. What
// both say must agree, and the directory must reach exactly up to them.
func readEnd(r io.ReaderAt, size int64) (end, error) {
	tail := make([]byte, min(size, EndRecord+locator64Len))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil {
		return end{}, err
	}
	i, err := findEnd(tail[max(0, len(tail)-EndRecord):])
	if err != nil {
		return end{}, err
	}
	i += max(0, len(tail)-EndRecord)
	le := binary.LittleEndian
	rec := tail[i:]
	e := end{
		entries: int64(le.Uint16(rec[10:])), size: int64(le.Uint32(rec[12:])), offset: int64(le.Uint32(rec[16:])),
		comment: rec[endLen:],
	}
	if le.Uint16(rec[4:]) != 0 && le.Uint16(rec[4:]) != see64u16 || le.Uint16(rec[8:]) != le.Uint16(rec[10:]) {
		return end{}, refuse("it is one part of several")
	}
	at := size - int64(len(tail)-i)
	if i >= locator64Len && bytes.HasPrefix(tail[i-locator64Len:], locator64Sig) {
		if at, err = e.read64(r, at-locator64Len, tail[i-locator64Len:]); err != nil {
			return end{}, err
		}
	}
	if e.offset < 0 || e.size < 0 || e.offset > at || e.size != at-e.offset {
		return end{}, refuse("its central directory does not lie where its end says")
	}
	if e.size > maxDirectory || e.entries > maxFiles {
		return end{}, refuse("it has %d entries in a directory of %d bytes, more than the %d in %d allowed", e.entries, e.size, maxFiles, maxDirectory)
	}
	return e, nil
}

// read64 takes in the zip64 end record, whose locator lies at the given
// offset, and returns where the record begins.
func (e *end) read64(r io.ReaderAt, locatorAt int64, locator []byte) (int64, error) {
	le := binary.LittleEndian
	damaged := refuse("its zip64 end record is damaged")
	if le.Uint32(locator[4:]) != 0 || le.Uint32(locator[16:]) != 1 { // some tools then look no further, and read the other record
		return 0, refuse("it is one part of several")
	}
	at := int64(le.Uint64(locator[8:]))
	if at < 0 || at > locatorAt-end64Len {
		return 0, damaged
	}
	var rec [end64Len]byte
	if _, err := r.ReadAt(rec[:], at); err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(rec[:], end64Sig) || le.Uint64(rec[4:]) != uint64(locatorAt-at-12) || le.Uint32(rec[16:]) != 0 || le.Uint32(rec[20:]) != 0 {
		return 0, damaged
	}
	for _, f := range []struct {
		v     *int64
		see64 int64
		wide  uint64
	}{{&e.entries, see64u16, le.Uint64(rec[32:])}, {&e.size, see64u32, le.Uint64(rec[40:])}, {&e.offset, see64u32, le.Uint64(rec[48:])}} {
		if *f.v != f.see64 && uint64(*f.v) != f.wide || f.wide > 1<<62 {
			return 0, refuse("its two end records contradict each other")
		}
		*f.v = int64(f.wide)
	}
	return at, nil
}

// record is one entry of the central directory.
type record struct {
	path     string // cleaned; empty for the top itself
	raw      string // as written
	kind     kind
	exec     bool
	method   uint16
	crc      uint32
	packed   int64
	unpacked int64
	offset   int64 // of its local header
}

type kind uint8

const (
	isFile kind = iota
	isFolder
	isLink
)

// readDirectory reads the central directory. It has exactly as many entries
// and bytes as its end claims.
func readDirectory(r io.ReaderAt, e end) ([]record, error) {
	br := bufio.NewReader(io.NewSectionReader(r, e.offset, e.size))
	records := make([]record, 0, min(e.entries, e.size/centralLen))
	for range e.entries {
		rec, err := readRecord(br)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = refuse("its central directory has %d entries and claims %d", len(records), e.entries)
		}
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, refuse("its central directory has more than the %d entries it claims", e.entries)
	}
	return records, nil
}

func readRecord(br *bufio.Reader) (record, error) {
	var h [centralLen]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return record{}, err
	}
	if !bytes.HasPrefix(h[:], centralSig) {
		return record{}, refuse("its central directory is damaged")
	}
	le := binary.LittleEndian
	name, extra, comment := int(le.Uint16(h[28:])), int(le.Uint16(h[30:])), int(le.Uint16(h[32:]))
	variable := make([]byte, name+extra)
	if _, err := io.ReadFull(br, variable); err != nil {
		return record{}, err
	}
	if _, err := br.Discard(comment); err != nil {
		return record{}, err
	}
	rec := record{
		raw: string(variable[:name]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]),
		packed: int64(le.Uint32(h[20:])), unpacked: int64(le.Uint32(h[24:])), offset: int64(le.Uint32(h[42:])),
	}
	var err error
	if rec.path, err = cleanName(rec.raw); err != nil {
		return record{}, err
	}
	if flags := le.Uint16(h[8:]); flags&(1|1<<6|1<<13) != 0 {
		return record{}, refuse("its entry %q is encrypted", rec.path)
	}
	if disk := le.Uint16(h[34:]); disk != 0 && disk != see64u16 {
		return record{}, refuse("it is one part of several")
	}
	if err := rec.readExtra(variable[name:]); err != nil {
		return record{}, err
	}
	return rec, rec.setKind(h[5], le.Uint32(h[38:])>>16)
}

// readExtra looks into the extra fields: the zip64 sizes, and a second name,
// which some tools believe instead of the first.
func (rec *record) readExtra(extra []byte) error {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		id, size := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if extra = extra[4:]; size > len(extra) {
			break // padding of old tools
		}
		field := extra[:size]
		extra = extra[size:]
		switch id {
		case 0x0001:
			for _, v := range []*int64{&rec.unpacked, &rec.packed, &rec.offset} {
				if *v != see64u32 {
					continue
				}
				if len(field) < 8 {
					return refuse("its entry %q has a damaged zip64 field", rec.path)
				}
				*v = int64(le.Uint64(field))
				field = field[8:]
			}
		case 0x7075:
			if len(field) < 5 {
				return refuse("its entry %q has a damaged second name", rec.path)
			}
			second, err := cleanName(string(field[5:]))
			if err != nil || strings.Count(second, "/") != strings.Count(rec.path, "/") {
				return refuse("its entry %q has a second name that lies elsewhere", rec.path)
			}
		}
	}
	if rec.unpacked < 0 || rec.packed < 0 || rec.offset < 0 {
		return refuse("its entry %q claims an impossible size", rec.path)
	}
	return nil
}

// setKind reads the Unix mode. The bits of a link count whatever system the
// archive says it comes from, because some tools do not look at that.
func (rec *record) setKind(system byte, mode uint32) error {
	const (
		format, folder, regular, link = 0o170000, 0o040000, 0o100000, 0o120000
		unix, macOS                   = 3, 19
	)
	isUnix := system == unix || system == macOS
	slash := strings.HasSuffix(rec.raw, "/") || strings.HasSuffix(rec.raw, `\`)
	switch f := mode & format; {
	case rec.path == "" && !(slash && f != link):
		return refuse("it has an entry with the forbidden name %.80q", rec.raw)
	case f == link && !slash:
		rec.kind = isLink
	case f == link || isUnix && f != 0 && f != regular && f != folder:
		return refuse("its entry %q is a device or another special file", rec.path)
	case slash || isUnix && f == folder:
		rec.kind = isFolder
		if rec.unpacked != 0 {
			return refuse("its folder %q has content", rec.path)
		}
	default:
		rec.exec = isUnix && mode&0o111 != 0
	}
	return nil
}
