package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// watching records every state of upstream that a test asks for, and lets the
// instants it lived through be asked for at once.
var watching = append([]string{"PROXY_SNAPSHOT_SETTLE=0"}, revalidating...)

// at is the root of the world of a date, an instant, a snapshot or a channel.
func (d *daemon) at(when string) string { return d.probe() + "/snapshot/" + when }

// dated is a release with the registry's own date of its publication.
func dated(name, version, published string) standin.Release {
	at, err := time.Parse(time.RFC3339, published)
	if err != nil {
		panic(err)
	}
	return standin.Release{Name: name, Version: version, Time: at, Extra: map[string]any{"published-time": published}}
}

// publish adds releases and says what they became, by "name version".
func publish(s *standin.Server, list ...standin.Release) map[string]standin.Published {
	out := map[string]standin.Published{}
	for _, r := range list {
		out[r.Name+" "+r.Version] = s.Publish(r)
	}
	return out
}

// past fills a stand-in with two packages that were released in step, and a
// branch, all of them years ago.
func past(s *standin.Server) map[string]standin.Published {
	second := dated("acme/a", "1.1.0", "2024-06-01T12:00:00Z")
	second.Require = map[string]string{"acme/b": "^1.1"}
	first := dated("acme/a", "1.0.0", "2024-03-01T12:00:00Z")
	first.Require = map[string]string{"acme/b": "^1.0"}
	branch := dated("acme/a", "dev-main", "2024-02-01T12:00:00Z")
	branch.Default = true
	return publish(s,
		dated("acme/b", "1.0.0", "2024-03-01T11:00:00Z"), dated("acme/b", "1.1.0", "2024-06-01T11:00:00Z"),
		first, second, branch)
}

// The two moments of past: with one release of each package, and with two.
const spring, summer = "2024-04-01", "2024-07-01T00:00:00Z"

// locked runs update in a fresh project and returns its folder.
func (c *composer) locked(composerJSON string, args ...string) string {
	c.t.Helper()
	dir := project(c.t, composerJSON)
	c.run(dir, append([]string{"update", "--no-progress"}, args...)...)
	return dir
}

// expectLocked fails unless the lock in dir has these "name version" pairs and
// no others.
func expectLocked(t testing.TB, what, dir string, wants ...string) {
	t.Helper()
	l := readLock(t, filepath.Join(dir, "composer.lock"))
	have := map[string]bool{}
	for _, list := range [][]entry{l.Packages, l.Dev} {
		for _, e := range list {
			have[e["name"].(string)+" "+e["version"].(string)] = true
		}
	}
	for _, want := range wants {
		if !have[want] {
			t.Errorf("%s: %s is not locked, but:\n%s", what, want, l.identity())
		}
	}
	if len(have) != len(wants) {
		t.Errorf("%s: %d packages are locked, want %d:\n%s", what, len(have), len(wants), l.identity())
	}
}

// say fails unless a text has all of the phrases.
func say(t testing.TB, what, text string, wants ...string) {
	t.Helper()
	// Composer wraps what it prints.
	flat := strings.Join(strings.Fields(text), " ")
	for _, want := range wants {
		if !strings.Contains(flat, strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

// asked calls the management API and decodes what it answers.
func asked[T any](d *daemon, method, path string, body any) T {
	d.t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		text = string(b)
	}
	r := d.manage(method, path, text)
	if r.StatusCode/100 != 2 {
		d.t.Fatalf("%s %s: %d %s", method, path, r.StatusCode, r.body)
	}
	return into[struct {
		Data T `json:"data"`
	}](d.t, r).Data
}

// told is what the API explains about a version.
type told struct {
	Visible        bool
	Rule, Sentence string
	Reference      string
}

func (d *daemon) explain(name, version, at string) told {
	d.t.Helper()
	return asked[told](d, http.MethodGet, "packages/"+name+"/explain?version="+url.QueryEscape(version)+"&at="+url.QueryEscape(at), nil)
}

// observe lets Stasis see the present state of files, and returns an instant
// at which all of them are known to have been so. Upstream may move when it
// returns.
func (d *daemon) observe(files ...string) string {
	d.t.Helper()
	at := time.Now().UTC().Truncate(time.Second)
	for settled := false; !settled; {
		settled = true
		for _, file := range files {
			r := d.get("/p2/" + file + ".json")
			if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusNotFound {
				d.t.Fatalf("%s: %d %s", file, r.StatusCode, r.body)
			}
			// The stand-in dates quick changes a second apart, into the future.
			if modified, err := http.ParseTime(r.Header.Get("Last-Modified")); err == nil && !modified.Before(at) {
				settled = false
				eventually(d.t, file+" is of the past", func() bool { return time.Now().After(modified.Add(time.Second)) })
			}
		}
		if !settled {
			at = time.Now().UTC().Truncate(time.Second)
		}
	}
	eventually(d.t, "the second is over", func() bool { return time.Now().After(at.Add(time.Second)) })
	return at.Format(time.RFC3339)
}

// datedLock is a lock file that tells what an application resolved to then.
type datedLock struct{ application, day, path string }

func datedLocks(t testing.TB, dir string) []datedLock {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "projects", "*", "composer.????-??-??.lock"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("the slice has no dated lock files: %v", err)
	}
	var out []datedLock
	for _, path := range paths {
		day := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "composer."), ".lock")
		out = append(out, datedLock{filepath.Base(filepath.Dir(path)), day, path})
	}
	return out
}

