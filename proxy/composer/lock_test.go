package composer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

const madeLock = `{
    "_readme": ["This file locks the dependencies"],
    "content-hash": "0123",
    "packages": [
        {"name": "Acme/Web", "version": "v1.2.3", "source": {"type": "git", "url": "https://example.org/web.git", "reference": "aaa"},
         "dist": {"type": "zip", "url": "https://example.org/web/aaa.zip", "reference": "aaa", "shasum": ""},
         "type": "library", "time": "2024-03-01T12:00:00+01:00"},
        {"name": "acme/meta", "version": "1.0.0", "type": "metapackage"}
    ],
    "packages-dev": [
        {"name": "acme/tools", "version": "dev-main", "source": {"type": "git", "url": "https://example.org/tools.git", "reference": "bbb"}, "default-branch": true}
    ],
    "aliases": [], "minimum-stability": "stable"
}`

func TestParseLock(t *testing.T) {
	lock, err := composer.ParseLock([]byte(madeLock))
	if err != nil {
		t.Fatal(err)
	}
	if len(lock.Packages) != 3 {
		t.Fatalf("%d packages were read", len(lock.Packages))
	}
	web, meta, tools := lock.Packages[0], lock.Packages[1], lock.Packages[2]
	if web.Name.String() != "acme/web" || web.Version != "v1.2.3" || web.Normalized != "1.2.3.0" || web.Reference() != "aaa" ||
		web.Dist == nil || web.Dist.URL != "https://example.org/web/aaa.zip" || web.Dev || web.File().String() != "acme/web" {
		t.Errorf("acme/web was read as %+v", web)
	}
	if got := web.Time.Format("2006-01-02T15:04"); got != "2024-03-01T11:00" {
		t.Errorf("the time of acme/web is %s", got)
	}
	if web.Object.Text("type") != "library" {
		t.Error("the whole entry was not kept")
	}
	if meta.Dist != nil || meta.Reference() != "" {
		t.Errorf("acme/meta was read as %+v", meta)
	}
	if !tools.Dev || tools.Reference() != "bbb" || tools.File().String() != "acme/tools~dev" {
		t.Errorf("acme/tools was read as %+v", tools)
	}
	if lock.Members.Text("content-hash") != "0123" {
		t.Error("what is not a package was not kept")
	}
}

func TestParseLockRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":         `<html>`,
		"a list":          `[]`,
		"a composer.json": `{"name": "acme/web", "require": {}}`,
		"no name":         `{"packages": [{"version": "1.0"}]}`,
		"no version":      `{"packages": [{"name": "acme/web"}]}`,
		"a bad version":   `{"packages": [{"name": "acme/web", "version": "latest"}]}`,
		"no object":       `{"packages": ["acme/web"]}`,
	} {
		if lock, err := composer.ParseLock([]byte(body)); err == nil {
			t.Errorf("%s was read as %+v", name, lock)
		} else if !strings.Contains(err.Error(), "composer.lock") {
			t.Errorf("%s: %q does not say what it is about", name, err)
		}
	}
	if lock, err := composer.ParseLock([]byte(`{"packages": []}`)); err != nil || len(lock.Packages) != 0 {
		t.Errorf("an empty lock file: %v, %v", lock, err)
	}
}

// Every lock file of the real projects can be read, and what it says of a
// version can stand in a metadata document.
func TestParseRealLocks(t *testing.T) {
	dir := sliceDir(t)
	if dir == "" {
		return
	}
	paths, err := filepath.Glob(filepath.Join(dir, "..", "projects", "*", "composer*.lock"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no lock files beside %s: %v", dir, err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := composer.ParseLock(body)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for _, p := range lock.Packages {
			doc := composer.NewDocument(p.Name, []composer.Object{p.Object})
			index, err := doc.Index()
			if err != nil || len(index) != 1 || index[0].Normalized != p.Normalized || p.Reference() == "" {
				t.Errorf("%s: %s does not stand in a document: %+v, %v", path, p.Name, index, err)
			}
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(madeLock))
	f.Add([]byte(`{"packages":[],"packages-dev":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		lock, err := composer.ParseLock(body)
		if err != nil {
			return
		}
		for _, p := range lock.Packages {
			if p.Name.IsZero() || p.Normalized == "" {
				t.Fatalf("a package without name or version was read: %+v", p)
			}
		}
	})
}
