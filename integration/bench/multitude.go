package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stasis/integration/standin"
)

// modestly is how many versions a document has at most whose copies make large
// sets: most packages of the registry have fewer, while most of the slice are
// among its largest.
const modestly = 16

// multitude is as many packages as are wanted: real documents and real archives
// under other names. The i-th is always the same.
type multitude struct {
	origin   string // URL of who serves them
	models   []model
	archives []string // files, by size
}

// model is a real document of which others are made.
type model struct {
	name    string
	body    []byte
	release string // version and reference of the newest one, as in the address of its archive
}

// multitude takes its models from the slice.
func (b *bench) multitude(origin string) (*multitude, error) {
	m := &multitude{origin: origin}
	root := filepath.Join(b.slice, "p2")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "~dev.json") {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, strings.TrimSuffix(path, ".json"))
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		doc, err := standin.ParseDocument(body, name)
		if err != nil {
			return err
		}
		if n := len(doc.Versions); n == 0 || n > modestly {
			return nil
		}
		var dist standin.Object
		if err := dist.UnmarshalJSON(doc.Versions[0].Get("dist")); err != nil || dist.Text("type") != "zip" {
			return err
		}
		m.models = append(m.models, model{name, body, doc.Versions[0].Text("version_normalized") + "/" + dist.Text("reference")})
		return nil
	})
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	err = filepath.WalkDir(filepath.Join(b.slice, "zipball"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".zip") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			m.archives, sizes[path] = append(m.archives, path), info.Size()
		}
		return err
	})
	slices.SortStableFunc(m.archives, func(a, b string) int { return cmp.Compare(sizes[a], sizes[b]) })
	if len(m.models) == 0 || len(m.archives) == 0 {
		return nil, fmt.Errorf("%s has %d documents of modest size and %d archives: %w", b.slice, len(m.models), len(m.archives), err)
	}
	return m, err
}

func (m *multitude) name(i int) string { return fmt.Sprintf("bench/p%06d", i) }

// document is the i-th document.
func (m *multitude) document(i int) []byte {
	of := m.models[i%len(m.models)]
	body := bytes.ReplaceAll(of.body, []byte(`"`+of.name+`"`), []byte(`"`+m.name(i)+`"`))
	return bytes.ReplaceAll(body, []byte("https://api.github.com/"), fmt.Appendf(nil, "%s/archives/%d/", m.origin, i))
}

// archive is the i-th archive, or the i-th of the smaller half. What tells it from the others made of the same
// file is the zip's comment, in which GitHub writes the commit.
func (m *multitude) archive(i int, small bool) ([]byte, error) {
	of := m.archives
	if small {
		of = of[:len(of)/2]
	}
	file := of[i%len(of)]
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	const comment = 40
	end := len(body) - comment
	if end < 2 || body[end-2] != comment || body[end-1] != 0 {
		return nil, fmt.Errorf("%s does not end with a comment of %d bytes", file, comment)
	}
	copy(body[end:], fmt.Sprintf("%0*d", comment, i))
	return body, nil
}

// metadataPath and archivePath are where Stasis serves the i-th package.
func (m *multitude) metadataPath(i int) string { return "/p2/" + m.name(i) + ".json" }

func (m *multitude) archivePath(i int) string {
	return "/dist-proxy/" + m.name(i) + "/" + m.models[i%len(m.models)].release + ".zip"
}

// ServeHTTP is the registry of these packages and the origin of their archives.
func (m *multitude) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var i int
	switch path := r.URL.Path; {
	case path == "/packages.json":
		fmt.Fprintf(w, `{"packages":[],"metadata-url":"%s/p2/%%package%%.json"}`, m.origin)
	case strings.HasSuffix(path, "~dev.json"):
		http.NotFound(w, r)
	default:
		if _, err := fmt.Sscanf(path, "/p2/bench/p%d.json", &i); err == nil {
			w.Header().Set("Last-Modified", longPublished.Format(http.TimeFormat))
			_, _ = w.Write(m.document(i))
			return
		}
		if _, err := fmt.Sscanf(path, "/archives/%d/", &i); err != nil {
			http.NotFound(w, r)
			return
		}
		body, err := m.archive(i, false)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/zip")
		_, _ = w.Write(body)
	}
}

var longPublished = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// spread chooses n of the first total packages, evenly and in a mixed order.
func spread(n, total int) []int {
	n = min(n, total)
	out := make([]int, n)
	for k := range out {
		out[k] = k * total / n
	}
	mixed := make([]int, 0, n)
	const stride = 7919 // prime, so that every one comes once
	for k, at := 0, 0; k < n; k, at = k+1, (at+stride)%n {
		mixed = append(mixed, out[at])
	}
	slices.Sort(out)
	if n%stride == 0 {
		return out
	}
	return mixed
}
