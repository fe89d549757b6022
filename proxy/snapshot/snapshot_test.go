package snapshot_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
	"stasis/store"
)

func TestSnapshotOfNowStaysWhatItWas(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1)})
	w.publish("a/one~dev", release{version: "dev-main", reference: ref(2)})
	w.watch("a/one", "a/one~dev", "a/gone")
	w.pass(time.Hour)
	w.publish("a/one", release{version: "1.1.0", reference: ref(3)}, release{version: "1.0.0", reference: ref(1)})
	w.pass(time.Hour)

	snap := w.seal(snapshot.Request{Name: "release-1", By: "ann", Note: "first"})
	if snap.From != "now" || !snap.Instant.Equal(w.clock()) || snap.Packages != 1 || snap.Files != 3 || snap.CreatedBy != "ann" {
		t.Errorf("the record is %+v", snap)
	}
	if snap.Fidelity[history.Exact] != 2 || snap.Fidelity[history.Absent] != 1 {
		t.Errorf("the fidelities are %v", snap.Fidelity)
	}
	look := func() {
		t.Helper()
		w.want(snap.ID, "a/one", "1.1.0 3", "1.0.0 1")
		w.want(snap.ID, "a/one~dev", "dev-main 2")
		w.want(snap.ID, "a/gone", "absent")
		w.want(snap.ID, "a/never")
	}
	look()
	w.pass(time.Hour)
	w.publish("a/one", release{version: "6.6.6", reference: ref(6)})
	w.watch("a/one")
	look()
	w.restart()
	look()
	again, err := w.snaps.Get("release-1")
	if err != nil || again.ID != snap.ID || again.State != snapshot.Sealed || again.Progress != nil {
		t.Errorf("after a restart the record is %+v, %v", again, err)
	}
	m, err := w.snaps.Manifest(snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := m.Encode(); err != nil || store.SumDigest(body) != snap.ID {
		t.Errorf("the id is not the digest of the manifest: %v", err)
	}
}

func TestSnapshotOfAnInstantIsMadeOfRecipes(t *testing.T) {
	w := newWorld(t)
	old := start.Add(-48 * time.Hour)
	w.publish("a/one", release{version: "2.0.0", reference: ref(2), published: start.Add(-time.Hour)},
		release{version: "1.0.0", reference: ref(1), published: old})
	w.watch("a/one")
	w.pass(time.Hour)
	before := w.store.Usage().Documents
	snap := w.seal(snapshot.Request{Name: "yesterday-s", Instant: start.Add(-24 * time.Hour)})
	w.want(snap.ID, "a/one", "1.0.0 1")
	if snap.From != "instant" || snap.Fidelity[history.Reconstructed] != 1 {
		t.Errorf("the record is %+v", snap)
	}
	if n := w.store.Usage().Documents - before; n != 1 {
		t.Errorf("%d documents were written, want only the manifest", n)
	}
	// The same instant under another name is the same snapshot.
	if twin := w.seal(snapshot.Request{Name: "twin", Instant: snap.Instant}); twin.ID != snap.ID {
		t.Errorf("the same instant has the ids %s and %s", snap.ID, twin.ID)
	}
}

func TestRequestsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1)})
	w.watch("a/one")
	w.seal(snapshot.Request{Name: "taken"})
	if _, err := w.snaps.SetChannel("prod", "taken", "", ""); err != nil {
		t.Fatal(err)
	}
	good := lockFile(t, map[string]release{"a/one": {version: "1.0.0", reference: ref(1)}})
	other := lockFile(t, map[string]release{"a/one": {version: "1.0.0", reference: ref(9)}})
	for name, c := range map[string]struct {
		req  snapshot.Request
		kind error
		word string
	}{
		"a date as name":      {snapshot.Request{Name: "2026-03-01"}, snapshot.ErrInvalid, "begins with a letter"},
		"an id as name":       {snapshot.Request{Name: "f" + store.SumDigest(nil).String()[1:]}, snapshot.ErrInvalid, "name"},
		"a moving name":       {snapshot.Request{Name: "latest"}, snapshot.ErrInvalid, "moved"},
		"a taken name":        {snapshot.Request{Name: "taken"}, snapshot.ErrExists, "already"},
		"a channel's name":    {snapshot.Request{Name: "prod"}, snapshot.ErrExists, "channel"},
		"the future":          {snapshot.Request{Instant: start.Add(time.Hour)}, snapshot.ErrInvalid, "before that moment"},
		"half a second":       {snapshot.Request{Instant: start.Add(-time.Second / 2)}, snapshot.ErrInvalid, "whole second"},
		"an unknown option":   {snapshot.Request{Options: snapshot.Options{Archives: "some"}}, snapshot.ErrInvalid, "archives"},
		"no lock file":        {snapshot.Request{Locks: [][]byte{[]byte("{}")}}, snapshot.ErrInvalid, "lock file 1"},
		"lock files disagree": {snapshot.Request{Locks: [][]byte{good, other}}, snapshot.ErrInvalid, "disagree about a/one 1.0.0"},
	} {
		_, err := w.snaps.Begin(c.req)
		if wantError(t, err, c.kind, c.word); t.Failed() {
			t.Fatalf("that was %s", name)
		}
	}
	for range 2 { // names that are made up do not collide
		w.seal(snapshot.Request{})
	}
	list, err := w.snaps.List()
	if err != nil || len(list) != 3 {
		t.Errorf("there are %d snapshots, %v", len(list), err)
	}
}