// TestRealApplicationsResolveAsTheyWouldHaveThen meets the registry only today
// and asks for the days of the lock files. One client visits all of them, so
// that its cache is warm with other days.
func TestRealApplicationsResolveAsTheyWouldHaveThen(t *testing.T) {
	composers(t)
	s, dir := slice(t)
	d := start(t, s)
	c := client(t, d.url)
	for _, l := range datedLocks(t, dir) {
		c.use(d.at(l.day + "T00:00:00Z"))
		p := realProject(t, dir, l.application, "")
		out := c.run(p, "update", "--no-scripts", "--no-progress")
		say(t, "the notice", out.String(), "Stasis: packages as of "+l.day+"T00:00:00Z.")
		if got, want := readLock(t, filepath.Join(p, "composer.lock")), readLock(t, l.path); got.identity() != want.identity() {
			t.Errorf("%s at %s resolves to something else:\n%s", l.application, l.day, diff(got.identity(), want.identity()))
		}
		for _, e := range readLock(t, l.path).Packages {
			if e["type"] == "metapackage" {
				continue
			}
			if _, err := os.Stat(filepath.Join(p, "vendor", e["name"].(string))); err != nil {
				t.Errorf("%s at %s: %v", l.application, l.day, err)
			}
		}
		// The slice has no publication dates, so authors' dates decided.
		if r := d.get("/snapshot/" + l.day + "T00:00:00Z/p2/psr/log.json"); r.Header.Get("X-Snapshot-Fidelity") != "estimated" {
			t.Errorf("the fidelity is %q", r.Header.Get("X-Snapshot-Fidelity"))
		}
		if r := d.get("/snapshot/" + l.day + "T00:00:00Z,strict/p2/psr/log.json"); r.StatusCode != http.StatusConflict {
			t.Errorf("the strict view answers %d: %s", r.StatusCode, r.body)
		}
	}
}

// TestRealApplicationsResolveExactlyAsRecorded moves the registry from day to
// day while Stasis watches, and asks for the instants it lived through.
func TestRealApplicationsResolveExactlyAsRecorded(t *testing.T) {
	composers(t)
	for how, settings := range map[string][]string{
		"revalidating":       watching,
		"following the feed": {"PROXY_SNAPSHOT_SETTLE=0", "PROXY_FEED_INTERVAL=1"},
	} {
		t.Run(how, func(t *testing.T) {
			s, dir := slice(t)
			d := start(t, s, settings...)
			move := func(at time.Time) string {
				if err := s.AsOf(at); err != nil {
					t.Fatal(err)
				}
				return d.watchAll(s, how == "following the feed")
			}
			instants := map[datedLock]string{} // at which the registry was as of the day
			for _, l := range datedLocks(t, dir) {
				if (how == "revalidating") != (l.application == "laravel-app") {
					continue
				}
				day, err := time.Parse(time.DateOnly, l.day)
				if err != nil {
					t.Fatal(err)
				}
				instants[l] = move(day)
			}
			move(time.Time{})
			c := client(t, d.url)
			for l, when := range instants {
				c.use(d.at(when))
				p := realProject(t, dir, l.application, "")
				c.run(p, "update", "--no-scripts", "--no-progress")
				want := readLock(t, l.path)
				if got := readLock(t, filepath.Join(p, "composer.lock")); got.identity() != want.identity() {
					t.Errorf("%s at %s (when it was as of %s) resolves to something else:\n%s", l.application, when, l.day, diff(got.identity(), want.identity()))
				}
				for _, e := range append(want.Packages, want.Dev...) {
					r := d.get("/snapshot/" + when + "/p2/" + e["name"].(string) + ".json")
					if f := r.Header.Get("X-Snapshot-Fidelity"); f != "exact" {
						t.Errorf("%s is %q: %s", e["name"], f, r.Header.Get("X-Snapshot-Known"))
					}
				}
			}
		})
	}
}

