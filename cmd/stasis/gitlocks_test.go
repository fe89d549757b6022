package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository is a git repository in the making.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	return r.gitAt("2026-01-01T00:00:00Z", args...)
}

func (r *repository) gitAt(date string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
		"GIT_AUTHOR_DATE=2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// commit writes a file, or deletes it without content, and commits everything.
func (r *repository) commit(date, name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	err := os.WriteFile(path, []byte(content), 0o600)
	if content == "" {
		err = os.Remove(path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.git("add", "-A")
	r.gitAt(date, "commit", "-q", "-m", "x")
}

func locks(t *testing.T, folder string) []string {
	t.Helper()
	var list []string
	err := walkLocks(t.Context(), folder, func(r lockRevision) error {
		list = append(list, r.At.Format(time.DateOnly)+" "+string(r.Body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEveryCommittedLockFileIsFound(t *testing.T) {
	r := newRepository(t)
	r.commit("2026-01-01T00:00:00Z", "composer.lock", "one")
	r.commit("2026-01-02T00:00:00Z", "other", "x")
	r.commit("2026-01-03T00:00:00+02:00", "composer.lock", "two")
	r.commit("2026-01-04T00:00:00Z", "composer.lock", "")
	r.commit("2026-01-05T00:00:00Z", "composer.lock", "one")
	r.commit("2026-01-06T00:00:00Z", "sub/composer.lock", "below")
	r.commit("2026-01-07T00:00:00Z", "composer.lock", "three")
	if got, want := fmt.Sprint(locks(t, r.dir)), "[2026-01-01 one 2026-01-02 two 2026-01-07 three]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(locks(t, filepath.Join(r.dir, "sub"))), "[2026-01-06 below]"; got != want {
		t.Errorf("in a folder below: got %s, want %s", got, want)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(r.dir, "link")); err != nil {
		t.Fatal(err)
	}
	r.git("rm", "-q", "composer.lock")
	r.git("mv", "-k", "link", "composer.lock")
	if err := os.Rename(filepath.Join(r.dir, "link"), filepath.Join(r.dir, "composer.lock")); err != nil {
		t.Fatal(err)
	}
	r.commit("2026-01-08T00:00:00Z", "other", "y")
	if got := locks(t, r.dir); len(got) != 3 {
		t.Errorf("a link is taken for a lock file: %q", got)
	}
}

// Nothing that a repository's configuration names is run.
func TestAStrangersRepositoryRunsNothing(t *testing.T) {
	r := newRepository(t)
	r.commit("2026-01-01T00:00:00Z", "composer.lock", "one")
	trap := filepath.Join(t.TempDir(), "sprung")
	for _, key := range []string{"core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "gpg.program", "filter.x.smudge", "diff.x.textconv", "remote.origin.uploadpack", "pager.rev-list", "pager.ls-tree", "core.alternateRefsCommand"} {
		r.git("config", key, "touch "+trap+"; false")
	}
	r.git("config", "log.showSignature", "true")
	r.commit("2026-01-02T00:00:00Z", ".gitattributes", "* filter=x diff=x\n")
	_ = os.Remove(trap) // what making the repository ran
	locks(t, r.dir)

	// An object that is missing would be fetched from where the configuration says.
	r.git("config", "core.repositoryformatversion", "1")
	r.git("config", "extensions.partialClone", "origin")
	r.git("config", "remote.origin.promisor", "true")
	blob := strings.TrimSpace(r.git("rev-parse", "HEAD:composer.lock"))
	for _, address := range []string{"ext::sh -c touch% " + trap, "ssh://example.invalid/x", r.dir} {
		r.git("config", "remote.origin.url", address)
		_ = os.Remove(trap)
		_ = os.Rename(filepath.Join(r.dir, ".git", "objects", blob[:2], blob[2:]), filepath.Join(r.dir, "kept"))
		if err := walkLocks(t.Context(), r.dir, func(lockRevision) error { return nil }); err == nil {
			t.Errorf("with %s: a missing object is found", address)
		}
		if _, err := os.Stat(trap); err == nil {
			t.Errorf("with %s: a program of the repository was run", address)
		}
	}
}

func TestWhatIsNoRepositoryIsASentence(t *testing.T) {
	api := newScriptedAPI(t, nil)
	for _, test := range []struct{ folder, want string }{
		{t.TempDir(), "Git rev-list fails in "}, {"nowhere", "nowhere"}, {newRepository(t).dir, "Git rev-list fails in "},
	} {
		got := stasis(t, api.environ(), "", "history", "import-lock", "--git", test.folder)
		if got.code != exitFailure || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s: got %+v", test.folder, got)
		}
	}
	r := newRepository(t)
	r.commit("2026-01-02T00:00:00Z", "other", "x")
	if got := stasis(t, api.environ(), "", "history", "import-lock", "--git", r.dir); got.code != exitFailure || !strings.Contains(got.stderr, "No composer.lock was ever committed there.") {
		t.Errorf("without a lock file: got %+v", got)
	}
}

func TestLockFilesOfARepositoryAreImportedWithTheirDates(t *testing.T) {
	r := newRepository(t)
	for i := range 3 {
		r.commit(fmt.Sprintf("2026-01-0%dT12:00:00Z", i+1), "composer.lock", fmt.Sprintf(`{"packages":[],"n":%d}`, i))
	}
	const done = `{"at":"2026-01-01T12:00:00Z","versions":4,"known":1,"branches":0,"skipped":["a/b"],"files":[]}`
	api := newScriptedAPI(t, map[string]string{
		"POST history/import-lock?at=2026-01-01T12%3A00%3A00Z": done,
		"POST history/import-lock?at=2026-01-03T12%3A00%3A00Z": done,
	})
	got := stasis(t, api.environ(), "", "history", "import-lock", "--git", r.dir)
	if len(api.asked) != 3 || !strings.HasSuffix(api.asked[2], `{"packages":[],"n":2}`) {
		t.Errorf("asked %q", api.asked)
	}
	// The refused one does not keep the others from being taken, and is told.
	if got.code != exitFailure || strings.Count(got.stdout, "2026-01-01 12:00:00") != 2 || !strings.Contains(got.stderr, "Nothing is known about it") {
		t.Errorf("got %+v", got)
	}
}
