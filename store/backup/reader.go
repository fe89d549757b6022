package backup

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Visitor is shown what is in a backup, in the order in which it is there:
// records, then what was held, then documents, then archive bodies. Byte
// slices are valid during the call. An error ends the reading.
type Visitor interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	Hold(h Held) error
	// Body is to read the body to its end, which comes only when every byte of
	// it has matched its checksums. A body that was taken back ends with
	// ErrTakenBack instead; passing that error on is no failure.
	Body(d Digest, size int64, body io.Reader) error
	Miss(m Missing) error
}

// ErrTakenBack ends a body that could not be read when the backup was made.
var ErrTakenBack = errors.New("the archive body was taken back")

// Reader reads a backup.
type Reader struct {
	f      *frameReader
	header Header
	totals Totals
}

// NewReader reads the header of a backup.
func NewReader(r io.Reader) (*Reader, error) {
	f, err := newFrameReader(r)
	if err != nil {
		return nil, err
	}
	kind, body, err := f.next()
	if err != nil {
		return nil, err
	}
	b := &Reader{f: f}
	if kind != kindHeader {
		return nil, f.damaged(int64(len(magic)), "it has no header")
	}
	if err := json.Unmarshal(body, &b.header); err != nil {
		return nil, f.damaged(int64(len(magic)), "its header cannot be read")
	}
	return b, nil
}

// Header is what the backup says of itself.
func (b *Reader) Header() Header { return b.header }

// Check reads a backup to its end and compares everything that can be compared
// without restoring it.
func Check(r io.Reader) (Header, Totals, []Missing, error) {
	b, err := NewReader(r)
	if err != nil {
		return Header{}, Totals{}, nil, err
	}
	totals, missing, err := b.Check()
	return b.header, totals, missing, err
}

// Check is the function Check for a backup whose header was read.
func (b *Reader) Check() (Totals, []Missing, error) {
	var c checker
	totals, err := b.Each(&c)
	return totals, c.missing, err
}

// checker wants nothing but the hashes to be right.
type checker struct{ missing []Missing }

func (*checker) Put(key, value []byte) error { return nil }
func (*checker) Delete(key []byte) error     { return nil }
func (*checker) Hold(Held) error             { return nil }

func (*checker) Body(d Digest, _ int64, body io.Reader) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(sum.Sum(nil), d[:]) == 0 {
		return fmt.Errorf("%w: the archive body %x has another digest", ErrDamaged, d)
	}
	return nil
}

func (c *checker) Miss(m Missing) error {
	c.missing = append(c.missing, m)
	return nil
}

// Each shows everything to v, and returns without an error only behind the end
// mark, when all totals and checksums were right and nothing follows.
func (b *Reader) Each(v Visitor) (Totals, error) {
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		return b.totals, fmt.Errorf("make the decompressor: %w", err)
	}
	defer unzip.Close()
	var run []byte
	for {
		at := b.f.at
		kind, body, err := b.f.next()
		if err != nil {
			return b.totals, err
		}
		switch kind {
		case kindRecords:
			if run, err = unzip.DecodeAll(body, run[:0]); err != nil {
				return b.totals, b.f.damaged(at, "a run of records cannot be decompressed")
			}
			err = b.records(at, run, &b.totals.Records, v)
		case kindDocument:
			err = b.records(at, body, new(int64), v)
		case kindHeld:
			err = b.held(at, body, v)
		case kindBody:
			err = b.body(at, body, v)
		case kindMissing:
			var m Missing
			if json.Unmarshal(body, &m) != nil {
				return b.totals, b.f.damaged(at, "a note about what is missing cannot be read")
			}
			b.totals.Missing++
			err = v.Miss(m)
		case kindEnd:
			return b.totals, b.end(at, body)
		default:
			err = b.f.damaged(at, "there is a frame of an unknown kind")
		}
		if err != nil {
			return b.totals, err
		}
	}
}

