package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"stasis/store"
)

func limit(n int64) func(o *store.Options) { return func(o *store.Options) { o.MaxCacheSize = n } }

// four keeps four bodies of one chunk each, oldest first, under a limit that
// holds just these.
func (h *harness) four() [][]byte {
	h.t.Helper()
	h.start(limit(4 * chunk))
	var bodies [][]byte
	for i := range uint64(4) {
		bodies = append(bodies, random(400+i, chunk))
		h.put(bodies[i])
	}
	h.wantHeld(true, bodies...)
	return bodies
}

func (h *harness) touch(body []byte) {
	h.t.Helper()
	b, err := h.s.OpenBlob(store.SumDigest(body))
	if err != nil {
		h.t.Fatal(err)
	}
	b.Close()
}

func evictionOrder(t *testing.T, h *harness) {
	b := h.four()
	h.touch(b[0])
	h.put(random(410, 10))
	h.wantHeld(false, b[1])
	h.wantHeld(true, b[0], b[2], b[3])
	h.put(random(411, 2*chunk))
	h.wantHeld(false, b[1], b[2], b[3])
	h.wantHeld(true, b[0])
	if u := h.s.Usage(); u.Bytes > 4*chunk {
		t.Errorf("%d bytes are held, the limit is %d", u.Bytes, 4*chunk)
	}
	h.want(b[0])
	// Keeping a body again is a use of it.
	h.put(random(412, chunk))
	h.put(b[0])
	h.put(random(413, chunk))
	h.wantHeld(true, b[0])
}

func evictionOrderReopened(t *testing.T, h *harness) {
	b := h.four()
	h.touch(b[1])
	h.touch(b[0])
	h.start(limit(4 * chunk))
	h.put(random(420, chunk+1))
	h.wantHeld(false, b[2], b[3])
	h.wantHeld(true, b[0], b[1])
	h.start(limit(4 * chunk))
	h.put(random(421, chunk))
	h.wantHeld(false, b[1])
	h.wantHeld(true, b[0])
	// A smaller limit takes hold with the next body.
	h.start(limit(chunk))
	h.put(random(422, 10))
	h.wantHeld(false, b[0])
}

func evictedWhileRead(t *testing.T, h *harness) {
	s := h.start(limit(4 * chunk))
	body := random(430, 3*chunk+5)
	r, err := s.OpenBlob(h.put(body))
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 100)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	h.put(random(431, 3*chunk))
	h.wantHeld(false, body)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rest bytes.Buffer
	if _, err := r.WriteTo(&rest); err != nil || !bytes.Equal(append(head, rest.Bytes()...), body) {
		t.Errorf("reading an evicted body: %v, or other bytes", err)
	}
	// The same body may come back while the old one is still being read.
	h.put(body)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want(body)
	h.start(limit(4 * chunk))
	h.want(body)
}

func beyondLimit(t *testing.T, h *harness) {
	s := h.start(limit(4 * chunk))
	small := random(440, chunk)
	h.put(small)
	if _, err := s.CreateBlob(4*chunk + 1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("CreateBlob beyond the limit: got %v, want ErrNoSpace", err)
	}
	h.wantHeld(true, small)
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	body := random(441, 5*chunk)
	n, err := w.Write(body)
	if !errors.Is(err, store.ErrNoSpace) || n > 4*chunk {
		t.Errorf("Write beyond the limit: %d bytes, %v, want ErrNoSpace", n, err)
	}
	got := make([]byte, n)
	if m, err := w.ReadAt(got, 0); m != n || !bytes.Equal(got, body[:n]) {
		t.Errorf("what was written must stay readable: %d of %d bytes, %v", m, n, err)
	}
	if _, err := w.Commit(); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Commit after a failed Write: got %v, want ErrNoSpace", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if h.alerted("cache_limit") == 0 {
		t.Error("no alert tells of the limit")
	}
	h.put(random(442, 4*chunk))
}

func reservations(t *testing.T, h *harness) {
	s := h.start(limit(4 * chunk))
	old := random(450, 2*chunk)
	h.put(old)
	w, err := s.CreateBlob(3 * chunk)
	if err != nil {
		t.Fatal(err)
	}
	// How large it gets is hearsay: nothing is evicted for a promise.
	h.wantHeld(true, old)
	if _, err := s.CreateBlob(2 * chunk); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("promising more than there is: got %v, want ErrNoSpace", err)
	}
	if _, err := w.Write(random(451, 3*chunk)); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(false, old)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	w, err = s.CreateBlob(4 * chunk)
	if err != nil {
		t.Errorf("after the abort: %v", err)
	} else if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

func pins(t *testing.T, h *harness) {
	b := h.four()
	s := h.s
	if err := s.Pin("snapshot 1", store.SumDigest(b[0]), store.SumDigest(b[1])); err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.PinnedBytes != 2*chunk || u.Bytes != 2*chunk || u.PinnedBlobs != 2 || u.Blobs != 4 {
		t.Errorf("Usage: %+v", u)
	}
	// Pinned bytes do not count towards the limit.
	h.put(random(460, 4*chunk))
	h.wantHeld(true, b[0], b[1])
	h.wantHeld(false, b[2], b[3])
	h.want(b[0])
	if err := s.DeleteBlob(store.SumDigest(b[0])); !errors.Is(err, store.ErrPinned) {
		t.Errorf("DeleteBlob: got %v, want ErrPinned", err)
	}
	if !s.Pinned(store.SumDigest(b[0])) || s.Pinned(store.SumDigest(b[2])) {
		t.Error("Pinned does not tell pinned from unpinned")
	}
	if err := s.Unpin("snapshot 1"); err != nil {
		t.Fatal(err)
	}
	h.put(random(461, 4*chunk))
	h.wantHeld(false, b[0], b[1])
}

