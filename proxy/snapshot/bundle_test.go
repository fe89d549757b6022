package snapshot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/proxy/snapshot"
	"stasis/store"
)

// bundled makes a world with the snapshot "x", of an instant that has exact,
// reconstructed and absent files, and exports it.
func bundled(t testing.TB) (*world, snapshot.Snapshot, []byte) {
	t.Helper()
	w := newWorld(t)
	young, old := start.Add(2*time.Hour), start.Add(-48*time.Hour)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1), published: old})
	w.watch("a/one", "a/gone")
	w.pass(3 * time.Hour)
	w.publish("a/late", release{version: "2.0.0", reference: ref(3), published: young}, release{version: "1.0.0", reference: ref(2), published: old})
	w.watch("a/one", "a/gone", "a/late")
	snap := w.seal(snapshot.Request{Name: "x", Instant: start.Add(time.Hour), Note: "for the ship", Options: snapshot.Options{Archives: "eager"}})
	return w, snap, w.export("x")
}

func (w *world) export(ref string) []byte {
	w.t.Helper()
	var b bytes.Buffer
	if _, err := w.snaps.Export(context.Background(), &b, ref); err != nil {
		w.t.Fatalf("export %s: %v", ref, err)
	}
	return b.Bytes()
}

func TestBundleMakesTheSameSnapshotElsewhere(t *testing.T) {
	from, snap, bundle := bundled(t)
	from.want(snap.ID, "a/late", "1.0.0 2")

	to := newWorld(t)
	got, err := to.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "bob", to)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != snap.ID || got.Name != "x" || got.Note != "for the ship" || got.From != "import" || got.ImportedBy != "bob" || !got.SealedAt.Equal(snap.SealedAt) ||
		got.Packages != snap.Packages || got.Files != snap.Files || got.Archives != snap.Archives || got.Bytes != snap.Bytes {
		t.Errorf("the record is %+v\nand was %+v", got, snap)
	}
	to.archives = from.archives
	to.restart()
	to.wantPinned(ref(1), ref(2))
	for _, f := range []string{"a/one", "a/late", "a/gone", "a/never"} {
		if a, b := fmt.Sprint(from.versions(snap.ID, f)), fmt.Sprint(to.versions(snap.ID, f)); a != b {
			t.Errorf("%s has %s there and %s here", f, b, a)
		}
	}
	x, _, _, _ := from.snaps.Document(snap.ID, parseFile(t, "a/late"))
	y, _, _, _ := to.snaps.Document(snap.ID, parseFile(t, "a/late"))
	if !bytes.Equal(x.Encode(), y.Encode()) {
		t.Errorf("a reconstructed document is\n%s\nand not\n%s", y.Encode(), x.Encode())
	}
	if v, err := to.snaps.Verify(context.Background(), "x", nil); err != nil || len(v.Problems) != 0 || v.Documents != 2 || v.Archives != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := to.snaps.SetChannel("prod", "x", "", ""); err != nil {
		t.Error(err)
	}
	if again := to.export("prod"); !bytes.Equal(again, bundle) {
		t.Error("the bundle of the imported snapshot is another one")
	}
	// Once more is no harm, and another name for it is fine.
	if _, err := to.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", to); err != nil {
		t.Error(err)
	}
	if other, err := to.snaps.Import(context.Background(), bytes.NewReader(bundle), "y", "", to); err != nil || other.ID != snap.ID || other.Name != "y" {
		t.Errorf("%+v, %v", other, err)
	}
	if n := to.store.Usage().PinnedBlobs; n != 2 {
		t.Errorf("%d archives are pinned, want 2", n)
	}
}

func TestBundleIsAnOrdinaryTarFile(t *testing.T) {
	_, snap, bundle := bundled(t)
	var names []string
	r := tar.NewReader(bytes.NewReader(bundle))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "manifest.json" && store.SumDigest(body) != snap.ID {
			t.Errorf("the manifest in the bundle is not that of %s", snap.ID)
		}
		name, _, _ := strings.Cut(h.Name, "/")
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "bundle.json manifest.json documents documents archives archives SHA256SUMS" {
		t.Errorf("its entries are %s", got)
	}
	if _, err := exec.LookPath("sha256sum"); err != nil {
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b.tar"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "tar xf b.tar && sha256sum -c SHA256SUMS")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tar and sha256sum say: %v\n%s", err, out)
	}
}

// wantNothing checks that an instance has nothing of a bundle.
func (w *world) wantNothing(t testing.TB, what string) {
	t.Helper()
	list, err := w.snaps.List()
	u := w.store.Usage()
	if err != nil || len(list) != 0 || u.Blobs != 0 || u.Documents != 0 || u.PinnedBytes != 0 {
		t.Fatalf("%s: there are %d snapshots, %d archives and %d documents: %v", what, len(list), u.Blobs, u.Documents, err)
	}
}

