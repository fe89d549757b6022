package history_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// manyVersions is a document of n versions: real ones as far as there are any,
// numbered anew and published an hour after each other.
func manyVersions(b testing.TB, n int) (composer.File, []byte, time.Time) {
	var base []composer.Object
	f := pkg
	for _, d := range slice(b) {
		if d.file.String() != "laravel/framework" && base != nil {
			continue
		}
		doc, err := composer.ParseDocument(d.body, d.file.Name)
		if err != nil {
			b.Fatal(err)
		}
		if list := doc.Expanded(); len(list) > 0 {
			f, base = d.file, list
		}
	}
	start := at("2020-01-01T00:00:00Z")
	var list []composer.Object
	for i := n - 1; i >= 0; i-- {
		o := base[(n-1-i)%len(base)]
		o = o.With("version", fmt.Appendf(nil, `"v%d.%d.%d"`, i/100, i/10%10, i%10))
		o = o.With("version_normalized", fmt.Appendf(nil, `"%d.%d.%d.0"`, i/100, i/10%10, i%10))
		o = o.With("published-time", fmt.Appendf(nil, `%q`, stamp(start.Add(time.Duration(i)*time.Hour))))
		list = append(list, o)
	}
	return f, composer.NewDocument(f.Name, list).Encode(), start
}

// The first answer for an instant: nothing is bound, so the view is decided,
// bound and written out.
func BenchmarkFirstBinding(b *testing.B) {
	h, c := recorder(b)
	c.t = at("2026-09-01T12:00:00Z")
	f, body, start := manyVersions(b, 3000)
	see(b, h, f, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		// Around the middle of its history, every time another second.
		when := start.Add(1500*time.Hour + time.Duration(i)*time.Second)
		if _, _, err := h.Bound(when, f); err != nil {
			b.Fatal(err)
		}
		bound, err := h.Decide(when, f)
		if err != nil {
			b.Fatal(err)
		}
		if bound, err = h.Bind(f, bound); err != nil {
			b.Fatal(err)
		}
		doc, err := h.Materialize(f, bound)
		if err != nil {
			b.Fatal(err)
		}
		if len(doc.Encode()) == 0 {
			b.Fatal("empty")
		}
	}
}

// A bound view that no memory holds any more.
func BenchmarkMaterializeBound(b *testing.B) {
	h, c := recorder(b)
	c.t = at("2026-09-01T12:00:00Z")
	f, body, start := manyVersions(b, 3000)
	see(b, h, f, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", body)
	when := start.Add(1500 * time.Hour)
	d, err := h.Decide(when, f)
	if err == nil {
		_, err = h.Bind(f, d)
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		bound, ok, err := h.Bound(when, f)
		if err != nil || !ok {
			b.Fatal(err)
		}
		if _, err := h.Materialize(f, bound); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBound(b *testing.B) {
	h, _ := recorder(b)
	see(b, h, pkg, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(pkg, minor, one))
	when := at("2026-06-01T00:00:00Z")
	d, err := h.Decide(when, pkg)
	if err == nil {
		_, err = h.Bind(pkg, d)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := h.Bound(when, pkg); err != nil || !ok {
			b.Fatal(err)
		}
	}
}

// What bindings take on disk: 100 instants of 400 files, the store closed.
func BenchmarkBindingSize(b *testing.B) {
	for b.Loop() {
		dir := fast(b)
		s := openStore(b, dir)
		h, err := history.New(s, nil)
		if err != nil {
			b.Fatal(err)
		}
		const files, instants = 400, 100
		f0 := file("acme/a")
		see(b, h, f0, "2026-09-01T12:00:00Z", "2026-09-01T10:00:00Z", document(f0, minor, one))
		binding, err := h.Decide(at("2026-06-01T00:00:00Z"), f0)
		if err != nil {
			b.Fatal(err)
		}
		before := size(b, dir)
		for i := range instants {
			binding.At = at("2026-06-01T23:59:59Z").AddDate(0, 0, -i)
			for j := range files {
				binding.Document = store.SumDigest([]byte{byte(j), byte(j >> 8)}) // one per file
				if _, err := h.Bind(file(fmt.Sprintf("vendor-%d/package-%d", j/7, j)), binding); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size(b, dir)-before)/(files*instants), "B/binding")
	}
}

func size(b *testing.B, dir string) int64 {
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".sst" {
			info, err := d.Info()
			if err != nil {
				return err
			}
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}
