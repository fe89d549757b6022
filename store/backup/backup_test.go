package backup_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stasis/store/backup"
)

var header = backup.Header{StoreFormat: 1, Instance: "here", ID: "first", Archives: "all", TakenAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}

// log is a Visitor that writes down what it sees.
type log struct {
	lines []string
	fail  string // the beginning of the line that is an error
}

func (l *log) add(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	l.lines = append(l.lines, line)
	if l.fail != "" && strings.HasPrefix(line, l.fail) {
		return errors.New("the visitor has had enough")
	}
	return nil
}

func (l *log) Put(key, value []byte) error {
	return l.add("put %x %x %d", key, sha256.Sum256(value), len(value))
}
func (l *log) Delete(key []byte) error  { return l.add("delete %x", key) }
func (l *log) Hold(h backup.Held) error { return l.add("hold %v", h) }
func (l *log) Miss(m backup.Missing) error {
	return l.add("miss %v", m)
}

func (l *log) Body(d backup.Digest, size int64, r io.Reader) error {
	body, err := io.ReadAll(r)
	if failed := l.add("body %x %d %x %v", d, size, sha256.Sum256(body), err); failed != nil {
		return failed
	}
	return err
}

// broken is a body that cannot be read to its end.
type broken struct{ body []byte }

func (b broken) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write(b.body)
	return int64(n), errors.New("the disk is bad")
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

// made writes a backup with some of everything, with bodies of up to size
// bytes, and returns what a visitor should see.
func made(t testing.TB, seed uint64, size int) ([]byte, []string, backup.Totals) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, header)
	if err != nil {
		t.Fatal(err)
	}
	var want log
	check := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for range r.IntN(300) {
		key, value := noise(r, 1+r.IntN(40)), noise(r, r.IntN(size/200+1))
		switch r.IntN(8) {
		case 0:
			check(w.Delete(key), want.Delete(key))
		case 1:
			h := backup.Held{Digest: sha256.Sum256(key), Size: int64(len(value)), Used: int64(r.Uint64() >> 1)}
			check(w.Hold(h), want.Hold(h))
		case 2:
			m := backup.Missing{Kind: "record", Subject: fmt.Sprint(key), Why: "damaged"}
			check(w.Miss(m), want.Miss(m))
		default:
			check(w.Put(key, value), want.Put(key, value))
		}
	}
	for range r.IntN(4) {
		key, value := noise(r, 33), noise(r, r.IntN(size/2))
		w.Document()
		check(w.PutPart(key, value), want.Put(key, value))
	}
	for range r.IntN(4) {
		body := noise(r, r.IntN(size))
		d := sha256.Sum256(body)
		source, err := w.Body(d, int64(len(body)), bytes.NewReader(body))
		check(source, err, want.Body(d, int64(len(body)), bytes.NewReader(body)))
	}
	if size := r.IntN(size); size > 0 {
		body := noise(r, size)
		source, err := w.Body(sha256.Sum256(body), int64(size), broken{body[:size/2]})
		check(err, want.add("body %x %d %x %v", sha256.Sum256(body), size, sha256.Sum256(body[:size/2]), backup.ErrTakenBack))
		if source == nil {
			t.Fatal("a body that gives half its size is no failure")
		}
	}
	totals, err := w.Close()
	check(err)
	return out.Bytes(), want.lines, totals
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	for seed := range uint64(16) {
		stream, want, totals := made(t, seed, 700<<10)
		r, err := backup.NewReader(iotest(stream, seed))
		if err != nil {
			t.Fatal(err)
		}
		if r.Header() != header {
			t.Errorf("seed %d: header %+v", seed, r.Header())
		}
		var got log
		read, err := r.Each(&got)
		if err != nil || read != totals {
			t.Fatalf("seed %d: %+v, want %+v: %v", seed, read, totals, err)
		}
		if strings.Join(got.lines, "\n") != strings.Join(want, "\n") {
			t.Fatalf("seed %d: something else was read: %d lines, want %d", seed, len(got.lines), len(want))
		}
		if _, checked, _, err := backup.Check(bytes.NewReader(stream)); err != nil || checked != totals {
			t.Errorf("seed %d: check: %+v, %v", seed, checked, err)
		}
	}
}

