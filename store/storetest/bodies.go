package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/iotest"

	"stasis/store"
)

const chunk = 256 << 10

func notFound(t *testing.T, h *harness) {
	s := h.start()
	d := store.SumDigest([]byte("nobody has this"))
	if s.HasBlob(d) {
		t.Error("HasBlob is true")
	}
	if _, err := s.OpenBlob(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenBlob: got %v, want fs.ErrNotExist", err)
	}
	if err := s.DeleteBlob(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("DeleteBlob: got %v, want fs.ErrNotExist", err)
	}
	if err := s.Pin("someone", d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Pin: got %v, want fs.ErrNotExist", err)
	}
}

// sizes stand on both sides of every boundary.
func sizes() []int {
	return []int{0, 1, 9, 100, 1023, 1024, 1025, 4096, 65535, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 5*chunk + 17}
}

func roundTrips(t *testing.T, h *harness) {
	s := h.start()
	var total int64
	for i, n := range sizes() {
		body := random(uint64(i), n)
		d := h.put(body)
		h.want(body)
		b, err := s.OpenBlob(d)
		if err != nil {
			t.Fatal(err)
		}
		if b.Size() != int64(n) {
			t.Errorf("Size: got %d, want %d", b.Size(), n)
		}
		if err := iotest.TestReader(b, body); err != nil {
			t.Errorf("reading %d bytes: %v", n, err)
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if _, err := b.ReadAt(make([]byte, 1), 0); n > 0 && !errors.Is(err, os.ErrClosed) {
			t.Errorf("reading after Close: got %v, want os.ErrClosed", err)
		}
		total += int64(n)
	}
	if u := s.Usage(); u.Blobs != len(sizes()) || u.Bytes != total {
		t.Errorf("Usage: got %d bodies of %d bytes, want %d of %d", u.Blobs, u.Bytes, len(sizes()), total)
	}
}

func ranges(t *testing.T, h *harness) {
	s := h.start()
	body := random(1, 3*chunk+1000)
	b, err := s.OpenBlob(h.put(body))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, r := range [][2]int{{0, 1}, {0, chunk}, {chunk - 1, 2}, {chunk, chunk}, {10, 3 * chunk}, {3*chunk + 999, 1}} {
		got := make([]byte, r[1])
		if _, err := b.ReadAt(got, int64(r[0])); err != nil || !bytes.Equal(got, body[r[0]:r[0]+r[1]]) {
			t.Errorf("ReadAt %v: %v, or other bytes", r, err)
		}
		if _, err := b.Seek(int64(r[0]), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var rest bytes.Buffer
		if n, err := b.WriteTo(&rest); err != nil || n != int64(len(body)-r[0]) || !bytes.Equal(rest.Bytes(), body[r[0]:]) {
			t.Errorf("WriteTo from %d: %d bytes, %v", r[0], n, err)
		}
	}
	if _, err := b.ReadAt(make([]byte, 1), int64(len(body))); !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt the end: got %v, want io.EOF", err)
	}
	if _, err := b.Seek(-1, io.SeekStart); err == nil {
		t.Error("seeking before the start is no error")
	}
	if at, err := b.Seek(-5, io.SeekEnd); err != nil || at != int64(len(body)-5) {
		t.Errorf("Seek from the end: %d, %v", at, err)
	}
}

func uncommitted(t *testing.T, h *harness) {
	s := h.start()
	body := random(2, 2*chunk+5)
	w, err := s.CreateBlob(int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(false, body)
	if u := s.Usage(); u.Blobs != 0 {
		t.Errorf("Usage counts %d bodies", u.Blobs)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

func aborted(t *testing.T, h *harness) {
	s := h.start()
	body := random(3, 2*chunk+5)
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Errorf("aborting twice: %v", err)
	}
	if _, err := w.Commit(); err == nil {
		t.Error("Commit after Abort is no error")
	}
	if _, err := w.Write(body); err == nil {
		t.Error("Write after Abort is no error")
	}
	if _, err := w.ReadAt(make([]byte, 1), 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("ReadAt after Abort: got %v, want an error", err)
	}
	h.wantHeld(false, body)
	d := h.put(body)
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if !s.HasBlob(d) {
		t.Error("a late Abort removed another writer's body")
	}
}

// crashLeftovers reopens without ending the writer, which is what a killed
// process leaves.
func crashLeftovers(t *testing.T, h *harness) {
	s := h.start()
	kept, lost := random(4, chunk+1), random(5, 20*chunk)
	h.put(kept)
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(lost); err != nil {
		t.Fatal(err)
	}
	s = h.start()
	h.wantHeld(false, lost)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want(kept)
	if u := s.Usage(); u.Blobs != 1 || u.Bytes != int64(len(kept)) {
		t.Errorf("Usage after the crash: %+v", u)
	}
	// Space of removed chunks comes back when Badger collects; the next start
	// must not find them as bodies or leftovers again.
	s = h.start()
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum, err := s.Verify(t.Context(), func(p store.Problem) { t.Errorf("%s %s: %v", p.Kind, p.Subject, p.Err) })
	if err != nil || sum.Blobs != 1 {
		t.Errorf("Verify: %+v, %v", sum, err)
	}
}

func sameContent(t *testing.T, h *harness) {
	s := h.start()
	body := random(6, 3*chunk+3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d, err := put(s, body); err != nil || d != store.SumDigest(body) {
				t.Errorf("keep: %s, %v", d, err)
			}
		})
	}
	wg.Wait()
	if u := s.Usage(); u.Blobs != 1 || u.Bytes != int64(len(body)) {
		t.Errorf("Usage: %d bodies of %d bytes, want 1 of %d", u.Blobs, u.Bytes, len(body))
	}
	h.want(body)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want(body)
	h.start()
	h.want(body)
}

func manyWriters(t *testing.T, h *harness) {
	s := h.start()
	var wg sync.WaitGroup
	for i := range uint64(16) {
		wg.Go(func() {
			body := random(100+i, int(i)*40_000+1)
			if _, err := put(s, body); err != nil {
				t.Errorf("keep: %v", err)
			}
			if got, err := get(s, store.SumDigest(body)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("read back %d bytes: %d, %v", len(body), len(got), err)
			}
		})
	}
	wg.Wait()
	if n := s.Usage().Blobs; n != 16 {
		t.Errorf("got %d bodies, want 16", n)
	}
}

// follow lets readers keep up with a writer by a channel that is closed and
// replaced at every write, as a download shared by many clients does.
func follow(t *testing.T, h *harness) {
	s := h.start()
	body := random(7, 4*chunk+100)
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	grown, ended := make(chan struct{}), false
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			var got []byte
			buf := make([]byte, 1000+reader*50_000)
			for {
				mu.Lock()
				wait, last := grown, ended
				mu.Unlock()
				n, err := w.ReadAt(buf, int64(len(got)))
				got = append(got, buf[:n]...)
				if err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("reader %d at %d: %v", reader, len(got), err)
					return
				}
				if n > 0 {
					continue
				}
				if last {
					break
				}
				<-wait
			}
			if !bytes.Equal(got, body) {
				t.Errorf("reader %d got %d bytes, which are not the %d written", reader, len(got), len(body))
			}
		})
	}
	for off := 0; off < len(body); {
		n := min(len(body)-off, 33_333)
		if _, err := w.Write(body[off : off+n]); err != nil {
			t.Fatal(err)
		}
		off += n
		if w.Size() != int64(off) {
			t.Errorf("Size: got %d, want %d", w.Size(), off)
		}
		mu.Lock()
		close(grown)
		grown = make(chan struct{})
		mu.Unlock()
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	ended = true
	close(grown)
	mu.Unlock()
	wg.Wait()
}

