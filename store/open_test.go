package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/store"
)

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	if _, err := store.Open(t.Context(), store.Options{}); err == nil {
		t.Error("opening without a folder is no error")
	}
	if _, err := store.Open(t.Context(), store.Options{Path: t.TempDir(), Archives: "tape"}); err == nil || !strings.Contains(err.Error(), `"tape"`) {
		t.Errorf("opening with an unknown driver: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Options{Path: file}); err == nil {
		t.Error("opening a file is no error")
	}
}

func TestOtherFormats(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a newer one", fmt.Sprintf("stasis store %d\n", store.FormatVersion+1), "written by a newer version"},
		{"an unknown one", "something else", "does not hold a data folder of this program"},
		{"an older one", "stasis store 0", "does not hold a data folder of this program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "FORMAT"), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(t.Context(), store.Options{Path: folder})
			if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), folder) {
				t.Errorf("got %v, want ErrSchema that says %q of %s", err, c.want, folder)
			}
			if entries, err := os.ReadDir(folder); err != nil || len(entries) > 2 {
				t.Errorf("the folder was changed: %v, %v", entries, err)
			}
		})
	}
}

func TestOtherDriverIsRefusedUntilItsArchivesAreGone(t *testing.T) {
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder, Archives: store.DriverBadger})
	if _, err := keep(s, []byte("an archive")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Options{Path: folder, Archives: store.DriverFiles})
	if err == nil || !strings.Contains(err.Error(), "keeps 1 archives in the other driver") {
		t.Fatalf("got %v", err)
	}
	s = open(t, store.Options{Path: folder, Archives: store.DriverBadger})
	if _, _, err := s.EvictAll(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, store.Options{Path: folder, Archives: store.DriverFiles})
}

// A table that was cut short or damaged at its end must be answered, not met
// with a panic.
func TestDamagedTables(t *testing.T) {
	for _, database := range []string{"facts", "archives"} {
		for _, how := range []string{"cut short", "emptied", "removed", "flipped in its index", "flipped in its last byte"} {
			t.Run(database+" "+how, func(t *testing.T) {
				folder := t.TempDir()
				s := open(t, store.Options{Path: folder})
				body := make([]byte, 1000)
				d, err := keep(s, body)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Pin("x", d); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil { // which turns the memtables into tables
					t.Fatal(err)
				}
				damageTables(t, filepath.Join(folder, database), how)
				alerts := 0
				s, err = store.Open(t.Context(), store.Options{Path: folder, Alert: func(kind, _, _ string) { alerts++ }})
				if database == "facts" {
					if !errors.Is(err, store.ErrCorrupt) {
						t.Fatalf("got %v, want ErrCorrupt", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if s.HasBlob(d) || alerts != 1 {
					t.Errorf("archives must be forgotten with one alert: held %v, %d alerts", s.HasBlob(d), alerts)
				}
				if again, err := keep(s, body); err != nil || again != d || !s.Pinned(d) {
					t.Errorf("keep it again: %v, pinned %v", err, s.Pinned(d))
				}
				if sum, err := s.Verify(t.Context(), nil); err != nil || sum.Problems != 0 || sum.Blobs != 1 {
					t.Errorf("Verify: %+v, %v", sum, err)
				}
			})
		}
	}
}

// One bad block in the facts must not make the store forget, and then sweep,
// archives whose records are in good ones.
func TestOneBadBlockOfFacts(t *testing.T) {
	const n, size = 2000, 100
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder})
	if err := s.FillBlobs(n, size); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(folder, "facts", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 4
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	alerts := 0
	s = open(t, store.Options{Path: folder, Alert: func(kind, _, _ string) { alerts++ }})
	held := s.Usage().Blobs
	if held >= n || held < n*95/100 || alerts == 0 {
		t.Fatalf("%d of %d archives are held, with %d alerts", held, n, alerts)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.CountChunks(); got != n {
		t.Errorf("%d chunks are left of %d", got, n)
	}
	told := false
	if _, err := s.Verify(t.Context(), func(p store.Problem) { told = told || p.Kind == "database" && p.Subject == "facts" }); err != nil || !told {
		t.Errorf("Verify tells of the table: %v, %v", told, err)
	}
}

func damageTables(t *testing.T, dir, how string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables in %s: %v", dir, err)
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch how {
		case "cut short":
			b = b[:len(b)*2/3]
		case "emptied":
			b = nil
		case "removed":
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			continue
		case "flipped in its index":
			b[len(b)-40] ^= 1
		case "flipped in its last byte":
			b[len(b)-1] ^= 0x80
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzTableCheckNeverPanics(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("index\x00\x00\x00\x05\x08\x00\x10\x07\x00\x00\x00\x04"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "000001.sst")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := store.CheckTable(name); err == nil {
			t.Error("made-up bytes pass for a table")
		}
	})
}

func TestBallast(t *testing.T) {
	folder := t.TempDir()
	var mu sync.Mutex
	free := int64(1) << 40
	o := store.Options{Path: folder, MaxCacheSize: 1 << 30, MinFreeSpace: 1 << 20, FreeSpace: func(string) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		return free, nil
	}}
	set := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		free = n
	}
	ballast := func() int64 {
		info, err := os.Stat(filepath.Join(folder, "BALLAST"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	s := open(t, o)
	if got := ballast(); got != 32<<20 {
		t.Errorf("the ballast has %d bytes, want %d", got, 32<<20)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	set(1000)
	s = open(t, o)
	if got := ballast(); got != 0 {
		t.Errorf("on a full disk there are %d bytes of ballast", got)
	}
	if err := s.Maintain(t.Context()); err != nil || ballast() != 0 {
		t.Errorf("the ballast came back while the disk is full: %v", err)
	}
	set(1 << 40)
	if err := s.Maintain(t.Context()); err != nil || ballast() != 32<<20 {
		t.Errorf("the ballast did not come back: %d bytes, %v", ballast(), err)
	}
}

// Recency is written at most hourly while running, so a kill loses little of
// it, and hits cost no writes.
func TestRecencySurvivesAKill(t *testing.T) {
	folder := t.TempDir()
	var mu sync.Mutex
	now := someDay
	later := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	o := store.Options{Path: folder, MaxCacheSize: 4000, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}}
	s := open(t, o)
	var ds []store.Digest
	for i := range 4 {
		body := make([]byte, 1000)
		body[0] = byte(i)
		d, err := keep(s, body)
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
		later(time.Second)
	}
	later(2 * time.Hour)
	use := func(d store.Digest) {
		b, err := s.OpenBlob(d)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, b) //nolint:errcheck // the use is what counts
		b.Close()
	}
	use(ds[0])
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The folder as a kill leaves it: a copy made while it is open.
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	o.Path = copied
	s = open(t, o)
	if _, err := keep(s, make([]byte, 2500)); err != nil {
		t.Fatal(err)
	}
	if !s.HasBlob(ds[0]) || s.HasBlob(ds[1]) {
		t.Errorf("the one that was used is held: %v, the oldest other: %v", s.HasBlob(ds[0]), s.HasBlob(ds[1]))
	}
}

func TestCancelledOpeningLocksNothing(t *testing.T) {
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Open(ctx, store.Options{Path: folder}); !errors.Is(err, ctx.Err()) {
		t.Errorf("got %v, want the context's error", err)
	}
	open(t, store.Options{Path: folder}) // and nothing stays locked
}
