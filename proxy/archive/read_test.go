package archive_test

import (
	"archive/zip"
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/archive"
)

func TestReadHandsOutWhatWasPicked(t *testing.T) {
	body := zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false,
		file{"composer.json", `{"name":"acme/lib"}`, 0o644}, file{"src/composer.json", "{}", 0o644}, file{"README.md", strings.Repeat("x", 100), 0o644})
	var seen []string
	rep, got, err := archive.Read("zip", bytes.NewReader(body), int64(len(body)), func(path string, size int64) bool {
		seen = append(seen, path)
		return strings.Count(path, "/") == 1 && size < 100
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"acme-lib-1/composer.json", "acme-lib-1/src/composer.json", "acme-lib-1/README.md"}; !slices.Equal(seen, want) {
		t.Errorf("it was asked about %q, want %q", seen, want)
	}
	if want := map[string]string{"acme-lib-1/composer.json": `{"name":"acme/lib"}`}; !maps.EqualFunc(got, want, func(a []byte, b string) bool { return string(a) == b }) {
		t.Errorf("it handed out %q, want %q", got, want)
	}
	if plain := check(t, "zip", body); plain != rep {
		t.Errorf("Read reports %+v, Check %+v", rep, plain)
	}
}

func TestReadHandsOutNothingOfABadArchive(t *testing.T) {
	body := raw(layout{}, good, item{name: "acme-lib-1/b", content: "x", crc: 1})
	if _, got, err := archive.Read("zip", bytes.NewReader(body), int64(len(body)), func(string, int64) bool { return true }); err == nil || got != nil {
		t.Errorf("it handed out %q with the error %v", got, err)
	}
}

func TestTopIsTheFolderThatComposerUnwraps(t *testing.T) {
	for _, c := range []struct {
		name, want string
		items      []item
	}{
		{"one folder", "p", []item{{name: "p/a"}, {name: "p/b/c"}}},
		{"one folder with an entry of its own", "p", []item{{name: "p/", mode: 0o40755}, {name: "p/a"}}},
		{"a file beside the folder", "", []item{{name: "p/a"}, {name: "b"}}},
		{"two folders", "", []item{{name: "p/a"}, {name: "q/a"}}},
		{"an empty second folder", "", []item{{name: "p/a"}, {name: "q/", mode: 0o40755}}},
		{"what a Mac's Finder leaves", "p", []item{{name: ".DS_Store"}, {name: "p/a"}}},
		{"what a Mac's archiver leaves", "", []item{{name: "__MACOSX/p/._a"}, {name: "p/a"}}},
		{"files only", "", []item{{name: "a"}, {name: "b"}}},
		{"the folder itself", "p", []item{{name: "./", mode: 0o40755}, {name: "./p/a"}}},
	} {
		if got := check(t, "zip", raw(layout{}, c.items...)).Top; got != c.want {
			t.Errorf("%s: the top is %q, want %q", c.name, got, c.want)
		}
	}
}
