package git_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runComposer runs the real one in a folder.
func runComposer(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("composer")
	if err != nil {
		if os.Getenv("STASIS_REQUIRE_COMPOSER") == "1" {
			t.Fatal("Composer is not installed, and STASIS_REQUIRE_COMPOSER=1 asks for it")
		}
		t.Skip("Composer is not installed")
	}
	cmd := exec.Command(program, append([]string{"--no-interaction", "--no-ansi", "--no-plugins"}, args...)...)
	cmd.Dir = dir
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "COMPOSER_HOME="+home, "COMPOSER_CACHE_DIR="+filepath.Join(home, "cache"), "COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_DISABLE_NETWORK=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("composer %q: %v\n%s%s", args, err, out, stderr.String())
	}
	return out
}

// The versions of a repository are those that Composer itself finds in it.
func TestComposerFindsTheSameVersions(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest()})
	at := map[string]string{}
	for _, tag := range []string{
		"1.0.0", "v1.0.0", "v1.0.1", "release-1.1.0", "1.1.0-release-", "v1.2.0-beta1", "1.3-RC2", "1.4.0-dev", "1.5.x-dev", "v2", "2.0.0.0", "20240101.1", "2024.01.02.3", "v3.0.0+meta", "x", "dev-main", "v1.0-p1", "V4.0", "4.1.0-stable",
		"v5.0.0-alpha", "5.0.0-a2", "trunk", "6.0@beta", "7.0.0-foo", "sub/8.0.0", "00.1", "1.2.3.4.5", "9.9.9.9-patch3",
	} {
		at[tag] = c
	}
	o.tags(at)
	for _, branch := range []string{"1.x", "1.0.x", "v2.x", "2.0", "V3", "feature/x-1", "dev-thing", "master", "trunk", "1.x-fix", "a.b", "UPPER", "4", "4.x", "x|y", "z,y"} {
		o.git("update-ref", "refs/heads/"+branch, c)
	}
	for tag, version := range map[string]string{"v10.0.0": "10.0", "v10.0.1": "10.0.2", "10.1.0": "v10.1", "10.2.0": "10.2.0-dev"} {
		o.tag(tag, o.commit("versioned", files{"composer.json": manifest(`"version":"` + version + `"`)}))
	}
	var ours []string
	for _, r := range scan(t, mirror(t, o)).Releases {
		ours = append(ours, r.Pretty)
	}

	project := t.TempDir()
	write(t, filepath.Join(project, "composer.json"), `{"repositories":[{"type":"vcs","url":"`+o.dir+`"},{"packagist.org":false}]}`)
	var shown struct{ Versions []json.RawMessage }
	if err := json.Unmarshal(runComposer(t, project, "show", "--all", "--format=json", "acme/lib"), &shown); err != nil {
		t.Fatal(err)
	}
	// Aliases of the default branch are listed too, and are made by whoever reads the version.
	var theirs []string
	for _, v := range shown.Versions {
		if v := strings.Trim(string(v), `"`); v != "9999999-dev" { // a number where it looks like one to PHP
			theirs = append(theirs, strings.ReplaceAll(v, `\/`, "/"))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("ours without theirs %q, theirs without ours %q", less(ours, theirs), less(theirs, ours))
	}
}

