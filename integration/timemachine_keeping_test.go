package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stasis/integration/standin"
)

// says runs a command of the program that must succeed.
func (d *daemon) says(args ...string) string {
	d.t.Helper()
	out, err := d.run(args...)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// TestAHoldKeepsAPackageWithinItsConstraint from when it was made until it is
// lifted, and nowhere before.
func TestAHoldKeepsAPackageWithinItsConstraint(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		all := []string{"acme/a", "acme/a~dev", "acme/b", "acme/b~dev"}
		before := d.observe(all...)
		need := requiring("acme/a", "^1.0")
		c := clientOf(t, command, d.url)
		free, held := []string{"acme/a 1.1.0", "acme/b 1.1.0"}, []string{"acme/a 1.0.0", "acme/b 1.0.0"}
		elsewhere := c.locked(need)
		expectLocked(t, "without a hold", elsewhere, free...)
		body := d.get("/p2/acme/b.json").body

		d.says("hold", "add", "acme/b", "<1.1", "--reason", "1.1 needs another database")
		d.observe() // until the second of the hold is over
		during := d.observe(all...)
		for world, wants := range map[string][]string{
			d.url: held, d.url + "/cooldown/1s": held, d.at(during): held, d.at(before): free, d.at(summer): free,
		} {
			c.use(world)
			expectLocked(t, "with a hold, "+world, c.locked(need, "--no-install"), wants...)
		}
		x := d.explain("acme/b", "1.1.0", "")
		if x.Visible || x.Rule != "hold" {
			t.Errorf("explain: %+v", x)
		}
		say(t, "explain", x.Sentence, "acme/b is held at the versions <1.1", "1.1 needs another database")
		// It is about what is chosen; what a lock has chosen stays installable.
		c.use(d.url)
		if err := os.RemoveAll(filepath.Join(elsewhere, "vendor")); err != nil {
			t.Fatal(err)
		}
		c.cool()
		c.run(elsewhere, "install", "--no-progress")

		list := asked[[]struct{ ID, Versions string }](d, http.MethodGet, "holds", nil)
		if len(list) != 1 || list[0].Versions != "<1.1" {
			t.Fatalf("the holds are %+v", list)
		}
		d.says("hold", "lift", list[0].ID)
		expectLocked(t, "lifted", c.locked(need, "--no-install"), free...)
		same(t, "the document after lifting", d.get("/p2/acme/b.json").body, body)
		c.use(d.at(during))
		expectLocked(t, "at a moment of the hold", c.locked(need, "--no-install"), held...)
	})
}

// TestPinnedArchivesAreKeptAndNewOnesRefused fills the room for pinned
// archives: what a snapshot pinned is never dropped for another, and who wants
// more is told what the limit is.
func TestPinnedArchivesAreKeptAndNewOnesRefused(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		need := requiring("acme/a", "^1.0")
		spring := clientOf(t, command, d.at(spring)).locked(need)
		summer := clientOf(t, command, d.at(summer)).locked(need)
		lock := func(dir string) string { return filepath.Join(dir, "composer.lock") }
		d.says("snapshot", "create", "first", "--lock", lock(spring))
		pinned := func() int64 {
			t.Helper()
			return asked[struct {
				Cache struct {
					PinnedBytes int64 `json:"pinned_bytes"`
				}
			}](d, http.MethodGet, "status", nil).Cache.PinnedBytes
		}
		full := pinned()
		if full == 0 {
			t.Fatal("nothing is pinned")
		}
		// Room for what is there and no more; then for less than what is there.
		for _, limit := range []int64{full + 10, 10} {
			d.restart(fmt.Sprintf("PROXY_MAX_PINNED_SIZE=%d", limit))
			out, err := d.run("snapshot", "create", "second", "--lock", lock(summer))
			if err == nil {
				t.Errorf("limit %d: a snapshot is sealed that does not fit:\n%s", limit, out)
			}
			say(t, "the refusal", out, "incomplete",
				fmt.Sprintf("%d of the %d bytes that PROXY_MAX_PINNED_SIZE allows are taken; delete snapshots or allow more", full, limit))
			if r := d.manage(http.MethodPut, "channels/prod", `{"snapshot":"second"}`); r.StatusCode != http.StatusConflict {
				t.Errorf("limit %d: a channel points at what is incomplete: %d %s", limit, r.StatusCode, r.body)
			}
			if now := pinned(); now != full {
				t.Errorf("limit %d: %d bytes are pinned, want the %d of before", limit, now, full)
			}
		}
		d.says("purge", "--all")
		if out := d.says("snapshot", "verify", "first"); !strings.Contains(out, "problems") {
			t.Errorf("verify says:\n%s", out)
		}
		s.Down()
		clientOf(t, command, d.at("first")).locked(need)
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}

		// When the old one is given up, there is room.
		d.restart(fmt.Sprintf("PROXY_MAX_PINNED_SIZE=%d", 2*full-1))
		if out, err := d.run("snapshot", "create", "second", "--lock", lock(summer)); err == nil {
			t.Errorf("both fit into less than both take:\n%s", out)
		}
		d.says("snapshot", "delete", "first")
		say(t, "the snapshot", d.says("snapshot", "create", "second", "--lock", lock(summer)), "sealed")
	})
}

