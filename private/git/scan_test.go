package git_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/private/git"
)

func TestEveryTagAndBranchBecomesTheVersionComposerMakesOfIt(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest(), "src/a.php": "<?php"})
	for _, tag := range []string{"v1.0.0", "1.0.0", "release-2.0.0", "3.0-beta2", "v1.2-rc.1", "4.0.0-dev", "5.x-dev", "latest", "dev-x", "1.2.3.4.5", "v6.0.0+build", "master"} {
		o.tag(tag, c)
	}
	for _, branch := range []string{"1.x", "v2.0", "2.3", "feature/x", "fix#12", "dev-x", "a,b", "master", "3"} {
		o.git("update-ref", "refs/heads/"+branch, c)
	}
	o.git("tag", "-a", "-m", "annotated", "v7.0.0", c)
	s := scan(t, mirror(t, o))
	same(t, "scan", lines(s), strings.TrimLeft(`
acme/lib 1.0.0 (1.0.0.0) tags/1.0.0
acme/lib 3.0-beta2 (3.0.0.0-beta2) tags/3.0-beta2
acme/lib 2.0.0 (2.0.0.0) tags/release-2.0.0
acme/lib v1.2-rc.1 (1.2.0.0-RC1) tags/v1.2-rc.1
acme/lib v6.0.0+build (6.0.0.0) tags/v6.0.0+build
acme/lib v7.0.0 (7.0.0.0) tags/v7.0.0
acme/lib dev-main (dev-main) heads/main default
acme/lib 1.x-dev (1.9999999.9999999.9999999-dev) heads/1.x
acme/lib 2.3.x-dev (2.3.9999999.9999999-dev) heads/2.3
acme/lib 3.x-dev (3.9999999.9999999.9999999-dev) heads/3
acme/lib dev-dev-x (dev-dev-x) heads/dev-x
acme/lib dev-feature/x (dev-feature/x) heads/feature/x
acme/lib dev-fix+12 (dev-fix+12) heads/fix#12
acme/lib dev-master (dev-master) heads/master
acme/lib v2.0.x-dev (2.0.9999999.9999999-dev) heads/v2.0
skipped tags/1.2.3.4.5: its name is no version
skipped tags/4.0.0-dev: its name means a development version, which tags cannot be
skipped tags/5.x-dev: its name means a development version, which tags cannot be
skipped tags/dev-x: its name means a development version, which tags cannot be
skipped tags/latest: its name is no version
skipped tags/master: its name means a development version, which tags cannot be
skipped tags/v1.0.0: refs/tags/1.0.0 is version 1.0.0.0 already
skipped heads/a,b: its name holds characters that Composer takes for a constraint
`, "\n"))
	if s.DefaultBranch != "main" {
		t.Errorf("the default branch is %q", s.DefaultBranch)
	}
	for _, r := range s.Releases {
		if r.Commit != c || r.Time.Unix() != when {
			t.Errorf("%s is at %s of %s", r.Pretty, r.Commit, r.Time)
		}
	}
}

func TestTheVersionInComposerJSONHasToBeThatOfTheTag(t *testing.T) {
	o := newOrigin(t)
	for tag, version := range map[string]string{
		"v1.0.0": `"1.0"`, "v2.0.0": `"1.0"`, "v3.0.0": `"nonsense"`, "v4.0.0": `"4.0.0-dev"`, "v5.0.0": `null`, "v6.0.0": `6`, "7.0.0": `"v7.0.0.0"`,
	} {
		o.tag(tag, o.commit("main", files{"composer.json": manifest(`"version":` + version)}))
	}
	o.commit("main", files{"composer.json": manifest(`"version":"9.9.9"`, `"default-branch":false`, `"time":"2001-02-03"`)})
	s := scan(t, mirror(t, o))
	same(t, "scan", lines(s), strings.TrimLeft(`
acme/lib v7.0.0.0 (7.0.0.0) tags/7.0.0
acme/lib 1.0 (1.0.0.0) tags/v1.0.0
acme/lib 4.0.0 (4.0.0.0) tags/v4.0.0
acme/lib v5.0.0 (5.0.0.0) tags/v5.0.0
acme/lib dev-main (dev-main) heads/main default
skipped tags/v2.0.0: the version 1.0 in its composer.json is not that of the tag
skipped tags/v3.0.0: the version in its composer.json is none: "nonsense" is not a version
skipped tags/v6.0.0: the version in its composer.json is none: "" is not a version
`, "\n"))
	branch := s.Releases[len(s.Releases)-1]
	same(t, "the manifest of the branch", string(encoded(t, branch)),
		`{"name":"acme/lib","version":"dev-main","time":"2001-02-03","version_normalized":"dev-main","default-branch":true}`)
	same(t, "the manifest of a tag", string(encoded(t, s.Releases[3])),
		`{"name":"acme/lib","version":"v5.0.0","version_normalized":"5.0.0.0","time":"`+s.Releases[3].Time.Format(time.RFC3339)+`"}`)
}

