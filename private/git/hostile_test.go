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

// canary returns a command that makes a file, and a function that fails the test when it was run.
func canary(t *testing.T) (command string, check func(after string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ran")
	return "touch " + file, func(after string) {
		t.Helper()
		if _, err := os.Stat(file); err == nil {
			t.Errorf("a command was run after %q", after)
			os.Remove(file)
		}
	}
}

func TestHostileAddressesRunNothing(t *testing.T) {
	run, check := canary(t)
	tab := strings.ReplaceAll(run, " ", "\t")
	ifs := strings.ReplaceAll(run, " ", "${IFS}")
	addresses := []string{
		"--upload-pack=" + run, "-u" + run, "--upload-pack", "-", "--", "-oProxyCommand=" + run, "--exec=" + run, "-c", "--config=core.sshCommand=" + run,
		"ext::sh -c " + run, "ext::" + run, "ext::sh -c% " + run, "EXT::" + run, "fd::17", "fd::0,1", "transport-helper::x", "http::" + run, "file::" + run, "ssh::" + run,
		"ssh://-oProxyCommand=" + run + "/x", "ssh://-oProxyCommand=" + ifs + "/x", "ssh://git@-oProxyCommand=" + run + "/x", "ssh://-l@host/x", "ssh://-lroot@acme.test/x",
		"-oProxyCommand=" + run + ":x", "git@-oProxyCommand=" + run + ":x", "-git@acme.test:x", "git@acme.test:-x", "git@acme.test:--upload-pack=" + run, "git@acme.test:/-x",
		"git@acme.test:$(" + run + ")", "git@acme.test:`" + run + "`", "git@acme.test:x;" + run, "git@acme.test:x|" + run, "git@acme.test:x&&" + run, "git@acme.test:'; " + run + " #",
		"git@acme.test:../x", "git@acme.test:a/../../x", "git@acme.test:x\n" + run, "git@acme.test:", "git@:x", "@acme.test:x", "git@acme .test:x", "a b@acme.test:x",
		"https://acme.test/$(" + run + ")", "https://acme.test/`" + tab + "`", "https://acme.test/%24%28" + run, "https://acme.test/x%0a" + run, "https://acme.test/x%00", "https://acme.test/x%0d%0aX:y",
		"https://acme.test/../x", "https://acme.test/%2e%2e/x", "https://acme.test/-x", "https://acme.test/%2dx/y", "https://acme.test/a/./b", "https://acme.test", "https://acme.test/", "https:///x",
		"https://user:pass@acme.test/x", "https://token@acme.test/x", "ssh://git:pass@acme.test/x", "https://acme.test/x?service=git-upload-pack", "https://acme.test/x#frag", "https://acme.test:99999/x",
		"https://acme.test:0/x", "https://acme.test:22x/x", "https://[::1/x", "https://[fe80::1%25eth0]/x", "https://-acme.test/x", "https://acme-.test/x", "https://acme..test/x", "https://аcme.test/x",
		"https://acme.test\\@127.0.0.1/x", "https://acme.test/a\\b", "https://acme.test/a b", "https:acme.test/x", "https://acme.test/'x'", "https://acme.test/\"x\"", "HTTPS://acme.test/x y",
		"ftp://acme.test/x", "ftps://acme.test/x", "rsync://acme.test/x", "gopher://acme.test/x", "javascript:alert(1)", "data:,x", "sftp://acme.test/x", "git+ssh://-oX@acme.test/x", "bundle://x",
		"file:///etc", "file:///etc/../root", "file://localhost/etc", "file://acme.test/share", "/etc/", "//acme.test/share", "/etc/../root", "./x", "../x", "x", "~", "~root/x", "C:\\x", "\\\\acme\\x",
		"git://acme.test/x --upload-pack=" + run, "git://-x/y", "git://acme.test:9418:9418/x", "", " ", "\n", "\x00", "https://acme.test/\x1b[2J", strings.Repeat("a", 5000), "https://acme.test/" + strings.Repeat("a/", 3000),
	}
	if len(addresses) < 100 {
		t.Fatalf("%d addresses", len(addresses))
	}
	g := newGit(t, func(o *git.Options) { o.AllowLocal, o.AllowPlain = false, true })
	for _, address := range addresses {
		r, err := g.Open(address, git.Credentials{})
		if err != nil {
			if strings.Contains(err.Error(), "pass") && strings.Contains(address, "pass@") && !strings.Contains(err.Error(), "a password") {
				t.Errorf("%q: the error shows the password: %v", address, err)
			}
			check(address)
			continue
		}
		t.Errorf("%q is let through as %q", address, r.URL())
		_, _ = r.Sync(t.Context())
		check(address)
	}
	// With every door open git itself still has to do nothing but fail.
	g = newGit(t, func(o *git.Options) { o.AllowLocal, o.AllowPlain, o.AllowedHosts = true, true, []string{"127.0.0.1"} })
	for _, address := range addresses {
		if r, err := g.Open(address, git.Credentials{}); err == nil {
			if _, err := r.Sync(t.Context()); err == nil {
				t.Errorf("%q was fetched", address)
			}
		}
		check(address)
	}
}

// What a repository holds is never taken for an option, a command or a configuration.
func TestHostileRepositoriesRunNothing(t *testing.T) {
	run, check := canary(t)
	o := newOrigin(t)
	script := "#!/bin/sh\n" + run + "\n"
	evil := files{
		"composer.json":  manifest(`"archive":{"exclude":["--output=x","$(` + run + `)","!","/","{","[","(((((","` + strings.Repeat("*a", 200) + `"]}`),
		".gitattributes": "* filter=evil diff=evil merge=evil export-subst\n*.c text eol=crlf ident\n",
		".gitconfig":     "[filter \"evil\"]\n\tsmudge = " + run + "\n", ".lfsconfig": "[lfs]\n\turl = ext::" + run + "\n",
		".gitmodules": "[submodule \"--upload-pack=" + run + "\"]\n\tpath = -c\n\turl = ext::sh -c " + run + "\n\tupdate = !" + run + "\n", "s:sub": strings.Repeat("1", 40),
		"x:hooks/post-checkout": script, "x:.githooks/post-merge": script, "x:git": script, "x:ssh": script, "x:gpg": script,
		"-o": "x", "--output=y": "x", "--upload-pack=" + run: "x", "$(" + run + ")": "x", "`" + run + "`": "x", "a;" + run: "x", "new\nline": "x", "tab\t": "x",
		"SUBST": "$Format:%G?%GS%GK%d%D%(describe)%(trailers)%cr%ar%an%h$", "l:link": "/etc/passwd", "Ünïcödé/файл.php": "<?php", "emoji 🎉": "x",
	}
	c := o.commit("main", evil)
	for _, ref := range []string{
		"refs/tags/--upload-pack=" + strings.ReplaceAll(run, " ", "_"), "refs/tags/-x", "refs/tags/v1.0.0;touch", "refs/tags/$(id)", "refs/tags/`id`", "refs/heads/-b", "refs/heads/--exec", "refs/heads/$(id)",
		"refs/tags/v1.0.0|x", "refs/tags/v1.0.0&x", "refs/heads/a'b", "refs/heads/a\"b", "refs/tags/v2.0.0", "refs/heads/ünï", "refs/heads/a{b}", "refs/heads/@x", "refs/tags/" + strings.Repeat("x", 200),
		"refs/replace/" + strings.Repeat("1", 40), "refs/notes/x", "refs/pull/1/head", "refs/heads/a\xff",
	} {
		o.git("update-ref", ref, c)
	}
	// The host's own hooks and configuration count on its side, and there only for who pushes.
	for _, hook := range []string{"post-update", "update", "pre-receive", "post-checkout", "reference-transaction"} {
		if err := os.MkdirAll(filepath.Join(o.dir, "hooks"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.dir, "hooks", hook), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range map[string]string{
		"uploadpack.packObjectsHook": run, "core.fsmonitor": run, "core.sshCommand": run, "core.pager": run, "core.editor": run, "core.alternateRefsCommand": run,
		"credential.helper": "!" + run, "filter.evil.smudge": run, "filter.evil.process": run, "diff.evil.textconv": run, "alias.ls-remote": "!" + run, "gpg.program": run, "protocol.allow": "always", "include.path": "/dev/null",
	} {
		o.git("config", key, value)
	}
	r := mirror(t, o)
	s := scan(t, r, "", "*", "*/*")
	for _, rel := range s.Releases {
		if rel.Path != "" {
			t.Errorf("a release in %q", rel.Path)
		}
	}
	if len(s.Releases) < 8 {
		t.Errorf("only these releases:\n%s", lines(s))
	}
	for _, rel := range s.Releases {
		zipped(t, r, rel)
	}
	check("syncing, scanning and archiving a hostile repository")
	if err := r.Maintain(t.Context()); err != nil {
		t.Error(err)
	}
	synced(t, r)
	check("maintaining it")
	if strings.Contains(listed(t, zipped(t, r, releaseOf(t, c, ""))), "/etc/passwd") {
		t.Error("a link leads out of the archive")
	}
	for _, path := range []string{"../x", "/etc/passwd", "a/../composer.json", "-o\n", "", ".", "composer.json\x00", "composer.json/"} {
		if b, err := r.File(t.Context(), c, path, 1<<20); err == nil {
			t.Errorf("the file %q is %q", path, b)
		}
	}
	for _, commit := range []string{"", "HEAD", "main", "--output=x", c[:7], c + "^{tree}", strings.ToUpper(c), c + ":composer.json", "refs/heads/main", strings.Repeat("0", 40)} {
		rel := releaseOf(t, commit, "")
		if err := r.Zip(t.Context(), io.Discard, rel); err == nil {
			t.Errorf("there is an archive of %q", commit)
		}
		if _, err := r.File(t.Context(), commit, "composer.json", 1<<20); err == nil {
			t.Errorf("there is a file at %q", commit)
		}
	}
	for _, path := range []string{"../x", "--output=x", "-", "/", "src", ":(exclude)x", "*"} {
		if err := r.Zip(t.Context(), io.Discard, releaseOf(t, c, path)); err == nil {
			t.Errorf("there is an archive of the folder %q", path)
		}
	}
	check("asking for odd files")
}

// Damaged and hostile folders cost the one commit that has them, and nothing else.
func TestHostileTreesAreRefused(t *testing.T) {
	o := newOrigin(t)
	blob := o.feed(strings.NewReader(manifest()), "hash-object", "-w", "--stdin")
	build := func(entries ...string) string {
		var raw bytes.Buffer
		for _, e := range entries {
			mode, name, _ := strings.Cut(e, " ")
			fmt.Fprintf(&raw, "%s %s\x00%s", mode, name, bytesOf(t, blob))
		}
		tree := o.feed(&raw, "hash-object", "-w", "-t", "tree", "--literally", "--stdin")
		return o.git("-c", "commit.gpgsign=false", "commit-tree", "-m", "x", tree)
	}
	r := open(t, newGit(t), o.dir, git.Credentials{})
	for name, entries := range map[string][]string{
		"a name twice":               {"100644 a", "100644 a", "100644 composer.json"},
		"the parent folder":          {"100644 ..", "100644 composer.json"},
		"a way out":                  {"100644 ../../x", "100644 composer.json"},
		"git's own file":             {"100644 .git", "100644 composer.json"},
		"git's own file, shouted":    {"100644 .GIT", "100644 composer.json"},
		"git's own file, on macOS":   {"100644 .g\u200cit", "100644 composer.json"},
		"git's own file, on Windows": {"100644 .git. ", "100644 composer.json"},
		"an absolute name":           {"100644 /etc/x", "100644 composer.json"},
		"a way out on Windows":       {"100644 ..\\..\\x", "100644 composer.json"},
		"names out of order":         {"100644 composer.json", "100644 a"},
	} {
		c := build(entries...)
		o.git("update-ref", "refs/heads/main", c)
		synced(t, r)
		scan(t, r)
		if err := r.Zip(t.Context(), io.Discard, releaseOf(t, c, "")); err == nil {
			t.Errorf("%s: it is archived", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

func bytesOf(t *testing.T, id string) []byte {
	t.Helper()
	var b []byte
	if _, err := fmt.Sscanf(id, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// The host of a fuzzed address has to be what git would connect to, and nothing of it may look like an
// option; git itself is asked how it understands what was let through.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"https://github.com/acme/lib.git", "git@github.com:acme/lib.git", "ssh://git@acme.test:2222/~user/lib", "/srv/git/acme.git", "file:///srv/git/acme.git",
		"git://acme.test/x", "http://[::1]:8080/x", "git@[::1]:x", "acme.test:x/y", "https://dev.azure.com/org/My%20Project/_git/repo", "git@ssh.dev.azure.com:v3/org/project/repo",
		"ext::sh", "--upload-pack=x", "fiLe:0", "/0 /", "git@acme.test:-x", "https://a:b@c/d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		usual, err := git.ParseAddress(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(usual, "-") || strings.ContainsAny(usual, "\x00\n\r\t\x7f") || strings.Contains(usual, "::") && !strings.Contains(usual, "[") && !strings.HasPrefix(usual, "/") && !strings.Contains(usual, "://") {
			t.Fatalf("%q is let through as %q", s, usual)
		}
		again, err := git.ParseAddress(usual)
		if err != nil || again != usual {
			t.Fatalf("%q becomes %q, and that %q, %v", s, usual, again, err)
		}
	})
}

func TestGitUnderstandsAnAddressAsItWasChecked(t *testing.T) {
	for address, want := range map[string]string{
		"git@acme.test:lib.git":                 "ssh git@acme.test NONE lib.git",
		"acme.test:group/lib":                   "ssh acme.test NONE group/lib",
		"git@acme.test:/abs/lib.git":            "ssh git@acme.test NONE /abs/lib.git",
		"ssh://git@acme.test/group/lib.git":     "ssh git@acme.test NONE /group/lib.git",
		"ssh://acme.test:2222/lib":              "ssh acme.test 2222 /lib",
		"ssh://git@[2001:db8::1]:2222/~me/lib":  "ssh git@2001:db8::1 2222 ~me/lib",
		"ssh://git@ACME.test:22/a%20b/":         "ssh git@acme.test NONE /a b",
		"git@ssh.acme.test:v3/org/project/repo": "ssh git@ssh.acme.test NONE v3/org/project/repo",
	} {
		usual, err := git.ParseAddress(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		out, err := exec.Command("git", "fetch-pack", "--diag-url", usual).CombinedOutput()
		var got []string
		for line := range strings.Lines(string(out)) {
			if _, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.Contains(line, "url=") {
				got = append(got, value)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("git takes %s for %q, want %q (%v)", usual, got, want, err)
		}
	}
}
