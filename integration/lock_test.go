package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// entry is what a lock file says about a package.
type entry = map[string]any

// lock is a composer.lock taken apart.
type lock struct {
	ContentHash string  `json:"content-hash"`
	Packages    []entry `json:"packages"`
	Dev         []entry `json:"packages-dev"`
}

func readLock(t testing.TB, path string) lock {
	t.Helper()
	var l lock
	if err := json.Unmarshal(read(t, path), &l); err != nil {
		t.Fatalf("%s is not a lock file: %v", path, err)
	}
	return l
}

// identity reduces a lock to names, versions and references, a line for each
// package.
func (l lock) identity() string {
	var lines []string
	reference := func(e entry, key string) string {
		m, _ := e[key].(map[string]any)
		s, _ := m["reference"].(string)
		return s
	}
	for kind, list := range map[string][]entry{"": l.Packages, " (dev)": l.Dev} {
		for _, e := range list {
			lines = append(lines, e["name"].(string)+kind+" "+e["version"].(string)+" source="+reference(e, "source")+" dist="+reference(e, "dist"))
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

// full renders a lock with everything but what a proxy documents to change:
// where archives are fetched and where downloads are counted.
func (l lock) full(t testing.TB) string {
	t.Helper()
	for _, list := range [][]entry{l.Packages, l.Dev} {
		for _, e := range list {
			delete(e, "notification-url")
			if dist, ok := e["dist"].(map[string]any); ok {
				delete(dist, "url")
				delete(dist, "mirrors")
			}
		}
	}
	b, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// diff shows where two texts part, line by line.
func diff(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var out strings.Builder
	in := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, l := range list {
			m[l] = true
		}
		return m
	}
	gs, ws := in(g), in(w)
	for _, l := range g {
		if !ws[l] && out.Len() < 3000 {
			out.WriteString("+ " + l + "\n")
		}
	}
	for _, l := range w {
		if !gs[l] && out.Len() < 6000 {
			out.WriteString("- " + l + "\n")
		}
	}
	return out.String()
}

// tree lists every file below dir with its digest and whether it may be
// executed. Composer's own record of what it installed is left to readInstalled,
// because it repeats the URLs of the lock.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return nil
		case rel == filepath.Join("composer", "installed.json"):
			out.WriteString("installed " + digest(withoutURLs(t, read(t, path))) + "\n")
		case filepath.Dir(rel) == "composer" && strings.HasPrefix(d.Name(), "autoload_"):
			// Composer writes these maps in the order in which parallel installs
			// happened to finish, also within a line; without Stasis two runs
			// differ just so. What they hold is compared.
			words := strings.FieldsFunc(string(read(t, path)), func(r rune) bool { return strings.ContainsRune(" \t\n,()", r) })
			sort.Strings(words)
			out.WriteString(rel + " " + digest([]byte(strings.Join(words, "\n"))) + "\n")
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			out.WriteString(rel + " -> " + to + "\n")
		default:
			out.WriteString(rel + " " + info.Mode().String() + " " + digest(read(t, path)) + "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func withoutURLs(t testing.TB, body []byte) []byte {
	t.Helper()
	var v struct {
		Packages []entry `json:"packages"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return []byte(lock{Packages: v.Packages}.full(t))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// same fails unless two pieces of content are equal.
func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes (sha256 %.12s), want %d bytes (sha256 %.12s)", what, len(got), digest(got), len(want), digest(want))
	}
}