func TestDamagedBundlesAreRefusedWhole(t *testing.T) {
	_, _, bundle := bundled(t)
	w := newWorld(t)
	refused := func(what string, bad []byte) {
		t.Helper()
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bad), "", "", w)
		if !errors.Is(err, snapshot.ErrDamaged) {
			t.Fatalf("%s: the import says %v", what, err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	step := 1
	if testing.Short() {
		step = 13
	}
	for i := 0; i < len(bundle); i += step {
		bad := bytes.Clone(bundle)
		bad[i] ^= byte(1 + r.IntN(255))
		refused(fmt.Sprintf("byte %d changed from %#x to %#x", i, bundle[i], bad[i]), bad)
	}
	w.wantNothing(t, "changed bytes")
	for n := 0; n < len(bundle); n += 1 + r.IntN(200) {
		refused(fmt.Sprintf("cut after %d bytes", n), bundle[:n])
	}
	refused("one byte more", append(bytes.Clone(bundle), 0))
	refused("another end", append(bytes.Clone(bundle), bundle[len(bundle)-1024:]...))
	refused("itself twice", append(bytes.Clone(bundle), bundle...))
	refused("a block moved", append(bytes.Clone(bundle[:512*8]), append(bytes.Clone(bundle[512*9:]), bundle[512*8:512*9]...)...))
	refused("text", []byte("this is no bundle"))
	w.wantNothing(t, "all damage")
	if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w); err != nil {
		t.Errorf("the bundle itself: %v", err)
	}
}

func TestImportTakesAnyReader(t *testing.T) {
	_, snap, bundle := bundled(t)
	w := newWorld(t)
	got, err := w.snaps.Import(context.Background(), struct{ io.Reader }{bytes.NewReader(bundle)}, "", "", w)
	if err != nil || got.ID != snap.ID {
		t.Errorf("%+v, %v", got, err)
	}
	// A bundle may stand behind something else in a file.
	r := bytes.NewReader(append([]byte("prefix"), bundle...))
	if _, err := r.Seek(6, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := w.snaps.Import(context.Background(), r, "z", "", w); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = w.snaps.Import(ctx, bytes.NewReader(bundle), "c", "", w)
	wantError(t, err, context.Canceled)
}

func TestImportThatCannotBeKeptLeavesNothing(t *testing.T) {
	_, _, bundle := bundled(t)
	t.Run("no room for pins", func(t *testing.T) {
		w := newWorld(t, func(o *store.Options) { o.MaxPinnedSize = 1000 })
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w)
		wantError(t, err, store.ErrNoSpace, "does not fit", "PROXY_MAX_PINNED_SIZE")
		u := w.store.Usage()
		if list, err := w.snaps.List(); err != nil || len(list) != 0 || u.Blobs != 0 {
			t.Errorf("there are %d snapshots and %d archives: %v", len(list), u.Blobs, err)
		}
	})
	t.Run("archives that contradict", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", adopter(func([]snapshot.Archive) error {
			return errors.New("a/one 1.0.0 is known with other content")
		}))
		if err == nil || !strings.Contains(err.Error(), "other content") {
			t.Errorf("the error is %v", err)
		}
		u := w.store.Usage()
		if list, err := w.snaps.List(); err != nil || len(list) != 0 || u.Blobs != 0 {
			t.Errorf("there are %d snapshots and %d archives: %v", len(list), u.Blobs, err)
		}
	})
	t.Run("a name that is taken", func(t *testing.T) {
		w := newWorld(t)
		w.publish("a/one", release{version: "1.0.0", reference: ref(1)})
		w.watch("a/one")
		w.seal(snapshot.Request{Name: "x"})
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w)
		wantError(t, err, snapshot.ErrExists, "another name")
		if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "z", "", w); err != nil {
			t.Error(err)
		}
	})
	t.Run("a process that dies", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", adopter(func([]snapshot.Archive) error {
			return w.store.Close() // nothing that follows reaches the disk
		}))
		wantError(t, err, store.ErrClosed)
		w.open()
		w.wantPinned()
		if list, err := w.snaps.List(); err != nil || len(list) != 0 {
			t.Errorf("there is %+v, %v", list, err)
		}
		if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w); err != nil {
			t.Error(err)
		}
	})
}

type adopter func([]snapshot.Archive) error

func (a adopter) Adopt(_ context.Context, list []snapshot.Archive) error { return a(list) }

func TestVerifyFindsDamageAndImportRepairsIt(t *testing.T) {
	from, snap, bundle := bundled(t)
	w := newWorld(t, func(o *store.Options) { o.Archives = "files" })
	if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w); err != nil {
		t.Fatal(err)
	}
	w.archives = from.archives
	d := store.SumDigest(from.archives[ref(2)])
	damaged := 0
	err := filepath.WalkDir(w.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, d.String()[2:]) {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 1
		damaged++
		return os.WriteFile(path, body, 0o600)
	})
	if err != nil || damaged != 1 {
		t.Fatalf("%d files were damaged, %v", damaged, err)
	}
	var steps int
	v, err := w.snaps.Verify(context.Background(), "@"+snap.ID.String(), func(snapshot.Progress) { steps++ })
	if err != nil || len(v.Problems) != 1 || v.Archives != 1 || v.Documents != 2 || steps != 7 {
		t.Fatalf("%+v after %d steps, %v", v, steps, err)
	}
	if p := v.Problems[0]; p.Package != "a/late" || p.Version != "1.0.0.0" || !strings.Contains(p.Reason, "damaged") {
		t.Errorf("the problem is %+v", p)
	}
	_, err = w.snaps.Export(context.Background(), io.Discard, "x")
	if err == nil || !strings.Contains(err.Error(), "1 of its archives") {
		t.Errorf("exporting it says %v", err)
	}
	if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", w); err != nil {
		t.Fatal(err)
	}
	if v, err := w.snaps.Verify(context.Background(), "x", nil); err != nil || len(v.Problems) != 0 {
		t.Errorf("after the repair: %+v, %v", v, err)
	}
	w.wantPinned(ref(1), ref(2))
}
