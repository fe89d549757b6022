package git_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"stasis/private/git"
)

func TestChangesTellOfMovedAndDeletedReferences(t *testing.T) {
	o := newOrigin(t)
	c1 := o.commit("main", files{"composer.json": manifest()})
	o.tag("v1", c1)
	o.tag("v2", c1)
	o.git("tag", "-a", "-m", "first", "v3", c1)
	r := open(t, newGit(t), o.dir, git.Credentials{})
	same(t, "the first sync", changed(synced(t, r)), fmt.Sprintf("refs/heads/main -%[1]s refs/tags/v1 -%[1]s refs/tags/v2 -%[1]s refs/tags/v3 -%[1]s", c1[:7]))
	same(t, "a sync of nothing new", changed(synced(t, r)), "")

	c2 := o.commit("main", files{"composer.json": manifest(), "new": ""})
	o.tag("v1", c2)
	o.git("tag", "-d", "v2")
	o.git("tag", "-f", "-a", "-m", "the same commit, told differently", "v3", c1)
	o.git("update-ref", "refs/heads/x/y", c2)
	same(t, "the second sync", changed(synced(t, r)), fmt.Sprintf("refs/heads/main %[1]s-%[2]s refs/heads/x/y -%[2]s refs/tags/v1 %[1]s-%[2]s refs/tags/v2 %[1]s-", c1[:7], c2[:7]))

	// A branch in the place of a folder of branches, and one that was thrown away and begun anew.
	o.git("update-ref", "-d", "refs/heads/x/y")
	o.git("update-ref", "refs/heads/x", c1)
	o.git("update-ref", "refs/heads/main", c1)
	same(t, "the third sync", changed(synced(t, r)), fmt.Sprintf("refs/heads/main %[2]s-%[1]s refs/heads/x -%[1]s refs/heads/x/y %[2]s-", c1[:7], c2[:7]))
}

func changed(c git.Changes) string {
	var out []string
	for _, r := range c.Refs {
		out = append(out, fmt.Sprintf("%s %.7s-%.7s", r.Ref, r.Old, r.New))
	}
	return strings.Join(out, " ")
}

func TestWhatWasFetchedOnceCanBeReadForEver(t *testing.T) {
	o := newOrigin(t)
	c1 := o.commit("main", files{"composer.json": manifest(), "old.php": "<?php // old"})
	o.tag("v1.0.0", c1)
	dir := t.TempDir()
	r := mirror(t, o, func(o *git.Options) { o.Dir = dir })
	before := zipped(t, r, releaseOf(t, c1, ""))

	o.git("update-ref", "-d", "refs/heads/main")
	o.git("tag", "-d", "v1.0.0")
	for i := range 12 { // enough packs for maintenance to join them
		o.tag(fmt.Sprintf("v2.%d.0", i), o.commit("next", files{"composer.json": manifest(), "n": fmt.Sprint(i)}))
		synced(t, r)
	}
	if err := r.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if packs, _ := filepath.Glob(filepath.Join(dir, "*.git", "objects", "pack", "*.pack")); len(packs) > 3 {
		t.Errorf("%d packs are left after maintenance", len(packs))
	}
	if got := len(scan(t, r).Releases); got != 13 {
		t.Errorf("%d releases after maintenance, want 13", got)
	}
	if after := zipped(t, r, releaseOf(t, c1, "")); !bytes.Equal(after, before) {
		t.Error("the archive of a deleted tag has changed")
	}
	if b, err := r.File(t.Context(), c1, "old.php", 100); err != nil || string(b) != "<?php // old" {
		t.Errorf("its file is %q, %v", b, err)
	}
	o.tag("v3.0.0", o.commit("next", files{"composer.json": manifest()}))
	synced(t, r)
	if got := len(scan(t, r).Releases); got != 14 {
		t.Errorf("%d releases after another sync, want 14", got)
	}
}