func TestWhatIsMissingIsSaidAndCanBeHadLater(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1)})
	w.publish("a/two", release{version: "1.0.0", reference: ref(2)})
	w.watch("a/one", "a/two")
	w.pass(time.Hour)
	w.setDown(true)
	snap, err := w.snaps.Create(context.Background(), snapshot.Request{Name: "x", Options: snapshot.Options{Archives: "eager"}}, w)
	if err != nil || snap.State != snapshot.Incomplete || snap.MissingTotal != 2 || !snap.ID.IsZero() {
		t.Fatalf("with upstream down: %+v, %v", snap, err)
	}
	if m := snap.Missing[0]; m.Package != "a/one" || m.Reason != "upstream cannot be reached" {
		t.Errorf("the first missing thing is %+v", m)
	}
	_, err = w.snaps.SetChannel("prod", "x", "", "")
	wantError(t, err, snapshot.ErrNotSealed, "incomplete")
	_, err = w.snaps.Resolve("x")
	wantError(t, err, snapshot.ErrNotSealed, "2 things")

	w.setDown(false)
	delete(w.archives, ref(2))
	snap, err = w.snaps.Build(context.Background(), "x", w)
	if err != nil || snap.State != snapshot.Incomplete || snap.MissingTotal != 1 {
		t.Fatalf("with an archive gone: %+v, %v", snap, err)
	}
	if m := snap.Missing[0]; m.Package != "a/two" || m.Version != "1.0.0.0" || m.Reference != ref(2) {
		t.Errorf("the missing archive is %+v", m)
	}
	w.wantPinned()
	w.archives[ref(2)] = []byte("it is back")
	if snap, err = w.snaps.Build(context.Background(), "x", w); err != nil || snap.State != snapshot.Sealed || snap.MissingTotal != 0 {
		t.Fatalf("with everything there: %+v, %v", snap, err)
	}
	w.wantPinned(ref(1), ref(2))
	_, err = w.snaps.Build(context.Background(), "x", w)
	wantError(t, err, snapshot.ErrExists, "sealed")

	// An incomplete one gives its name up.
	w.setDown(true)
	w.pass(time.Hour)
	if snap, err = w.snaps.Create(context.Background(), snapshot.Request{Name: "y"}, w); err != nil || snap.State != snapshot.Incomplete {
		t.Fatalf("%+v, %v", snap, err)
	}
	w.setDown(false)
	w.pass(time.Hour)
	w.seal(snapshot.Request{Name: "y"})
}

func TestEagerArchivesAreNeverEvicted(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "1.0.0", reference: ref(1)},
		release{version: "0.9.0", reference: ref(9), members: map[string]any{"dist": nil}})
	w.publish("a/bad", release{version: "1.0.0", reference: ref(6)})
	w.denied[ref(6)] = true
	w.watch("a/one", "a/bad")
	snap := w.seal(snapshot.Request{Name: "x", Options: snapshot.Options{Archives: "eager"}})
	if snap.Archives != 2 || snap.Bytes != int64(len(w.archives[ref(1)])+len(w.archives[ref(2)])) {
		t.Errorf("the record is %+v", snap)
	}
	w.wantPinned(ref(1), ref(2))
	m, err := w.snaps.Manifest(snap.ID)
	if err != nil || len(m.Archives) != 2 || m.Archives[0].Version != "1.0.0.0" || m.Archives[0].Content != "c1-"+ref(1) {
		t.Errorf("the manifest lists %+v, %v", m.Archives, err)
	}
	if _, _, err := w.store.EvictAll(); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if _, _, err := w.store.EvictAll(); err != nil {
		t.Fatal(err)
	}
	for _, a := range m.Archives {
		if body, err := w.archive(a.SHA256); err != nil || string(body) != string(w.archives[a.Reference]) {
			t.Errorf("the archive of %s is gone: %v", a.Version, err)
		}
	}
	// A second name keeps them when the first goes.
	w.seal(snapshot.Request{Name: "y", Instant: snap.Instant, Options: snap.Options})
	if _, err := w.snaps.Delete("x"); err != nil {
		t.Fatal(err)
	}
	w.wantPinned(ref(1), ref(2))
	w.want(snap.ID, "a/one", "1.1.0 2", "1.0.0 1", "0.9.0 9")
	if _, err := w.snaps.Delete("@" + snap.ID.String()); err != nil {
		t.Fatal(err)
	}
	w.wantPinned()
	_, err = w.snaps.Manifest(snap.ID)
	wantError(t, err, errNotThere)
	_, err = w.snaps.Get(snap.ID.String()[:12])
	wantError(t, err, errNotThere, "no snapshot")
}

