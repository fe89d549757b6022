package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
)

// The ways of packing that every Composer can unpack.
const (
	stored   = 0
	deflated = 8
)

func checkZip(r *window, size int64, p *picker) (Report, error) {
	e, err := readEnd(r, size)
	if err != nil {
		return Report{}, err
	}
	records, err := readDirectory(r, e)
	if err != nil {
		return Report{}, err
	}
	t := newTree(size)
	t.picker = p
	// The claims alone tell a bomb; what is claimed is held to it below.
	var claimed int64
	for _, rec := range records {
		if rec.unpacked > t.limit-claimed {
			return Report{}, t.claim(t.limit + 1)
		}
		claimed += rec.unpacked
	}
	slices.SortFunc(records, func(a, b record) int { return cmp.Compare(a.offset, b.offset) })
	u := unpacker{r: r, buf: bufio.NewReaderSize(nil, 64<<10), inflate: flate.NewReader(bytes.NewReader(nil)), crc: crc32.NewIEEE()}
	var free int64 // where the next entry may begin
	for _, rec := range records {
		if rec.offset < free {
			return Report{}, refuse("its entry %q shares bytes with another one", rec.path)
		}
		if free, err = u.unpack(t, rec, e.offset); err != nil {
			return Report{}, err
		}
	}
	rep, err := t.report()
	if err == nil && isLine(e.comment) {
		rep.Comment = string(e.comment)
	}
	return rep, err
}

// isLine reports whether a comment is a short line of plain text.
func isLine(comment []byte) bool {
	return len(comment) <= 100 && !slices.ContainsFunc(comment, func(c byte) bool { return c < ' ' || c > '~' })
}

// unpacker reads entries one after the other.
type unpacker struct {
	r       *window
	buf     *bufio.Reader
	inflate io.ReadCloser
	crc     hash.Hash32
}

// unpack reads one entry, whose data must end before limit, into the tree. It
// returns where the data ends.
func (u *unpacker) unpack(t *tree, rec record, limit int64) (int64, error) {
	data, err := u.readLocal(rec, limit)
	if err != nil {
		return 0, err
	}
	if rec.packed > limit-data {
		return 0, refuse("its entry %q is longer than the archive", rec.path)
	}
	end := data + rec.packed
	if rec.kind == isFolder {
		t.summit.see(rec.path, true)
		return end, nil
	}
	section := io.NewSectionReader(u.r, data, rec.packed)
	u.buf.Reset(section)
	var body io.Reader = u.buf
	switch rec.method {
	case stored:
	case deflated:
		if err := u.inflate.(flate.Resetter).Reset(u.buf, nil); err != nil {
			return 0, err
		}
		body = u.inflate
	default:
		return 0, refuse("its entry %q is packed in a way (%d) that not every Composer can unpack", rec.path, rec.method)
	}
	u.crc.Reset()
	body = io.TeeReader(body, u.crc)
	if rec.kind == isLink {
		err = t.addLinkFrom(rec.path, body, rec.unpacked)
	} else {
		mode := modeFile
		if rec.exec {
			mode = modeExec
		}
		err = t.add(rec.path, mode, body, rec.unpacked)
	}
	if err != nil {
		return 0, err
	}
	if _, err := u.buf.ReadByte(); !errors.Is(err, io.EOF) {
		return 0, refuse("its entry %q has more data than it unpacks to", rec.path)
	}
	if got := u.crc.Sum32(); got != rec.crc {
		return 0, refuse("its entry %q is damaged: its checksum is %08x instead of %08x", rec.path, got, rec.crc)
	}
	return end, nil
}

// readLocal compares the header in front of an entry's data with its record,
// because some tools go by one and some by the other. It returns where the
// data begins.
func (u *unpacker) readLocal(rec record, limit int64) (int64, error) {
	contradicts := refuse("its entry %q and its central directory contradict each other", rec.path)
	if rec.offset > limit-localLen {
		return 0, contradicts
	}
	var h [localLen + maxName]byte
	if _, err := u.r.ReadAt(h[:localLen], rec.offset); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	name, extra := int64(le.Uint16(h[26:])), int64(le.Uint16(h[28:]))
	if !bytes.HasPrefix(h[:], localSig) || le.Uint16(h[8:]) != rec.method || name != int64(len(rec.raw)) ||
		rec.offset+localLen+name+extra > limit {
		return 0, contradicts
	}
	if _, err := u.r.ReadAt(h[localLen:localLen+name], rec.offset+localLen); err != nil {
		return 0, err
	}
	if string(h[localLen:localLen+name]) != rec.raw {
		return 0, contradicts
	}
	const later = 1 << 3 // sizes and checksum follow the data
	if le.Uint16(h[6:])&later == 0 {
		agrees := func(local uint32, v int64) bool { return int64(local) == v || local == see64u32 }
		if le.Uint32(h[14:]) != rec.crc || !agrees(le.Uint32(h[18:]), rec.packed) || !agrees(le.Uint32(h[22:]), rec.unpacked) {
			return 0, contradicts
		}
	}
	return rec.offset + localLen + name + extra, nil
}

// addLinkFrom reads the target of a link.
func (t *tree) addLinkFrom(path string, r io.Reader, size int64) error {
	if size > maxTarget {
		return refuse("its link %q has a target of %d bytes", path, size)
	}
	target, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return refuse("its entry %q is damaged: %v", path, err)
	}
	if int64(len(target)) != size {
		return refuse("its entry %q does not have the %d bytes it claims", path, size)
	}
	return t.addLink(path, string(target))
}
