package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stasis/integration/standin"
)

// stand is what the API tells of a named snapshot.
type stand struct {
	Name, ID, State string
	Archives        int
	Missing         []struct{ Package, Version, Reason string }
}

// snapshot makes a named snapshot and waits until it is sealed.
func (d *daemon) snapshot(body map[string]any) stand {
	d.t.Helper()
	snap := asked[stand](d, http.MethodPost, "snapshots", body)
	eventually(d.t, snap.Name+" is built", func() bool {
		snap = asked[stand](d, http.MethodGet, "snapshots/"+snap.Name, nil)
		return snap.State != "building"
	})
	if snap.State != "sealed" {
		d.t.Fatalf("the snapshot is %+v", snap)
	}
	return snap
}

func (d *daemon) point(channel, snapshot string) {
	d.t.Helper()
	asked[any](d, http.MethodPut, "channels/"+channel, map[string]string{"snapshot": snapshot, "note": "by a test"})
}

// seasons starts Stasis before a registry of the past, with the sealed
// snapshots "spring" and "summer" of it.
func seasons(t *testing.T) (*standin.Server, *daemon) {
	t.Helper()
	s := standin.Start(t, standin.Options{})
	past(s)
	d := start(t, s, watching...)
	d.observe("acme/a", "acme/a~dev", "acme/b", "acme/b~dev")
	d.snapshot(map[string]any{"name": "spring", "from": spring})
	d.snapshot(map[string]any{"name": "summer", "from": summer})
	return s, d
}

// TestAChannelMovesForwardAndBackForClients keeps one client's cache warm
// through all moves: it must never take one snapshot's document for another's.
func TestAChannelMovesForwardAndBackForClients(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		_, d := seasons(t)
		d.point("prod", "spring")
		c := clientOf(t, command, d.at("prod"))
		need := requiring("acme/a", "^1.0")
		older, newer := []string{"acme/a 1.0.0", "acme/b 1.0.0"}, []string{"acme/a 1.1.0", "acme/b 1.1.0"}
		expectLocked(t, "before the promotion", c.locked(need, "--no-install"), older...)
		d.point("prod", "summer")
		expectLocked(t, "after the promotion", c.locked(need, "--no-install"), newer...)
		asked[any](d, http.MethodPost, "channels/prod/rollback", map[string]string{"note": "too early"})
		expectLocked(t, "rolled back", c.locked(need, "--no-install"), older...)
		d.point("prod", "summer")
		expectLocked(t, "promoted again", c.locked(need, "--no-install"), newer...)
		if moves := asked[[]any](d, http.MethodGet, "channels/prod/history", nil); len(moves) != 4 {
			t.Errorf("the channel has %d moves, want 4: %v", len(moves), moves)
		}
	})
}

// TestARunSeesOneSnapshotWhileItsChannelMoves promotes in the middle of a run:
// between a client's first look at the channel and its first document.
func TestARunSeesOneSnapshotWhileItsChannelMoves(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		_, d := seasons(t)
		d.point("prod", "spring")
		upstream, err := url.Parse(d.url)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		worlds := map[string]bool{}
		relay := &httputil.ReverseProxy{Transport: wire, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host
		}}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if world, _, ok := strings.Cut(r.URL.Path, "/p2/"); ok {
				mu.Lock()
				if len(worlds) == 0 {
					if _, err := d.try(http.MethodPut, "/api/v1/proxy/channels/prod", []byte(`{"snapshot":"summer"}`),
						"Authorization", "Bearer "+adminToken, "Content-Type", "application/json"); err != nil {
						t.Error(err)
					}
				}
				worlds[world] = true
				mu.Unlock()
			}
			relay.ServeHTTP(w, r)
		}))
		defer front.Close()
		c := clientOf(t, command, front.URL+"/snapshot/prod")
		expectLocked(t, "the run that began before", c.locked(requiring("acme/a", "^1.0"), "--no-install"), "acme/a 1.0.0", "acme/b 1.0.0")
		if len(worlds) != 1 {
			t.Errorf("one run looked at %v", worlds)
		}
		expectLocked(t, "the next run", c.locked(requiring("acme/a", "^1.0"), "--no-install"), "acme/a 1.1.0", "acme/b 1.1.0")
	})
}