func TestPinsBeyondTheLimitAreRefused(t *testing.T) {
	w := newWorld(t, func(o *store.Options) { o.MaxPinnedSize = 1500 })
	w.publish("a/one", release{version: "1.0.0", reference: ref(1)})
	w.watch("a/one")
	eager := snapshot.Options{Archives: "eager"}
	w.seal(snapshot.Request{Name: "small", Options: eager})
	w.publish("a/two", release{version: "1.0.0", reference: ref(2)})
	w.watch("a/two")
	snap, err := w.snaps.Create(context.Background(), snapshot.Request{Name: "large", Options: eager}, w)
	if err != nil || snap.State != snapshot.Incomplete || snap.MissingTotal != 1 {
		t.Fatalf("%+v, %v", snap, err)
	}
	if want := "not all archives can be kept: 960 of the 1500 bytes that PROXY_MAX_PINNED_SIZE allows are taken; delete snapshots or allow more"; snap.Missing[0].Reason != want {
		t.Errorf("the reason is %q, want %q", snap.Missing[0].Reason, want)
	}
	w.wantPinned(ref(1))
}

func TestLazyArchivesAreKeptOnceTheyAreHere(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "1.0.0", reference: ref(1)})
	w.publish("a/one~dev", release{version: "dev-main", reference: ref(3)})
	w.watch("a/one", "a/one~dev")
	n := parseFile(t, "a/one").Name
	fetch := func(r string) store.Digest {
		t.Helper()
		b, err := w.Fetch(context.Background(), n, composer.Version{Dist: &composer.Dist{Reference: r}})
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest
	}
	keep := func(r string, d store.Digest) int {
		t.Helper()
		kept, err := w.snaps.Keep(context.Background(), n, func(v composer.Version) bool { return v.Dist.Reference == r }, d)
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	fetch(ref(1))
	snap := w.seal(snapshot.Request{Name: "x"})
	twin := w.seal(snapshot.Request{Name: "twin"})
	none := w.seal(snapshot.Request{Name: "none", Options: snapshot.Options{Archives: "none"}})
	if snap.Archives != 0 || twin.ID != snap.ID || none.ID == snap.ID {
		t.Errorf("what is held changed what the snapshot is: %+v", snap)
	}
	w.wantPinned(ref(1))
	if n := keep(ref(3), fetch(ref(3))); n != 1 {
		t.Errorf("kept for %d snapshots, want 1", n)
	}
	w.wantPinned(ref(1), ref(3))
	w.archives[ref(7)] = []byte("of a version that is not there")
	if n := keep(ref(7), fetch(ref(7))); n != 0 {
		t.Errorf("kept for %d snapshots, want none", n)
	}
	w.wantPinned(ref(1), ref(3))
	for _, name := range []string{"x", "twin"} {
		if _, err := w.snaps.Delete(name); err != nil {
			t.Fatal(err)
		}
	}
	if n := keep(ref(2), fetch(ref(2))); n != 0 {
		t.Errorf("kept for %d snapshots, want none", n)
	}
	w.wantPinned()
}

