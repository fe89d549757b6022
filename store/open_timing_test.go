package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"stasis/store"
)

func init() { children["open"] = childOpens }

// childOpens opens the folder and tells how long that took and what the
// process holds in memory then.
func childOpens(folder string) error {
	began := time.Now()
	s, err := store.Open(context.Background(), store.Options{Path: folder, MaxCacheSize: 100 << 30})
	if err != nil {
		return err
	}
	took := time.Since(began)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	u := s.Usage()
	fmt.Printf("ms=%d blobs=%d documents=%d %s\n", took.Milliseconds(), u.Blobs, u.Documents, strings.Join(strings.Fields(string(status)), " "))
	return s.Close()
}

// BenchmarkOpenLarge opens a folder of 350,000 documents and 100,000 archives
// in a process of its own: milliseconds to open, and resident memory.
func BenchmarkOpenLarge(b *testing.B) {
	documents, blobs := 350_000, 100_000
	if testing.Short() {
		documents, blobs = 20_000, 10_000
	}
	folder := b.TempDir()
	s, err := store.Open(b.Context(), store.Options{Path: folder, MaxCacheSize: 100 << 30})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{3})
	body := make([]byte, 4<<10) // about what a common document packs to
	for n := 0; n < documents; n += 200 {
		err := s.Update(func(tx *store.Tx) error {
			for range 200 {
				r.Read(body) //nolint:errcheck // never fails
				d, err := tx.PutDocument(body)
				if err != nil {
					return err
				}
				if err := countedTable.Put(tx, counted{N: n, Doc: d}, "vendor/"+d.String()[:16]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.FillBlobs(blobs, 50<<10); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var ms, rss, anon float64
	b.ResetTimer()
	n := 0
	for b.Loop() {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "STORE_TEST_CHILD=open", "STORE_TEST_FOLDER="+folder)
		child.Stderr = os.Stderr
		out, err := child.Output()
		if err != nil {
			b.Fatal(err)
		}
		ms += figure(string(out), `ms=(\d+)`)
		rss += figure(string(out), `VmHWM: (\d+)`)
		anon += figure(string(out), `RssAnon: (\d+)`)
		if got := figure(string(out), `blobs=(\d+)`); int(got) != blobs {
			b.Fatalf("%v archives are held, want %d", got, blobs)
		}
		n++
	}
	b.ReportMetric(ms/float64(n), "ms/open")
	b.ReportMetric(rss/float64(n)/1024, "MiB-rss-peak")
	b.ReportMetric(anon/float64(n)/1024, "MiB-anon")
}

func figure(text, pattern string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return f
}
