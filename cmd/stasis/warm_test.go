package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

const lockText = `{
	"packages": [
		{"name": "Acme/Lib", "version": "v1.2", "dist": {"type": "zip", "url": "https://example.org/x.zip", "reference": "abcdef0123"}},
		{"name": "acme/branch", "version": "dev-feature/x", "dist": {"type": "tar", "url": "http://old/dist-proxy/%package%/%version%/%reference%.tar.gz", "reference": "abcdef0123"}},
		{"name": "acme/meta", "version": "1.0.0"},
		{"name": "acme/local", "version": "dev-main", "dist": {"type": "path", "url": "../local", "reference": "x"}}
	],
	"packages-dev": [
		{"name": "acme/lib", "version": "1.2.0", "dist": {"type": "zip", "url": "", "reference": "abcdef0123"}},
		{"name": "acme/odd", "version": "1.0.0", "dist": {"type": "zip", "url": "https://example.org/x.zip", "reference": "1.0.0"}}
	]
}`

func TestLockFileNeedsDocumentsAndArchivesOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "composer.lock")
	writeFile(t, path, lockText)
	list, err := readLocks([]string{path, path})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range list {
		got = append(got, w.Path)
	}
	want := []string{
		"/p2/acme/lib.json",
		"/dist-proxy/acme/lib/1.2.0.0/abcdef0123.zip",
		"/p2/acme/branch.json",
		"/p2/acme/branch~dev.json",
		"/dist-proxy/acme/branch/c59df8ffc3722ccf3e45eda9c4e4bf20/abcdef0123.tar.gz", // the MD5 of a version with a slash
		"/p2/acme/meta.json",
		"/p2/acme/odd.json",
		"/dist-proxy/acme/odd/1.0.0.0/47cd76e43f74bbc2e1baaf194d07e1fa.zip", // the MD5 of a reference that is no hash
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLockFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"{":                                  "is not a composer.lock",
		`{"packages":[{"name":"nonsense"}]}`: "has a package that cannot be asked for",
		`{"packages":[{"name":"a/b","version":"?"}]}`: `a/b: "?" is not a version`,
	} {
		path := filepath.Join(dir, "composer.lock")
		writeFile(t, path, text)
		if _, err := readLocks([]string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestWarmFetchesEverythingAndSaysWhatFailed(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "":
			t.Error("the administrator's token was sent where it is not needed")
		case r.URL.Path == "/p2/acme/meta.json":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"status":"error","message":"Packagist has no acme/meta."}`)
		case strings.HasPrefix(r.URL.Path, "/dist-proxy/acme/odd/"):
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		case strings.HasPrefix(r.URL.Path, "/p2/"):
			w.Header().Set("Cache-Status", "Stasis; hit")
			fmt.Fprint(w, "{}")
		default:
			w.Header().Set("Cache-Status", "Stasis; fwd=uri-miss; stored")
			fmt.Fprint(w, "PK")
		}
	}))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "composer.lock")
	writeFile(t, path, lockText)
	environ := []string{"STASIS_URL=" + srv.URL, "ADMIN_TOKEN=" + apiToken}

	got := stasis(t, environ, "", "warm", path)
	if got.code != exitFailure || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{
		"fetched: acme/lib v1.2 archive (2 B)\n",
		"already there: acme/branch~dev metadata\n",
		"FAILED: acme/meta metadata: Packagist has no acme/meta (status 404)\n",
		"FAILED: acme/odd 1.0.0 archive: the transfer broke off: unexpected EOF\n",
		"2 fetched, 4 already there, 2 failed (17 B)\n",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in\n%s", want, got.stdout)
		}
	}
	slices.Sort(asked)
	if len(asked) != 8 || len(slices.Compact(asked)) != 8 {
		t.Errorf("asked for %q", asked)
	}

	var summary warmSummary
	got = stasis(t, environ, "", "warm", "--json", path)
	if err := json.Unmarshal([]byte(got.stdout), &summary); err != nil || got.code != exitFailure {
		t.Errorf("got %+v, %v", got, err)
	}
	if summary.Fetched != 2 || summary.Already != 4 || len(summary.Failed) != 2 {
		t.Errorf("got %+v", summary)
	}
}

func TestWarmSucceedsWhenNothingFails(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "composer.lock")
	writeFile(t, path, lockText)
	if got := stasis(t, []string{"STASIS_URL=" + srv.URL}, "", "warm", path); got.code != exitOK {
		t.Errorf("got %+v", got)
	}
}
