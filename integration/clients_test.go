package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stasis/integration/standin"
)

// everyComposer runs fn as a subtest for each Composer at hand.
func everyComposer(t *testing.T, fn func(t *testing.T, command string)) {
	for _, command := range composers(t) {
		t.Run(release(t, command), func(t *testing.T) { fn(t, command) })
	}
}

var versionNumber = regexp.MustCompile(`Composer (?:version )?(\d+\.\d+\.\d+)`)

// release is the version number of a Composer command.
func release(t testing.TB, command string) string {
	t.Helper()
	c := &composer{t: t, command: strings.Fields(command), home: t.TempDir(), cache: t.TempDir()}
	m := versionNumber.FindStringSubmatch(c.run(t.TempDir(), "--version").String())
	if m == nil {
		t.Fatalf("%s does not tell its version", command)
	}
	return m[1]
}

// atLeast compares release numbers.
func atLeast(t testing.TB, have, want string) bool {
	t.Helper()
	number := func(s string) (n [3]int) {
		if _, err := fmt.Sscanf(s, "%d.%d.%d", &n[0], &n[1], &n[2]); err != nil {
			t.Fatalf("%q is no release number", s)
		}
		return n
	}
	h, w := number(have), number(want)
	for i := range h {
		if h[i] != w[i] {
			return h[i] > w[i]
		}
	}
	return true
}

// wide requires every made package that can be installed.
func wide() string {
	return requiring("acme/meta", "1.0.0", "acme/tarred", "1.1.0", "acme/provider", "*", "acme/odd", "1.8.0", "acme/plugin", "*")
}

// TestC42EveryClientResolvesAsWithoutStasis holds the lock and the installed
// files of every Composer at hand against those made directly.
func TestC42EveryClientResolvesAsWithoutStasis(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		made(s)
		for _, mode := range []string{"rewrite", "mirror"} {
			d := start(t, s, "PROXY_DIST_MODE="+mode)
			direct, through := project(t, wide()), project(t, wide())
			clientOf(t, command, s.URL()).run(direct, "update", "--no-progress")
			c := clientOf(t, command, d.url)
			c.run(through, "update", "--no-progress")
			got, want := readLock(t, filepath.Join(through, "composer.lock")), readLock(t, filepath.Join(direct, "composer.lock"))
			if g, w := got.full(t), want.full(t); g != w {
				t.Errorf("%s: the locks differ:\n%s", mode, diff(g, w))
			}
			if g, w := tree(t, filepath.Join(through, "vendor")), tree(t, filepath.Join(direct, "vendor")); g != w {
				t.Errorf("%s: the installed files differ:\n%s", mode, diff(g, w))
			}
			s.Forget()
			// Warm and cold, the same again; upstream is left alone.
			for _, again := range []*composer{c, clientOf(t, command, d.url)} {
				dir := project(t, wide())
				again.run(dir, "update", "--no-progress")
				if g, w := tree(t, filepath.Join(dir, "vendor")), tree(t, filepath.Join(direct, "vendor")); g != w {
					t.Errorf("%s: the files of the second run differ:\n%s", mode, diff(g, w))
				}
			}
			if n := s.Total(); n != 0 {
				t.Errorf("%s: the second run asked upstream %d times: %v", mode, n, uris(s))
			}
		}
	})
}