// commit makes a commit of everything in a folder, at a date.
func commit(t testing.TB, dir, date, message string) {
	t.Helper()
	for _, args := range [][]string{{"init", "-q"}, {"add", "composer.json", "composer.lock"}, {"commit", "-q", "-m", message}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=Author", "GIT_AUTHOR_EMAIL=author@example.org", "GIT_AUTHOR_DATE="+date,
			"GIT_COMMITTER_NAME=Author", "GIT_COMMITTER_EMAIL=author@example.org", "GIT_COMMITTER_DATE="+date)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestLockFilesBringBackWhatUpstreamDeleted: a project was locked and
// committed before anybody ran Stasis; upstream then deleted a version and
// moved the tag of another. The history of the project's repository brings
// both back into the views of that time.
func TestLockFilesBringBackWhatUpstreamDeleted(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		first := publish(s, dated("acme/b", "1.0.0", "2024-03-01T11:00:00Z"), dated("acme/c", "1.0.0", "2024-03-01T11:00:00Z"))
		need := requiring("acme/b", "^1.0", "acme/c", "^1.0")
		direct := clientOf(t, command, s.URL())
		dir := direct.locked(need)
		spring := string(read(t, filepath.Join(dir, "composer.lock")))
		commit(t, dir, "2024-04-01T09:00:00Z", "Spring")
		publish(s, dated("acme/b", "1.1.0", "2024-06-01T11:00:00Z"))
		direct.run(dir, "update", "--no-progress")
		commit(t, dir, "2024-07-01T09:00:00Z", "Summer")
		// Composer's own copy would hide that an archive cannot be had.
		direct.cool()

		s.DeleteVersion("acme/b", "1.0.0")
		moved := dated("acme/c", "1.0.0", "2024-03-01T11:00:00Z")
		moved.Salt, moved.Files = "moved", map[string]string{"src/evil.php": evil}
		s.Publish(moved)
		d := start(t, s, watching...)
		d.observe("acme/b", "acme/b~dev", "acme/c", "acme/c~dev")
		// Without the lock files the past has no such version.
		out, err := clientOf(t, command, d.at("2024-05-01")).try(project(t, need), "update", "--no-progress", "--no-install")
		if err == nil {
			t.Errorf("what was deleted before Stasis came resolves:\n%s", out)
		}
		bound := d.get("/snapshot/2024-05-01/p2/acme/b.json").body

		say(t, "import-lock", d.says("history", "import-lock", "--git", dir), "2024-04-01", "2024-07-01")
		c := clientOf(t, command, d.at("2024-05-02"))
		again := c.locked(need)
		expectLocked(t, "in May", again, "acme/b 1.0.0", "acme/c 1.0.0")
		clean(t, "in May", again)
		write(t, filepath.Join(dir, "composer.lock"), []byte(spring))
		if g, w := readLock(t, filepath.Join(again, "composer.lock")), readLock(t, filepath.Join(dir, "composer.lock")); g.identity() != w.identity() {
			t.Errorf("the lock of May differs from the one of then:\n%s", diff(g.identity(), w.identity()))
		}
		c.use(d.at("2024-07-02"))
		expectLocked(t, "in July", c.locked(need, "--no-install"), "acme/b 1.1.0", "acme/c 1.0.0")
		// No lock proves anything for before the first of them.
		if r := d.get("/snapshot/2024-03-15/p2/acme/b.json"); strings.Contains(string(r.body), first["acme/b 1.0.0"].Reference) {
			t.Errorf("a version is shown before anything proves it: %s", r.body)
		}
		x := d.explain("acme/b", "1.0.0", "2024-05-02")
		if !x.Visible || x.Reference != first["acme/b 1.0.0"].Reference {
			t.Errorf("explain: %+v", x)
		}
		if r := d.get("/snapshot/2024-05-02/p2/acme/b.json"); r.Header.Get("X-Snapshot-Fidelity") != "reconstructed" {
			t.Errorf("the fidelity is %q", r.Header.Get("X-Snapshot-Fidelity"))
		}
		same(t, "the view that was given before the import", d.get("/snapshot/2024-05-01/p2/acme/b.json").body, bound)
	})
}