// TestALockBecomesASnapshotThatTravels makes a closed world of a lock file,
// carries it to a Stasis that has no upstream, and installs there.
func TestALockBecomesASnapshotThatTravels(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		publish(s, dated("acme/other", "1.0.0", "2024-01-01T00:00:00Z"))
		d := start(t, s, watching...)
		need := requiring("acme/a", "^1.0")
		dir := clientOf(t, command, d.at(spring)).locked(need)
		lockText := string(read(t, filepath.Join(dir, "composer.lock")))
		// What is gone upstream can still be had from the lock itself.
		s.DeleteVersion("acme/b", "1.0.0")
		d.observe("acme/b")
		snap := d.snapshot(map[string]any{"name": "release-1", "locks": []string{lockText}})
		if snap.Archives != 2 {
			t.Errorf("the snapshot lists %d archives, want 2", snap.Archives)
		}
		c := clientOf(t, command, d.at("release-1"))
		expectLocked(t, "the closed world", c.locked(need, "--no-install"), "acme/a 1.0.0", "acme/b 1.0.0")
		if r := d.get("/snapshot/release-1/p2/acme/other.json"); r.StatusCode != http.StatusNotFound {
			t.Errorf("what the lock does not name: %d", r.StatusCode)
		}
		if v := asked[struct{ Problems []any }](d, http.MethodPost, "snapshots/release-1/verify", nil); len(v.Problems) != 0 {
			t.Errorf("verify: %v", v.Problems)
		}
		d.point("prod", "release-1")
		if r := d.manage(http.MethodDelete, "snapshots/release-1", ""); r.StatusCode != http.StatusConflict {
			t.Errorf("a channel points at it, and it can be deleted: %d %s", r.StatusCode, r.body)
		}
		bundle := d.manage(http.MethodGet, "snapshots/release-1/export", "")
		manifest := d.manage(http.MethodGet, "snapshots/release-1/manifest", "")
		if bundle.StatusCode != http.StatusOK || digest(manifest.body) != snap.ID {
			t.Fatalf("export: %d; the manifest hashes to %s, the id is %s", bundle.StatusCode, digest(manifest.body), snap.ID)
		}
		documents := map[string]*reply{}
		for _, path := range []string{"/p2/acme/a.json", "/p2/acme/a~dev.json", "/p2/acme/b.json"} {
			documents[path] = d.get("/s/"+snap.ID+path, "Host", "stasis.example")
		}
		d.stop()
		s.Down()

		far := start(t, s, watching...)
		damaged := []byte(string(bundle.body))
		damaged[len(damaged)/2] ^= 1
		load := func(body []byte) *reply {
			return far.do(http.MethodPost, "/api/v1/proxy/snapshots/import?by=test", body, "Authorization", "Bearer "+adminToken, "Content-Type", "application/octet-stream")
		}
		if r := load(damaged); r.StatusCode/100 != 4 {
			t.Errorf("a damaged bundle: %d %s", r.StatusCode, r.body)
		}
		if all := asked[[]any](far, http.MethodGet, "snapshots", nil); len(all) != 0 {
			t.Errorf("of a damaged bundle this became visible: %v", all)
		}
		if r := load(bundle.body); r.StatusCode/100 != 2 {
			t.Fatalf("import: %d %s", r.StatusCode, r.body)
		}
		same(t, "the manifest", far.manage(http.MethodGet, "snapshots/release-1/manifest", "").body, manifest.body)
		for path, want := range documents {
			got := far.get("/s/"+snap.ID+path, "Host", "stasis.example")
			same(t, path, got.body, want.body)
			if got.StatusCode != want.StatusCode {
				t.Errorf("%s: %d, want %d", path, got.StatusCode, want.StatusCode)
			}
		}
		there := clientOf(t, command, far.at("release-1")).locked(need)
		if g, w := tree(t, filepath.Join(there, "vendor")), tree(t, filepath.Join(dir, "vendor")); g != w {
			t.Errorf("the files installed from the bundle differ:\n%s", diff(g, w))
		}
	})
}

// TestARealApplicationTravels does the same with a real lock of 78 packages.
func TestARealApplicationTravels(t *testing.T) {
	composers(t)
	s, dir := slice(t)
	d := start(t, s, watching...)
	lockText := string(read(t, filepath.Join(dir, "projects", "symfony-app", "composer.2024-01-10.lock")))
	snap := d.snapshot(map[string]any{"name": "symfony", "locks": []string{lockText}})
	bundle := d.manage(http.MethodGet, "snapshots/symfony/export", "")
	t.Logf("a bundle of %d archives has %d bytes", snap.Archives, len(bundle.body))
	s.Down()
	d.stop()
	far := start(t, nil, "PROXY_PACKAGIST_URL="+s.URL())
	r := far.do(http.MethodPost, "/api/v1/proxy/snapshots/import", bundle.body, "Authorization", "Bearer "+adminToken, "Content-Type", "application/octet-stream")
	if r.StatusCode/100 != 2 || !strings.Contains(string(r.body), snap.ID) {
		t.Fatalf("import: %d %s", r.StatusCode, r.body)
	}
	p := realProject(t, dir, "symfony-app", "")
	client(t, far.at("symfony")).run(p, "update", "--no-scripts", "--no-progress")
	got, want := readLock(t, filepath.Join(p, "composer.lock")), readLock(t, filepath.Join(dir, "projects", "symfony-app", "composer.2024-01-10.lock"))
	if got.identity() != want.identity() {
		t.Errorf("the closed world resolves to something else:\n%s", diff(got.identity(), want.identity()))
	}
	if _, err := os.Stat(filepath.Join(p, "vendor", "autoload.php")); err != nil {
		t.Error(err)
	}
}

