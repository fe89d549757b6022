package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// repository is a git repository in the making.
type repository struct {
	t   testing.TB
	dir string
}

func newRepository(t testing.TB) *repository {
	t.Helper()
	r := &repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files (path, content, …) and commits them.
func (r *repository) commit(files ...string) string {
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

// above calls the management API below /api/v1 and decodes what it answers.
func above[T any](d *daemon, method, path string, body any) T {
	d.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			d.t.Fatal(err)
		}
	}
	r := d.do(method, "/api/v1/"+path, text, "Authorization", "Bearer "+adminToken, "Content-Type", "application/json")
	if r.StatusCode/100 != 2 {
		d.t.Fatalf("%s %s: %d %s", method, path, r.StatusCode, r.body)
	}
	return into[struct {
		Data T `json:"data"`
	}](d.t, r).Data
}

type sourceAnswer struct {
	ID string `json:"id"`
}

type runAnswer struct {
	Result, Error string
	Counts        struct{ Found, Published, Skipped int }
}

// addGit adds a git source and waits until it was read.
func (d *daemon) addGit(r *repository, packages ...string) string {
	d.t.Helper()
	src := above[sourceAnswer](d, http.MethodPost, "sources", map[string]any{"type": "git", "url": r.dir, "packages": packages})
	run := above[runAnswer](d, http.MethodPost, "sources/"+src.ID+"/sync", nil)
	if run.Result == "failed" {
		d.t.Fatalf("the repository could not be read: %s", run.Error)
	}
	return src.ID
}

// token makes an access token.
func (d *daemon) token(body map[string]any) string {
	d.t.Helper()
	return above[struct {
		Plain string `json:"plain_token"`
	}](d, http.MethodPost, "tokens", body).Plain
}

// authorize gives a client a token for the repository at url.
func (c *composer) authorize(d *daemon, token string) {
	c.t.Helper()
	auth := fmt.Sprintf(`{"http-basic":{%q:{"username":"token","password":%q}}}`, d.addr, token)
	write(c.t, filepath.Join(c.home, "auth.json"), []byte(auth))
}

var withGit = []string{"GIT_ALLOW_LOCAL=true", "PROXY_SNAPSHOT_SETTLE=0"}

// Private packages and public ones come from one repositories entry, and the
// lock file installs again.
func TestPrivateAndPublicPackagesComeFromOneURL(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t, append(withGit, revalidating...)...)
		made(s)
		r := newRepository(t)
		r.commit("composer.json", `{"name":"acme-corp/billing","require":{"acme/b":"^1.0"},"autoload":{"psr-4":{"Billing\\":"src/"}}}`,
			"src/Invoice.php", "<?php\nnamespace Billing;\nclass Invoice {}\n",
			".gitattributes", "/tests export-ignore\n", "tests/T.php", "<?php")
		r.git("tag", "v1.0.0")
		d.addGit(r, "acme-corp/*")

		c := clientOf(t, command, d.url)
		if out, err := c.try(project(t, requiring("acme-corp/billing", "^1.0")), "update", "--no-progress"); err == nil {
			t.Errorf("without a token a private package was installed:\n%s", out)
		}
		c.authorize(d, d.token(map[string]any{"name": "ci", "role": "read", "packages": []string{"acme-corp/*"}}))
		dir := c.locked(requiring("acme-corp/billing", "^1.0"))
		expectLocked(t, "private and public", dir, "acme-corp/billing v1.0.0", "acme/b 1.1.0")
		if _, err := os.Stat(filepath.Join(dir, "vendor/acme-corp/billing/tests")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what is marked export-ignore was installed: %v", err)
		}
		cmd := exec.Command("php", "-r", `require "vendor/autoload.php"; echo class_exists("Billing\\Invoice") ? "yes" : "no";`)
		cmd.Dir = dir
		if out, err := cmd.Output(); err != nil || string(out) != "yes" {
			t.Errorf("the class of the private package does not load: %s %v", out, err)
		}
		if got := readLock(t, filepath.Join(dir, "composer.lock")); strings.Contains(string(read(t, filepath.Join(dir, "composer.lock"))), "stasis://") {
			t.Errorf("the lock names what is internal:\n%s", got.identity())
		}

		// A push is there at once for whoever asks Stasis to look, and the old lock
		// still installs, with a client that has nothing.
		r.commit("src/More.php", "<?php")
		r.git("tag", "v1.1.0")
		src := above[[]sourceAnswer](d, http.MethodGet, "sources", nil)[0].ID
		begun := time.Now()
		above[runAnswer](d, http.MethodPost, "sources/"+src+"/sync", nil)
		t.Logf("a push was published in %s", time.Since(begun).Round(time.Millisecond))
		again := c.locked(requiring("acme-corp/billing", "^1.0"))
		expectLocked(t, "after a push", again, "acme-corp/billing v1.1.0", "acme/b 1.1.0")
		c.cool()
		if err := os.RemoveAll(filepath.Join(dir, "vendor")); err != nil {
			t.Fatal(err)
		}
		c.run(dir, "install", "--no-progress")
		if asked := requestsAbout(s, "acme-corp"); len(asked) > 0 {
			t.Errorf("the public registry was asked about private packages: %v", asked)
		}
	})
}