func TestTheDefaultBranchIsFollowed(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest()})
	o.git("update-ref", "refs/heads/next", c)
	r := mirror(t, o)
	for _, branch := range []string{"main", "next", "main"} {
		o.git("symbolic-ref", "HEAD", "refs/heads/"+branch)
		synced(t, r)
		s := scan(t, r)
		if s.DefaultBranch != branch {
			t.Errorf("the default branch is %q, want %q", s.DefaultBranch, branch)
		}
		for _, rel := range s.Releases {
			if rel.Default != (rel.Pretty == "dev-"+branch) || rel.Default != (string(rel.Manifest.Get("default-branch")) == "true") {
				t.Errorf("with %s as default branch, %s has %v", branch, rel.Pretty, rel.Default)
			}
		}
	}
}

func TestARepositoryThatSuddenlyShowsNothingIsNotBelieved(t *testing.T) {
	o := newOrigin(t)
	o.tag("v1.0.0", o.commit("main", files{"composer.json": manifest()}))
	r := mirror(t, o)
	o.git("tag", "-d", "v1.0.0")
	o.git("update-ref", "-d", "refs/heads/main")
	if _, err := r.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "shows no tags and branches any more") {
		t.Errorf("the error is %v", err)
	}
	if got := len(scan(t, r).Releases); got != 2 {
		t.Errorf("%d releases are left, want 2", got)
	}
}

func TestAnEmptyRepositoryIsNoMistake(t *testing.T) {
	o := newOrigin(t)
	r := mirror(t, o)
	if s := scan(t, r); len(s.Releases)+len(s.Skipped) != 0 {
		t.Errorf("it holds %+v", s)
	}
	o.commit("main", files{"composer.json": manifest()})
	synced(t, r)
	same(t, "scan", lines(scan(t, r)), "acme/lib dev-main (dev-main) heads/main default\n")
}

func TestLimits(t *testing.T) {
	random := make([]byte, 3<<20)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest(), "huge.bin": string(random)})
	t.Run("the size of a mirror", func(t *testing.T) {
		dir := t.TempDir()
		r := open(t, newGit(t, func(o *git.Options) { o.Dir, o.MaxSize = dir, 1<<20 }), o.dir, git.Credentials{})
		if _, err := r.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "more than the 1048576 bytes allowed") {
			t.Errorf("the error is %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.git*")); len(left) != 1 { // the blank one
			t.Errorf("left behind: %q", left)
		}
	})
	t.Run("the growth of a mirror", func(t *testing.T) {
		o := newOrigin(t)
		o.commit("main", files{"composer.json": manifest()})
		r := mirror(t, o, func(o *git.Options) { o.MaxSize = 1 << 20 })
		for i := range 2 {
			o.commit("main", files{"composer.json": manifest(), "huge.bin": string(random), "n": fmt.Sprint(i)})
			if _, err := r.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "bytes allowed") {
				t.Errorf("the error is %v", err)
			}
		}
	})
	t.Run("tags and branches", func(t *testing.T) {
		o := newOrigin(t)
		c := o.commit("main", files{"composer.json": manifest()})
		for i := range 10 {
			o.tag(fmt.Sprint("v", i), c)
		}
		r := open(t, newGit(t, func(o *git.Options) { o.MaxRefs = 10 }), o.dir, git.Credentials{})
		if _, err := r.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "more than the 10 tags and branches allowed") {
			t.Errorf("the error is %v", err)
		}
		synced(t, open(t, newGit(t, func(o *git.Options) { o.MaxRefs = 11 }), o.dir, git.Credentials{}))
	})
	t.Run("the files of an archive", func(t *testing.T) {
		r := mirror(t, o, func(o *git.Options) { o.MaxUnpacked = 1 << 20 })
		if err := r.Zip(t.Context(), io.Discard, releaseOf(t, c, "")); err == nil || !strings.Contains(err.Error(), "more than the 1048576 bytes allowed") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("one file", func(t *testing.T) {
		r := mirror(t, o)
		if _, err := r.File(t.Context(), c, "huge.bin", 1<<20); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "more than the 1048576 allowed") {
			t.Errorf("the error is %v", err)
		}
		if _, err := r.File(t.Context(), c, "nothing", 1<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that is not there: %v", err)
		}
	})
}

