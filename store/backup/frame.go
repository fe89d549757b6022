package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

const (
	magic = "stasis backup 1\n"

	frameHeader = 1 + 4 + 4
	maxFrame    = 4 << 20

	kindHeader    = 'H'
	kindRecords   = 'R'
	kindDocument  = 'D'
	kindHeld      = 'L'
	kindBody      = 'A'
	kindPart      = 'P'
	kindTakenBack = 'U'
	kindMissing   = 'X'
	kindEnd       = 'E'
)

// ErrDamaged is what a stream that cannot be trusted ends with.
var ErrDamaged = errors.New("the backup cannot be used")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func frameSum(number uint64, kind byte, body []byte) uint32 {
	head := binary.BigEndian.AppendUint64(make([]byte, 0, 9), number)
	return crc32.Update(crc32.Update(0, castagnoli, append(head, kind)), castagnoli, body)
}

// frameWriter writes frames and sums up what it wrote.
type frameWriter struct {
	w      io.Writer
	sum    hash.Hash
	number uint64
	bytes  int64
}

func newFrameWriter(w io.Writer) (*frameWriter, error) {
	f := &frameWriter{w: w, sum: sha256.New()}
	return f, f.raw([]byte(magic))
}

func (f *frameWriter) raw(p []byte) error {
	f.sum.Write(p)
	n, err := f.w.Write(p)
	f.bytes += int64(n)
	return err
}

func (f *frameWriter) frame(kind byte, body []byte) error {
	if len(body) > maxFrame {
		return fmt.Errorf("a frame of %d bytes, where %d are allowed", len(body), maxFrame)
	}
	head := make([]byte, 0, frameHeader)
	head = append(head, kind)
	head = binary.BigEndian.AppendUint32(head, uint32(len(body)))
	head = binary.BigEndian.AppendUint32(head, frameSum(f.number, kind, body))
	f.number++
	if err := f.raw(head); err != nil {
		return err
	}
	return f.raw(body)
}

// frameReader reads what frameWriter wrote.
type frameReader struct {
	r      *bufio.Reader
	sum    hash.Hash
	number uint64
	at     int64 // bytes read
	buf    []byte
}

func newFrameReader(r io.Reader) (*frameReader, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, 32<<10), sum: sha256.New()}
	start := make([]byte, len(magic))
	n, err := io.ReadFull(f.r, start)
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	case string(start[:n]) == magic:
	case n >= len("stasis backup ") && string(start[:len("stasis backup ")]) == magic[:len("stasis backup ")]:
		return nil, fmt.Errorf("%w: it has another format than this program reads: it begins with %q, and this one reads %q", ErrDamaged, start[:n], magic)
	default:
		return nil, fmt.Errorf("%w: it does not begin like a backup of Stasis", ErrDamaged)
	}
	f.sum.Write(start)
	f.at = int64(n)
	return f, nil
}

// next returns the next frame. The body is valid until the next call.
func (f *frameReader) next() (kind byte, body []byte, err error) {
	start := f.at
	var head [frameHeader]byte
	if err := f.fill(head[:]); err != nil {
		return 0, nil, err
	}
	kind = head[0]
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, f.damaged(start, "the length of a frame cannot be right")
	}
	if cap(f.buf) < int(n) {
		f.buf = make([]byte, n, max(int(n), 4<<10))
	}
	body = f.buf[:n]
	if err := f.fill(body); err != nil {
		return 0, nil, err
	}
	if frameSum(f.number, kind, body) != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, f.damaged(start, "a frame does not match its checksum")
	}
	f.number++
	if kind != kindEnd {
		f.sum.Write(head[:])
		f.sum.Write(body)
	}
	return kind, body, nil
}

func (f *frameReader) fill(p []byte) error {
	n, err := io.ReadFull(f.r, p)
	f.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut off: it ends after %d bytes, without an end mark", ErrDamaged, f.at)
	}
	return err
}

func (f *frameReader) damaged(at int64, why string) error {
	return fmt.Errorf("%w: it is damaged at byte %d: %s", ErrDamaged, at, why)
}

// end makes sure that nothing follows.
func (f *frameReader) end() error {
	switch _, err := f.r.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return f.damaged(f.at, "there are bytes behind its end mark")
	}
}