func pinOwners(t *testing.T, h *harness) {
	b := h.four()
	d := store.SumDigest(b[0])
	for _, owner := range []string{"one", "two", "one"} {
		if err := h.s.Pin(owner, d, d); err != nil {
			t.Fatal(err)
		}
	}
	h.start(limit(4 * chunk))
	if err := errors.Join(h.s.Unpin("one"), h.s.Unpin("never"), h.s.Unpin("on")); err != nil {
		t.Fatal(err)
	}
	h.put(random(470, 4*chunk))
	h.wantHeld(true, b[0])
	h.start(limit(4 * chunk))
	if u := h.s.Usage(); u.PinnedBytes != chunk {
		t.Errorf("%d bytes are pinned, want %d", u.PinnedBytes, chunk)
	}
	if err := h.s.Unpin("two"); err != nil {
		t.Fatal(err)
	}
	h.put(random(471, 4*chunk))
	h.wantHeld(false, b[0])
}

func pinLimit(t *testing.T, h *harness) {
	s := h.start(func(o *store.Options) { o.MaxPinnedSize = 2 * chunk })
	b := [][]byte{random(480, chunk), random(481, chunk), random(482, 1)}
	var d []store.Digest
	for _, body := range b {
		d = append(d, h.put(body))
	}
	if err := s.Pin("all", d...); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("pinning too much: got %v, want ErrNoSpace", err)
	}
	if u := s.Usage(); u.PinnedBytes != 0 {
		t.Errorf("a refused pin left %d bytes pinned", u.PinnedBytes)
	}
	if err := s.Pin("two", d[0], d[1]); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin("again", d[0]); err != nil {
		t.Errorf("pinning what is pinned needs no more bytes: %v", err)
	}
	if err := s.Pin("one more", d[2]); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("pinning past the limit: got %v, want ErrNoSpace", err)
	}
}

func deletes(t *testing.T, h *harness) {
	s := h.start()
	a, b := random(490, chunk+1), random(491, 100)
	da, db := h.put(a), h.put(b)
	if err := s.DeleteBlob(da); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenBlob(da); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenBlob: got %v, want fs.ErrNotExist", err)
	}
	h.start()
	h.wantHeld(false, a)
	h.want(b)
	h.put(a)
	h.want(a)
	if !h.s.HasBlob(db) {
		t.Error("another body is gone too")
	}
}

func purge(t *testing.T, h *harness) {
	b := h.four()
	if err := h.s.Pin("keep", store.SumDigest(b[2])); err != nil {
		t.Fatal(err)
	}
	w, err := h.s.CreateBlob(10)
	if err != nil {
		t.Fatal(err)
	}
	n, bytes, err := h.s.EvictAll()
	if err != nil || n != 3 || bytes != 3*chunk {
		t.Errorf("EvictAll: %d bodies, %d bytes, %v", n, bytes, err)
	}
	h.wantHeld(false, b[0], b[1], b[3])
	h.want(b[2])
	if _, err := w.Write([]byte("goes on")); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Errorf("a body being written is not purged: %v", err)
	}
}

// storm mixes everything with everything under a tight limit. What is read
// must be right; what is not held must be refetchable.
func storm(t *testing.T, h *harness) {
	s := h.start(limit(16 * chunk))
	var bodies [][]byte
	for i := range uint64(24) {
		bodies = append(bodies, random(500+i, int(i%5)*chunk/2+1000))
	}
	var wrong atomic.Int64
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for round := range 40 {
				body := bodies[(worker*7+round*5)%len(bodies)]
				got, err := get(s, store.SumDigest(body))
				switch {
				case errors.Is(err, fs.ErrNotExist):
					if _, err := put(s, body); err != nil && !errors.Is(err, store.ErrNoSpace) {
						t.Errorf("keep: %v", err)
					}
				case err != nil:
					t.Errorf("read: %v", err)
				case !bytes.Equal(got, body):
					wrong.Add(1)
				}
				if worker == 0 && round%10 == 0 {
					if err := s.Maintain(t.Context()); err != nil {
						t.Errorf("maintain: %v", err)
					}
				}
				if worker == 1 && round%15 == 0 {
					if _, _, err := s.EvictAll(); err != nil {
						t.Errorf("purge: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d reads delivered other bytes", n)
	}
	if h.alerted("corrupt") > 0 {
		t.Errorf("%d bodies were called damaged", h.alerted("corrupt"))
	}
	sum, err := s.Verify(t.Context(), func(p store.Problem) { t.Errorf("%s %s: %v", p.Kind, p.Subject, p.Err) })
	if err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.Bytes > 16*chunk || int64(u.Blobs) != sum.Blobs {
		t.Errorf("Usage %+v, verified %+v", u, sum)
	}
}