// watchAll lets Stasis see the whole registry as it is, and returns an instant
// at which it was so.
func (d *daemon) watchAll(s *standin.Server, byFeed bool) string {
	d.t.Helper()
	var files []string
	for _, name := range s.Names() {
		files = append(files, name, name+"~dev")
	}
	at := d.observe(files...)
	if !byFeed {
		return at
	}
	eventually(d.t, "the feed has brought every document", func() bool {
		for _, file := range files {
			if _, want := s.Document(file); d.get("/p2/"+file+".json").Header.Get("Last-Modified") != want {
				return false
			}
		}
		return true
	})
	// Now, confirmed by a poll that was sent later.
	at = time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	n := s.Requests("/metadata/changes.json")
	if err := s.AwaitDone(within(d.t), "/metadata/changes.json", n+2); err != nil {
		d.t.Fatal(err)
	}
	return at
}

// TestADateGivesTheSameLockAgain is what the time machine is for: upstream
// moves on and goes away, clients forget or remember, and nothing changes.
func TestADateGivesTheSameLockAgain(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		need := requiring("acme/a", "^1.0")
		c := clientOf(t, command, d.at(spring))
		first := c.locked(need)
		expectLocked(t, "in spring", first, "acme/a 1.0.0", "acme/b 1.0.0")
		want := read(t, filepath.Join(first, "composer.lock"))

		publish(s, dated("acme/a", "1.0.9", time.Now().UTC().Format(time.RFC3339)), dated("acme/b", "1.0.1", "2024-03-20T00:00:00Z"))
		s.DeleteVersion("acme/b", "1.0.0")
		s.Abandon("acme/a", "acme/other")
		expectLocked(t, "today", clientOf(t, command, d.url).locked(need, "--no-install"), "acme/a 1.1.0", "acme/b 1.1.0")

		same(t, "the lock by a warm client", read(t, filepath.Join(c.locked(need), "composer.lock")), want)
		c.use(d.at(summer))
		expectLocked(t, "in summer", c.locked(need, "--no-install"), "acme/a 1.1.0", "acme/b 1.1.0")
		c.use(d.at(spring))
		same(t, "the lock after a visit to summer", read(t, filepath.Join(c.locked(need), "composer.lock")), want)
		c.cool()
		same(t, "the lock by a cold client", read(t, filepath.Join(c.locked(need), "composer.lock")), want)

		s.Down()
		d.restart()
		same(t, "the lock without upstream", read(t, filepath.Join(clientOf(t, command, d.at(spring)).locked(need), "composer.lock")), want)
		again := project(t, need)
		write(t, filepath.Join(again, "composer.lock"), want)
		clientOf(t, command, d.at(spring)).run(again, "install", "--no-progress")
		if g, w := tree(t, filepath.Join(again, "vendor")), tree(t, filepath.Join(first, "vendor")); g != w {
			t.Errorf("the installed files differ:\n%s", diff(g, w))
		}
	})
}

// TestWhatWasDecidedSurvivesACrash kills the program right after its answer.
func TestWhatWasDecidedSurvivesACrash(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	past(s)
	d := start(t, s, watching...)
	path := "/snapshot/" + spring + "/p2/acme/a.json"
	before := d.get(path)
	if before.StatusCode != http.StatusOK || before.Header.Get("X-Snapshot-Fidelity") != "reconstructed" {
		t.Fatalf("%d %v", before.StatusCode, before.Header)
	}
	d.kill()
	publish(s, dated("acme/a", "1.0.1", "2024-03-15T00:00:00Z")) // submitted late, or so it says
	s.DeleteVersion("acme/a", "1.0.0")
	d.start()
	d.observe("acme/a")
	after := d.get(path)
	same(t, "the view", after.body, before.body)
	for _, name := range []string{"Last-Modified", "X-Snapshot-Fidelity", "Memento-Datetime", "X-Snapshot-Instant"} {
		if g, w := after.Header.Get(name), before.Header.Get(name); g != w || w == "" {
			t.Errorf("%s is %q, was %q", name, g, w)
		}
	}
	if r := d.get(path, "If-Modified-Since", before.Header.Get("Last-Modified")); r.StatusCode != http.StatusNotModified {
		t.Errorf("the client's copy is not recognized: %d", r.StatusCode)
	}
}

// TestWhatCannotBeToldIsNotAbsent asks about packages never seen while
// upstream is away: Composer would take a 404 for the truth.
func TestWhatCannotBeToldIsNotAbsent(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	past(s)
	d := start(t, s, watching...)
	s.Down()
	for range 2 {
		r := d.get("/snapshot/" + spring + "/p2/acme/a.json")
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
		}
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "upstream is asked again", func() bool { return d.get("/snapshot/"+spring+"/p2/acme/a.json").StatusCode == http.StatusOK })
	eventually(t, "an unknown name is absent", func() bool {
		r := d.get("/snapshot/" + spring + "/p2/acme/never.json")
		return r.StatusCode == http.StatusNotFound && r.Header.Get("X-Snapshot-Fidelity") == "absent"
	})
}

