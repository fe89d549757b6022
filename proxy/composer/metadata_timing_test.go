package composer_test

import (
	"testing"

	"stasis/proxy/composer"
)

// The document of laravel/framework from the slice of the registry is 1.07 MB with 1,281 versions; without the slice a
// made-up one of similar size stands in.
func BenchmarkParseDocument(b *testing.B) {
	body, name := largeDocument(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := composer.ParseDocument(body, name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	body, name := largeDocument(b)
	doc, err := composer.ParseDocument(body, name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		composer.Rewrite(doc, toTemplate)
	}
}

func BenchmarkParseRewriteEncode(b *testing.B) {
	body, name := largeDocument(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		doc, err := composer.ParseDocument(body, name)
		if err != nil {
			b.Fatal(err)
		}
		composer.Rewrite(doc, toTemplate).Encode()
	}
}

func BenchmarkIndex(b *testing.B) {
	body, name := largeDocument(b)
	doc, err := composer.ParseDocument(body, name)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := doc.Index(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExpandMinify(b *testing.B) {
	body, name := largeDocument(b)
	doc, err := composer.ParseDocument(body, name)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		composer.Minify(composer.Expand(doc.Versions))
	}
}

// What a version costs must not creep up: documents have thousands of them, and a stale one is rewritten on the way to a
// client. Reading takes the object and its growth; rewriting the summary, the new address and the new dist.
func TestAllocationsPerVersionAreBounded(t *testing.T) {
	const versions = 1000
	body, name := madeDocument(versions)
	doc, err := composer.ParseDocument(body, name)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		limit float64
		do    func()
	}{
		"reading":     {6, func() { _, _ = composer.ParseDocument(body, name) }},
		"rewriting":   {18, func() { composer.Rewrite(doc, toTemplate) }},
		"summarising": {12, func() { _, _ = doc.Index() }},
		"writing":     {0.1, func() { doc.Encode() }},
	} {
		if got := testing.AllocsPerRun(5, c.do) / versions; got > c.limit {
			t.Errorf("%s allocates %.1f times per version, more than %.1f", what, got, c.limit)
		}
	}
}

func BenchmarkNormalizeVersion(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := composer.NormalizeVersion("v10.48.22-RC3"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDistPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := composer.ParseDistPath("laravel/framework/10.48.22.0/e4a1bc52ef551d52e60244bb004256d6861da7ab.zip"); err != nil {
			b.Fatal(err)
		}
	}
}
