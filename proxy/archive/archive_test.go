package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/proxy/archive"
)

func check(t testing.TB, typ string, body []byte) archive.Report {
	t.Helper()
	rep, err := archive.Check(typ, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return rep
}

// file is one entry of a tree to be packed in some way.
type file struct {
	path, content string
	mode          os.FileMode
}

var sample = []file{
	{"README.md", "# lib\n", 0o644},
	{"bin/run", "#!/bin/sh\n", 0o755},
	{"latest", "bin/run", os.ModeSymlink | 0o777},
}

// zipped packs files with the usual tool's habits, below a folder.
func zipped(top string, at time.Time, method uint16, folders bool, files ...file) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if folders {
		_, _ = w.Create(top)
		_, _ = w.Create(top + "bin/")
	}
	for _, f := range files {
		h := &zip.FileHeader{Name: top + f.path, Method: method, Modified: at}
		h.SetMode(f.mode)
		e, err := w.CreateHeader(h)
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(e, f.content)
	}
	_ = w.SetComment("0123456789012345678901234567890123456789")
	_ = w.Close()
	return b.Bytes()
}

func TestTheContentDigestIsThatOfTheTree(t *testing.T) {
	const want = "c1" // the label of the comparison below
	base := check(t, "zip", zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false, sample...))
	if base.Files != 3 || base.Unpacked != 23 || base.Comment != "0123456789012345678901234567890123456789" || len(base.Content) != 64 {
		t.Fatalf("report %+v", base)
	}
	reversed := []file{sample[2], sample[1], sample[0]}
	tarred := func(pad string) []byte {
		items := []tarItem{
			{tar.Header{Name: pad + "acme-lib-1/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
			{tar.Header{Name: pad + "acme-lib-1/latest", Typeflag: tar.TypeSymlink, Linkname: "bin/run"}, ""},
			{tar.Header{Name: pad + "acme-lib-1/bin/run", Mode: 0o700, ModTime: time.Unix(5, 0)}, "#!/bin/sh\n"},
			{tar.Header{Name: pad + "acme-lib-1/README.md"}, "# lib\n"},
		}
		return rawTar(items...)
	}
	for name, c := range map[string]struct {
		typ  string
		body []byte
	}{
		"another order":                {"zip", zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false, reversed...)},
		"other times":                  {"zip", zipped("acme-lib-1/", time.Unix(1.5e9, 0), zip.Deflate, false, sample...)},
		"not deflated":                 {"zip", zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Store, false, sample...)},
		"entries for folders":          {"zip", zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, true, sample...)},
		"another top folder":           {"zip", zipped("acme-lib-0123456/", time.Unix(1e9, 0), zip.Deflate, false, sample...)},
		"no top folder":                {"zip", zipped("", time.Unix(1e9, 0), zip.Deflate, false, sample...)},
		"a tar":                        {"tar", tarred("")},
		"a tar with names from a dot":  {"tar", tarred("./")},
		"a gzipped tar":                {"tar", packed(tarred(""))},
		"a tar packed by bzip2":        {"tar", bz2Tar},
		"a tar without its last zeros": {"tar", tarred("")[:len(tarred(""))-512]},
	} {
		if got := check(t, c.typ, c.body); got.Content != base.Content || got.Files != 3 {
			t.Errorf("%s: %s is %s, want %s", name, want, got.Content, base.Content)
		}
	}
	for name, files := range map[string][]file{
		"another content":        {{"README.md", "# LIB\n", 0o644}, sample[1], sample[2]},
		"another name":           {{"readme.md", "# lib\n", 0o644}, sample[1], sample[2]},
		"not executable":         {sample[0], {"bin/run", "#!/bin/sh\n", 0o644}, sample[2]},
		"another target":         {sample[0], sample[1], {"latest", "bin/rum", os.ModeSymlink | 0o777}},
		"a file instead of link": {sample[0], sample[1], {"latest", "bin/run", 0o644}},
		"one file more":          append([]file{{"x", "", 0o644}}, sample...),
		"one file less":          sample[:2],
	} {
		if got := check(t, "zip", zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false, files...)); got.Content == base.Content {
			t.Errorf("%s: the content digest is the same", name)
		}
	}
}

