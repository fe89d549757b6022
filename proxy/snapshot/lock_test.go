package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
)

func TestSnapshotOfLockFilesIsExactlyThat(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "1.0.0", reference: ref(1)})
	w.publish("a/two~dev", release{version: "dev-main", reference: ref(3)})
	w.publish("a/two", release{version: "2.0.0", reference: ref(4)})
	w.publish("b/other", release{version: "1.0.0", reference: ref(5)})
	w.watch("a/one", "a/two", "a/two~dev", "b/other")
	w.pass(time.Hour)
	first := lockFile(t, map[string]release{
		"a/one": {version: "1.0.0", reference: ref(1)},
		"a/two": {version: "dev-main", reference: ref(3)},
	})
	second := lockFile(t, map[string]release{
		"a/one": {version: "1.1.0", reference: ref(2)},
		"a/two": {version: "dev-main", reference: ref(3)},
		"my/own": {version: "1.0.0", reference: ref(8), members: map[string]any{
			"dist": map[string]any{"type": "path", "url": "../own", "reference": ref(8)}}},
	})
	snap := w.seal(snapshot.Request{Name: "app", Locks: [][]byte{first, second}})
	if snap.From != "lock" || snap.Options.Rest != snapshot.RestClosed || snap.Options.Archives != snapshot.ArchivesEager {
		t.Errorf("the record is %+v", snap)
	}
	if snap.Fidelity[history.Exact] != 4 || snap.Archives != 3 || snap.Packages != 2 {
		t.Errorf("the record is %+v", snap)
	}
	w.want(snap.ID, "a/one", "1.1.0 2", "1.0.0 1")
	w.want(snap.ID, "a/one~dev")
	w.want(snap.ID, "a/two")
	w.want(snap.ID, "a/two~dev", "dev-main 3")
	w.want(snap.ID, "b/other")
	w.want(snap.ID, "my/own")
	if _, _, ok, err := w.snaps.Document(snap.ID, parseFile(t, "a/one~dev")); !ok || err != nil {
		t.Errorf("the other file of a locked package is not listed as empty: %v", err)
	}
	w.wantPinned(ref(1), ref(2), ref(3))
}

func TestDeletedVersionsComeBackFromTheLockFile(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1)}, release{version: "0.9.0", reference: ref(9)})
	w.watch("a/one")
	w.pass(time.Hour)
	// 1.0.0 disappears and 0.9.0 is tagged anew; 0.8.0 was gone before anybody looked.
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "0.9.0", reference: ref(10)})
	w.watch("a/one")
	w.pass(time.Hour)
	w.archives[ref(8)] = []byte("the archive of 0.8.0")
	dist := map[string]any{"type": "zip", "url": "https://stasis.test/dist-proxy/%package%/%version%/%reference%.%type%", "reference": ref(8),
		"shasum": "", "mirrors": []any{map[string]any{"url": "https://stasis.test/x", "preferred": true}}}
	lock := lockFile(t, map[string]release{
		"a/one": {version: "1.0.0", reference: ref(1)}, "a/old": {version: "v0.8.0", reference: ref(8), members: map[string]any{"dist": dist}},
	})
	snap := w.seal(snapshot.Request{Name: "app", Locks: [][]byte{lock}})
	w.want(snap.ID, "a/one", "1.0.0 1")
	w.want(snap.ID, "a/old", "v0.8.0 8")
	doc, e, _, err := w.snaps.Document(snap.ID, parseFile(t, "a/old"))
	if err != nil || len(e.Restored) != 1 || e.Restored[0] != "0.8.0.0" || e.Fidelity != history.Reconstructed {
		t.Fatalf("the entry is %+v, %v", e, err)
	}
	v := doc.Expanded()[0]
	if v.Has("notification-url") || v.Text("version_normalized") != "0.8.0.0" || strings.Contains(string(v.Get("dist")), "mirrors") {
		t.Errorf("the restored version is %s", doc.Encode())
	}
	if e, _, _ := w.snaps.File(snap.ID, parseFile(t, "a/one")); len(e.Restored) != 0 || e.Fidelity != history.Reconstructed {
		t.Errorf("what an earlier document had is %+v", e)
	}
	// With upstream dead everything can still be had.
	w.setDown(true)
	w.pass(time.Hour)
	dead := w.seal(snapshot.Request{Name: "dead", Locks: [][]byte{lock}})
	w.want(dead.ID, "a/one", "1.0.0 1")
	w.want(dead.ID, "a/old", "v0.8.0 8")
}

// TestRealLockFiles makes snapshots of real applications out of real documents.
func TestRealLockFiles(t *testing.T) {
	slice := findSlice()
	if slice == "" {
		t.Log("the slice of the registry is not here")
		return
	}
	locks := []string{
		filepath.Join(slice, "projects", "laravel-app", "composer.2022-11-30.lock"),
		filepath.Join(slice, "projects", "library", "composer.lock"),
	}
	w := newWorld(t)
	for _, path := range locks {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := composer.ParseLock(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range lock.Packages {
			for _, f := range []composer.File{{Name: p.Name}, {Name: p.Name, Dev: true}} {
				if _, known := w.files[f.String()]; known {
					continue
				}
				if doc, err := os.ReadFile(filepath.Join(slice, "p2", f.String()+".json")); err == nil {
					w.files[f.String()] = published{doc, start}
				}
			}
			if p.Dist != nil {
				w.archives[p.Dist.Reference] = bytes.Repeat([]byte(p.Dist.Reference), 100)
			}
		}
		w.pass(time.Minute)
		began := time.Now()
		name := "app-" + filepath.Base(filepath.Dir(path)) + "-" + strings.TrimSuffix(filepath.Base(path), ".lock")
		snap := w.seal(snapshot.Request{Name: name, Locks: [][]byte{body}})
		m, err := w.snaps.Manifest(snap.ID)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := m.Encode()
		t.Logf("%s: %d packages in %v, manifest %d bytes", name, snap.Packages, time.Since(began), len(text))
		for _, p := range lock.Packages {
			doc, e, _, err := w.snaps.Document(snap.ID, p.File())
			if err != nil || e.Fidelity != history.Exact {
				t.Fatalf("%s: %+v, %v", p.Name, e, err)
			}
			index, err := doc.Index()
			if err != nil || len(index) != 1 || index[0].Normalized != p.Normalized || index[0].SourceReference != p.SourceReference {
				t.Errorf("%s %s became %+v, %v", p.Name, p.Version, index, err)
			}
		}
	}
	t.Logf("documents and manifests take %d bytes", w.store.Usage().PackedBytes)
}

// findSlice looks for the slice of the real registry beside the repository.
func findSlice() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			slice := filepath.Join(dir, "..", "shared", "packagist")
			if _, err := os.Stat(slice); err == nil {
				return slice
			}
			return ""
		}
		dir = filepath.Dir(dir)
	}
	return ""
}