// requestsAbout lists the requests upstream that name something.
func requestsAbout(s *standin.Server, what string) (list []string) {
	for _, uri := range uris(s) {
		if strings.Contains(strings.ToLower(uri), what) {
			list = append(list, uri)
		}
	}
	return list
}

// Private history is recorded: a dated view, a snapshot, a freeze and a
// cooldown hold for private packages as for public ones.
func TestPrivatePackagesHaveAPast(t *testing.T) {
	s, d := pair(t, append([]string{"PUBLIC_READ=true"}, append(withGit, revalidating...)...)...)
	made(s)
	r := newRepository(t)
	first := r.commit("composer.json", `{"name":"acme-corp/billing"}`)
	r.git("tag", "1.0.0")
	src := d.addGit(r, "acme-corp/*")
	before := d.observe("acme-corp/billing", "acme-corp/billing~dev")
	snap := asked[struct{ Name string }](d, http.MethodPost, "snapshots", map[string]string{"name": "release", "from": "now"})
	eventually(t, "the snapshot is sealed", func() bool {
		return asked[struct{ State string }](d, http.MethodGet, "snapshots/"+snap.Name, nil).State == "sealed"
	})

	r.commit("evil.php", "<?php")
	r.git("tag", "-f", "1.0.0")
	r.git("tag", "1.1.0")
	above[runAnswer](d, http.MethodPost, "sources/"+src+"/sync", nil)

	c := client(t, d.url)
	dir := c.locked(requiring("acme-corp/billing", "*"))
	expectLocked(t, "now", dir, "acme-corp/billing 1.1.0")
	for _, world := range []string{before, "release"} {
		c := client(t, d.at(world))
		dir := c.locked(requiring("acme-corp/billing", "*"))
		expectLocked(t, world, dir, "acme-corp/billing 1.0.0")
		if lock := string(read(t, filepath.Join(dir, "composer.lock"))); !strings.Contains(lock, first) {
			t.Errorf("%s: the lock does not have the first commit of the tag, %s:\n%s", world, first, lock)
		}
	}
	c.use(d.url + "/cooldown/7d")
	if out, err := c.try(project(t, requiring("acme-corp/billing", "1.1.0")), "update", "--no-progress"); err == nil {
		t.Errorf("a release of today passed a cooldown of a week:\n%s", out)
	}
	c.use(d.url)
	if why := d.explain("acme-corp/billing", "1.0.0", ""); !strings.Contains(why.Sentence, "source") || why.Reference != first {
		t.Errorf("explain: %+v, want the first reference %s and its source", why, first)
	}
	above[any](d, http.MethodPost, "packages/acme-corp/billing/yank/1.1.0", map[string]string{"reason": "broken"})
	expectLocked(t, "after a yank", c.locked(requiring("acme-corp/billing", "*")), "acme-corp/billing 1.0.0")
}