// TestClientsWork runs what people run.
func TestClientsWork(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t, revalidating...)
		made(s)
		s.Advise("acme/b", "PKSA-clients", "<1.1", nil)
		c := clientOf(t, command, d.url)
		dir := project(t, requiring("acme/a", "^1.0"))
		c.run(dir, "update", "--no-progress")
		expect := func(out output, wants ...string) {
			t.Helper()
			for _, want := range wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing from:\n%s", want, out)
				}
			}
		}
		c.run(dir, "require", "acme/provider", "--no-progress")
		if got := readLock(t, filepath.Join(dir, "composer.lock")); !strings.Contains(got.identity(), "acme/provider 1.0.0") {
			t.Errorf("require locked:\n%s", got.identity())
		}
		expect(c.run(dir, "show", "-a", "acme/a"), "v1.1.0", "2.0.0-RC1", "dev-main")
		expect(c.run(dir, "show", "-a", "acme/t*"), "acme/tarred")
		expect(c.run(dir, "search", "logs"), "acme/a")
		expect(c.run(dir, "search", "--only-name", "tarred"), "acme/tarred")

		s.Publish(standin.Release{Name: "acme/b", Version: "1.2.0"})
		expect(c.run(dir, "outdated", "--all"), "acme/b", "1.2.0")
		if atLeast(t, release(t, command), "2.4.0") {
			expect(c.run(dir, "audit"), "No security vulnerability advisories found")
			pinned := project(t, requiring("acme/b", "1.0.0"))
			if atLeast(t, release(t, command), "2.9.0") {
				c.run(pinned, "config", "audit.block-insecure", "false")
			}
			c.run(pinned, "update", "--no-progress", "--no-audit")
			out, err := c.try(pinned, "audit")
			if err == nil {
				t.Error("audit accepts a vulnerable version")
			}
			expect(out, "PKSA-clients")
		}
		out, err := c.try(project(t, requiring("acme/no-such-thing", "*")), "update", "--no-progress")
		if err == nil {
			t.Error("a package that does not exist was resolved")
		}
		expect(out, "acme/no-such-thing")
	})
}

// TestC53ByComposer pins a commit the way people do.
func TestC53ByComposer(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t)
		s.Publish(standin.Release{Name: "acme/a", Version: "dev-main", Default: true})
		const pin = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		s.AddCommit(standin.Release{Name: "acme/a", Version: "dev-main", Reference: pin, Salt: "pinned"})
		dir := project(t, requiring("acme/a", "dev-main#"+pin))
		clientOf(t, command, d.url).run(dir, "update", "--no-progress", "--prefer-dist")
		got := string(read(t, filepath.Join(dir, "vendor", "acme", "a", "src", "Thing.php")))
		if !strings.Contains(got, pin) {
			t.Errorf("the lock claims %s, but installed was:\n%s", pin, got)
		}
	})
}

// TestC45ByComposer installs every odd version with real clients.
func TestC45ByComposer(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		for _, mode := range []string{"rewrite", "mirror"} {
			s, d := pair(t, "PROXY_DIST_MODE="+mode)
			published := odd(s)
			c := clientOf(t, command, d.url)
			for _, pretty := range []string{"dev-feature/x", "dev-A_B", "1.0.x-dev", "dev-a&b", "dev-фича", "dev-foo+1", "v1.0.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0"} {
				dir := project(t, requiring("acme/odd", pretty))
				if out, err := c.try(dir, "update", "--no-progress", "--prefer-dist"); err != nil {
					t.Errorf("%s: %s: %v\n%s", mode, pretty, err, out)
					continue
				}
				got := string(read(t, filepath.Join(dir, "vendor", "acme", "odd", "src", "Thing.php")))
				if want := published[pretty].Reference; !strings.Contains(got, "// "+want+" of odd "+pretty) {
					t.Errorf("%s: %s installed:\n%s", mode, pretty, got)
				}
			}
		}
	})
}

// TestC44WithoutCredentials downloads with what an anonymous client has: nothing.
func TestC44WithoutCredentials(t *testing.T) {
	s, d := pair(t)
	made(s)
	r := d.archive("acme/a", "v1.0.0")
	if r.StatusCode != 200 || r.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}

func TestC59ALockMadeHereInstallsHere(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		for _, mode := range []string{"rewrite", "mirror"} {
			s, d := pair(t, "PROXY_DIST_MODE="+mode)
			made(s)
			first := project(t, wide())
			clientOf(t, command, d.url).run(first, "update", "--no-progress")
			s.Down()
			d.restart()
			second := project(t, wide())
			write(t, filepath.Join(second, "composer.lock"), read(t, filepath.Join(first, "composer.lock")))
			clientOf(t, command, d.url).run(second, "install", "--no-progress")
			if g, w := tree(t, filepath.Join(second, "vendor")), tree(t, filepath.Join(first, "vendor")); g != w {
				t.Errorf("%s: the installed files differ:\n%s", mode, diff(g, w))
			}
		}
	})
}