func followPastCommit(t *testing.T, h *harness) {
	s := h.start()
	body := random(8, 2*chunk+7)
	for range 2 { // the second body is dropped for the first
		w, err := s.CreateBlob(int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(body))
		if n, err := w.ReadAt(got, 0); n != len(body) || !bytes.Equal(got, body) {
			t.Errorf("ReadAt after Commit: %d bytes, %v", n, err)
		}
		if n, err := w.ReadAt(got, int64(len(body))-3); n != 3 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt the end after Commit: %d bytes, %v", n, err)
		}
		if w.Size() != int64(len(body)) {
			t.Errorf("Size after Commit: %d", w.Size())
		}
		if err := w.Abort(); err != nil {
			t.Errorf("Abort after Commit: %v", err)
		}
		h.want(body)
	}
}

func wrongHints(t *testing.T, h *harness) {
	s := h.start()
	for i, hint := range []int64{-1, 0, 1, 10 * chunk} {
		body := random(uint64(200+i), chunk+11)
		w, err := s.CreateBlob(hint)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		h.want(body)
	}
	// Whatever was promised and not used can be used by another.
	if _, err := s.CreateBlob(1 << 30); err != nil {
		t.Errorf("reserve the whole limit: %v", err)
	}
}

func reopen(t *testing.T, h *harness) {
	h.start()
	var bodies [][]byte
	for i, n := range sizes() {
		bodies = append(bodies, random(uint64(300+i), n))
		h.put(bodies[i])
	}
	before := h.s.Usage()
	h.start()
	for _, b := range bodies {
		h.want(b)
	}
	if u := h.s.Usage(); u.Blobs != before.Blobs || u.Bytes != before.Bytes {
		t.Errorf("Usage after reopening: %+v, before: %+v", u, before)
	}
}

func closed(t *testing.T, h *harness) {
	s := h.start()
	body := random(9, chunk+1)
	d := h.put(body)
	b, err := s.OpenBlob(d)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	_, openErr := s.OpenBlob(d)
	_, createErr := s.CreateBlob(-1)
	_, readErr := b.ReadAt(make([]byte, 1), 0)
	_, writeErr := w.Write(body)
	_, commitErr := w.Commit()
	for what, err := range map[string]error{"OpenBlob": openErr, "CreateBlob": createErr, "ReadAt": readErr, "Write": writeErr, "Commit": commitErr,
		"Pin": s.Pin("x", d), "DeleteBlob": s.DeleteBlob(d), "Maintain": s.Maintain(t.Context()),
		"View": s.View(func(*store.Tx) error { return nil }), "Update": s.Update(func(*store.Tx) error { return nil })} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing a body after the store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}
