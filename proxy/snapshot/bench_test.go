package snapshot_test

import (
	"fmt"
	"testing"
	"time"

	"stasis/proxy/snapshot"
)

// BenchmarkServing is what a request costs inside a sealed snapshot: finding
// the channel, the entry, and the document.
func BenchmarkServing(b *testing.B) {
	w := newWorld(b)
	w.publishMany(400, 20)
	snap := w.seal(snapshot.Request{Name: "x", Options: snapshot.Options{Archives: "none"}})
	if _, err := w.snaps.SetChannel("prod", "x", "", ""); err != nil {
		b.Fatal(err)
	}
	f := parseFile(b, "v/p200")
	b.Run("resolve", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.snaps.Resolve("prod"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("entry", func(b *testing.B) {
		for b.Loop() {
			if _, ok, err := w.snaps.File(snap.ID, f); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("document", func(b *testing.B) {
		for b.Loop() {
			if _, _, ok, err := w.snaps.Document(snap.ID, f); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSeal makes a snapshot of 400 packages at an instant of its own and
// reports what it takes in the store.
func BenchmarkSeal(b *testing.B) {
	w := newWorld(b)
	w.publishMany(400, 20)
	w.pass(24 * time.Hour)
	before := w.store.Usage().PackedBytes
	n := 0
	for b.Loop() {
		n++
		w.seal(snapshot.Request{
			Name: fmt.Sprintf("s%d", n), Instant: start.Add(time.Duration(n-1000) * time.Minute), Options: snapshot.Options{Archives: "none"},
		})
	}
	b.ReportMetric(float64(w.store.Usage().PackedBytes-before)/float64(n), "stored-B/op")
}

// publishMany publishes packages with both files, and watches them.
func (w *world) publishMany(packages, versions int) {
	w.t.Helper()
	for i := range packages {
		name := fmt.Sprintf("v/p%d", i)
		var list []release
		for v := range versions {
			list = append(list, release{fmt.Sprintf("1.%d.0", versions-v), ref(i*1000 + v), start.Add(-time.Duration(v) * 24 * time.Hour), nil})
		}
		w.publish(name, list...)
		w.publish(name+"~dev", release{"dev-main", ref(i*1000 + 999), start.Add(-time.Hour), nil})
		w.watch(name, name+"~dev")
	}
}