// iotest gives a stream in pieces of odd sizes.
func iotest(stream []byte, seed uint64) io.Reader {
	r := rand.New(rand.NewPCG(seed, 2))
	return readerFunc(func(p []byte) (int, error) {
		if len(stream) == 0 {
			return 0, io.EOF
		}
		n := copy(p[:min(len(p), 1+r.IntN(100_000))], stream)
		stream = stream[n:]
		return n, nil
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func refused(t *testing.T, what string, stream []byte) {
	t.Helper()
	_, _, _, err := backup.Check(bytes.NewReader(stream))
	if !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAFlippedBitAnywhereIsRefused(t *testing.T) {
	stream, _, _ := made(t, 3, 4<<10)
	r := rand.New(rand.NewPCG(7, 7))
	for at := range len(stream) {
		if at > 600 && at < len(stream)-600 && r.IntN(16) > 0 {
			continue // every byte of the first and last frames, some of the others
		}
		bad := bytes.Clone(stream)
		bad[at] ^= 1 << r.IntN(8)
		refused(t, fmt.Sprintf("a flipped bit at byte %d of %d", at, len(stream)), bad)
	}
}

func TestACutAnywhereIsRefused(t *testing.T) {
	stream, _, _ := made(t, 5, 4<<10)
	r := rand.New(rand.NewPCG(8, 8))
	for n := range len(stream) {
		if n < 500 || n > len(stream)-500 || r.IntN(len(stream)/200) == 0 {
			refused(t, fmt.Sprintf("%d of %d bytes", n, len(stream)), stream[:n])
		}
	}
	refused(t, "bytes behind the end", append(bytes.Clone(stream), 0))
	refused(t, "a second backup behind the end", append(bytes.Clone(stream), stream...))
}

// TestFramesBelongWhereTheyAre cuts a backup into its frames and puts it
// together in other ways.
func TestFramesBelongWhereTheyAre(t *testing.T) {
	stream, _, _ := made(t, 9, 400<<10)
	other, _, _ := made(t, 11, 400<<10)
	frames, others := split(t, stream), split(t, other)
	join := func(f ...[][]byte) (out []byte) {
		out = append(out, stream[:16]...)
		for _, part := range f {
			out = append(out, bytes.Join(part, nil)...)
		}
		return out
	}
	if !bytes.Equal(join(frames), stream) {
		t.Fatal("the frames do not make the backup")
	}
	for i := range len(frames) {
		refused(t, fmt.Sprintf("without frame %d", i), join(frames[:i], frames[i+1:]))
		refused(t, fmt.Sprintf("with frame %d twice", i), join(frames[:i+1], frames[i:]))
		if i > 0 {
			refused(t, fmt.Sprintf("frames %d and %d in the other order", i-1, i), join(frames[:i-1], [][]byte{frames[i], frames[i-1]}, frames[i+1:]))
		}
		if i < len(others) && !bytes.Equal(frames[i], others[i]) {
			refused(t, fmt.Sprintf("with frame %d of another backup", i), join(frames[:i], others[i:i+1], frames[i+1:]))
		}
	}
}

func split(t *testing.T, stream []byte) (frames [][]byte) {
	t.Helper()
	for rest := stream[16:]; len(rest) > 0; {
		n := 9 + int(uint32(rest[1])<<24|uint32(rest[2])<<16|uint32(rest[3])<<8|uint32(rest[4]))
		frames = append(frames, rest[:n])
		rest = rest[n:]
	}
	if len(frames) < 4 {
		t.Fatalf("only %d frames", len(frames))
	}
	return frames
}

func TestOthersAreToldApart(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "does not begin like a backup",
		"PK\x03\x04 and so on and so on and": "does not begin like a backup",
		"stasis backup 2\nof the year 2031":  "another format",
	} {
		_, err := backup.NewReader(strings.NewReader(text))
		if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAnErrorOfTheVisitorEndsTheReading(t *testing.T) {
	stream, want, _ := made(t, 3, 4<<10)
	for _, fail := range []string{"put", "body", "delete", "hold", "miss"} {
		if !strings.Contains(strings.Join(want, "\n"), "\n"+fail) {
			t.Fatalf("no %s in this backup", fail)
		}
		r, err := backup.NewReader(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		v := &log{fail: fail}
		if _, err := r.Each(v); err == nil || errors.Is(err, backup.ErrDamaged) || !strings.HasPrefix(v.lines[len(v.lines)-1], fail) {
			t.Errorf("%s: %v", fail, err)
		}
	}
}

// FuzzReader gives frames whose checksums are right anything for a body: it
// ends with a sentence or was a whole backup. The input is kind, length and
// body of each frame behind the header.
func FuzzReader(f *testing.F) {
	f.Add([]byte("D\x0bp\x03key\x05valueD\x05x\x03keyR\x02xxX\x02{}E\x02{}"))
	f.Add([]byte("L\x30" + strings.Repeat("d", 48) + "A\x28" + strings.Repeat("d", 32) + "\x00\x00\x00\x00\x00\x00\x00\x04P\x04bodyE\x02{}"))
	f.Add([]byte("A\x28" + strings.Repeat("d", 32) + "\x00\x00\x00\x00\x00\x00\x00\x04P\x02boU\x00H\x02{}"))
	f.Fuzz(func(t *testing.T, frames []byte) {
		var stream bytes.Buffer
		backup.WriteFrames(&stream, func(frame func(kind byte, body []byte) error) error {
			frame('H', []byte(`{"id":"x"}`))
			for len(frames) > 1 {
				kind, n := frames[0], min(int(frames[1]), len(frames)-2)
				frame(kind, frames[2:2+n])
				frames = frames[2+n:]
			}
			return nil
		})
		if _, _, _, err := backup.Check(&stream); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("a stream whose end mark cannot be right is told as %v", err)
		}
	})
}
