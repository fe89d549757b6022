package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Which of our packages each may know. Arrows point one way: the command to the surfaces, the surfaces to the store.
// Whoever is below proxy or store knows what is listed for the longest matching prefix.
var mayKnow = map[string][]string{
	"cmd":              {"api", "config", "private", "proxy", "store"},
	"config":           {},
	"api":              {"private", "proxy", "store"},
	"private":          {"private", "proxy/archive", "proxy/composer", "proxy/history", "proxy/upstream", "store"},
	"private/access":   {"proxy/composer", "proxy/origin", "store"},
	"private/artifact": {"proxy/archive", "proxy/composer"},
	"private/git":      {"proxy/composer", "proxy/upstream"},
	"private/remote":   {"proxy/composer", "proxy/history", "proxy/upstream"},
	"private/webhook":  {},
	"private/satis":    {"proxy/composer"},
	"private/vault":    {"store"},
	"private/audit":    {"store"},
	"private/hooks":    {"private", "private/webhook", "proxy/composer", "store"},
	"proxy":            {"proxy", "store"},
	"proxy/archive":    {},
	"proxy/composer":   {},
	"proxy/origin":     {},
	"proxy/upstream":   {},
	"store":            {"store"},
	"integration":      {"integration"},
	// It fills data folders that are too large to be filled by requests.
	"integration/bench": {"integration", "proxy/composer", "proxy/history", "store"},
}

// Where each library may be used, as folders or files. Who else needs it asks the package there.
var usedOnlyIn = map[string][]string{
	"github.com/dgraph-io/":           {"store"},
	"github.com/spf13/viper":          {"config"},
	"github.com/joho/godotenv":        {"config"},
	"github.com/spf13/cobra":          {"cmd"},
	"github.com/coreos/go-systemd/":   {"cmd"},
	"github.com/schollz/progressbar/": {"cmd"},
	"github.com/labstack/echo/":       {"cmd", "api", "proxy/routes.go", "private/routes.go"},
	"github.com/sony/gobreaker/":      {"proxy/upstream"},
	"github.com/cenkalti/backoff/":    {"proxy/upstream"},
}

func TestPackagesKnowOnlyWhomTheyMay(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		seen++
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, "stasis/"); ok && !slices.ContainsFunc(allowed(path.Dir(file)), below(ours)) {
				t.Errorf("%s imports %s", file, imported)
			}
			for library, places := range usedOnlyIn {
				if strings.HasPrefix(imported, library) && !slices.ContainsFunc(places, below(file)) {
					t.Errorf("%s imports %s, which is left to %s", file, imported, strings.Join(places, ", "))
				}
			}
		}
		return nil
	})
	if err != nil || seen < 50 {
		t.Fatalf("%d files looked at: %v", seen, err)
	}
}

// allowed is the entry of mayKnow for a folder or the nearest one above it.
func allowed(folder string) []string {
	for ; folder != "."; folder = path.Dir(folder) {
		if list, ok := mayKnow[folder]; ok {
			return list
		}
	}
	return nil
}

// below tells whether a path is, or lies in, the given place.
func below(p string) func(place string) bool {
	return func(place string) bool { return p == place || strings.HasPrefix(p, place+"/") }
}