func TestSyncsAtTheSameTimeAgree(t *testing.T) {
	o := newOrigin(t)
	o.tag("v1.0.0", o.commit("main", files{"composer.json": manifest()}))
	g := newGit(t)
	var mu sync.Mutex
	var brought []string
	var group sync.WaitGroup
	for range 6 {
		r := open(t, g, o.dir, git.Credentials{})
		group.Go(func() {
			changes, err := r.Sync(t.Context())
			if err == nil {
				_, err = r.Scan(t.Context(), nil)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for _, c := range changes.Refs {
				brought = append(brought, c.Ref)
			}
		})
	}
	group.Wait()
	slices.Sort(brought)
	if !slices.Equal(brought, []string{"refs/heads/main", "refs/tags/v1.0.0"}) {
		t.Errorf("the changes that were reported: %q", brought)
	}
}

func TestNothingIsThereBeforeTheFirstSyncAndAfterPruning(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest()})
	g := newGit(t)
	r := open(t, g, o.dir, git.Credentials{})
	none := func() {
		t.Helper()
		if _, err := r.Scan(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("scan: %v", err)
		}
		if err := r.Zip(t.Context(), io.Discard, releaseOf(t, c, "")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("zip: %v", err)
		}
		if _, err := r.File(t.Context(), c, "composer.json", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("file: %v", err)
		}
		if err := r.Maintain(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("maintain: %v", err)
		}
	}
	none()
	synced(t, r)
	scan(t, r)
	if err := g.Prune(t.Context(), func() ([]string, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	none()
}

func TestMirrorsThatNothingNeedsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	g := newGit(t, func(o *git.Options) { o.Dir = dir })
	var mirrors [3]*git.Repository
	for i := range mirrors {
		o := newOrigin(t)
		o.tag("v1.0.0", o.commit("main", files{"composer.json": manifest()}))
		mirrors[i] = open(t, g, o.dir, git.Credentials{})
		synced(t, mirrors[i])
	}
	left := func() int {
		dirs, err := filepath.Glob(filepath.Join(dir, "*.git"))
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs) - 1 // one is for all
	}
	asked := 0
	// The second is added while others are being removed.
	err := g.Prune(t.Context(), func() ([]string, error) {
		if asked++; asked == 1 {
			return []string{mirrors[0].URL()}, nil
		}
		return []string{mirrors[0].URL(), mirrors[1].URL()}, nil
	})
	if err != nil || left() != 2 {
		t.Errorf("%d mirrors are left, want 2: %v", left(), err)
	}
	for i, r := range mirrors[:2] {
		if got := len(scan(t, r).Releases); got == 0 {
			t.Errorf("mirror %d has nothing any more", i)
		}
	}
	if _, err := mirrors[2].Scan(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the third: %v", err)
	}
	failing := errors.New("the store is closed")
	if err := g.Prune(t.Context(), func() ([]string, error) { return nil, failing }); !errors.Is(err, failing) || left() != 2 {
		t.Errorf("not knowing what is needed: %v, %d mirrors are left", err, left())
	}
	synced(t, mirrors[2])
}

func TestNewSaysWhatIsWrongWithGit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := git.New(git.Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "need git 2.37 or newer, which is not installed") {
		t.Errorf("without git: %v", err)
	}
	for said, want := range map[string]string{
		"git version 2.34.1":               "is git version 2.34.1, and packages from git repositories need 2.37 or newer",
		"git version 1.99.0":               "need 2.37 or newer",
		"subversion":                       "does not answer like git",
		"git version 2.47.1.windows.1":     "",
		"git version 2.39.3 (Apple Git-1)": "",
		"git version 3.0.0":                "",
	} {
		script := "#!/bin/sh\necho '" + said + "'\n"
		if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := git.New(git.Options{Dir: t.TempDir()})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", said, err, want)
		}
	}
}

func TestAFolderIsUsableAgainAfterACrash(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	synced(t, open(t, newGit(t, func(o *git.Options) { o.Dir = dir }), o.dir, git.Credentials{}))
	mirrors, _ := filepath.Glob(filepath.Join(dir, "????????????????????????????????.git"))
	if len(mirrors) != 1 {
		t.Fatalf("the mirrors are %q", mirrors)
	}
	half := mirrors[0] + ".incoming-123"
	if err := os.MkdirAll(filepath.Join(half, "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "home", ".gitconfig"), []byte("[broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, newGit(t, func(o *git.Options) { o.Dir = dir }), o.dir, git.Credentials{})
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a mirror is still there: %v", err)
	}
	synced(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has left gets %v", err)
	}
}
