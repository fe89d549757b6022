package proxy_test

import (
	"bytes"
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
	"stasis/store"
)

func TestAFrozenPackageStaysAsItIs(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.release(standin.Release{Name: "acme/lib", Version: "dev-main"})
	before := w.want(lib, 200, missed)
	dev := w.want("/p2/acme/lib~dev.json", 200, missed)
	f, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "release week"})
	if err != nil || len(f.Documents) != 2 || f.Reason != "release week" {
		t.Fatalf("%+v, %v", f, err)
	}
	w.Advance(48 * time.Hour)
	w.publish("2.0.0", "")
	asked := w.up.Total()
	for _, c := range []struct {
		path string
		want answer
	}{{lib, before}, {"/p2/acme/lib~dev.json", dev}} {
		for _, coding := range []string{"identity", "gzip", "zstd"} {
			a := w.want(c.path, 200, hit, "Accept-Encoding", coding)
			if !bytes.Equal(inflate(t, coding, a.body), c.want.body) || a.header.Get("Last-Modified") != c.want.header.Get("Last-Modified") {
				t.Errorf("%s in %s is not what it was", c.path, coding)
			}
		}
	}
	if n := w.up.Total(); n != asked {
		t.Errorf("upstream was asked %d times about a frozen package", n-asked)
	}
	again, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "release week"})
	if err != nil || !again.At.Equal(f.At) {
		t.Errorf("freezing again: %+v, %v", again, err)
	}
	if list, err := w.p.Frozen(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("frozen: %v, %v", list, err)
	}
	// A purge does not lift it.
	if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{}); err != nil {
		t.Fatal(err)
	}
	if a := w.want(lib, 200, hit); !bytes.Equal(a.body, before.body) {
		t.Error("a purge lifted the freeze")
	}
	for _, want := range []bool{true, false} {
		if was, err := w.p.Unfreeze(t.Context(), name("acme/lib")); err != nil || was != want {
			t.Errorf("unfreeze: %v, %v", was, err)
		}
	}
	after := w.want(lib, 200, "")
	if got := versions(t, after.body); joined(got) != "2.0.0 1.0.0" {
		t.Errorf("after unfreezing: %v", got)
	}
	if after.header.Get("Last-Modified") == before.header.Get("Last-Modified") {
		t.Error("two bodies share a date")
	}
}

// TestAFreezeThatCannotBeKeptChangesNothing fills the disk under a freeze that is to be replaced, lifted or made.
func TestAFreezeThatCannotBeKeptChangesNothing(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	w := newRig(t, func(s *settings) {
		s.store.FreeSpace = func(string) (int64, error) { return free.Load(), nil }
		s.store.MinFreeSpace = 1 << 30
	})
	w.publish("1.0.0", "")
	before := w.want(lib, 200, missed)
	first, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "first"})
	if err != nil {
		t.Fatal(err)
	}
	w.publish("2.0.0", "")
	free.Store(0)
	for range 2 {
		// Within the second, and long after it.
		if _, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "second"}); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("replaced on a full disk: %v", err)
		}
		if _, err := w.p.Unfreeze(t.Context(), name("acme/lib")); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("lifted on a full disk: %v", err)
		}
		if list, err := w.p.Frozen(t.Context()); err != nil || len(list) != 1 || list[0].Reason != "first" || !list[0].At.Equal(first.At) {
			t.Errorf("frozen: %+v, %v", list, err)
		}
		if a := w.want(lib, 200, ""); !bytes.Equal(a.body, before.body) {
			t.Errorf("the package is not what it was: %s", a.body)
		}
		w.Advance(time.Hour)
	}
	// One that was lifted a moment ago is not there any more, and does not come back as something else.
	free.Store(1 << 40)
	if _, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "third"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Unfreeze(t.Context(), name("acme/lib")); err != nil {
		t.Fatal(err)
	}
	free.Store(0)
	if _, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "fourth"}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("made again on a full disk: %v", err)
	}
	if list, err := w.p.Frozen(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("frozen: %+v, %v", list, err)
	}
	w.want(lib, 200, "")
	w.release(standin.Release{Name: "acme/new", Version: "1.0.0"})
	if _, err := w.p.Freeze(t.Context(), name("acme/new"), proxy.FreezeRequest{}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a package whose document cannot be kept is frozen: %v", err)
	}
	w.want("/p2/acme/new.json", 200, "")
}

func TestAFreezeIsBackdatedAndExpires(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	before := w.want(lib, 200, missed)
	first := w.Now()
	w.Advance(24 * time.Hour)
	w.publish("2.0.0", "")
	w.want(lib, 200, renewed)
	until := w.Now().Add(time.Hour)
	if _, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{At: &first, ExpiresAt: &until}); err != nil {
		t.Fatal(err)
	}
	if a := w.want(lib, 200, hit); !bytes.Equal(a.body, before.body) {
		t.Errorf("held at %v: %v", first, versions(t, a.body))
	}
	w.Advance(61 * time.Minute)
	if got := versions(t, w.want(lib, 200, "").body); joined(got) != "2.0.0 1.0.0" {
		t.Errorf("after it expired: %v", got)
	}
	if list, _ := w.p.Frozen(t.Context()); len(list) != 0 {
		t.Errorf("still listed: %+v", list)
	}
}

func TestFreezesThatMakeNoSense(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	past, future := w.Now().Add(-time.Hour*1000), w.Now().Add(time.Hour)
	for what, req := range map[string]proxy.FreezeRequest{"expired": {ExpiresAt: &past}, "future": {At: &future}, "before anything was recorded": {At: &past}} {
		if _, err := w.p.Freeze(t.Context(), name("acme/lib"), req); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := w.p.Freeze(t.Context(), name("acme/none"), proxy.FreezeRequest{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a package that does not exist: %v", err)
	}
	w.up.Down()
	if _, err := w.p.Freeze(t.Context(), name("acme/never"), proxy.FreezeRequest{}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("never seen, upstream down: %v", err)
	}
}

func TestPurge(t *testing.T) {
	w := newRig(t)
	r := w.publish("1.0.0", "")
	w.release(standin.Release{Name: "acme/other", Version: "1.0.0"})
	w.want(lib, 200, missed)
	w.want("/p2/acme/other.json", 200, missed)
	path := distPath("1.0.0.0", r.Reference, "zip")
	if _, err := w.download(path); err != nil {
		t.Fatal(err)
	}
	res, err := w.p.Purge(t.Context(), proxy.PurgeRequest{Package: name("acme/lib")})
	if err != nil || res.Metadata != 1 || res.Archives != 1 || res.Bytes != int64(len(r.Archive)) {
		t.Errorf("%+v, %v", res, err)
	}
	w.want("/p2/acme/other.json", 200, hit)
	w.want(lib, 200, renewed)
	w.asked("/p2/acme/lib.json", 2)
	if a, err := w.download(path); err != nil || a.status != 200 {
		t.Errorf("%v, %v", a, err)
	}
	// What was recorded stays: with upstream gone the purged copy still serves.
	if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{}); err != nil {
		t.Fatal(err)
	}
	if n := w.store.Usage().Blobs; n != 0 {
		t.Errorf("%d archives are left", n)
	}
	w.up.Down()
	w.want(lib, 200, stale)
	if revs, err := w.p.History().Revisions(proxy.FileOf("acme/lib")); err != nil || len(revs) != 1 {
		t.Errorf("%d revisions, %v", len(revs), err)
	}
	if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{Kind: "everything"}); err == nil {
		t.Error("an unknown kind was accepted")
	}
}
