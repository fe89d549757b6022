package git_test

import (
	"archive/zip"
	"bytes"
	"cmp"
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
