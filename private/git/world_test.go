package git_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stasis/private/git"
)

// origin is a repository of a host, made with git.
type origin struct {
	t    testing.TB
	dir  string // bare
	made int    // commits
}

func newOrigin(t testing.TB) *origin {
	t.Helper()
	o := &origin{t: t, dir: filepath.Join(t.TempDir(), "acme.git")}
	o.git("init", "--quiet", "--bare", "--initial-branch=main", o.dir)
	return o
}

// git runs git on the host's side.
func (o *origin) git(args ...string) string {
	o.t.Helper()
	return o.feed(nil, args...)
}

func (o *origin) feed(in io.Reader, args ...string) string {
	o.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_DIR="+o.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@acme.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@acme.test")
	cmd.Stdin = in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("git %q: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// files are what a commit holds: content by path. A path may say what it is: "x:name" is executable,
// "l:name" a link, "s:name" a submodule.
type files map[string]string

// when is the time of the first commit; every later one is a minute younger.
const when = 1_700_000_000

// commit puts a commit with exactly these files on a branch.
func (o *origin) commit(branch string, f files) string { return o.commits(branch, f)[0] }

// commits puts one commit after another on a branch.
func (o *origin) commits(branch string, each ...files) []string {
	o.t.Helper()
	var b bytes.Buffer
	for i, f := range each {
		fmt.Fprintf(&b, "commit refs/heads/%s\nmark :%d\ncommitter A <a@acme.test> %d +0000\ndata 1\nc\n", branch, i+1, when+60*o.made)
		o.made++
		if parent, err := os.ReadFile(filepath.Join(o.dir, "refs", "heads", branch)); err == nil && i == 0 {
			fmt.Fprintf(&b, "from %s", parent)
		}
		b.WriteString("deleteall\n")
		for name, content := range f {
			mode := "100644"
			switch kind, rest, ok := strings.Cut(name, ":"); {
			case ok && kind == "x":
				mode, name = "100755", rest
			case ok && kind == "l":
				mode, name = "120000", rest
			case ok && kind == "s":
				fmt.Fprintf(&b, "M 160000 %s %s\n", content, rest)
				continue
			}
			fmt.Fprintf(&b, "M %s inline %q\ndata %d\n%s\n", mode, name, len(content), content)
		}
	}
	marks := filepath.Join(o.dir, "marks")
	o.feed(&b, "fast-import", "--quiet", "--force", "--export-marks="+marks)
	said, err := os.ReadFile(marks)
	if err != nil {
		o.t.Fatal(err)
	}
	ids := make([]string, len(each))
	for line := range strings.Lines(string(said)) {
		var mark int
		var id string
		if _, err := fmt.Sscanf(line, ":%d %s", &mark, &id); err != nil {
			o.t.Fatal(err)
		}
		ids[mark-1] = id
	}
	return ids
}

func (o *origin) tag(name, at string) { o.tags(map[string]string{name: at}) }

// tags makes or moves tags, by name.
func (o *origin) tags(at map[string]string) {
	o.t.Helper()
	var b strings.Builder
	for name, id := range at {
		fmt.Fprintf(&b, "update refs/tags/%s %s\n", name, id)
	}
	o.feed(strings.NewReader(b.String()), "update-ref", "--stdin")
}

// manifest is a composer.json of acme/lib, with more members given as JSON.
func manifest(more ...string) string {
	return "{" + strings.Join(append([]string{`"name":"acme/lib"`}, more...), ",") + "}"
}

func newGit(t testing.TB, change ...func(*git.Options)) *git.Git {
	t.Helper()
	o := git.Options{Dir: filepath.Join(t.TempDir(), "mirrors"), AllowLocal: true}
	for _, c := range change {
		c(&o)
	}
	g, err := git.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func open(t testing.TB, g *git.Git, url string, c git.Credentials) *git.Repository {
	t.Helper()
	r, err := g.Open(url, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mirror opens and syncs an origin on this disk.
func mirror(t testing.TB, o *origin, change ...func(*git.Options)) *git.Repository {
	t.Helper()
	r := open(t, newGit(t, change...), o.dir, git.Credentials{})
	synced(t, r)
	return r
}

func synced(t testing.TB, r *git.Repository) git.Changes {
	t.Helper()
	changes, err := r.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func scan(t testing.TB, r *git.Repository, paths ...string) git.Scan {
	t.Helper()
	s, err := r.Scan(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines describes a scan, a line for each release and each skip.
func lines(s git.Scan) string {
	var b strings.Builder
	for _, r := range s.Releases {
		fmt.Fprintf(&b, "%s %s (%s) %s", r.Package, r.Pretty, r.Normalized, strings.TrimPrefix(r.Ref, "refs/"))
		if r.Path != "" {
			fmt.Fprintf(&b, " in %s", r.Path)
		}
		if r.Default {
			b.WriteString(" default")
		}
		b.WriteString("\n")
	}
	for _, s := range s.Skipped {
		fmt.Fprintf(&b, "skipped %s", strings.TrimPrefix(s.Ref, "refs/"))
		if s.Path != "" {
			fmt.Fprintf(&b, " in %s", s.Path)
		}
		fmt.Fprintf(&b, ": %s\n", s.Reason)
	}
	return b.String()
}

func same(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", what, got, want)
	}
}
