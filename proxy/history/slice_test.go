package history_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

type realDocument struct {
	file composer.File
	body []byte
}

// slice returns real documents that lie beside the repository; made ones when
// there are none. With -short it takes every eighth.
func slice(t testing.TB) []realDocument {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "packagist", "p2")
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if len(paths) == 0 {
		return []realDocument{{file("acme/a"), document(pkg, two, minor, one)}}
	}
	var docs []realDocument
	for i, path := range paths {
		if testing.Short() && i%8 != 0 {
			continue
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, realDocument{file(strings.TrimSuffix(filepath.ToSlash(rel), ".json")), body})
	}
	return docs
}

// newest is the date a registry would give a document: the newest time in it.
func newest(t testing.TB, d realDocument) time.Time {
	t.Helper()
	out := at("2020-01-01T00:00:00Z")
	for _, v := range indexOf(t, d) {
		if v.Time.After(out) {
			out = v.Time
		}
	}
	return out
}

func indexOf(t testing.TB, d realDocument) []composer.Version {
	t.Helper()
	doc, err := composer.ParseDocument(d.body, d.file.Name)
	if err != nil {
		t.Fatal(err)
	}
	index, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// The view of every real document at random instants is its plain filter.
func TestViewsOfRealDocumentsArePlainFilters(t *testing.T) {
	h, c := recorder(t)
	c.t = at("2027-01-01T00:00:00Z")
	rng := rand.New(rand.NewPCG(3, 3))
	views := 0
	for _, d := range slice(t) {
		modified := newest(t, d)
		o := history.Observation{AskedAt: c.t, Body: d.body, LastModified: httpTime(modified), Via: history.Demand}
		observe(t, h, d.file, o)
		doc, err := composer.ParseDocument(d.body, d.file.Name)
		if err != nil {
			t.Fatal(err)
		}
		index, whole := indexOf(t, d), doc.Expanded()
		for range 50 {
			from := at("2012-01-01T00:00:00Z")
			when := from.Add(time.Duration(rng.Int64N(int64(modified.Sub(from))))).Truncate(time.Second)
			b, err := h.Decide(when, d.file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.Materialize(d.file, b)
			if err != nil {
				t.Fatal(err)
			}
			var want []composer.Object
			for i, v := range index {
				if !v.Time.After(when) {
					want = append(want, whole[i])
				}
			}
			read, err := composer.ParseDocument(got.Encode(), d.file.Name)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(read.Expanded(), want, equal) {
				t.Fatalf("%s at %s differs from its plain filter", d.file, stamp(when))
			}
			views++
		}
		if b, err := h.Decide(c.t, d.file); err != nil || b.Fidelity != history.Exact {
			t.Fatalf("%s now: %s %v", d.file, b.Fidelity, err)
		}
	}
	t.Logf("%d views", views)
}