func encoded(t *testing.T, r git.Release) []byte {
	t.Helper()
	b, err := json.Marshal(r.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABrokenTagIsASentence(t *testing.T) {
	o := newOrigin(t)
	good := o.commit("main", files{"composer.json": manifest()})
	broken := map[string]files{
		"v1.0.0":  {"composer.json": "{"},
		"v1.0.1":  {"composer.json": ""},
		"v1.0.2":  {"README.md": "no manifest"},
		"v1.0.3":  {"composer.json": "[]"},
		"v1.0.4":  {"composer.json/x": "a folder"},
		"v1.0.5":  {"l:composer.json": "README.md"},
		"v1.0.6":  {"composer.json": manifest(`"require":{"acme/x":"^^1"}`)},
		"v1.0.7":  {"composer.json": manifest(`"description":"` + strings.Repeat("x", 1<<20) + `"`)},
		"v1.0.8":  {"composer.json": manifest("\"description\":\"\xff\"")},
		"v1.0.9":  {"composer.json": strings.Repeat("[", 100_000)},
		"v1.0.10": {"composer.json": manifest(`"autoload":"src"`, `"bin":"../x"`)},
	}
	for tag, f := range broken {
		o.tag(tag, o.commit("broken", f))
	}
	o.git("update-ref", "-d", "refs/heads/broken")
	blob := o.feed(strings.NewReader("no commit"), "hash-object", "-w", "--stdin")
	o.git("update-ref", "refs/tags/v1.1.0", blob)
	o.git("update-ref", "refs/tags/v1.1.1", o.git("rev-parse", good+"^{tree}"))
	o.git("-c", "tag.gpgsign=false", "tag", "-a", "-m", "a tag of a blob", "v1.1.2", blob)
	o.git("tag", "-a", "-m", "inner", "v9.0.0", good)
	o.git("tag", "-a", "-m", "a tag of a tag", "v9.0.1", "v9.0.0")
	o.tag("v2.0.0", good)
	same(t, "scan", lines(scan(t, mirror(t, o))), strings.TrimLeft(`
acme/lib v2.0.0 (2.0.0.0) tags/v2.0.0
acme/lib v9.0.0 (9.0.0.0) tags/v9.0.0
acme/lib v9.0.1 (9.0.1.0) tags/v9.0.1
acme/lib dev-main (dev-main) heads/main default
skipped tags/v1.0.0: its composer.json is not valid: it ends where a key belongs
skipped tags/v1.0.1: its composer.json is not valid: it ends where an object belongs
skipped tags/v1.0.10: its composer.json would end the run of a client: its "autoload" is neither an object nor a list; its "bin" "../x" leads out of the package
skipped tags/v1.0.2: it has no composer.json
skipped tags/v1.0.3: its composer.json is empty
skipped tags/v1.0.4: it has no composer.json
skipped tags/v1.0.5: it has no composer.json
skipped tags/v1.0.6: its composer.json would end the run of a client: its "require" gives acme/x a constraint that cannot be read: "^^1" is not a version constraint: "^^1" is not a version
skipped tags/v1.0.7: its composer.json cannot be read: it has 1048612 bytes, more than the 1048576 allowed
skipped tags/v1.0.8: its composer.json would end the run of a client: it holds text that is not UTF-8
skipped tags/v1.0.9: its composer.json is not valid: unexpected '[' at byte 1, where an object belongs
skipped tags/v1.1.0: it does not lead to a commit
skipped tags/v1.1.1: it does not lead to a commit
skipped tags/v1.1.2: it does not lead to a commit
`, "\n"))
}

func TestAPackageHasTheNameOfItsDefaultBranch(t *testing.T) {
	named := func(name string) files { return files{"composer.json": `{"name":"` + name + `"}`} }
	o := newOrigin(t)
	o.tag("v1.0.0", o.commit("main", named("old/name")))
	o.tag("v2.0.0", o.commit("main", named("Acme/Lib")))
	o.tag("v2.1.0", o.commit("side", files{"composer.json": `{"description":"no name"}`}))
	o.tag("v2.2.0", o.commit("side", named("not a name")))
	r := mirror(t, o)
	for _, rel := range scan(t, r).Releases {
		if rel.Package.String() != "acme/lib" || rel.Manifest.Text("name") != "acme/lib" {
			t.Errorf("%s is of %s, and its manifest says %q", rel.Pretty, rel.Package, rel.Manifest.Text("name"))
		}
	}
	// Without a package there, every reference speaks for itself.
	o.commit("main", files{"README.md": "moved"})
	synced(t, r)
	same(t, "scan", lines(scan(t, r)), strings.TrimLeft(`
old/name v1.0.0 (1.0.0.0) tags/v1.0.0
acme/lib v2.0.0 (2.0.0.0) tags/v2.0.0
skipped tags/v2.1.0: its composer.json does not name the package: "" is not a package name: it has no vendor and slash
skipped tags/v2.2.0: its composer.json does not name the package: "not a name" is not a package name: it has no vendor and slash
skipped heads/main: it has no composer.json
skipped heads/side: its composer.json does not name the package: "not a name" is not a package name: it has no vendor and slash
`, "\n"))
}

func TestAMonorepoHoldsSeveralPackages(t *testing.T) {
	o := newOrigin(t)
	named := func(name string) string { return `{"name":"acme/` + name + `"}` }
	o.tag("v1.0.0", o.commit("main", files{"packages/a/composer.json": named("a"), "packages/b/composer.json": named("b"), "lib/c/composer.json": named("c")}))
	o.tag("v2.0.0", o.commit("main", files{
		"composer.json": named("all"), "packages/a/composer.json": named("a"), "packages/b/composer.json": "{", "packages/README/x": "no package",
		"packages/a/deep/er/composer.json": named("deep"), "packages/c/composer.json": named("c"), "packages/c/src/C.php": "<?php", "packages/c/x:y/ä": "odd",
	}))
	r := mirror(t, o)
	s := scan(t, r, "", "packages/*", "./lib/c/", "packages/*/d*p/er")
	same(t, "scan", lines(s), strings.TrimLeft(`
acme/a v1.0.0 (1.0.0.0) tags/v1.0.0 in packages/a
acme/b v1.0.0 (1.0.0.0) tags/v1.0.0 in packages/b
acme/c v1.0.0 (1.0.0.0) tags/v1.0.0 in lib/c
acme/all v2.0.0 (2.0.0.0) tags/v2.0.0
acme/a v2.0.0 (2.0.0.0) tags/v2.0.0 in packages/a
acme/c v2.0.0 (2.0.0.0) tags/v2.0.0 in packages/c
acme/deep v2.0.0 (2.0.0.0) tags/v2.0.0 in packages/a/deep/er
acme/all dev-main (dev-main) heads/main default
acme/a dev-main (dev-main) heads/main in packages/a default
acme/c dev-main (dev-main) heads/main in packages/c default
acme/deep dev-main (dev-main) heads/main in packages/a/deep/er default
skipped tags/v1.0.0: it has no composer.json
skipped tags/v1.0.0 in packages/*/d*p/er: it has no package in such a folder
skipped tags/v2.0.0 in lib/c: it has no composer.json
skipped tags/v2.0.0 in packages/b: its composer.json is not valid: it ends where a key belongs
skipped heads/main in lib/c: it has no composer.json
skipped heads/main in packages/b: its composer.json is not valid: it ends where a key belongs
`, "\n"))
	i := slices.IndexFunc(s.Releases, func(r git.Release) bool { return r.Path == "packages/c" })
	var names []string
	for line := range strings.Lines(listed(t, zipped(t, r, s.Releases[i]))) {
		names = append(names, strings.Fields(line)[1])
	}
	root := "acme-c-" + s.Releases[i].Commit[:12] + "/"
	if want := []string{root + "composer.json", root + "src/C.php", root + "x:y/ä"}; !slices.Equal(names, want) {
		t.Errorf("the archive of one package holds %q, want %q", names, want)
	}

	for _, wrong := range []string{"../x", "/etc", "a/../b", "[", "a//b", "a\x00b", "a\nb", `a\b`} {
		if _, err := r.Scan(t.Context(), []string{wrong}); wrong != "/etc" && (err == nil || !strings.Contains(err.Error(), "is not a folder of the repository")) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestTwoFoldersWithOnePackageAreTold(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"a/composer.json": manifest(), "b/composer.json": manifest()})
	same(t, "scan", lines(scan(t, mirror(t, o), "*")), strings.TrimLeft(`
acme/lib dev-main (dev-main) heads/main in a default
skipped heads/main in b: refs/heads/main in a is version dev-main already
`, "\n"))
}

func TestWhatAnArchiveWillLackIsNoted(t *testing.T) {
	o := newOrigin(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 12345\n"
	c := o.commit("main", files{
		"composer.json": manifest(), ".gitattributes": "*.txt text\n*.psd filter=lfs diff=lfs merge=lfs -text\n", "a.psd": pointer,
		".gitmodules": "[submodule \"x\"]\n\tpath = vendor/x\n\turl = ../x.git\n", "s:vendor/x": strings.Repeat("1", 40),
		"packages/a/composer.json": `{"name":"acme/a"}`,
	})
	o.commit("none", files{"composer.json": manifest(), ".gitattributes": "#*.psd filter=lfs\n/tests filter=lfs export-ignore\n"})
	r := mirror(t, o)
	s := scan(t, r, "", "packages/*")
	for _, want := range []struct{ version, path, notes string }{
		{"dev-main", "", "files that .gitattributes leaves to Git LFS are pointers in the archive; the submodule vendor/x is left out of the archive"},
		{"dev-main", "packages/a", "files that .gitattributes leaves to Git LFS are pointers in the archive"},
		{"dev-none", "", ""},
	} {
		i := slices.IndexFunc(s.Releases, func(r git.Release) bool { return r.Pretty == want.version && r.Path == want.path })
		if got := strings.Join(s.Releases[i].Notes, "; "); got != want.notes {
			t.Errorf("%s in %q is noted %q, want %q", want.version, want.path, got, want.notes)
		}
	}
	list := listed(t, zipped(t, r, releaseOf(t, c, "")))
	if !strings.Contains(list, "a.psd") || strings.Contains(list, "vendor") {
		t.Errorf("the archive holds\n%s", list)
	}
}

func TestAThousandTags(t *testing.T) {
	o := newOrigin(t)
	many(t, o, 1000)
	r := mirror(t, o)
	s := scan(t, r)
	if len(s.Releases) != 1001 || len(s.Skipped) != 0 {
		t.Fatalf("%d releases and %d skipped, want 1001 and none", len(s.Releases), len(s.Skipped))
	}
	seen := map[string]bool{}
	for _, rel := range s.Releases {
		seen[rel.Commit] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different commits, want 1000", len(seen))
	}
	// One more tag costs one fetch, and is the only change.
	c := o.commit("next", files{"composer.json": manifest()})
	o.tag("v99.0.0", c)
	same(t, "changes", changed(synced(t, r)), fmt.Sprintf("refs/heads/next -%[1]s refs/tags/v99.0.0 -%[1]s", c[:7]))
}

// many makes a history of n commits, each with a tag, a manifest of its own, one file that changed, and
// sixty that did not.
func many(t testing.TB, o *origin, n int) {
	t.Helper()
	var b bytes.Buffer
	file := func(name, content string) {
		fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
	}
	for i := range n {
		fmt.Fprintf(&b, "commit refs/heads/main\nmark :%d\ncommitter A <a@acme.test> %d +0000\ndata 1\nc\n", i+1, when+60*i)
		if i == 0 {
			for k := range 60 {
				body := "<?php\n"
				for f := range 100 {
					body += fmt.Sprintf("function f%d_%d(int $x): int { return $x * %d; }\n", k, f, k*f)
				}
				file(fmt.Sprintf("src/F%d.php", k), body)
			}
		}
		file("composer.json", manifest(fmt.Sprintf(`"description":"number %d"`, i), `"require":{"php":">=8.1","acme/other":"^1.2 || ^2.0"}`, `"autoload":{"psr-4":{"Acme\\\\Lib\\\\":"src/"}}`))
		file(fmt.Sprintf("src/G%d.php", i%50), fmt.Sprintf("<?php\n// %d\n", i))
		fmt.Fprintf(&b, "reset refs/tags/v1.%d.%d\nfrom :%d\n\n", i/100, i%100, i+1)
	}
	o.feed(&b, "fast-import", "--quiet", "--force")
	o.git("gc", "--quiet")
}
