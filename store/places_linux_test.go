package store_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/store"
)

// socket takes what a connection would: bytes, or a file for the kernel to send.
type socket struct {
	bytes.Buffer
	files int64 // bytes that came as files
}

func (s *socket) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if f, ok := l.R.(*os.File); ok {
			n, err := io.CopyN(&s.Buffer, f, l.N)
			if errors.Is(err, io.EOF) {
				err = nil // as sendfile
			}
			s.files += n
			return n, err
		}
	}
	return s.Buffer.ReadFrom(r)
}

// send reads a body the way a server does.
func send(t *testing.T, s *store.Store, d store.Digest) (*socket, error) {
	t.Helper()
	b, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	out := &socket{}
	_, err = b.WriteTo(out)
	return out, err
}

const severalChunks = 5<<18 + 1234

func TestCheckedChunksAreSentByTheKernel(t *testing.T) {
	// The folder has another name as well, as a mounted one may.
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, store.Options{Path: link, Archives: store.DriverBadger})
	body := noise(severalChunks)
	d, err := keep(s, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range []int64{0, severalChunks, severalChunks} { // checked, then trusted
		out, err := send(t, s, d)
		if err != nil || !bytes.Equal(out.Bytes(), body) {
			t.Fatalf("%d other bytes, %v", out.Len(), err)
		}
		if out.files != files {
			t.Errorf("%d of %d bytes were left to the kernel, want %d", out.files, severalChunks, files)
		}
	}
	b, err := s.OpenBlob(d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Seek(300_000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	out := &socket{}
	if _, err := b.WriteTo(out); err != nil || !bytes.Equal(out.Bytes(), body[300_000:]) || out.files == 0 {
		t.Errorf("from the middle of a chunk: %d bytes, %d by the kernel, %v", out.Len(), out.files, err)
	}
}

// TestDamageBehindOurBackIsNoticed flips a byte of a body that was checked and
// is trusted, in the file of a running store.
func TestDamageBehindOurBackIsNoticed(t *testing.T) {
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder, Archives: store.DriverBadger})
	body := noise(severalChunks)
	d, err := keep(s, body)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := send(t, s, d); err != nil {
			t.Fatal(err)
		}
	}
	flipIn(t, filepath.Join(folder, "archives"), body[severalChunks-100:severalChunks-50])
	out, err := send(t, s, d)
	if !errors.Is(err, store.ErrCorrupt) || !bytes.HasPrefix(body, out.Bytes()) {
		t.Errorf("%d bytes, %v, want ErrCorrupt and none that are wrong", out.Len(), err)
	}
	if s.HasBlob(d) {
		t.Error("the damaged body is still held")
	}
}

// flipIn changes a byte of the one place in a folder's value log that has part.
func flipIn(t *testing.T, folder string, part []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(content, part)
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{^part[0]}, int64(at)); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the bytes are in no file")
}

// TestBodiesMoveWhileTheyAreTrusted reads bodies again and again while others
// go away and the value log is collected under them, and then looks for files
// that are open although they are gone.
func TestBodiesMoveWhileTheyAreTrusted(t *testing.T) {
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder, Archives: store.DriverBadger, MaxCacheSize: 64 << 20})
	var kept, passing []store.Digest
	bodies := map[store.Digest][]byte{}
	for n := range 60 {
		body := noise(400_000)
		body[0], body[1] = byte(n), 1
		d, err := keep(s, body)
		if err != nil {
			t.Fatal(err)
		}
		if n%10 == 0 {
			kept = append(kept, d)
			bodies[d] = body
		} else {
			passing = append(passing, d)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, d := range kept {
			if out, err := send(t, s, d); err != nil || !bytes.Equal(out.Bytes(), bodies[d]) {
				t.Fatalf("%s: %d other bytes, %v", when, out.Len(), err)
			}
		}
	}
	for range 3 {
		check("at first")
	}
	before, _ := filepath.Glob(filepath.Join(folder, "archives", "*.vlog"))
	for _, d := range passing {
		if err := s.DeleteBlob(d); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("after collecting")
	}
	gone := 0
	for _, name := range before {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			gone++
		}
	}
	if gone == 0 {
		t.Fatalf("none of %d files was collected", len(before))
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range open {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if strings.Contains(target, ".vlog") && strings.HasSuffix(target, "(deleted)") {
			t.Errorf("%s is still open", target)
		}
	}
}
