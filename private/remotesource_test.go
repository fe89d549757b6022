package private_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private"
	"stasis/proxy/composer"
)

// satis is another Composer repository, which wants credentials for everything.
type satis struct {
	t   *testing.T
	srv *httptest.Server

	mu       sync.Mutex // guards the rest
	packages map[string][]string
	password string
	feed     []string // announced packages; nil for no change feed
	asked    []string
	secrets  int // requests with credentials
	down     bool
	open     bool // its root does not list the packages
	modified time.Time
}

func newSatis(t *testing.T, packages map[string][]string) *satis {
	s := &satis{t: t, packages: packages, password: "s3cret", modified: time.Now().Add(-time.Hour)}
	s.srv = httptest.NewServer(s)
	t.Cleanup(s.srv.Close)
	return s
}

func (s *satis) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Path)
	_, password, _ := r.BasicAuth()
	if r.Header.Get("Authorization") != "" {
		s.secrets++
	}
	switch {
	case s.down:
		w.WriteHeader(http.StatusBadGateway)
		return
	case password != s.password:
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	date := s.modified.UTC().Format(http.TimeFormat)
	w.Header().Set("Last-Modified", date)
	if r.Header.Get("If-Modified-Since") == date {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	name, ok := strings.CutPrefix(strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, ".json"), "~dev"), "/p2/")
	switch {
	case r.URL.Path == "/sub/packages.json":
		root := map[string]any{"metadata-url": "/p2/%package%.json"}
		if !s.open {
			root["available-packages"] = keys(s.packages)
		}
		if s.feed != nil {
			root["metadata-changes-url"] = "/changes"
		}
		answer(root)
	case r.URL.Path == "/changes":
		w.Header().Del("Last-Modified")
		actions := []map[string]any{}
		for _, name := range s.feed {
			actions = append(actions, map[string]any{"type": "update", "package": name, "time": s.modified.Unix()})
		}
		answer(map[string]any{"actions": actions, "timestamp": time.Now().UnixMicro() / 100})
	case ok && s.packages[name] != nil:
		list := []map[string]any{}
		for _, version := range s.packages[name] {
			if strings.HasPrefix(version, "dev-") == strings.Contains(r.URL.Path, "~dev") {
				list = append(list, map[string]any{"name": name, "version": version, "dist": map[string]any{
					"type": "zip", "url": "/elsewhere/" + name + "/" + version + ".zip", "reference": fmt.Sprintf("%040x", len(version)), "shasum": "",
				}})
			}
		}
		answer(map[string]any{"packages": map[string]any{name: list}})
	case strings.HasPrefix(r.URL.Path, "/elsewhere/"):
		_, _ = w.Write(archived(s.t, r.URL.Path))
	default:
		http.NotFound(w, r)
	}
}