// The command line does what a person would: add a repository, look, remove.
func TestPrivatePackagesFromTheCommandLine(t *testing.T) {
	_, d := pair(t, withGit...)
	r := newRepository(t)
	r.commit("composer.json", `{"name":"acme-corp/billing","description":"Bills"}`)
	r.git("tag", "1.0.0")
	expect := func(wants []string, args ...string) {
		t.Helper()
		out, err := d.run(args...)
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		say(t, strings.Join(args, " "), out, wants...)
	}
	expect([]string{"2 found, 2 published"}, "package", "add", r.dir, "--name", "billing", "--packages", "acme-corp/*")
	expect([]string{"acme-corp/billing", "1.0.0"}, "package", "list")
	expect([]string{"Bills", "1.0.0", "dev-main"}, "package", "show", "acme-corp/billing")
	expect([]string{"unchanged"}, "package", "sync", "acme-corp/billing")
	expect([]string{"is yanked"}, "package", "yank", "acme-corp/billing", "1.0.0", "--reason", "broken")
	expect([]string{"yanked broken"}, "package", "show", "acme-corp/billing")
	expect([]string{"is visible"}, "package", "unyank", "acme-corp/billing", "1.0.0")
	expect([]string{"git", "billing", "unchanged"}, "source", "list")
	expect([]string{"is deleted"}, "package", "remove", "acme-corp/billing")
	expect([]string{"no private packages"}, "package", "list")
	expect([]string{"is back"}, "package", "restore", "acme-corp/billing")
	expect([]string{"read", "ci", "stasis_", "composer config --global --auth http-basic." + d.addr}, "token", "create", "ci", "--packages", "acme-corp/*")
	expect([]string{"ci", "acme-corp/*", "never"}, "token", "list")
	expect([]string{"Example Ltd"}, "customer", "create", "Example Ltd", "--packages", "acme-corp/*")
	expect([]string{"Example Ltd", "active", "acme-corp/*"}, "customer", "list")
	expect([]string{"token.create", "package.yank", "acme-corp/billing", "ok"}, "audit")
	// Branches may have slashes in their names.
	r.git("branch", "feature/deep/er")
	expect([]string{"1 published"}, "package", "sync", "acme-corp/billing")
	expect([]string{"dev-feature/deep/er"}, "package", "show", "acme-corp/billing")
	expect([]string{"is yanked"}, "package", "yank", "acme-corp/billing", "dev-feature/deep/er", "--reason", "unfinished")
	expect([]string{"is visible"}, "package", "unyank", "acme-corp/billing", "dev-feature/deep/er")
	expect([]string{"dev-feature/deep/er"}, "package", "deprecate", "acme-corp/billing", "dev-feature/deep/er")
	for _, version := range []string{"dev-feature/deep/er", "dev-feature%2Fdeep%2fer"} {
		r := d.do(http.MethodGet, "/api/v1/packages/acme-corp/billing/download/"+version, nil, "Authorization", "Bearer "+adminToken)
		if to := r.Header.Get("Location"); r.StatusCode != http.StatusTemporaryRedirect || d.get(to, "Authorization", "Bearer "+adminToken).StatusCode != http.StatusOK {
			t.Errorf("download %s: %d %q %.300s", version, r.StatusCode, to, r.body)
		}
	}
	for _, path := range []string{"/api/v1/packages/acme-corp%2Fbilling", "/api/v1/packages/acme-corp/billing/download/..%2f..%2fbilling", "/p2/acme-corp%2Fbilling.json"} {
		if r := d.do(http.MethodGet, path, nil, "Authorization", "Bearer "+adminToken); r.StatusCode/100 != 4 {
			t.Errorf("%s: %d, want a refusal", path, r.StatusCode)
		}
	}
	config := filepath.Join(t.TempDir(), "satis.json")
	other := newRepository(t)
	other.commit("composer.json", `{"name":"other-corp/other"}`)
	other.git("tag", "1.0.0")
	write(t, config, fmt.Appendf(nil, `{"name":"acme/satis","homepage":"https://satis.example.org","repositories":[{"type":"vcs","url":%q}],"require-all":true}`, other.dir))
	expect([]string{"planned: git"}, "import", "satis", config, "--dry-run")
	expect([]string{"read: git"}, "import", "satis", config)
	expect([]string{"other-corp/other"}, "package", "list")
}