func TestC60ALockMadeElsewhereMovesHere(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t, "PROXY_DIST_MODE=mirror")
		made(s)
		dir := project(t, requiring("acme/a", "^1.0", "acme/tarred", "1.1.0"))
		clientOf(t, command, s.URL()).run(dir, "update", "--no-progress", "--no-install")
		c := clientOf(t, command, d.url)
		c.run(dir, "update", "mirrors", "--no-progress", "--no-install")
		if text := string(read(t, filepath.Join(dir, "composer.lock"))); !strings.Contains(text, strings.ReplaceAll(d.url, "/", `\/`)) && !strings.Contains(text, d.url) {
			t.Fatalf("the lock does not name the mirror:\n%s", text)
		}
		s.Forget()
		c.run(dir, "install", "--no-progress")
		if n := d.archivesServed(); n != 3 {
			t.Errorf("%d archives came from the mirror, want 3", n)
		}
	})
}

func TestC61WithoutStasisLocksBehaveAsDocumented(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		for _, mode := range []string{"mirror", "rewrite"} {
			s, d := pair(t, "PROXY_DIST_MODE="+mode)
			made(s)
			dir := project(t, requiring("acme/b", "1.1.0"))
			c := clientOf(t, command, d.url)
			c.run(dir, "update", "--no-progress", "--no-install")
			d.stop()
			c.cool()
			c.use(s.URL()) // newer clients ask the repository even for a locked install
			out, err := c.try(dir, "install", "--no-progress", "--prefer-dist")
			switch {
			case mode == "mirror" && err != nil:
				t.Errorf("mirror: the install does not fall back to the origin: %v\n%s", err, out)
			case mode == "rewrite" && err == nil:
				t.Error("rewrite: the install succeeded though the lock names only Stasis")
			}
		}
	})
}

func TestC62LocksHoldNothingInternal(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		const secret = "planted-secret-token"
		for _, mode := range []string{"rewrite", "mirror"} {
			s := standin.Start(t, standin.Options{})
			made(s)
			d := start(t, s, "PROXY_DIST_MODE="+mode, fmt.Sprintf(`PROXY_AUTH_JSON={"bearer":{%q:%q}}`, s.URL(), secret))
			dir := project(t, requiring("acme/a", "^1.0"))
			clientOf(t, command, strings.Replace(d.url, "://", "://user:"+adminToken+"@", 1)).run(dir, "update", "--no-progress")
			text := string(read(t, filepath.Join(dir, "composer.lock")))
			for _, bad := range []string{secret, adminToken} {
				if strings.Contains(text, bad) {
					t.Errorf("%s: the lock holds %q:\n%s", mode, bad, text)
				}
			}
			if mode == "rewrite" && (strings.Contains(text, strings.TrimPrefix(s.URL(), "http://")) || strings.Contains(text, strings.TrimPrefix(s.ArchiveURL(), "http://"))) {
				t.Errorf("the lock names upstream's hosts:\n%s", text)
			}
		}
	})
}

// TestC71NewClientsRefuseWhatIsFlagged needs Composer 2.9 for advisories on
// update and 2.10 for the filter list on install; older clients know neither.
func TestC71NewClientsRefuseWhatIsFlagged(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		number := release(t, command)
		s, d := pair(t, revalidating...)
		made(s)
		c := clientOf(t, command, d.url)
		locked := project(t, requiring("acme/tarred", "1.1.0"))
		c.run(locked, "update", "--no-progress")
		s.Advise("acme/b", "PKSA-block", "<=1.1.0", nil)
		s.Flag("malware", "acme/tarred", "1.1.0")

		out, err := c.try(project(t, requiring("acme/b", "1.1.0")), "update", "--no-progress")
		if blocked := err != nil; blocked != atLeast(t, number, "2.9.0") {
			t.Errorf("update of a vulnerable version: blocked %t\n%s", blocked, out)
		}
		if err := os.RemoveAll(filepath.Join(locked, "vendor")); err != nil {
			t.Fatal(err)
		}
		// A fresh program, whose summary is as new as upstream's.
		d.stop()
		other := start(t, s, revalidating...)
		lockText := strings.ReplaceAll(string(read(t, filepath.Join(locked, "composer.lock"))), d.url, other.url)
		write(t, filepath.Join(locked, "composer.lock"), []byte(lockText))
		out, err = clientOf(t, command, other.url).try(locked, "install", "--no-progress")
		if blocked := err != nil; blocked != atLeast(t, number, "2.10.0") {
			t.Errorf("install of a flagged version: blocked %t\n%s", blocked, out)
		}
	})
}

