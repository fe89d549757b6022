//go:build unix

package store_test

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stasis/store"
)

// diskUse adds up the blocks below path, as du does.
func diskUse(t *testing.T, path string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		if info, err := e.Info(); err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// read returns the digest of what is delivered as d.
func read(s *store.Store, d store.Digest) (store.Digest, error) {
	b, err := s.OpenBlob(d)
	if err != nil {
		return store.Digest{}, err
	}
	defer b.Close()
	sum := sha256.New()
	_, err = b.WriteTo(sum)
	return store.Digest(sum.Sum(nil)), err
}

// TestDiskUseFollowsTheLimit streams ten times the cache limit through, while
// readers read, and then looks at what the folder takes.
func TestDiskUseFollowsTheLimit(t *testing.T) {
	const limit = 64_000_000
	stream := int64(10 * limit)
	if testing.Short() {
		stream = 3 * limit
	}
	for _, c := range []struct {
		driver string
		factor float64
	}{{store.DriverBadger, 1.6}, {store.DriverFiles, 1.1}} {
		t.Run(c.driver, func(t *testing.T) {
			dir := t.TempDir()
			s, err := store.Open(t.Context(), store.Options{Path: dir, Archives: c.driver, MaxCacheSize: limit})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// For every body that is written the readers read three of the latest.
			wanted := make(chan store.Digest, 64)
			var reads, misses atomic.Int64
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for d := range wanted {
						got, err := read(s, d)
						switch {
						case errors.Is(err, fs.ErrNotExist):
							misses.Add(1)
						case err != nil || got != d:
							t.Errorf("read: %v, or other bytes", err)
						default:
							reads.Add(1)
						}
					}
				})
			}
			var kept []store.Digest
			r := rand.New(rand.NewPCG(1, 2))
			fill := rand.NewChaCha8([32]byte{5})
			body := make([]byte, 5_000_000)
			var written, peak int64
			began := time.Now()
			for n := 0; written < stream; n++ {
				b := body[:100_000+r.IntN(4_900_000)]
				fill.Read(b)
				w, err := s.CreateBlob(int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(b); err != nil {
					t.Fatal(err)
				}
				d, err := w.Commit()
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, d)
				for range 3 {
					wanted <- kept[max(0, len(kept)-1-r.IntN(30))]
				}
				written += int64(len(b))
				if n%10 == 0 {
					peak = max(peak, diskUse(t, dir))
				}
			}
			took := time.Since(began)
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			close(wanted)
			wg.Wait()
			u, disk := s.Usage(), diskUse(t, dir)
			t.Logf("%d MB streamed in %v: %d bodies of %d bytes held, disk %d (%.2f of the limit, %.2f of what is held), peak %.2f; %d reads, %d misses",
				written/1e6, took.Round(time.Millisecond), u.Blobs, u.Bytes, disk, float64(disk)/limit, float64(disk)/float64(u.Bytes), float64(peak)/limit, reads.Load(), misses.Load())
			if u.Bytes > limit {
				t.Errorf("%d bytes are held, the limit is %d", u.Bytes, limit)
			}
			if float64(disk) > c.factor*limit {
				t.Errorf("the folder takes %d bytes, which is more than %.1f times the limit of %d", disk, c.factor, limit)
			}
		})
	}
}
