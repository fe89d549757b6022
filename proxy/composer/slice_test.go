package composer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

const base = "https://proxy.example/sub"

func toTemplate(v composer.Version) (string, bool) { return composer.VersionTemplate(base, v), true }

// sliceDir is where real documents of the registry lie beside the repository, "" when they do not.
func sliceDir(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "packagist", "p2")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// eachReal runs check over every real document, or over a made-up one when there are none. With -short it takes every
// eighth.
func eachReal(t *testing.T, check func(t *testing.T, file composer.File, body []byte)) {
	t.Helper()
	dir := sliceDir(t)
	if dir == "" {
		body, name := madeDocument(40)
		check(t, composer.File{Name: name}, body)
		return
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no documents in %s: %v", dir, err)
	}
	for i, path := range paths {
		if testing.Short() && i%8 != 0 {
			continue
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := composer.ParseFile(strings.TrimSuffix(filepath.ToSlash(rel), ".json"))
		if err != nil {
			t.Fatalf("%s: %v", rel, err)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check(t, file, body)
	}
}

func largeDocument(t testing.TB) ([]byte, composer.Name) {
	if dir := sliceDir(t); dir != "" {
		body, err := os.ReadFile(filepath.Join(dir, "laravel", "framework.json"))
		if err != nil {
			t.Fatal(err)
		}
		return body, mustName("laravel/framework")
	}
	return madeDocument(1281)
}

// madeDocument builds a document in the registry's form: a whole newest version, then differences.
func madeDocument(n int) ([]byte, composer.Name) {
	var b strings.Builder
	b.WriteString(`{"packages":{"acme/a":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		version := fmt.Sprintf("%d.%d", n-i, i%7)
		sha := fmt.Sprintf("%040x", i+1)
		b.WriteByte('{')
		if i == 0 {
			b.WriteString(`"name":"acme/a","description":"Ä <b> & \"q\"","license":["MIT"],`)
		}
		fmt.Fprintf(&b, `"version":"v%[1]s","version_normalized":"%[1]s.0.0",`, version)
		fmt.Fprintf(&b, `"source":{"type":"git","url":"https://github.com/acme/a.git","reference":"%s"},`, sha)
		fmt.Fprintf(&b, `"dist":{"type":"zip","url":"https://api.github.com/repos/acme/a/zipball/%[1]s","reference":"%[1]s","shasum":""},`, sha)
		fmt.Fprintf(&b, `"time":"2024-01-02T03:04:05+00:00","require":{"php":">=8.%d"}}`, i%4)
	}
	b.WriteString(`]},"minified":"composer/2.0","security-advisories":[]}`)
	return []byte(b.String()), mustName("acme/a")
}

func mustName(s string) composer.Name {
	n, err := composer.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}
