package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// slice starts a stand-in that serves the real slice of the registry. Without
// the slice there is nothing to compare with, and the test says so.
func slice(t testing.TB) (*standin.Server, string) {
	t.Helper()
	dir, ok := standin.SliceDir()
	if !ok {
		t.Skip("the real slice of the registry (../shared/packagist) is not beside the repository")
	}
	s := standin.Start(t, standin.Options{})
	if err := s.LoadSlice(dir); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// realProject copies an application's composer.json, and a lock file when one
// is named, into a folder of its own.
func realProject(t testing.TB, slice, name, lockFile string) string {
	t.Helper()
	dir := project(t, string(read(t, filepath.Join(slice, "projects", name, "composer.json"))))
	if lockFile != "" {
		write(t, filepath.Join(dir, "composer.lock"), read(t, filepath.Join(slice, "projects", name, lockFile)))
	}
	return dir
}

var applications = []string{"laravel-app", "symfony-app", "library"}

// TestRealApplications is the promise itself: a real application resolved and
// installed through Stasis is the one its authors have, to the byte; the second
// time upstream is not asked; without upstream it still works.
func TestRealApplications(t *testing.T) {
	for _, name := range applications {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "library" {
				t.Skip("short runs install the smallest application only")
			}
			composers(t)
			s, dir := slice(t)
			d := start(t, s)

			direct := realProject(t, dir, name, "")
			client(t, s.URL()).run(direct, "update", "--no-scripts", "--no-progress")
			through := realProject(t, dir, name, "")
			c := client(t, d.url)
			c.run(through, "update", "--no-scripts", "--no-progress")

			want := readLock(t, filepath.Join(dir, "projects", name, "composer.lock"))
			wantDirect := readLock(t, filepath.Join(direct, "composer.lock"))
			got := readLock(t, filepath.Join(through, "composer.lock"))
			if got.identity() != want.identity() {
				t.Errorf("the lock differs from the application's own:\n%s", diff(got.identity(), want.identity()))
			}
			if g, w := got.full(t), wantDirect.full(t); g != w {
				t.Errorf("the lock differs from the one made without Stasis:\n%s", diff(g, w))
			}
			if g, w := tree(t, filepath.Join(through, "vendor")), tree(t, filepath.Join(direct, "vendor")); g != w {
				t.Errorf("the installed files differ:\n%s", diff(g, w))
			}
			if strings.Contains(string(read(t, filepath.Join(through, "composer.lock"))), s.ArchiveURL()) {
				t.Error("the lock names the archives' origin")
			}

			s.Forget()
			again := realProject(t, dir, name, "")
			c.cool()
			c.run(again, "update", "--no-scripts", "--no-progress")
			if n := s.Total(); n != 0 {
				t.Errorf("the second run, by a cold client, asked upstream %d times: %v", n, uris(s))
			}
			if g, w := tree(t, filepath.Join(again, "vendor")), tree(t, filepath.Join(direct, "vendor")); g != w {
				t.Errorf("the files of the second run differ:\n%s", diff(g, w))
			}

			s.Down()
			d.restart()
			offline := realProject(t, dir, name, "")
			c = client(t, d.url)
			c.run(offline, "update", "--no-scripts", "--no-progress", "--no-install")
			if g := readLock(t, filepath.Join(offline, "composer.lock")); g.identity() != want.identity() {
				t.Errorf("an update without upstream locks something else:\n%s", diff(g.identity(), want.identity()))
			}
			c.run(offline, "install", "--no-scripts", "--no-progress")
			if g, w := tree(t, filepath.Join(offline, "vendor")), tree(t, filepath.Join(direct, "vendor")); g != w {
				t.Errorf("an install without upstream brings other files:\n%s", diff(g, w))
			}
		})
	}
}

// uris lists what upstream was asked, the feed apart.
func uris(s *standin.Server) []string {
	var out []string
	for _, r := range s.Records("*") {
		if !standin.Match("/metadata/changes.json", r.URI) && len(out) < 10 {
			out = append(out, r.Method+" "+r.URI)
		}
	}
	return out
}

// TestAnOldLockInstallsAfterUpstreamMovedOn locks an application as the
// registry was years ago, lets upstream move to the present, drop the archives
// of that time, and installs the old lock with a cold client.
func TestAnOldLockInstallsAfterUpstreamMovedOn(t *testing.T) {
	composers(t)
	for _, c := range []struct{ application, lock string }{
		{"laravel-app", "composer.2022-11-30.lock"}, {"symfony-app", "composer.2024-01-10.lock"},
	} {
		t.Run(c.application, func(t *testing.T) {
			if testing.Short() {
				t.Skip("two large installs each are left out of short runs")
			}
			s, dir := slice(t)
			day, err := time.Parse("2006-01-02", c.lock[len("composer."):len("composer.")+10])
			if err != nil {
				t.Fatal(err)
			}
			if err := s.AsOf(day); err != nil {
				t.Fatal(err)
			}
			d := start(t, s)
			old := realProject(t, dir, c.application, "")
			client(t, d.url).run(old, "update", "--no-scripts", "--no-progress")
			want := readLock(t, filepath.Join(dir, "projects", c.application, c.lock))
			if got := readLock(t, filepath.Join(old, "composer.lock")); got.identity() != want.identity() {
				t.Errorf("the lock of %s differs from the truth:\n%s", day.Format(time.DateOnly), diff(got.identity(), want.identity()))
			}

			if err := s.AsOf(time.Time{}); err != nil {
				t.Fatal(err)
			}
			d.restart(revalidating...)
			now := realProject(t, dir, c.application, "")
			client(t, d.url).run(now, "update", "--no-scripts", "--no-progress", "--no-install")
			today := readLock(t, filepath.Join(dir, "projects", c.application, "composer.lock"))
			if got := readLock(t, filepath.Join(now, "composer.lock")); got.identity() != today.identity() {
				t.Errorf("after upstream moved on the lock differs from today's:\n%s", diff(got.identity(), today.identity()))
			}
			s.Fault("/repos/*", standin.Status(404))
			s.ArchivesDown()
			fresh := realProject(t, dir, c.application, "")
			write(t, filepath.Join(fresh, "composer.lock"), read(t, filepath.Join(old, "composer.lock")))
			client(t, d.url).run(fresh, "install", "--no-scripts", "--no-progress")
			if g, w := tree(t, filepath.Join(fresh, "vendor")), tree(t, filepath.Join(old, "vendor")); g != w {
				t.Errorf("the old lock installs other files:\n%s", diff(g, w))
			}
			if _, err := os.Stat(filepath.Join(fresh, "vendor", "autoload.php")); err != nil {
				t.Error(err)
			}
		})
	}
}