// archive.exclude leaves out what Composer's own archiver leaves out.
func TestComposerExcludesTheSameFiles(t *testing.T) {
	paths := []string{
		"a.php", "b.log", ".hidden", ".github/x.yml", "docs/a.md", "docs/img/a.png", "docs/.keep", "src/a.php", "src/docs/b.md", "src/deep/er/a.log", "src/deep/er/b.php", "tests/ATest.php", "src/tests/x",
		"keep/a.log", "keep/b.log", "xdocs/a", "a/b/c", "xa/b/c", "foo bar/x", "src/[x]/y", "src/a+b.txt", "node_modules/x/index.js", "src/node_modules/y", "Docs/upper", "src/.env", "src/.env.dist",
	}
	sets := [][]string{
		{}, {"/docs"}, {"docs"}, {"docs/"}, {"/docs/"}, {"*.log"}, {"*.log", "!keep/*.log"}, {"!keep/a.log", "*.log"}, {"/src/*", "!/src/a.php"}, {"*"}, {"*", "!*.php"}, {"/*"}, {".*"}, {"/.*"},
		{"docs/*"}, {"docs/*.md"}, {"src/**/a.log"}, {"/src/**"}, {"**/tests"}, {"src/**/*.php"}, {"a/b"}, {"b/c"}, {"/a/b/c"}, {"?.php"}, {"[ab].php"}, {"*.{md,log}"}, {"{docs,tests}"}, {"foo bar"}, {"src/a+b.txt"},
		{"!"}, {"/"}, {""}, {"!!docs"}, {"node_modules"}, {"*/node_modules"}, {"src/.env*"}, {"src/*env*"}, {"docs", "!docs/img"}, {"/docs", "!/docs/img/a.png"}, {"er"}, {"/er"}, {"*er"}, {"s*c"}, {"(x"}, {"[x"}, {"a.ph"}, {".ph"}, {"*.p?p"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"docs", "src", "*", "**", "a", "b", ".php", "*.log", "/", "/", "!", "?", "keep", "x", "er", "."}
	for range 25 {
		var set []string
		for range 1 + random.IntN(3) {
			rule := ""
			for range 1 + random.IntN(4) {
				rule += pieces[random.IntN(len(pieces))]
			}
			set = append(set, rule)
		}
		sets = append(sets, set)
	}
	o, work := newOrigin(t), t.TempDir()
	var commits []files
	for i, set := range sets {
		rules, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		f := files{"composer.json": manifest(`"archive":{"exclude":` + string(rules) + `}`)}
		for _, p := range paths {
			f[p] = "x"
		}
		version := fmt.Sprintf("v1.0.%d", i)
		commits = append(commits, f)
		for name, content := range f {
			file := filepath.Join(work, version, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, content)
		}
	}
	at := map[string]string{}
	for i, id := range o.commits("main", commits...) {
		at[fmt.Sprintf("v1.0.%d", i)] = id
	}
	o.tags(at)
	r := mirror(t, o)
	releases := scan(t, r).Releases
	ours := map[string][]string{}
	for _, rel := range releases {
		var b bytes.Buffer
		if err := r.Zip(t.Context(), &b, rel); err != nil {
			if strings.Contains(err.Error(), "it would hold no files") {
				ours[rel.Pretty] = []string{}
				continue
			}
			t.Fatal(err)
		}
		ours[rel.Pretty] = names(t, b.Bytes())
	}
	theirs := composersFiles(t, work)
	for i, set := range sets {
		v := fmt.Sprintf("v1.0.%d", i)
		if !slices.Equal(ours[v], theirs[v]) {
			t.Errorf("%q: ours without theirs %q, theirs without ours %q", set, less(ours[v], theirs[v]), less(theirs[v], ours[v]))
		}
	}
}

func less(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// composersFiles asks the class of Composer that chooses the files of an archive, for every folder in
// a folder.
func composersFiles(t *testing.T, work string) map[string][]string {
	t.Helper()
	runComposer(t, work, "--version") // or the test ends here
	program, err := exec.LookPath("composer")
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "files.php")
	write(t, script, `<?php
		[$_, $composer, $work] = $argv;
		foreach (['phar://' . $composer . '/vendor/autoload.php', dirname($composer, 2) . '/vendor/autoload.php', '/usr/share/php/Composer/autoload.php'] as $file) {
			if (@is_file($file)) { require $file; break; }
		}
		foreach (glob($work . '/*') as $dir) {
			$manifest = json_decode(file_get_contents($dir . '/composer.json'), true);
			foreach (new Composer\Package\Archiver\ArchivableFilesFinder($dir, $manifest['archive']['exclude'] ?? []) as $file) {
				echo json_encode([basename($dir), substr($file->getPathname(), strlen($dir) + 1)]), "\n";
			}
		}`)
	phar := program
	if !strings.HasSuffix(program, ".phar") {
		// A phar can be read under a name that says so only.
		phar = filepath.Join(t.TempDir(), "composer.phar")
		if err := os.Symlink(program, phar); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("php", "-d", "error_reporting=0", script, phar, work)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("%v: %s %s", err, out, exit.Stderr)
	}
	found := map[string][]string{}
	for line := range bytes.Lines(out) {
		var pair [2]string
		if err := json.Unmarshal(line, &pair); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		found[pair[0]] = append(found[pair[0]], pair[1])
	}
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

// names lists the files of an archive without its root folder.
func names(t *testing.T, b []byte) []string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range z.File {
		_, name, _ := strings.Cut(f.Name, "/")
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