func (b *Reader) records(at int64, run []byte, puts *int64, v Visitor) error {
	broken := func() error { return b.f.damaged(at, "a run of records cannot be read") }
	for len(run) > 0 {
		op := run[0]
		var key, value []byte
		var ok bool
		if key, run, ok = field(run[1:]); !ok {
			return broken()
		}
		switch op {
		case 'p':
			if value, run, ok = field(run); !ok {
				return broken()
			}
			*puts++
			if err := v.Put(key, value); err != nil {
				return err
			}
		case 'x':
			b.totals.Removed++
			if err := v.Delete(key); err != nil {
				return err
			}
		default:
			return broken()
		}
	}
	return nil
}

// field cuts a length and as many bytes off.
func field(run []byte) (value, rest []byte, ok bool) {
	n, size := binary.Uvarint(run)
	if size <= 0 || n > uint64(len(run)-size) {
		return nil, nil, false
	}
	run = run[size:]
	return run[:n:n], run[n:], true
}

func (b *Reader) held(at int64, run []byte, v Visitor) error {
	if len(run)%heldSize != 0 {
		return b.f.damaged(at, "a list of archives cannot be read")
	}
	for ; len(run) > 0; run = run[heldSize:] {
		h := Held{Digest: Digest(run[:32]), Size: int64(binary.BigEndian.Uint64(run[32:])), Used: int64(binary.BigEndian.Uint64(run[40:]))}
		if h.Size < 0 {
			return b.f.damaged(at, "a list of archives cannot be read")
		}
		b.totals.Held++
		if err := v.Hold(h); err != nil {
			return err
		}
	}
	return nil
}

func (b *Reader) body(at int64, head []byte, v Visitor) error {
	if len(head) != bodySize {
		return b.f.damaged(at, "the beginning of an archive body cannot be read")
	}
	d, size := Digest(head), int64(binary.BigEndian.Uint64(head[32:]))
	if size < 0 {
		return b.f.damaged(at, "the size of an archive body cannot be right")
	}
	p := &partReader{f: b.f, left: size}
	err := v.Body(d, size, p)
	if err != nil && !errors.Is(err, ErrTakenBack) {
		return err
	}
	if _, err := io.Copy(io.Discard, p); err != nil && !errors.Is(err, ErrTakenBack) {
		return err
	}
	if p.end == io.EOF { //nolint:errorlint // it was set here, not passed on
		b.totals.Archives++
		b.totals.ArchiveBytes += size
	}
	return nil
}

// partReader reads the frames of a body.
type partReader struct {
	f    *frameReader
	part []byte
	left int64
	end  error // io.EOF or ErrTakenBack or what went wrong
}

func (p *partReader) Read(buf []byte) (int, error) {
	for len(p.part) == 0 && p.end == nil {
		p.next()
	}
	if len(p.part) == 0 {
		return 0, p.end
	}
	n := copy(buf, p.part)
	p.part = p.part[n:]
	return n, nil
}

func (p *partReader) next() {
	if p.left == 0 {
		p.end = io.EOF
		return
	}
	at := p.f.at
	kind, body, err := p.f.next()
	switch {
	case err != nil:
		p.end = err
	case kind == kindTakenBack:
		p.end = ErrTakenBack
	case kind != kindPart || int64(len(body)) > p.left:
		p.end = p.f.damaged(at, "an archive body is not continued")
	default:
		p.part, p.left = body, p.left-int64(len(body))
	}
}

// end compares what the backup says of itself with what was read, except the
// number of documents: which records make one only the store knows.
func (b *Reader) end(at int64, body []byte) error {
	var e end
	if json.Unmarshal(body, &e) != nil {
		return b.f.damaged(at, "its end mark cannot be read")
	}
	b.totals.Documents = e.Documents
	b.totals.Bytes = at
	if e.Totals != b.totals {
		return b.f.damaged(at, "it has other numbers of things than its end mark says")
	}
	if e.SHA256 != hex.EncodeToString(b.f.sum.Sum(nil)) {
		return b.f.damaged(at, "it does not match the SHA-256 of its end mark")
	}
	return b.f.end()
}