// interrupted starts a build that is cancelled while it fetches its second
// archive.
func interrupted(t *testing.T, w *world) snapshot.Snapshot {
	t.Helper()
	for i := range 6 {
		w.publish("a/p"+string(rune('a'+i)), release{version: "1.0.0", reference: ref(i + 1)})
		w.watch("a/p" + string(rune('a'+i)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n atomic.Int32
	w.onFetch = func(context.Context, string) {
		if n.Add(1) == 3 {
			cancel()
		}
	}
	snap, err := w.snaps.Create(ctx, snapshot.Request{Name: "x", Options: snapshot.Options{Archives: "eager"}}, w)
	if !errors.Is(err, context.Canceled) || snap.State != snapshot.Building {
		t.Fatalf("the interrupted build gave %+v, %v", snap, err)
	}
	w.onFetch = nil
	return snap
}

func TestInterruptedBuildGoesOn(t *testing.T) {
	w := newWorld(t)
	interrupted(t, w)
	w.restart()
	w.pass(time.Hour)
	w.publish("a/pa", release{version: "2.0.0", reference: ref(99)})
	left, err := w.snaps.Unfinished()
	if err != nil || len(left) != 1 || left[0] != "x" {
		t.Fatalf("unfinished are %q, %v", left, err)
	}
	_, err = w.snaps.Begin(snapshot.Request{Name: "x"})
	wantError(t, err, snapshot.ErrExists, "being built")
	snap, err := w.snaps.Build(context.Background(), "x", w)
	if err != nil || snap.State != snapshot.Sealed || !snap.Instant.Equal(start) {
		t.Fatalf("%+v, %v", snap, err)
	}
	w.want(snap.ID, "a/pa", "1.0.0 1")
	w.wantPinned(ref(1), ref(2), ref(3), ref(4), ref(5), ref(6))
	if left, err := w.snaps.Unfinished(); err != nil || len(left) != 0 {
		t.Errorf("unfinished are %q, %v", left, err)
	}
	if _, err := w.snaps.Delete("x"); err != nil {
		t.Fatal(err)
	}
	w.wantPinned()
}

func TestDeletingAnInterruptedBuildLeavesNoPins(t *testing.T) {
	w := newWorld(t)
	interrupted(t, w)
	w.restart()
	if _, err := w.snaps.Delete("x"); err != nil {
		t.Fatal(err)
	}
	w.wantPinned()
	_, err := w.snaps.Build(context.Background(), "x", w)
	wantError(t, err, errNotThere)
}

func TestProgressIsShownAndDeletingStopsABuild(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "1.0.0", reference: ref(1)})
	w.watch("a/one")
	stuck := make(chan struct{}, 2)
	w.onFetch = func(ctx context.Context, _ string) {
		stuck <- struct{}{}
		<-ctx.Done()
	}
	ended := make(chan error)
	go func() {
		_, err := w.snaps.Create(context.Background(), snapshot.Request{Name: "x", Options: snapshot.Options{Archives: "eager"}}, w)
		ended <- err
	}()
	<-stuck
	<-stuck
	snap, err := w.snaps.Get("x")
	if err != nil || snap.State != snapshot.Building || snap.Progress == nil {
		t.Fatalf("%+v, %v", snap, err)
	}
	if p := *snap.Progress; p.Phase != "archives" || p.Done != 0 || p.Total != 2 {
		t.Errorf("the progress is %+v", p)
	}
	_, err = w.snaps.Build(context.Background(), "x", w)
	wantError(t, err, snapshot.ErrExists, "built already")
	if left, err := w.snaps.Unfinished(); err != nil || len(left) != 0 {
		t.Errorf("unfinished are %q, %v", left, err)
	}
	go func() {
		if _, err := w.snaps.Delete("x"); err != nil {
			t.Errorf("delete: %v", err)
		}
		ended <- nil
	}()
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the build ended with %v", err)
		}
	}
	if list, err := w.snaps.List(); err != nil || len(list) != 0 {
		t.Errorf("there is still %+v, %v", list, err)
	}
	w.wantPinned()
}

// altered is a history that has come to make other documents than it did.
type altered struct{}

func (altered) Materialize(f composer.File, _ history.Binding) (*composer.Document, error) {
	return composer.NewDocument(f.Name, nil), nil
}

func TestDocumentsThatComeOutDifferentlyAreNotServed(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.0.0", reference: ref(1), published: start.Add(-48 * time.Hour)},
		release{version: "0.9.0", reference: ref(2), published: start.Add(-time.Hour)})
	w.watch("a/one")
	snap := w.seal(snapshot.Request{Name: "x", Instant: start.Add(-24 * time.Hour)})
	w.docs = altered{}
	w.restart()
	_, _, _, err := w.snaps.Document(snap.ID, parseFile(t, "a/one"))
	wantError(t, err, store.ErrCorrupt, "as it was sealed")
	v, err := w.snaps.Verify(context.Background(), "x", nil)
	if err != nil || len(v.Problems) != 1 || v.Problems[0].Package != "a/one" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := w.snaps.Export(context.Background(), io.Discard, "x"); err == nil {
		t.Error("it can be exported")
	}
}