// signedIn tells the client a user name for Stasis.
func (c *composer) signedIn(d *daemon, user string) {
	c.extra = []string{fmt.Sprintf(`COMPOSER_AUTH={"http-basic":{%q:{"username":%q,"password":"-"}}}`, d.addr, user)}
}

// TestAUserNameChoosesTheWorld keeps composer.json, its content-hash and the
// repository's address, and with it the client's cache, through all worlds.
func TestAUserNameChoosesTheWorld(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		_, d := seasons(t)
		config := fmt.Sprintf(`{"name":"acme/project","require":{"acme/a":"^1.0"},"repositories":[{"type":"composer","url":%q},{"packagist.org":false}],"config":{"secure-http":false}}`, d.url)
		c := clientOf(t, command, "http://127.0.0.1:1")
		hashes := map[string]bool{}
		for _, step := range []struct{ user, release string }{
			{"", "1.1.0"}, {"snapshot=" + spring, "1.0.0"}, {"snapshot=summer", "1.1.0"}, {"snapshot=spring", "1.0.0"},
			{"cooldown=7d", "1.1.0"}, {"snapshot=" + spring, "1.0.0"}, {"", "1.1.0"},
		} {
			c.extra = nil
			if step.user != "" {
				c.signedIn(d, step.user)
			}
			dir := c.locked(config, "--no-install")
			expectLocked(t, "as "+step.user, dir, "acme/a "+step.release, "acme/b "+step.release)
			hashes[readLock(t, filepath.Join(dir, "composer.lock")).ContentHash] = true
		}
		if len(hashes) != 1 {
			t.Errorf("the lock files have different content-hashes: %v", hashes)
		}
		c.signedIn(d, "snapshot=2031-01-01")
		out, err := c.try(project(t, config), "update", "--no-progress")
		if err == nil {
			t.Errorf("a date in the future is a world:\n%s", out)
		}
	})
}

// TestLocksNameNoWorld: whatever world made a lock, every other world and the
// live one can install it.
func TestLocksNameNoWorld(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		for _, mode := range []string{"rewrite", "mirror"} {
			_, d := seasons(t)
			d.restart("PROXY_DIST_MODE=" + mode)
			var first string
			for _, world := range []string{d.at(spring), d.at("spring"), d.at("2024-05-01T00:00:00Z")} {
				dir := clientOf(t, command, world).locked(requiring("acme/a", "^1.0"))
				text := string(read(t, filepath.Join(dir, "composer.lock")))
				for _, word := range []string{"/snapshot/", "/s/"} {
					if strings.Contains(strings.ReplaceAll(text, `\/`, "/"), word) {
						t.Errorf("%s: the lock made in %s holds %q:\n%s", mode, world, word, text)
					}
				}
				if first == "" {
					first = text
				}
				same(t, mode+": the lock made in "+world, []byte(text), []byte(first))
			}
			dir := project(t, requiring("acme/a", "^1.0"))
			write(t, filepath.Join(dir, "composer.lock"), []byte(first))
			clientOf(t, command, d.url).run(dir, "install", "--no-progress")
		}
	})
}

// TestAdvisoriesAreThoseOfTheDate: what a resolver sees of security is part of
// the world, so that a date locks the same after an advisory as before it. A
// named snapshot may want otherwise.
func TestAdvisoriesAreThoseOfTheDate(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		blocking := atLeast(t, release(t, command), "2.9.0")
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		before := d.observe("acme/a", "acme/a~dev", "acme/b", "acme/b~dev")
		d.snapshot(map[string]any{"name": "asof", "from": before})
		d.snapshot(map[string]any{"name": "alive", "from": before, "advisories": "live"})
		s.Advise("acme/b", "PKSA-later", "1.1.0", nil)
		after := d.observe("acme/b")
		d.snapshot(map[string]any{"name": "silent", "from": after, "advisories": "off"})
		old, young := []string{"acme/b 1.0.0"}, []string{"acme/b 1.1.0"}
		warned := young
		if blocking {
			warned = old
		}
		for world, wants := range map[string][]string{
			d.at(before): young, d.at("asof"): young, d.at("silent"): young,
			d.at(after): warned, d.at("alive"): warned, d.url: warned,
		} {
			s.Forget()
			expectLocked(t, world, clientOf(t, command, world).locked(requiring("acme/b", "^1.0"), "--no-install"), wants...)
			if n := s.Requests("/api/security-advisories/"); n != 0 {
				t.Errorf("%s: the resolver asked the advisory API %d times", world, n)
			}
		}
	})
}
