package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"stasis/proxy/snapshot"
)

// TestRandomWorldsTravel makes snapshots of random histories, now, at instants
// and from lock files, and takes each to another instance: same id, same
// documents, same archives, same bundle.
func TestRandomWorldsTravel(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			from, to := newWorld(t), newWorld(t)
			files := from.randomHistory(r)
			for i := range 4 {
				req := snapshot.Request{Name: fmt.Sprintf("s%d", i), Options: snapshot.Options{
					Archives: []string{"eager", "eager", "lazy", "none"}[r.IntN(4)], Rest: []string{"", "closed", "instant"}[r.IntN(3)]}}
				switch r.IntN(3) {
				case 0:
					req.Instant = from.clock().Add(-time.Duration(r.IntN(100)) * time.Hour).Truncate(time.Second)
				case 1:
					req.Locks = [][]byte{from.randomLock(t, r, files)}
				}
				snap := from.seal(req)
				bundle := from.export(snap.Name)
				if !bytes.Equal(bundle, from.export(snap.Name)) {
					t.Error("exporting twice gives two bundles")
				}
				got, err := to.snaps.Import(context.Background(), bytes.NewReader(bundle), "", "", to)
				if err != nil || got.ID != snap.ID {
					t.Fatalf("%+v, %v", got, err)
				}
				for _, f := range files {
					for _, file := range []string{f, f + "~dev"} {
						if a, b := from.versions(snap.ID, file), to.versions(snap.ID, file); fmt.Sprint(a) != fmt.Sprint(b) {
							t.Errorf("%s has %q there and %q here", file, a, b)
						}
					}
				}
				m, err := to.snaps.Manifest(snap.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range m.Archives {
					if body, err := to.archive(a.SHA256); err != nil || string(body) != string(from.archives[a.Reference]) {
						t.Errorf("the archive of %s %s is another one: %v", a.Package, a.Version, err)
					}
				}
				if !bytes.Equal(to.export(snap.Name), bundle) {
					t.Error("exporting it from there gives another bundle")
				}
				if v, err := to.snaps.Verify(context.Background(), snap.Name, nil); err != nil || len(v.Problems) > 0 {
					t.Errorf("%+v, %v", v, err)
				}
			}
			for _, w := range []*world{from, to} {
				for i := range 4 {
					if _, err := w.snaps.Delete(fmt.Sprintf("s%d", i)); err != nil {
						t.Error(err)
					}
				}
				w.wantPinned()
			}
		})
	}
}

// randomHistory publishes, re-tags, deletes and misses releases.
func (w *world) randomHistory(r *rand.Rand) (files []string) {
	next := 1
	for i := range 2 + r.IntN(5) {
		name := fmt.Sprintf("v/p%d", i)
		files = append(files, name)
		for _, file := range []string{name, name + "~dev"} {
			var list []release
			for range 1 + r.IntN(4) {
				for range 1 + r.IntN(3) {
					version := fmt.Sprintf("%d.%d.%d", r.IntN(3), r.IntN(3), next)
					if file != name {
						version = fmt.Sprintf("dev-branch-%d", next)
					}
					list = append(list, release{version, ref(next), w.clock().Add(-time.Duration(r.IntN(50)) * time.Hour), nil})
					next++
				}
				switch at := r.IntN(len(list)); r.IntN(4) {
				case 0:
					list[at].reference, next = ref(next), next+1
				case 1:
					list = append(list[:at:at], list[at+1:]...)
				}
				w.publish(file, list...)
				if r.IntN(3) > 0 {
					w.watch(file)
				}
				w.pass(time.Duration(1+r.IntN(30)) * time.Hour)
			}
			w.watch(file)
		}
	}
	w.pass(time.Hour)
	return files
}

// randomLock locks some version of some packages, and one that only the lock
// file knows.
func (w *world) randomLock(t *testing.T, r *rand.Rand, files []string) []byte {
	locks := map[string]release{"v/own": {version: "1.0.0", reference: ref(1 << 20)}}
	w.mu.Lock()
	w.archives[ref(1<<20)] = []byte("only in the lock file")
	w.mu.Unlock()
	for _, f := range files {
		if n := 1 + r.IntN(20); w.archives[ref(n)] != nil {
			locks[f] = release{version: fmt.Sprintf("1.0.%d", n), reference: ref(n)}
		}
	}
	return lockFile(t, locks)
}

// TestManyThingsAtOnce builds, deletes, promotes, exports and imports beside
// each other, and looks for pins that are left over.
func TestManyThingsAtOnce(t *testing.T) {
	w := newWorld(t)
	for i := range 6 {
		w.publish(fmt.Sprintf("a/p%d", i), release{version: "1.0.0", reference: ref(i + 1)})
		w.watch(fmt.Sprintf("a/p%d", i))
	}
	w.pass(time.Hour)
	base := w.seal(snapshot.Request{Name: "base", Options: snapshot.Options{Archives: "eager"}})
	bundle := w.export("base")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			name := fmt.Sprintf("s%d", worker)
			for range 5 {
				snap, err := w.snaps.Create(context.Background(), snapshot.Request{Name: name, Options: base.Options}, w)
				if err != nil || snap.ID != base.ID {
					t.Errorf("create %s: %+v, %v", name, snap, err)
				}
				if _, err := w.snaps.SetChannel("c-"+name, name, "", ""); err != nil {
					t.Error(err)
				}
				if _, err := w.snaps.Import(context.Background(), bytes.NewReader(bundle), "i-"+name, "", w); err != nil {
					t.Error(err)
				}
				if v, err := w.snaps.Verify(context.Background(), "c-"+name, nil); err != nil || len(v.Problems) > 0 {
					t.Errorf("%+v, %v", v, err)
				}
				if err := w.snaps.DeleteChannel("c-" + name); err != nil {
					t.Error(err)
				}
				for _, gone := range []string{name, "i-" + name} {
					if _, err := w.snaps.Delete(gone); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	w.wantPinned(ref(1), ref(2), ref(3), ref(4), ref(5), ref(6))
	if _, err := w.snaps.Delete("base"); err != nil {
		t.Fatal(err)
	}
	w.wantPinned()
}
