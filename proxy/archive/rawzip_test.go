package archive_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/klauspost/compress/flate"
)

// item is one entry of a zip written byte by byte, so that every field can lie.
type item struct {
	name    string
	content string
	mode    uint32 // Unix; 0o100644 when zero
	deflate bool

	local       string // the name in front of the data, when it differs
	flags       uint16
	method      uint16 // overrides
	crc         uint32 // overrides
	unpacked    uint32 // overrides
	packed      uint32 // overrides
	offset      int64  // overrides, plus one
	extra       []byte // in the central directory
	localMethod uint16
	tail        string // bytes added to the packed data and counted as such
	system      byte   // 3 when zero; 255 means 0
}

// layout says how the end of the zip lies.
type layout struct {
	prefix   string // in front of everything
	comment  string
	behind   string // behind everything
	gap      string // between the data and the directory
	entries  int    // added to the claimed number
	size     int    // added to the claimed size
	offset   int    // added to the claimed offset
	disk     uint16
	zip64    func(entries, size, offset uint64) (e, s, o uint64) // writes zip64 records
	noEnd    bool
	noFolder bool // no central directory at all
}

func raw(l layout, items ...item) []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	b.WriteString(l.prefix)
	var dir bytes.Buffer
	for _, it := range items {
		data := []byte(it.content)
		method := uint16(0)
		if it.deflate {
			method = 8
			var p bytes.Buffer
			w, _ := flate.NewWriter(&p, 9)
			_, _ = w.Write(data)
			_ = w.Close()
			data = p.Bytes()
		}
		data = append(data, it.tail...)
		if it.method != 0 {
			method = it.method
		}
		crc, unpacked, packed := crc32.ChecksumIEEE([]byte(it.content)), uint32(len(it.content)), uint32(len(data))
		if it.crc != 0 {
			crc = it.crc
		}
		if it.unpacked != 0 {
			unpacked = it.unpacked
		}
		if it.packed != 0 {
			packed = it.packed
		}
		local := it.local
		if local == "" {
			local = it.name
		}
		at := int64(b.Len())
		if it.offset != 0 {
			at = it.offset - 1
		}
		lm := method
		if it.localMethod != 0 {
			lm = it.localMethod
		}
		h := make([]byte, 30)
		copy(h, "PK\x03\x04")
		le.PutUint16(h[4:], 20)
		le.PutUint16(h[6:], it.flags)
		le.PutUint16(h[8:], lm)
		le.PutUint32(h[14:], crc)
		le.PutUint32(h[18:], packed)
		le.PutUint32(h[22:], unpacked)
		le.PutUint16(h[26:], uint16(len(local)))
		b.Write(h)
		b.WriteString(local)
		b.Write(data)

		c := make([]byte, 46)
		copy(c, "PK\x01\x02")
		switch it.system {
		case 0:
			c[5] = 3
		case 255:
			c[5] = 0
		default:
			c[5] = it.system
		}
		le.PutUint16(c[6:], 20)
		le.PutUint16(c[8:], it.flags)
		le.PutUint16(c[10:], method)
		le.PutUint32(c[16:], crc)
		le.PutUint32(c[20:], packed)
		le.PutUint32(c[24:], unpacked)
		le.PutUint16(c[28:], uint16(len(it.name)))
		le.PutUint16(c[30:], uint16(len(it.extra)))
		mode := it.mode
		if mode == 0 {
			mode = 0o100644
			if strings.HasSuffix(it.name, "/") {
				mode = 0o040755
			}
		}
		le.PutUint32(c[38:], mode<<16)
		le.PutUint32(c[42:], uint32(at))
		dir.Write(c)
		dir.WriteString(it.name)
		dir.Write(it.extra)
	}
	b.WriteString(l.gap)
	offset := b.Len()
	if l.noFolder {
		return b.Bytes()
	}
	b.Write(dir.Bytes())
	if l.noEnd {
		return b.Bytes()
	}
	e, s, o := uint64(len(items)+l.entries), uint64(dir.Len()+l.size), uint64(offset+l.offset)
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	if l.zip64 != nil {
		at := b.Len()
		e, s, o = l.zip64(e, s, o)
		z := make([]byte, 56)
		copy(z, "PK\x06\x06")
		le.PutUint64(z[4:], 44)
		le.PutUint64(z[24:], e)
		le.PutUint64(z[32:], e)
		le.PutUint64(z[40:], s)
		le.PutUint64(z[48:], o)
		b.Write(z)
		loc := make([]byte, 20)
		copy(loc, "PK\x06\x07")
		le.PutUint64(loc[8:], uint64(at))
		le.PutUint32(loc[16:], 1)
		b.Write(loc)
		e, s, o = 1<<16-1, 1<<32-1, 1<<32-1
	}
	le.PutUint16(end[4:], l.disk)
	le.PutUint16(end[8:], uint16(e))
	le.PutUint16(end[10:], uint16(e))
	le.PutUint32(end[12:], uint32(s))
	le.PutUint32(end[16:], uint32(o))
	le.PutUint16(end[20:], uint16(len(l.comment)))
	b.Write(end)
	b.WriteString(l.comment)
	b.WriteString(l.behind)
	return b.Bytes()
}

// zip64Field is the extra field of large sizes.
func zip64Field(values ...uint64) []byte {
	f := binary.LittleEndian.AppendUint16(nil, 1)
	f = binary.LittleEndian.AppendUint16(f, uint16(8*len(values)))
	for _, v := range values {
		f = binary.LittleEndian.AppendUint64(f, v)
	}
	return f
}

// secondName is Info-ZIP's Unicode path field.
func secondName(name, utf8 string) []byte {
	f := binary.LittleEndian.AppendUint16(nil, 0x7075)
	f = binary.LittleEndian.AppendUint16(f, uint16(5+len(utf8)))
	f = append(f, 1)
	f = binary.LittleEndian.AppendUint32(f, crc32.ChecksumIEEE([]byte(name)))
	return append(f, utf8...)
}
