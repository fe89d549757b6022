package git_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha1"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"stasis/private/git"
	"stasis/proxy/archive"
	"stasis/proxy/composer"
)

// zipped makes the archive of a release, which must be one that Stasis accepts.
func zipped(t testing.TB, r *git.Repository, rel git.Release) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Zip(t.Context(), &b, rel); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Check("zip", bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
		t.Fatalf("the archive is refused: %v", err)
	}
	return b.Bytes()
}

// listed describes an archive, a line for each entry.
func listed(t testing.TB, b []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s %d %.20q\n", f.Mode(), f.Name, f.Modified.Unix(), content)
	}
	return out.String()
}

func releaseOf(t testing.TB, commit, path string) git.Release {
	t.Helper()
	name, err := composer.ParseName("acme/lib")
	if err != nil {
		t.Fatal(err)
	}
	return git.Release{Package: name, Commit: commit, Path: path}
}

func TestAnArchiveHoldsTheFilesOfTheCommitInOneFolder(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{
		"composer.json": manifest(`"archive":{"exclude":["/docs","*.log","!keep.log"]}`), "src/A.php": "<?php", "x:bin/tool": "#!/bin/sh",
		".gitattributes": "/tests export-ignore\nVERSION export-subst\n", "tests/ATest.php": "<?php", "VERSION": "$Format:%H$",
		"docs/index.md": "x", "a.log": "x", "keep.log": "x", "ünï.txt": "x", "empty": "",
		"l:link": "src/A.php", "l:src/up": "../VERSION", "l:out": "../../etc/passwd", "l:absolute": "/etc/passwd", "l:deep/out": "../../x",
		"s:vendor/sub": strings.Repeat("1", 40),
	})
	r := mirror(t, o)
	b := zipped(t, r, releaseOf(t, c, ""))
	want := []string{
		"-rw-r--r-- .gitattributes", "-rw-r--r-- VERSION", "-rwxr-xr-x bin/tool", "-rw-r--r-- composer.json", "-rw-r--r-- empty",
		"-rw-r--r-- keep.log", "Lrwxrwxrwx link", "-rw-r--r-- src/A.php", "Lrwxrwxrwx src/up", "-rw-r--r-- ünï.txt",
	}
	var got []string
	for line := range strings.Lines(listed(t, b)) {
		f := strings.Fields(line)
		name, ok := strings.CutPrefix(f[1], "acme-lib-"+c[:12]+"/")
		if !ok || f[2] != fmt.Sprint(when) {
			t.Errorf("the entry %s", line)
		}
		got = append(got, f[0]+" "+name)
		if name == "VERSION" && !strings.HasPrefix(f[3], `"`+c[:10]) {
			t.Errorf("export-subst made %s", f[3])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return cmp.Compare(a[11:], b[11:]) }) {
		t.Error("the entries are not in order")
	}
	if again := zipped(t, mirror(t, o), releaseOf(t, c, "")); !bytes.Equal(again, b) {
		t.Error("another mirror makes another archive of the same commit")
	}
}

// The checksum of an archive stands in lock files, and archives that were evicted are made again. When
// this test fails after an update of a library, every archive that is made from then on differs from the
// one that was served before: find out which change it was, and do not simply write down the new sum.
func TestArchivesKeepTheirBytes(t *testing.T) {
	o := newOrigin(t)
	body := "<?php\n"
	for i := range 2000 {
		body += fmt.Sprintf("function f%d(int $x): int { return $x * %d + %d; }\n", i, i*i%997, i*7919%1009)
	}
	large := strings.Repeat(body, 12) // is packed while it is read
	c := o.commit("main", files{
		"composer.json": manifest(), "src/Long.php": body, "src/Large.php": large, "logo.gif": "\x00\x01\x02", "x:bin/run": "#!/bin/sh\nexit 0\n", "l:current": "src", "ünï/x": "x", "empty": "", "VERSION": "$Format:%H %h %cI$",
		".gitattributes": "VERSION export-subst\n",
	})
	b := zipped(t, mirror(t, o), releaseOf(t, c, ""))
	const want = "648482d94b9918253429e111a4a909abc2ea8110"
	if got := fmt.Sprintf("%x", sha1.Sum(b)); got != want {
		t.Errorf("the archive of %s has the SHA-1 %s, and had %s before", c, got, want)
	}
}

func TestAnArchiveDependsOnNothingButTheCommit(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{
		"composer.json": manifest(), ".gitattributes": "* export-subst\n",
		"SUBST": "$Format:%d|%D|%h|%t|%p|%(describe)|%(describe:tags=true)|%cr|%ar|%G?|%GS|%N|%aN|%cd|%ch$",
	})
	r := mirror(t, o)
	before := zipped(t, r, releaseOf(t, c, ""))
	if strings.Contains(listed(t, before), "$Format") {
		t.Error("export-subst was not done")
	}
	o.git("tag", "-a", "-m", "x", "v7.0.0", c)
	o.git("update-ref", "refs/heads/more", c)
	o.git("notes", "add", "-m", "a note", c)
	many(t, o, 300)
	synced(t, r)
	if after := zipped(t, r, releaseOf(t, c, "")); !bytes.Equal(after, before) {
		t.Errorf("with other references and objects around it is\n%s\nand was\n%s", listed(t, after), listed(t, before))
	}
	if elsewhere := zipped(t, mirror(t, o), releaseOf(t, c, "")); !bytes.Equal(elsewhere, before) {
		t.Error("another mirror makes another archive")
	}
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "core.abbrev")
	t.Setenv("GIT_CONFIG_VALUE_0", "40")
	t.Setenv("HOME", t.TempDir())
	if another := zipped(t, mirror(t, o), releaseOf(t, c, "")); !bytes.Equal(another, before) {
		t.Error("another user makes another archive")
	}
}

func TestAPackageWithoutFilesIsNoArchive(t *testing.T) {
	o := newOrigin(t)
	empty := o.commit("main", files{"composer.json": manifest(), ".gitattributes": "* export-ignore\n"})
	none := o.commit("main", files{"README.md": "x"})
	r := mirror(t, o)
	for commit, want := range map[string]string{empty: "it would hold no files", none: "there is no composer.json"} {
		if err := r.Zip(t.Context(), io.Discard, releaseOf(t, commit, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
