package private_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"stasis/private"
	"stasis/private/git"
	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/upstream"
	"stasis/store"
)

// world is a service whose packages a real proxy serves, in front of a public
// registry that has a package of any name that is asked for.
type world struct {
	t        *testing.T
	store    *store.Store
	service  *private.Service
	proxy    *proxy.Proxy
	url      string
	folder   string // of watched archives
	data     string
	registry *registry
}

// registry answers every name with a high version, and remembers who asked.
type registry struct {
	mu      sync.Mutex
	asked   []string // guarded by mu
	archive string   // where archives lie; empty for here; guarded by mu
}

func (r *registry) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, req.URL.Path)
	archive := r.archive
	r.mu.Unlock()
	if archive == "" {
		archive = "http://" + req.Host + "/evil.zip"
	}
	file, ok := strings.CutPrefix(req.URL.Path, "/p2/")
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"packages":[],"metadata-url":"/p2/%%package%%.json"}`)
		return
	}
	name := strings.TrimSuffix(strings.TrimSuffix(file, ".json"), "~dev")
	w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
	if strings.Contains(file, "~dev") {
		fmt.Fprintf(w, `{"packages":{%q:[]},"minified":"composer/2.0"}`, name)
		return
	}
	fmt.Fprintf(w, `{"packages":{%q:[{"name":%q,"version":"99.0.0","version_normalized":"99.0.0.0","description":"from a stranger",`+
		`"dist":{"type":"zip","url":%q,"reference":"%040d"}}]},"minified":"composer/2.0"}`, name, name, archive, 9)
}

// about lists the requests that name a package.
func (r *registry) about(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, path := range r.asked {
		if strings.Contains(strings.ToLower(path), name) {
			out = append(out, path)
		}
	}
	return out
}

// memoryVault keeps secrets in memory.
type memoryVault struct {
	mu sync.Mutex
	m  map[string][]byte // guarded by mu
}

func (v *memoryVault) Put(_ *store.Tx, subject string, secret []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.m[subject] = slices.Clone(secret)
	return nil
}

func (v *memoryVault) Read(subject string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if secret, ok := v.m[subject]; ok {
		return secret, nil
	}
	return nil, fs.ErrNotExist
}

func (v *memoryVault) Delete(_ *store.Tx, subject string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.m, subject)
	return nil
}

func newWorld(t *testing.T, vendors ...string) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir(), data: t.TempDir(), registry: &registry{}}
	public := httptest.NewServer(w.registry)
	t.Cleanup(public.Close)
	var err error
	if w.store, err = store.Open(t.Context(), store.Options{Path: filepath.Join(w.data, "store")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	client, err := upstream.New(upstream.Options{AllowedHosts: []string{"127.0.0.1"}, Auth: upstream.NewAuth()})
	if err != nil {
		t.Fatal(err)
	}
	g, err := git.New(git.Options{Dir: filepath.Join(w.data, "git"), AllowLocal: true})
	if err != nil {
		t.Fatal(err)
	}
	w.service, err = private.New(private.Options{
		Store: w.store, Vault: &memoryVault{m: map[string][]byte{}}, Git: g, Upstream: client, Vendors: vendors, Folder: w.folder,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.proxy, err = proxy.New(proxy.Options{
		Store: w.store, Upstream: client, Enabled: true, PackagistURL: public.URL, Sources: w.service,
		MetadataTTL: time.Hour, NegativeTTL: time.Hour, RevalidateWait: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.service.Start(w.proxy)
	e := echo.New()
	w.proxy.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(func() {
		server.Close()
		w.service.Close()
		w.proxy.Close()
	})
	w.url = server.URL
	return w
}

// add adds a source and waits until it was read.
func (w *world) add(src private.Source) (private.Source, private.Run) {
	w.t.Helper()
	added, err := w.service.AddSource(w.t.Context(), private.SourceRequest{Source: src})
	if err != nil {
		w.t.Fatalf("add the source %s: %v", src.Name, err)
	}
	last := w.sync(added.ID)
	runs, err := w.service.Runs(w.t.Context(), added.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, run := range runs {
		if run.Trigger == "added" {
			return added, run
		}
	}
	return added, last
}

func (w *world) sync(id string) private.Run {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	run, err := w.service.SyncNow(ctx, id, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// get asks like Composer does.
func (w *world) get(path string) (int, []byte) {
	w.t.Helper()
	resp, err := http.Get(w.url + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// offered is a version as clients see it.
type offered struct {
	Version     string `json:"version"`
	Normalized  string `json:"version_normalized"`
	Description string `json:"description"`
	Default     bool   `json:"default-branch"`
	Abandoned   any    `json:"abandoned"`
	Time        string `json:"time"`
	Published   string `json:"published-time"`
	Source      map[string]string
	Dist        struct{ Type, URL, Reference, Shasum string }
	Require     map[string]string
}

// versions are what clients see of a file, by pretty version; nil for a 404.
func (w *world) versions(file string) map[string]offered {
	w.t.Helper()
	status, body := w.get("/p2/" + file + ".json")
	if status == http.StatusNotFound {
		return nil
	}
	if status != http.StatusOK {
		w.t.Fatalf("%s: status %d: %s", file, status, body)
	}
	n, err := composer.ParseName(strings.TrimSuffix(file, "~dev"))
	if err != nil {
		w.t.Fatal(err)
	}
	doc, err := composer.ParseDocument(body, n)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]offered{}
	for _, o := range doc.Expanded() {
		raw, err := json.Marshal(o)
		if err != nil {
			w.t.Fatal(err)
		}
		var v offered
		if err := json.Unmarshal(raw, &v); err != nil {
			w.t.Fatal(err)
		}
		all[v.Version] = v
	}
	return all
}

// download fetches the archive of a version as Composer does.
func (w *world) download(name string, v offered) (int, []byte) {
	w.t.Helper()
	url := strings.NewReplacer("%package%", name, "%version%", v.Normalized, "%reference%", v.Dist.Reference, "%type%", v.Dist.Type).Replace(v.Dist.URL)
	return w.get(strings.TrimPrefix(url, w.url))
}

func keys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// repo is a git repository in the making.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files (path, content, …) and commits them.
func (r *repo) commit(files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(r.dir, files[i])
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(files[i+1]), 0o644)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "change")
	return r.git("rev-parse", "HEAD")
}

func manifest(name, more string) string {
	return fmt.Sprintf(`{"name":%q,"description":"one of ours","autoload":{"psr-4":{"Acme\\":"src/"}}%s}`, name, more)
}
