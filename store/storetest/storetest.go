// Package storetest states what every driver of archive bodies must do, as a
// suite that each driver's tests run. It owns the contract of store.Blob and
// store.BlobWriter in executable form; what facts and documents promise is
// tested in package store itself.
package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stasis/store"
)

// Open opens a store with the driver under test. The suite sets the folder and
// the options it needs and closes what it opened.
type Open func(o store.Options) (*store.Store, error)

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, h *harness)
	}{
		{"what is not held is not found", notFound},
		{"bodies of all sizes come back as they were", roundTrips},
		{"ranges and seeks deliver what the body has there", ranges},
		{"an uncommitted body is invisible", uncommitted},
		{"an aborted body leaves nothing", aborted},
		{"a crash before commit leaves nothing", crashLeftovers},
		{"one body written by many is kept once", sameContent},
		{"many bodies written at once are all kept", manyWriters},
		{"readers follow the writer", follow},
		{"readers go on after the commit", followPastCommit},
		{"a wrong size hint does no harm", wrongHints},
		{"bodies survive reopening", reopen},
		{"the least recently used body goes first", evictionOrder},
		{"recency survives reopening", evictionOrderReopened},
		{"an evicted body stays readable for who reads it", evictedWhileRead},
		{"a body beyond the limit is refused", beyondLimit},
		{"bodies being written count towards the limit", reservations},
		{"pinned bodies are neither evicted nor deleted", pins},
		{"pins survive reopening and end with their last owner", pinOwners},
		{"pins respect their limit", pinLimit},
		{"deleting removes the body", deletes},
		{"purging everything spares what is pinned", purge},
		{"a full disk refuses writes and serves reads", fullDisk},
		{"a disk that fills up during a write refuses the rest", fillingDisk},
		{"damage is never delivered", damage},
		{"damage anywhere in a body is found", damageAnywhere},
		{"a missing end is found", truncated},
		{"verifying finds damage", verifyFindsDamage},
		{"reading, writing and evicting at once", storm},
		{"a closed store says so", closed},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, &harness{t: t, open: open, path: t.TempDir()}) })
	}
}

// harness is one data folder and the clock, disk and alerts of its store.
type harness struct {
	t    *testing.T
	open Open
	path string
	s    *store.Store

	mu     sync.Mutex
	now    time.Time
	free   int64
	alerts []string
}

const plenty = int64(1) << 40

// start opens the folder, again if it was open.
func (h *harness) start(change ...func(o *store.Options)) *store.Store {
	h.t.Helper()
	if h.s != nil {
		h.stop()
	} else {
		h.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		h.free = plenty
	}
	o := store.Options{
		Path: h.path, MaxCacheSize: 1 << 30, MinFreeSpace: 1 << 20,
		Now: h.tick, FreeSpace: h.freeSpace, Alert: h.alert,
	}
	for _, c := range change {
		c(&o)
	}
	s, err := h.open(o)
	if err != nil {
		h.t.Fatalf("open %s: %v", h.path, err)
	}
	h.s = s
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Errorf("close: %v", err)
		}
	})
	return s
}

func (h *harness) stop() {
	h.t.Helper()
	if err := h.s.Close(); err != nil {
		h.t.Fatalf("close: %v", err)
	}
}

// tick is a clock that moves on by a second whenever it is looked at.
func (h *harness) tick() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(time.Second)
	return h.now
}

func (h *harness) freeSpace(string) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.free, nil
}

func (h *harness) setFree(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = n
}

func (h *harness) alert(kind, _, _ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alerts = append(h.alerts, kind)
}

func (h *harness) alerted(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, a := range h.alerts {
		if a == kind {
			n++
		}
	}
	return n
}

// put keeps a body and returns its digest.
func (h *harness) put(body []byte) store.Digest {
	h.t.Helper()
	d, err := put(h.s, body)
	if err != nil {
		h.t.Fatalf("keep %d bytes: %v", len(body), err)
	}
	if want := store.SumDigest(body); d != want {
		h.t.Fatalf("keep %d bytes: got digest %s, want %s", len(body), d, want)
	}
	return d
}

func put(s *store.Store, body []byte) (store.Digest, error) {
	w, err := s.CreateBlob(int64(len(body)))
	if err != nil {
		return store.Digest{}, err
	}
	if _, err := w.Write(body); err != nil {
		w.Abort() //nolint:errcheck // the first error is the one that counts
		return store.Digest{}, err
	}
	d, err := w.Commit()
	if err != nil {
		w.Abort() //nolint:errcheck // the first error is the one that counts
	}
	return d, err
}

// get reads a whole body.
func get(s *store.Store, d store.Digest) ([]byte, error) {
	b, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var buf bytes.Buffer
	_, err = b.WriteTo(&buf)
	return buf.Bytes(), err
}

// want fails unless the body under its digest is body.
func (h *harness) want(body []byte) {
	h.t.Helper()
	got, err := get(h.s, store.SumDigest(body))
	if err != nil {
		h.t.Fatalf("read %d bytes: %v", len(body), err)
	}
	if !bytes.Equal(got, body) {
		h.t.Fatalf("read %d bytes: got %d other bytes", len(body), len(got))
	}
}

func (h *harness) wantHeld(held bool, bodies ...[]byte) {
	h.t.Helper()
	for i, b := range bodies {
		if got := h.s.HasBlob(store.SumDigest(b)); got != held {
			h.t.Errorf("body %d: held is %v, want %v", i, got, held)
		}
	}
}

// random returns n bytes that do not compress, the same for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 7})
	r.Read(b) //nolint:errcheck // never fails
	return b
}

// damageFile flips one bit of the byte at off of a body, in whatever file of the folder holds it.
func (h *harness) damageFile(body []byte, off int) {
	h.t.Helper()
	first := off / chunk * chunk // drivers may keep chunks apart
	end := min(first+chunk, len(body))
	start := max(min(off, end-64), first)
	needle := body[start:min(start+64, end)]
	h.editFile(needle, func(f *os.File, at int64) error {
		_, err := f.WriteAt([]byte{body[off] ^ 0x10}, at+int64(off-start))
		return err
	})
}

// editFile calls edit for the one file that holds needle.
func (h *harness) editFile(needle []byte, edit func(f *os.File, at int64) error) {
	h.t.Helper()
	found := false
	err := filepath.WalkDir(h.path, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a compaction took it meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		content, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		if at := bytes.Index(content, needle); at >= 0 {
			found = true
			return edit(f, int64(at))
		}
		return nil
	})
	if err != nil {
		h.t.Fatalf("damage the folder: %v", err)
	}
	if !found {
		h.t.Fatalf("no file below %s holds the bytes to be damaged", h.path)
	}
}