// archivesServed counts the archives the program has delivered.
func (d *daemon) archivesServed() int64 {
	d.t.Helper()
	r := d.get("/api/v1/proxy/stats", "Authorization", "Bearer "+adminToken)
	stats := into[struct {
		Data struct {
			ByKind map[string]struct{ Hits, Misses int64 } `json:"by_kind"`
		} `json:"data"`
	}](d.t, r)
	k := stats.Data.ByKind["archives"]
	return k.Hits + k.Misses
}

// TestWarmFillsTheStoreFromALock lets the program itself fetch what a lock
// names, so that the install needs no upstream.
func TestWarmFillsTheStoreFromALock(t *testing.T) {
	s, d := pair(t)
	made(s)
	dir := project(t, wide())
	client(t, d.url).run(dir, "update", "--no-progress", "--no-install")
	fresh := start(t, s)
	lockText := strings.ReplaceAll(string(read(t, filepath.Join(dir, "composer.lock"))), d.url, fresh.url)
	write(t, filepath.Join(dir, "composer.lock"), []byte(lockText))
	if out, err := fresh.run("warm", filepath.Join(dir, "composer.lock")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.Down()
	fresh.restart()
	client(t, fresh.url).run(dir, "install", "--no-progress")
	if _, err := os.Stat(filepath.Join(dir, "vendor", "acme", "a", "src", "Thing.php")); err != nil {
		t.Error(err)
	}
}

// TestAProjectCanNameStasisItself configures the repository in composer.json;
// all other clients here have it in their global configuration.
func TestAProjectCanNameStasisItself(t *testing.T) {
	s, d := pair(t)
	made(s)
	dir := project(t, fmt.Sprintf(`{"name":"acme/project","require":{"acme/b":"^1.0"},"repositories":[{"type":"composer","url":%q},{"packagist.org":false}],"config":{"secure-http":false}}`, d.url))
	c := client(t, "http://127.0.0.1:1") // the global entry must not be needed
	c.run(dir, "update", "--no-progress")
	if _, err := exec.LookPath("php"); err == nil {
		cmd := exec.Command("php", "-r", `require "vendor/autoload.php"; echo class_exists("Acme\\B\\Thing") ? "yes" : "no";`)
		cmd.Dir = dir
		if out, err := cmd.Output(); err != nil || string(out) != "yes" {
			t.Errorf("the installed class does not load: %s %v", out, err)
		}
	}
}

// TestClientsOverTLS lets Composer insist on a certificate, which brings HTTP/2.
func TestClientsOverTLS(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		made(s)
		cert, key, _ := certificate(t)
		d := start(t, s, "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
		c := clientOf(t, command, d.probe())
		config := strings.Replace(string(read(t, filepath.Join(c.home, "config.json"))), `"secure-http":false`, fmt.Sprintf(`"secure-http":true,"cafile":%q`, cert), 1)
		write(t, filepath.Join(c.home, "config.json"), []byte(config))
		dir := project(t, requiring("acme/a", "^1.0"))
		c.run(dir, "update", "--no-progress")
		if text := string(read(t, filepath.Join(dir, "composer.lock"))); !strings.Contains(text, `"url": "https://`+d.addr) {
			t.Errorf("the lock does not name the https address:\n%s", text)
		}
	})
}
