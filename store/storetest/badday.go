package storetest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"

	"stasis/store"
)

func fullDisk(t *testing.T, h *harness) {
	s := h.start()
	body := random(600, chunk+1)
	d := h.put(body)
	h.setFree(100)
	for range 3 {
		if _, err := s.CreateBlob(-1); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("CreateBlob: got %v, want ErrNoSpace", err)
		}
	}
	table := store.Table[string]{Family: store.FamilyMeta, Name: "test"}
	err := s.Update(func(tx *store.Tx) error { return table.Put(tx, "v", "k") })
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Update: got %v, want ErrNoSpace", err)
	}
	if n := h.alerted("disk_full"); n != 1 {
		t.Errorf("%d alerts of a full disk, want 1", n)
	}
	h.want(body)
	if !s.Usage().Low {
		t.Error("Usage does not say that the disk is full")
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Errorf("Maintain on a full disk: %v", err)
	}
	// The folder opens again while the disk is full, and serves.
	s = h.start()
	h.want(body)
	// What frees space goes through.
	if err := s.Update(func(tx *store.Tx) error { return table.Delete(tx, "k") }); err != nil {
		t.Errorf("an update that only deletes: %v", err)
	}
	if err := s.DeleteBlob(d); err != nil {
		t.Errorf("DeleteBlob on a full disk: %v", err)
	}
	h.setFree(plenty)
	h.put(body)
	h.want(body)
	h.setFree(100)
	if _, err := s.CreateBlob(-1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("CreateBlob: got %v, want ErrNoSpace", err)
	}
	if n := h.alerted("disk_full"); n < 2 {
		t.Error("a disk that fills up again is not alerted again")
	}
}

func fillingDisk(t *testing.T, h *harness) {
	s := h.start()
	w, err := s.CreateBlob(-1)
	if err != nil {
		t.Fatal(err)
	}
	body := random(601, 6*chunk)
	if _, err := w.Write(body[:2*chunk+10]); err != nil {
		t.Fatal(err)
	}
	h.setFree(1 << 20)
	n, err := w.Write(body[2*chunk+10:])
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("Write: %d bytes, %v, want ErrNoSpace", n, err)
	}
	got := make([]byte, 2*chunk)
	if _, err := w.ReadAt(got, 0); err != nil {
		t.Errorf("what was written must stay readable: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("Abort: %v", err)
	}
	h.wantHeld(false, body)
	h.setFree(plenty)
	h.put(body)
}

// wantDamage reads a damaged body in every way there is. Whatever is delivered
// before the error must be right.
func (h *harness) wantDamage(body []byte) {
	h.t.Helper()
	d := store.SumDigest(body)
	got, err := get(h.s, d)
	if !errors.Is(err, store.ErrCorrupt) {
		h.t.Fatalf("reading a damaged body: got %d bytes and %v, want ErrCorrupt", len(got), err)
	}
	if string(got) != string(body[:len(got)]) {
		h.t.Fatal("bytes were delivered that are not those of the body")
	}
	if h.s.HasBlob(d) {
		h.t.Error("the damaged body is still held")
	}
	if _, err := h.s.OpenBlob(d); !errors.Is(err, fs.ErrNotExist) {
		h.t.Errorf("OpenBlob after damage: got %v, want fs.ErrNotExist", err)
	}
	if h.alerted("corrupt") != 1 {
		h.t.Errorf("%d alerts of damage, want 1", h.alerted("corrupt"))
	}
	h.alerts = nil
	h.put(body)
	h.want(body)
}

func damage(t *testing.T, h *harness) {
	h.start()
	body, other := random(610, 2*chunk+100), random(611, chunk)
	h.put(other)
	d := h.put(body)
	if err := h.s.Pin("someone", d); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.damageFile(body, chunk+5)
	h.start()
	h.want(other)
	h.wantDamage(body)
	// The pin outlives the damage: it is about the digest.
	if err := h.s.DeleteBlob(d); !errors.Is(err, store.ErrPinned) {
		t.Errorf("DeleteBlob of what came back: got %v, want ErrPinned", err)
	}
	h.start()
	h.want(body)
	if u := h.s.Usage(); u.PinnedBytes != int64(len(body)) {
		t.Errorf("%d bytes are pinned, want %d", u.PinnedBytes, len(body))
	}
}

func damageAnywhere(t *testing.T, h *harness) {
	h.start()
	body := random(620, chunk+2000)
	h.put(body)
	for _, off := range []int{0, 1, 1000, chunk - 64, chunk, len(body) - 64, len(body) - 1} {
		h.stop()
		h.damageFile(body, off)
		h.start()
		h.wantDamage(body)
	}
	// Also while it is open, and read in small pieces.
	r, err := h.s.OpenBlob(store.SumDigest(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h.damageFile(body, chunk+1000)
	got, err := io.ReadAll(io.LimitReader(r, int64(len(body))))
	if !errors.Is(err, store.ErrCorrupt) || string(got) != string(body[:len(got)]) {
		t.Errorf("reading a body that is damaged meanwhile: %d bytes, %v, want ErrCorrupt", len(got), err)
	}
}

func truncated(t *testing.T, h *harness) {
	h.start()
	body := random(630, 2*chunk+5000)
	h.put(body)
	h.stop()
	h.editFile(body[2*chunk:2*chunk+64], func(f *os.File, at int64) error { return f.Truncate(at + 10) })
	h.start()
	h.wantDamage(body)
}

func verifyFindsDamage(t *testing.T, h *harness) {
	h.start()
	bodies := [][]byte{random(640, 100_000), random(641, 3*chunk), random(642, chunk+500)}
	for _, b := range bodies {
		h.put(b)
	}
	h.stop()
	h.damageFile(bodies[2], chunk)
	s := h.start()
	var found []store.Problem
	sum, err := s.Verify(t.Context(), func(p store.Problem) { found = append(found, p) })
	if err != nil || sum.Problems != 1 || len(found) != 1 || sum.Blobs != 3 {
		t.Fatalf("Verify: %+v, %v, %v", sum, found, err)
	}
	if p := found[0]; p.Kind != "blob" || p.Subject != store.SumDigest(bodies[2]).String() || !errors.Is(p.Err, store.ErrCorrupt) {
		t.Errorf("Verify found %s %s: %v", p.Kind, p.Subject, p.Err)
	}
	h.wantHeld(false, bodies[2])
	h.wantHeld(true, bodies[0], bodies[1])
	h.put(bodies[2])
	if sum, err := s.Verify(t.Context(), nil); err != nil || sum.Problems != 0 {
		t.Errorf("Verify after the body came back: %+v, %v", sum, err)
	}
}