func TestALineBreakInANameForgesNoLine(t *testing.T) {
	sum := strings.Repeat("0", 64)
	a := check(t, "zip", raw(layout{}, item{name: "a\n100644 " + sum + " b", content: "x"}))
	b := check(t, "zip", raw(layout{}, item{name: "\"a\\n100644 " + sum + " b\"", content: "x"}))
	if a.Content == b.Content {
		t.Error("two trees have one content digest")
	}
}

func TestOddButHonestArchivesPass(t *testing.T) {
	for name, c := range map[string]struct {
		typ  string
		body []byte
	}{
		"zip64 records that were not needed": {"zip", raw(layout{zip64: same}, good)},
		"zip64 sizes that were not needed":   {"zip", raw(layout{}, item{name: "p/a", content: "x", unpacked: 1<<32 - 1, packed: 1<<32 - 1, extra: zip64Field(1, 1)})},
		"a gap before the directory":         {"zip", raw(layout{gap: "padding"}, good)},
		"a long comment":                     {"zip", raw(layout{comment: strings.Repeat("c", 65535)}, good)},
		"a comment of bytes":                 {"zip", raw(layout{comment: "\x00\x01\xff"}, good)},
		"two plain files in two cases":       {"zip", raw(layout{}, item{name: "p/A.php", content: "x"}, item{name: "p/a.php", content: "y"})},
		"a file and a folder in two cases":   {"zip", raw(layout{}, item{name: "p/Makefile", content: "x"}, item{name: "p/makefile/x", content: "y"})},
		"a link to a sibling folder":         {"zip", raw(layout{}, good, item{name: "acme-lib-1/src/l", mode: 0o120777, content: "../docs/x"})},
		"a name that is not UTF-8":           {"zip", raw(layout{}, item{name: "p/caf\xe9.php", content: "x", extra: secondName("p/caf\xe9.php", "p/café.php")})},
		"a carriage return in a name":        {"zip", raw(layout{}, item{name: "p/Icon\r"})},
		"an archive from DOS":                {"zip", raw(layout{}, item{name: "p/a", content: "x", system: 255})},
		"two dots within names":              {"zip", raw(layout{}, item{name: "p/a..b/..c/d..", content: "x"})},
		"padding in the extra field":         {"zip", raw(layout{}, item{name: "p/a", content: "x", extra: []byte{0, 0, 0}})},
		"a hard link in a tar":               {"tar", rawTar(tarItem{tar.Header{Name: "p/a"}, "x"}, tarItem{tar.Header{Name: "p/b", Linkname: "p/a", Typeflag: tar.TypeLink}, ""})},
		"a tar.xz":                           {"tar", xzTar},
		"a single gzipped file":              {"gzip", packed([]byte("x"))},
		"a single xz file":                   {"xz", xzTar},
		"a file":                             {"file", []byte("<?php")},
	} {
		t.Run(name, func(t *testing.T) { check(t, c.typ, c.body) })
	}
	hard := check(t, "tar", rawTar(tarItem{tar.Header{Name: "p/a"}, "x"}, tarItem{tar.Header{Name: "p/b", Linkname: "p/a", Typeflag: tar.TypeLink}, ""}))
	twice := check(t, "tar", rawTar(tarItem{tar.Header{Name: "p/a"}, "x"}, tarItem{tar.Header{Name: "p/b"}, "x"}))
	if hard.Content != twice.Content {
		t.Error("a hard link is not the file that it links to")
	}
}

// TestTheEndIsHeldBackFarEnough holds the promise that CompleteZip makes to
// those who pass an archive on without keeping it.
func TestACutZipIsNeverComplete(t *testing.T) {
	body := raw(layout{comment: "0123456789012345678901234567890123456789"}, good, item{name: "acme-lib-1/b", content: strings.Repeat("b", 300)})
	if !archive.CompleteZip(body) {
		t.Fatal("a whole zip counts as cut")
	}
	for n := range len(body) {
		if archive.CompleteZip(body[:n]) {
			t.Errorf("%d of %d bytes count as complete", n, len(body))
		}
		if _, err := archive.Check("zip", bytes.NewReader(body), int64(n)); err == nil {
			t.Errorf("%d of %d bytes are a good archive", n, len(body))
		}
	}
}

