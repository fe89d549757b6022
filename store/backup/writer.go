package backup

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// runSize is how much is gathered for one frame. A record larger than that
// has a frame of its own.
const runSize = 256 << 10

// Writer writes a backup. It is for one goroutine, and worth nothing after an
// error.
type Writer struct {
	f      *frameWriter
	zip    *zstd.Encoder
	packed []byte // reused

	kind   byte // of the run being gathered
	run    []byte
	totals Totals
}

// NewWriter begins a backup.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make the compressor: %w", err)
	}
	f, err := newFrameWriter(w)
	if err != nil {
		return nil, err
	}
	b := &Writer{f: f, zip: zip}
	return b, b.json(kindHeader, h)
}

// Continue sends what was gathered to the writer so far, and everything from
// here on to w.
func (b *Writer) Continue(w io.Writer) error {
	if err := b.flush(); err != nil {
		return err
	}
	b.f.w = w
	return nil
}

// Put writes a record.
func (b *Writer) Put(key, value []byte) error {
	b.totals.Records++
	return b.record(kindRecords, 'p', key, value)
}

// Delete writes that a record was removed.
func (b *Writer) Delete(key []byte) error {
	b.totals.Removed++
	return b.record(kindRecords, 'x', key, nil)
}

// Document counts a document, which consists of the records that PutPart
// writes.
func (b *Writer) Document() { b.totals.Documents++ }

// PutPart writes a record of a document, which is not worth compressing.
func (b *Writer) PutPart(key, value []byte) error {
	return b.record(kindDocument, 'p', key, value)
}

func (b *Writer) record(kind, op byte, key, value []byte) error {
	if err := b.gather(kind); err != nil {
		return err
	}
	b.run = append(b.run, op)
	b.run = append(binary.AppendUvarint(b.run, uint64(len(key))), key...)
	if op == 'p' {
		b.run = append(binary.AppendUvarint(b.run, uint64(len(value))), value...)
	}
	return b.full()
}

// Hold writes that an archive body belongs to the backup.
func (b *Writer) Hold(h Held) error {
	if err := b.gather(kindHeld); err != nil {
		return err
	}
	b.totals.Held++
	b.run = append(b.run, h.Digest[:]...)
	b.run = binary.BigEndian.AppendUint64(b.run, uint64(h.Size))
	b.run = binary.BigEndian.AppendUint64(b.run, uint64(h.Used))
	return b.full()
}

// gather makes the run being gathered one of this kind.
func (b *Writer) gather(kind byte) error {
	if b.kind != kind {
		if err := b.flush(); err != nil {
			return err
		}
		b.kind = kind
	}
	return nil
}

func (b *Writer) full() error {
	if len(b.run) < runSize {
		return nil
	}
	return b.flush()
}

func (b *Writer) flush() error {
	if len(b.run) == 0 {
		return nil
	}
	body := b.run
	if b.kind == kindRecords {
		b.packed = b.zip.EncodeAll(b.run, b.packed[:0])
		body = b.packed
	}
	b.run = b.run[:0]
	return b.f.frame(b.kind, body)
}

// Body includes an archive body. When the body itself cannot be read to its
// end, source says why, what was written of it is taken back, and the backup
// goes on.
func (b *Writer) Body(d Digest, size int64, body io.WriterTo) (source, err error) {
	if err := b.flush(); err != nil {
		return nil, err
	}
	if err := b.f.frame(kindBody, binary.BigEndian.AppendUint64(d[:], uint64(size))); err != nil {
		return nil, err
	}
	p := &partWriter{f: b.f, left: size}
	_, source = body.WriteTo(p)
	switch {
	case p.err != nil:
		return nil, p.err
	case p.left > 0:
		return errors.Join(source, fmt.Errorf("%d bytes less than its size could be read", p.left)), b.f.frame(kindTakenBack, nil)
	}
	b.totals.Archives++
	b.totals.ArchiveBytes += size
	return nil, nil
}

// partWriter writes a body as frames.
type partWriter struct {
	f    *frameWriter
	left int64
	err  error // of the stream
}

func (p *partWriter) Write(body []byte) (int, error) {
	if int64(len(body)) > p.left {
		return 0, errors.New("it gives more bytes than its size")
	}
	n := 0
	for len(body) > 0 {
		part := body[:min(len(body), maxFrame)]
		if p.err = p.f.frame(kindPart, part); p.err != nil {
			return n, p.err
		}
		p.left -= int64(len(part))
		n += len(part)
		body = body[len(part):]
	}
	return n, nil
}

// Miss writes that something is not included.
func (b *Writer) Miss(m Missing) error {
	b.totals.Missing++
	if err := b.flush(); err != nil {
		return err
	}
	return b.json(kindMissing, m)
}

// Close writes the end mark, without which the backup is refused. It does not
// close the writer below.
func (b *Writer) Close() (Totals, error) {
	defer b.zip.Close() //nolint:errcheck // it has no writer
	if err := b.flush(); err != nil {
		return b.totals, err
	}
	b.totals.Bytes = b.f.bytes
	return b.totals, b.json(kindEnd, end{b.totals, hex.EncodeToString(b.f.sum.Sum(nil))})
}

func (b *Writer) json(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.f.frame(kind, body)
}