// What a customer may have is changed from the command line, and counts for its
// tokens at once.
func TestCustomersFromTheCommandLine(t *testing.T) {
	_, d := pair(t, withGit...)
	r := newRepository(t)
	r.commit("composer.json", `{"name":"acme-corp/billing"}`)
	r.git("tag", "1.0.0")
	src := d.addGit(r, "acme-corp/*")
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := d.run(append([]string{"customer"}, args...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		say(t, strings.Join(args, " "), out, want)
		return out
	}
	id := strings.Fields(run("Example Ltd", "create", "Example Ltd"))[0]
	token := d.token(map[string]any{"name": "theirs", "role": "read", "owner": id})
	sees := func(when string, status int, versions ...string) {
		t.Helper()
		r := d.get("/p2/acme-corp/billing.json", "Authorization", "Bearer "+token)
		if r.StatusCode != status {
			t.Errorf("%s: %d, want %d\n%.300s", when, r.StatusCode, status, r.body)
		}
		for _, v := range []string{"1.0.0", "1.1.0"} {
			if strings.Contains(string(r.body), `"`+v+`"`) != slices.Contains(versions, v) {
				t.Errorf("%s: want the versions %v in\n%.500s", when, versions, r.body)
			}
		}
	}
	sees("without a grant", http.StatusNotFound)
	run("may have acme-corp/*", "grant", id, "acme-corp/*")
	sees("with a grant", http.StatusOK, "1.0.0")
	at := d.observe("acme-corp/billing")
	r.git("tag", "1.1.0")
	above[runAnswer](d, http.MethodPost, "sources/"+src+"/sync", nil)
	sees("after a release", http.StatusOK, "1.0.0", "1.1.0")
	run("is frozen", "freeze", id, "--at", at)
	sees("frozen", http.StatusOK, "1.0.0")
	run("is not frozen any more", "unfreeze", id)
	sees("not frozen", http.StatusOK, "1.0.0", "1.1.0")
	run("is suspended", "suspend", id)
	sees("suspended", http.StatusForbidden)
	run("suspended", "list")
	run("is active", "reactivate", id)
	sees("active again", http.StatusOK, "1.0.0", "1.1.0")
	if list := above[[]sourceAnswer](d, http.MethodGet, "packages/acme-corp/billing/customers", nil); len(list) != 1 || list[0].ID != id {
		t.Errorf("the customers of the package are %v, want %s", list, id)
	}
	run("is removed", "remove", id)
	sees("removed", http.StatusUnauthorized)
	if out, err := d.run("audit"); err != nil || !strings.Contains(out, "customer.suspend") {
		t.Errorf("the audit log: %v\n%s", err, out)
	}
}

// A token can be bound to a view: its client sees the registry as of then
// without anything in composer.json, and no other view.
func TestATokenIsBoundToAView(t *testing.T) {
	s, d := pair(t, revalidating...)
	releases := past(s)
	// A registry that does not say when a release was published, only of when its commit is.
	undated := dated("acme/c", "1.0.0", "2024-03-01T12:00:00Z")
	undated.Extra = nil
	for what, release := range publish(s, undated) {
		releases[what] = release
	}
	token := d.token(map[string]any{"name": "release build", "role": "read", "view": "snapshot/" + spring})
	c := client(t, d.url)
	c.authorize(d, token)
	dir := c.locked(requiring("acme/a", "^1.0", "acme/c", "^1.0"))
	expectLocked(t, "bound to "+spring, dir, "acme/a 1.0.0", "acme/b 1.0.0", "acme/c 1.0.0")
	free := client(t, d.url)
	expectLocked(t, "not bound", free.locked(requiring("acme/a", "^1.0")), "acme/a 1.1.0", "acme/b 1.1.0")

	for path, want := range map[string]int{
		"/snapshot/" + spring + "/packages.json": http.StatusOK,
		"/snapshot/2024-07-01/packages.json":     http.StatusNotFound,
		"/cooldown/7d/packages.json":             http.StatusNotFound,
		"/p2/acme/a.json":                        http.StatusOK,
		"/dist-proxy/acme/a/1.1.0.0/" + releases["acme/a 1.1.0"].Reference + ".zip": http.StatusNotFound,
	} {
		if r := d.get(path, "Authorization", "Bearer "+token); r.StatusCode != want {
			t.Errorf("%s with the bound token: status %d, want %d: %.200s", path, r.StatusCode, want, r.body)
		}
	}
}