func TestOneChangedByteIsNoticed(t *testing.T) {
	body := raw(layout{}, good, item{name: "acme-lib-1/b", content: "bbbb"})
	want := check(t, "zip", body).Content
	for i := range body {
		bent := bytes.Clone(body)
		bent[i] ^= 0x10
		rep, err := archive.Check("zip", bytes.NewReader(bent), int64(len(bent)))
		if err == nil && rep.Content == want {
			continue // a byte that no tool looks at: versions, times
		}
		if err == nil && !strings.Contains(string(body[max(0, i-60):i+1]), "PK\x01\x02") {
			t.Errorf("byte %d changed the content and nothing was said", i)
		}
	}
}

type failing struct{ io.ReaderAt }

var errDisk = errors.New("the disk is gone")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p[:100], off)
}

func TestAReadErrorIsNotTheArchivesFault(t *testing.T) {
	for typ, body := range map[string][]byte{"zip": raw(layout{}, good), "tar": rawTar(tarItem{tar.Header{Name: "p/a"}, "x"})} {
		_, err := archive.Check(typ, failing{bytes.NewReader(body)}, int64(len(body)))
		var bad *archive.Error
		if errors.As(err, &bad) || err == nil {
			t.Errorf("%s: got %v, want the reader's error", typ, err)
		}
		_, err = archive.Check(typ, bytes.NewReader(body), int64(len(body))+1<<20)
		if errors.As(err, &bad) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v for an archive shorter than said", typ, err)
		}
	}
}

// slice returns the real archives beside the repository, if they are there.
func slice(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob("../../../shared/packagist/zipball/*/*/*.zip")
	if err != nil {
		t.Fatal(err)
	}
	if more, _ := filepath.Glob("../../../shared/packagist/zipball/*/*/*"); len(list) == 0 {
		for _, p := range more {
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
				list = append(list, p)
			}
		}
	}
	return list
}

func TestEveryRealArchivePasses(t *testing.T) {
	for _, p := range slice(t) {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if rep, err := archive.Check("zip", f, info.Size()); err != nil {
			t.Errorf("%s: %v", filepath.Base(p), err)
		} else if len(rep.Comment) != 40 || rep.Files == 0 {
			t.Errorf("%s: %+v", filepath.Base(p), rep)
		}
		_ = f.Close()
	}
}

// TestGitsOwnArchivesAgree compares the zip and the tar that git makes of one
// commit.
func TestGitsOwnArchivesAgree(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Log("git is not installed; made archives stand for its own")
		return
	}
	dir := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(git, append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return out
	}
	run("init", "-q")
	for _, f := range sample {
		p := filepath.Join(dir, f.path)
		_ = os.MkdirAll(filepath.Dir(p), 0o755)
		if f.mode&os.ModeSymlink != 0 {
			err = os.Symlink(f.content, p)
		} else {
			err = os.WriteFile(p, []byte(f.content), f.mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run("add", ".")
	run("commit", "-q", "-m", "all")
	commit := strings.TrimSpace(string(run("rev-parse", "HEAD")))
	z := check(t, "zip", run("archive", "--format=zip", "--prefix=lib-1/", "HEAD"))
	tr := check(t, "tar", run("archive", "--format=tar", "--prefix=lib-2/", "HEAD"))
	gz := check(t, "tar", run("archive", "--format=tar.gz", "HEAD"))
	made := check(t, "zip", zipped("x/", time.Now(), zip.Deflate, false, sample...))
	if z.Comment != commit || z.Content != tr.Content || z.Content != gz.Content || z.Content != made.Content {
		t.Errorf("zip %+v, tar %+v, tar.gz %+v, made %+v, commit %s", z, tr, gz, made, commit)
	}
}
