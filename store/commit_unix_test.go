//go:build unix

package store_test

import (
	"fmt"
	"sync"
	"testing"

	"stasis/store"
)

// TestBodiesThatEndTogether commits many bodies at the same moment, each of
// them several times: every one is held once, and still after a restart.
func TestBodiesThatEndTogether(t *testing.T) {
	const bodies, copies = 24, 3
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		t.Run(driver, func(t *testing.T) {
			o := store.Options{Path: t.TempDir(), Archives: driver}
			s := open(t, o)
			var digests [bodies * copies]store.Digest
			var work sync.WaitGroup
			var size int64
			for i := range digests {
				body := fmt.Appendf(noise(1<<10*(i%bodies)), "body %d", i%bodies)
				if i < bodies {
					size += int64(len(body))
				}
				work.Go(func() {
					d, err := keep(s, body)
					if err != nil || d != store.SumDigest(body) {
						t.Errorf("body %d is committed as %s: %v", i%bodies, d, err)
					}
					digests[i] = d
				})
			}
			work.Wait()
			for _, when := range []string{"after the commits", "after a restart"} {
				if u := s.Usage(); u.Blobs != bodies || u.Bytes != size {
					t.Errorf("%s %d bodies of %d bytes are held, want %d of %d", when, u.Blobs, u.Bytes, bodies, size)
				}
				for _, d := range digests {
					if got, err := read(s, d); err != nil || got != d {
						t.Errorf("%s %s is read as %s: %v", when, d, got, err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, o)
			}
		})
	}
}