func archived(t *testing.T, content string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("root/composer.json")
	if err == nil {
		_, err = fmt.Fprintf(f, `{"description":%q}`, content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *satis) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.modified = s.modified.Add(time.Minute)
}

// about returns the requests since the last look whose path contains part.
func (s *satis) about(part string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.asked {
		if strings.Contains(path, part) {
			list = append(list, path)
		}
	}
	s.asked = nil
	return list
}

func (w *world) addSatis(s *satis, priority int, patterns ...string) private.Source {
	w.t.Helper()
	src, err := w.service.AddSource(w.t.Context(), private.SourceRequest{
		Source:      private.Source{Type: private.Composer, URL: s.srv.URL + "/sub", Packages: patterns, Priority: priority},
		Credentials: &private.Credentials{Username: "token", Password: "s3cret"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if run := w.sync(src.ID); run.Result == "failed" || !s.open && run.Counts.Found != len(s.packages) {
		w.t.Errorf("the first reading: %+v", run)
	}
	return src
}

func (w *world) wantVersions(file string, want ...string) {
	w.t.Helper()
	if got := keys(w.versions(file)); !slices.Equal(got, want) {
		w.t.Errorf("%s has %v, want %v", file, got, want)
	}
}

func TestAnotherComposerRepositoryIsASource(t *testing.T) {
	w := newWorld(t)
	s := newSatis(t, map[string][]string{"acme/lib": {"1.0.0", "dev-main"}})
	src := w.addSatis(s, 0, "acme/*")
	w.wantVersions("acme/lib", "1.0.0")
	w.wantVersions("acme/lib~dev", "dev-main")
	if status, body := w.download("acme/lib", w.versions("acme/lib")["1.0.0"]); status != http.StatusOK || !bytes.Equal(body, archived(t, "/elsewhere/acme/lib/1.0.0.zip")) {
		t.Errorf("the archive: status %d, %.200s", status, body)
	}
	w.neverPublic("a package of the repository", "acme/lib")
	w.neverPublic("a name it could have", "acme/absent")

	// What it has now is there after the next reading, and what it has no longer is gone.
	s.set(func() { s.packages["acme/lib"] = []string{"1.0.0", "1.1.0", "dev-main"} })
	s.about("")
	w.sync(src.ID)
	w.wantVersions("acme/lib", "1.0.0", "1.1.0")
	s.set(func() { s.packages = map[string][]string{"acme/other": {"1.0.0"}} })
	w.sync(src.ID)
	if got := w.versions("acme/lib"); got != nil {
		t.Errorf("the removed package has %v", keys(got))
	}
	w.neverPublic("removed from its repository", "acme/lib")
	s.set(func() { s.down = true })
	if run := w.sync(src.ID); run.Result != "failed" {
		t.Errorf("a repository that is down: %+v", run)
	}
	w.neverPublic("its repository is down", "acme/lib")
}

// Only what the change feed names is asked for again.
func TestTheFeedOfARepositoryIsFollowed(t *testing.T) {
	w := newWorld(t)
	s := newSatis(t, map[string][]string{"acme/lib": {"1.0.0"}, "acme/tool": {"1.0.0"}})
	s.feed = []string{}
	src := w.addSatis(s, 0, "acme/*")
	w.wantVersions("acme/lib", "1.0.0")
	w.wantVersions("acme/tool", "1.0.0")
	w.sync(src.ID)
	s.set(func() {
		s.packages = map[string][]string{"acme/lib": {"2.0.0"}, "acme/tool": {"2.0.0"}}
		s.feed = []string{"acme/lib", "acme/unknown"}
	})
	s.about("")
	w.sync(src.ID)
	if got := s.about("/p2/"); !slices.Equal(got, []string{"/p2/acme/lib.json", "/p2/acme/lib~dev.json"}) {
		t.Errorf("asked for %v", got)
	}
	w.wantVersions("acme/lib", "2.0.0")
	w.wantVersions("acme/tool", "1.0.0")
}

// C93: as with an ordered list of repositories in composer.json, the first that
// knows a name answers for all of it.
func TestC93TheFirstRepositoryThatKnowsANameAnswers(t *testing.T) {
	w := newWorld(t)
	first := newSatis(t, map[string][]string{"acme/lib": {"1.0.0"}, "acme/dev": {"dev-main"}})
	first.open = true
	second := newSatis(t, map[string][]string{"acme/lib": {"2.0.0"}, "acme/dev": {"2.0.0"}, "acme/tool": {"2.0.0"}})
	w.addSatis(second, 20, "acme/*")
	w.addSatis(first, 10, "acme/*")
	w.wantVersions("acme/lib", "1.0.0")
	w.wantVersions("acme/dev") // it has development versions only, and is known
	w.wantVersions("acme/dev~dev", "dev-main")
	w.wantVersions("acme/tool", "2.0.0")
	if got := w.versions("acme/none"); got != nil {
		t.Errorf("a name that nobody has: %v", got)
	}

	// Where the first cannot be asked, nobody knows whether it has a name.
	first.set(func() { first.down = true })
	if status, body := w.get("/p2/acme/new.json"); status < 500 {
		t.Errorf("with the first down: status %d: %s", status, body)
	}
	w.wantVersions("acme/lib", "1.0.0")
	for _, path := range second.about("/p2/acme/") {
		if strings.Contains(path, "lib") || strings.Contains(path, "new") {
			t.Errorf("the second was asked for %s", path)
		}
	}
}

// The credentials of a source are of no use to what the public registry names.
func TestCredentialsOfASourceAreForItsPackagesAlone(t *testing.T) {
	w := newWorld(t)
	s := newSatis(t, map[string][]string{"acme/lib": {"1.0.0"}})
	w.registry.set(func() {
		w.registry.archive = s.srv.URL + "/elsewhere/acme/lib/1.0.0.zip"
	})
	src := w.addSatis(s, 0, "acme/*")
	if w.versions("stranger/lib") == nil {
		t.Fatal("the public package is not there")
	}
	s.set(func() { s.secrets = 0 })
	for range 2 {
		status, body := w.get("/dist-proxy/stranger/lib/99.0.0.0/" + fmt.Sprintf("%040d", 9) + ".zip")
		if status == http.StatusOK {
			t.Errorf("a stranger's package brings an archive of ours: %.100s", body)
		}
	}
	if got := s.about("/elsewhere/"); len(got) == 0 || s.secrets != 0 {
		t.Errorf("%d requests for it, of which %d with credentials", len(got), s.secrets)
	}
	r := newRepo(t)
	r.commit("composer.json", manifest("own/lib", ""))
	r.git("tag", "1.0.0")
	w.add(private.Source{Type: private.Git, URL: r.dir, Packages: []string{"own/*"}})
	own := w.versions("own/lib")["1.0.0"]
	if status, _ := w.download("own/lib", own); status != http.StatusOK {
		t.Fatalf("our own archive: status %d", status)
	}
	w.registry.set(func() { w.registry.archive = composer.LocalScheme + "own/lib/" + own.Dist.Reference + ".zip" })
	if status, _ := w.get("/dist-proxy/stranger/other/99.0.0.0/" + fmt.Sprintf("%040d", 9) + ".zip"); status == http.StatusOK {
		t.Error("a stranger's package brings an archive that we made")
	}
	w.wantVersions("acme/lib", "1.0.0")

	if _, err := w.service.DeleteSource(t.Context(), src.ID); err != nil {
		t.Fatal(err)
	}
	s.about("")
	s.set(func() { s.secrets = 0 })
	w.get("/p2/acme/other.json")
	w.get("/dist-proxy/acme/lib/1.0.0.0/" + fmt.Sprintf("%040x", 5) + ".zip")
	if s.secrets != 0 {
		t.Error("the credentials outlive their source")
	}
}
