package private_test

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"stasis/private"
	"stasis/proxy/composer"
)

// mirrors counts the mirrors of repositories after tidying up.
func (w *world) mirrors() int {
	w.t.Helper()
	if err := w.service.Maintain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(w.data, "git", "*.git"))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(dirs) - 1 // one is for all
}

// What lock files and dated views name can be downloaded whatever becomes of
// the source, and nothing is kept on disk for a name that was given up.
func TestAMirrorOutlivesItsSourceAndGoesWithItsName(t *testing.T) {
	w := newWorld(t)
	ctx, lib := t.Context(), name(t, "acme/lib")
	first := newRepo(t)
	first.commit("composer.json", manifest("acme/lib", ""))
	between := first.commit("a", "a") // a commit whose archive is not made
	first.commit("README.md", "# first")
	first.git("tag", "1.0.0")
	src, _ := w.add(private.Source{Type: private.Git, Name: "lib", URL: first.dir, Packages: []string{"acme/*"}})
	pinned := w.versions("acme/lib~dev")["dev-main"]
	pinned.Dist.Reference = between
	served := func(when string) {
		t.Helper()
		body, _, err := w.service.Open(ctx, composer.LocalScheme+"acme/lib/"+between+".zip")
		if err != nil {
			t.Errorf("%s, the archive of an older commit: %v", when, err)
			return
		}
		defer body.Close()
		if zip, err := io.ReadAll(body); err != nil || len(zip) == 0 {
			t.Errorf("%s, the archive of an older commit: %d bytes, %v", when, len(zip), err)
		}
	}
	served("with its source")

	// The repository moves, and the package to another folder of it.
	second := newRepo(t)
	second.commit("packages/lib/composer.json", manifest("acme/lib", ""), "packages/lib/README.md", "# second")
	second.git("tag", "1.1.0")
	change := private.SourceRequest{Source: private.Source{Type: private.Git, Name: "lib", URL: second.dir, Packages: []string{"acme/*"}, Paths: []string{"packages/*"}}}
	if _, err := w.service.UpdateSource(ctx, src.ID, change); err != nil {
		t.Fatal(err)
	}
	if run := w.sync(src.ID); run.Result == "failed" {
		t.Fatalf("%+v", run)
	}
	if n := w.mirrors(); n != 2 {
		t.Errorf("%d mirrors after the repository has moved, want the old one, too", n)
	}
	served("after the repository has moved")

	if _, err := w.service.DeleteSource(ctx, src.ID); err != nil {
		t.Fatal(err)
	}
	if n := w.mirrors(); n != 2 {
		t.Errorf("%d mirrors after the source was deleted, want 2", n)
	}
	served("after the source was deleted")
	if status, body := w.download("acme/lib", pinned); status != http.StatusOK {
		t.Errorf("to a client: %d %.300s", status, body)
	}
	if readme, err := w.service.Readme(ctx, lib, "1.1.0"); err != nil || string(readme) != "# second" {
		t.Errorf("the README is %q, %v", readme, err)
	}
	if _, err := w.service.Delete(ctx, lib); err != nil {
		t.Fatal(err)
	}
	if n := w.mirrors(); n != 2 {
		t.Errorf("%d mirrors after the package was deleted, want 2", n)
	}
	if err := w.service.Release(ctx, lib); err != nil {
		t.Fatal(err)
	}
	if n := w.mirrors(); n != 0 {
		t.Errorf("%d mirrors after the name was released, want none", n)
	}
}

// A source that never published anything leaves nothing behind, and a running
// one is not disturbed.
func TestTheMirrorOfAFruitlessSourceGoesWithIt(t *testing.T) {
	w := newWorld(t)
	empty := newRepo(t)
	empty.commit("README.md", "no package")
	good := newRepo(t)
	good.commit("composer.json", manifest("acme/good", ""))
	src, _ := w.add(private.Source{Type: private.Git, Name: "empty", URL: empty.dir})
	kept, _ := w.add(private.Source{Type: private.Git, Name: "good", URL: good.dir})
	if n := w.mirrors(); n != 2 {
		t.Fatalf("%d mirrors of two sources", n)
	}
	if _, err := w.service.DeleteSource(t.Context(), src.ID); err != nil {
		t.Fatal(err)
	}
	if n := w.mirrors(); n != 1 {
		t.Errorf("%d mirrors, want that of the other source only", n)
	}
	for i := range 12 { // each push brings a pack
		good.commit("n", string(rune('a'+i)))
		w.sync(kept.ID)
	}
	if n := w.mirrors(); n != 1 {
		t.Errorf("%d mirrors, want 1", n)
	}
	if packs, _ := filepath.Glob(filepath.Join(w.data, "git", "*.git", "objects", "pack", "*.pack")); len(packs) > 3 {
		t.Errorf("%d packs are left after maintenance", len(packs))
	}
}
