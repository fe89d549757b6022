//go:build unix

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"stasis/integration/promise"
	"stasis/store"
)

// TestFlippedBytes flips one byte anywhere in a data folder and then reads
// everything. Nothing may come out that was not put in, and nothing may end
// the process: a record is right, missing or ErrCorrupt, and a folder whose
// facts cannot be trusted is refused with ErrCorrupt.
func TestFlippedBytes(t *testing.T) {
	rounds := promise.Rounds(t, 40, 500)
	if testing.Short() {
		rounds = 8
	}
	if n := os.Getenv("STORE_TEST_FLIPS"); n != "" {
		if _, err := fmt.Sscan(n, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		t.Run(driver, func(t *testing.T) {
			whole := t.TempDir()
			s := open(t, store.Options{Path: whole, Archives: driver, MaxCacheSize: 16 << 20})
			bodies := map[store.Digest][]byte{}
			for n := range 30 {
				body := childBody(9, n)
				d, err := keep(s, body)
				if err != nil {
					t.Fatal(err)
				}
				bodies[d] = body
				update(t, s, func(tx *store.Tx) error {
					doc := bytes.Repeat(fmt.Append(nil, "document ", n, " "), 10*n)
					d, err := tx.PutDocument(doc)
					if err != nil {
						return err
					}
					bodies[d] = doc
					return notes.Put(tx, note{"a record", n}, "n", store.SeqKey(uint64(n)))
				})
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, uint64(rounds)))
			for round := range rounds {
				folder := filepath.Join(t.TempDir(), "copy")
				if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				where := flip(t, folder, r)
				s, err := store.Open(t.Context(), store.Options{Path: folder, Archives: driver, MaxCacheSize: 16 << 20})
				if err != nil {
					if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrSchema) {
						t.Errorf("round %d, %s: open: %v", round, where, err)
					}
					continue
				}
				wrong := readAll(t, s, bodies)
				if err := s.Maintain(t.Context()); err != nil {
					t.Logf("round %d, %s: maintain: %v", round, where, err)
				}
				if _, err := s.Verify(t.Context(), nil); err != nil {
					t.Errorf("round %d, %s: verify: %v", round, where, err)
				}
				if err := s.Close(); err != nil {
					t.Logf("round %d, %s: close: %v", round, where, err)
				}
				if wrong > 0 {
					t.Errorf("round %d, %s: %d reads delivered what was not put in", round, where, wrong)
				}
				if err := os.RemoveAll(folder); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// flip changes one byte of one file; files count by their size.
func flip(t *testing.T, folder string, r *rand.Rand) string {
	t.Helper()
	type file struct {
		name string
		size int64
	}
	var files []file
	var sum int64
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "BALLAST" || e.Name() == "DISCARD" {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > 0 {
			// Small files get their share too.
			files = append(files, file{name, info.Size()})
			sum += min(info.Size(), 20_000)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at := r.Int64N(sum)
	for _, f := range files {
		share := min(f.size, 20_000)
		if at >= share {
			at -= share
			continue
		}
		at = r.Int64N(f.size)
		h, err := os.OpenFile(f.name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		var b [1]byte
		if _, err := h.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= byte(1 + r.IntN(255))
		if _, err := h.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s at %d of %d", f.name[len(folder):], at, f.size)
	}
	return ""
}

// readAll reads everything and counts what is neither right nor refused.
func readAll(t *testing.T, s *store.Store, bodies map[store.Digest][]byte) (wrong int) {
	t.Helper()
	refused := func(err error) bool {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt)
	}
	view(t, s, func(tx *store.Tx) error {
		for d, body := range bodies {
			if got, err := tx.Document(d); !(err == nil && bytes.Equal(got, body)) && !refused(err) {
				t.Logf("document %s: %v", d, err)
				wrong++
			}
		}
		for n := range 30 {
			v, err := notes.Get(tx, "n", store.SeqKey(uint64(n)))
			if !(err == nil && v == note{"a record", n}) && !refused(err) {
				t.Logf("record %d: %+v, %v", n, v, err)
				wrong++
			}
		}
		err := notes.Scan(tx, nil, func(key []string, v note) error {
			if (v != note{"a record", v.N}) || store.SeqKey(uint64(v.N)) != key[1] {
				t.Logf("record %q: %+v", key, v)
				wrong++
			}
			return nil
		})
		if err != nil && !refused(err) {
			t.Logf("scan: %v", err)
			wrong++
		}
		return nil
	})
	for d, body := range bodies {
		b, err := s.OpenBlob(d)
		if err != nil {
			if !refused(err) {
				t.Logf("open %s: %v", d, err)
				wrong++
			}
			continue
		}
		got, err := io.ReadAll(b)
		if !bytes.HasPrefix(body, got) || (err == nil && len(got) != len(body)) || (err != nil && !refused(err)) {
			t.Logf("read %s: %d bytes, %v", d, len(got), err)
			wrong++
		}
		b.Close()
	}
	return wrong
}
