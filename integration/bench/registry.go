package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stasis/integration/standin"
)

// registry is the stand-in for Packagist with the real slice of the registry
// and, beside it, the documents and archives of given sizes that are measured.
type registry struct {
	*standin.Server
	slice string
}

func (b *bench) registry() (*registry, error) {
	s, err := standin.New(standin.Options{})
	if err != nil {
		return nil, err
	}
	if err := s.LoadSlice(b.slice); err != nil {
		s.Close()
		return nil, err
	}
	return &registry{s, b.slice}, nil
}

// documentOf is the real document whose compressed size is nearest to size.
func (r *registry) documentOf(size int) (path string) {
	best := 1 << 30
	for _, name := range r.Names() {
		body, _ := r.Document(name)
		if off := abs(packed(body) - size); off < best {
			path, best = "/p2/"+name+".json", off
		}
	}
	return path
}

// largeDocument publishes a document of about size bytes when compressed: the
// versions of real ones, one after the other, under one name and numbered anew.
func (r *registry) largeDocument(name string, size int) (path string, err error) {
	doc := &standin.Document{Name: name, Top: standin.Object{}.With("minified", "composer/2.0")}
	var body []byte
	for _, real := range []string{"laravel/framework", "symfony/http-kernel", "symfony/framework-bundle", "doctrine/orm", "symfony/console", "symfony/config"} {
		text, _ := r.Document(real)
		if text == nil {
			continue
		}
		part, err := standin.ParseDocument(text, real)
		if err != nil {
			return "", err
		}
		for _, v := range part.Versions {
			n := len(doc.Versions)
			v = v.With("name", name).With("version", fmt.Sprintf("v%d.%d.0", n/100, n%100)).With("version_normalized", fmt.Sprintf("%d.%d.0.0", n/100, n%100))
			doc.Versions = append(doc.Versions, v)
			if n%100 != 99 {
				continue
			}
			if body = doc.Encode(); packed(body) >= size {
				r.SetDocument(name, body)
				return "/p2/" + name + ".json", nil
			}
		}
	}
	return "", fmt.Errorf("the slice's documents make %d bytes when compressed, not %d", packed(body), size)
}

// archive publishes a package whose archive has about size bytes, a real one
// where there is one of that size, and says where Stasis serves it.
func (r *registry) archive(name string, size int64) (path string, err error) {
	ref := standin.MadeReference(name, "1.0.0", "bench")
	release := standin.Release{Name: name, Version: "1.0.0", Reference: ref}
	body, err := r.realArchive(size)
	if err != nil {
		return "", err
	}
	if body == nil {
		release.Size = size
	}
	r.Publish(release)
	if body != nil {
		r.SetArchive(name, ref, body)
	}
	return "/dist-proxy/" + name + "/1.0.0.0/" + ref + ".zip", nil
}

// realArchive is the real archive nearest to size, or nil when none is within a
// tenth of it.
func (r *registry) realArchive(size int64) ([]byte, error) {
	found, best := "", size/10
	err := filepath.WalkDir(filepath.Join(r.slice, "zipball"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".zip") {
			return err
		}
		info, err := d.Info()
		if err == nil && abs(info.Size()-size) < best {
			found, best = path, abs(info.Size()-size)
		}
		return err
	})
	if found == "" || err != nil {
		return nil, err
	}
	return os.ReadFile(found)
}

func packed(body []byte) int {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // a bytes.Buffer does not fail
	_ = w.Close()
	return b.Len()
}

func abs[N int | int64](n N) N { return max(n, -n) }

// slow delays every answer of the registry and of the archives' origin.
func (r *registry) slow(by time.Duration) *standin.Rule { return r.Fault("*", standin.Delay(by)) }

// origin is where the archive of a package published by archive comes from.
func (r *registry) origin(name string) string {
	return r.URL() + "/repos/" + name + "/zipball/" + standin.MadeReference(name, "1.0.0", "bench")
}