// TestABadMomentIsExplainedByComposer asks for what cannot be, and reads what
// Composer makes of the answer.
func TestABadMomentIsExplainedByComposer(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t)
		made(s)
		today := time.Now().UTC().Format(time.DateOnly)
		for when, want := range map[string]string{
			"2031-01-01":             "is in the future",
			today:                    "",
			"2024-01-01T00:00:00":    "does not say in which zone",
			"2024-01-01T00:00:00.5Z": "fraction of a second",
			"2023-02-29":             "is not a date that exists",
			"nightly":                "nightly is no date",
		} {
			r := d.get("/snapshot/" + when + "/packages.json")
			if r.StatusCode != http.StatusNotFound || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %s", when, r.StatusCode, r.Header.Get("Content-Type"))
			}
			out, err := clientOf(t, command, d.at(when)).try(project(t, requiring("acme/a", "*")), "update", "--no-progress")
			if err == nil {
				t.Errorf("%s: Composer is content", when)
			}
			if want == "" {
				want = "today, and a date includes its whole day"
				if time.Now().UTC().Format(time.DateOnly) != today {
					continue
				}
			}
			say(t, when, out.String(), want)
		}
	})
}

func pinned(t testing.TB, dir, want string) {
	t.Helper()
	if got := string(read(t, filepath.Join(dir, "vendor", "acme", "a", "src", "Thing.php"))); !strings.Contains(got, want) {
		t.Errorf("the lock claims %s, but installed was:\n%s", want, got)
	}
}

// TestACommitCanBePinnedInEveryWorld requires dev-main#<commit> in every mode
// of delivery and every way of looking at the registry.
func TestACommitCanBePinnedInEveryWorld(t *testing.T) {
	const pin = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	everyComposer(t, func(t *testing.T, command string) {
		for _, mode := range []string{"rewrite", "mirror"} {
			s := standin.Start(t, standin.Options{})
			past(s)
			s.AddCommit(standin.Release{Name: "acme/a", Version: "dev-main", Reference: pin, Salt: "pinned"})
			d := start(t, s, append([]string{"PROXY_DIST_MODE=" + mode}, watching...)...)
			at := d.observe("acme/a", "acme/a~dev")
			d.snapshot(map[string]any{"name": "stand"})
			for _, world := range []string{d.url, d.at(spring), d.at(at + ",strict"), d.at("stand"), d.url + "/cooldown/7d"} {
				dir := clientOf(t, command, world).locked(requiring("acme/a", "dev-main#"+pin), "--prefer-dist")
				pinned(t, dir, pin)
				if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); !strings.Contains(got, "dist="+pin) {
					t.Errorf("%s, %s: the lock says:\n%s", mode, world, got)
				}
			}
		}
	})
}

// TestTheNoticeIsPrintedEveryTime with a cold and a warm cache.
func TestTheNoticeIsPrintedEveryTime(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s)
		c := clientOf(t, command, d.at(spring))
		for i := range 3 {
			out := c.run(project(t, requiring("acme/b", "*")), "update", "--no-progress", "--no-install")
			say(t, fmt.Sprintf("run %d", i+1), out.String(), "Stasis: packages as of 2024-04-01T23:59:59Z.")
		}
	})
}

// TestClientsDoNotResolveWithoutWhatCannotBeTold: a cold client stops, and
// does not take the package for missing; a warm one says that it uses its copy.
func TestClientsDoNotResolveWithoutWhatCannotBeTold(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		c := clientOf(t, command, d.at(spring))
		need := requiring("acme/a", "^1.0")
		want := readLock(t, filepath.Join(c.locked(need, "--no-install"), "composer.lock")).identity()
		// Another Stasis at the same address, which knows nothing.
		s.Down()
		d.restart("STORE_PATH=" + t.TempDir())
		out, err := clientOf(t, command, d.at(spring)).try(project(t, need), "update", "--no-progress", "--no-install")
		if err == nil || strings.Contains(out.String(), "could not be found") {
			t.Errorf("a cold client: %v\n%s", err, out)
		}
		say(t, "a cold client", out.String(), "503")
		dir := project(t, need)
		out = c.run(dir, "update", "--no-progress", "--no-install")
		if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); got != want {
			t.Errorf("a warm client locks something else:\n%s", diff(got, want))
		}
		say(t, "a warm client", out.String(), "could not be fully loaded")
	})
}
