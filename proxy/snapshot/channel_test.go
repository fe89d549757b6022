package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"stasis/proxy/snapshot"
)

// three makes the sealed snapshots one, two and three, which differ.
func three(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for i, name := range []string{"one", "two", "three"} {
		w.publish("a/p", release{version: fmt.Sprintf("1.%d.0", i), reference: ref(i + 1)})
		w.watch("a/p")
		w.seal(snapshot.Request{Name: name})
		w.pass(time.Hour)
	}
	return w
}

func (w *world) wantChannel(name, snap string) {
	w.t.Helper()
	c, err := w.snaps.Channel(name)
	if err != nil || c.Snapshot != snap {
		w.t.Errorf("%s points at %q, want %q: %v", name, c.Snapshot, snap, err)
		return
	}
	got, err := w.snaps.Resolve(name)
	if err != nil || got.ID != c.ID {
		w.t.Errorf("%s resolves to %s, want %s: %v", name, got.ID, c.ID, err)
	}
}

func TestChannelsMoveAndRollBack(t *testing.T) {
	w := three(t)
	set := func(ref string) {
		t.Helper()
		if _, err := w.snaps.SetChannel("prod", ref, "ann", "to "+ref); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
	}
	back := func() {
		t.Helper()
		if _, err := w.snaps.RollBack("prod", "bob", "oops"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
	}
	set("one")
	set("two")
	set("two") // no move
	set("three")
	w.wantChannel("prod", "three")
	back()
	w.wantChannel("prod", "two")
	back()
	w.wantChannel("prod", "one")
	_, err := w.snaps.RollBack("prod", "", "")
	wantError(t, err, snapshot.ErrInvalid, "nothing before")
	set("three")
	back()
	w.wantChannel("prod", "one")
	w.restart()
	w.wantChannel("prod", "one")

	moves, err := w.snaps.History("prod")
	if err != nil || len(moves) != 7 {
		t.Fatalf("there are %d moves, %v", len(moves), err)
	}
	var told string
	for _, m := range moves {
		told += m.Snapshot + " "
	}
	if told != "one three one two three two one " || !moves[0].Rollback || moves[1].Note != "to three" || moves[0].By != "bob" || moves[0].Number != 7 {
		t.Errorf("the history is %s: %+v", told, moves)
	}
}

func TestSnapshotsThatChannelsPointAtStay(t *testing.T) {
	w := three(t)
	for _, c := range [][2]string{{"dev", "two"}, {"staging", "two"}, {"prod", "one"}, {"prod", "three"}} {
		if _, err := w.snaps.SetChannel(c[0], c[1], "", ""); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.snaps.Delete("two")
	wantError(t, err, snapshot.ErrInUse, "the channel dev and the channel staging")
	if _, err := w.snaps.Delete("one"); err != nil {
		t.Error(err)
	}
	_, err = w.snaps.RollBack("prod", "", "")
	wantError(t, err, errNotThere, "has been deleted")
	w.wantChannel("prod", "three")

	for name, c := range map[string]struct {
		channel, ref string
		kind         error
	}{
		"a snapshot's name":      {"two", "three", snapshot.ErrExists},
		"no snapshot":            {"new", "nothing", errNotThere},
		"a deleted snapshot":     {"new", "one", errNotThere},
		"a name that cannot be":  {"2026-01-01", "two", snapshot.ErrInvalid},
		"a name with a slash":    {"a/b", "two", snapshot.ErrInvalid},
		"another channel's name": {"new", "prod", errNotThere},
	} {
		if _, err := w.snaps.SetChannel(c.channel, c.ref, "", ""); err == nil {
			t.Errorf("a channel could be pointed with %s", name)
		} else {
			wantError(t, err, c.kind)
		}
	}
	list, err := w.snaps.Channels()
	if err != nil || len(list) != 3 || list[0].Name != "dev" {
		t.Errorf("the channels are %+v, %v", list, err)
	}
	for _, name := range []string{"dev", "staging"} {
		if err := w.snaps.DeleteChannel(name); err != nil {
			t.Error(err)
		}
	}
	wantError(t, w.snaps.DeleteChannel("dev"), errNotThere, "no channel")
	_, err = w.snaps.History("dev")
	wantError(t, err, errNotThere)
	_, err = w.snaps.Resolve("dev")
	wantError(t, err, errNotThere, "no snapshot and no channel")
	if _, err := w.snaps.Delete("two"); err != nil {
		t.Error(err)
	}
	// Another name of the same snapshot is enough for it to stay.
	c, err := w.snaps.Channel("prod")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.snaps.Export(context.Background(), &b, "prod"); err != nil {
		t.Fatal(err)
	}
	if twin, err := w.snaps.Import(context.Background(), &b, "alias", "", w); err != nil || twin.ID != c.ID {
		t.Fatalf("%+v, %v", twin, err)
	}
	if _, err := w.snaps.Delete("three"); err != nil {
		t.Fatal(err)
	}
	w.wantChannel("prod", "alias")
	_, err = w.snaps.Delete("alias")
	wantError(t, err, snapshot.ErrInUse)
	// The name begins anew, without a past.
	if c, err := w.snaps.SetChannel("dev", "alias", "", ""); err != nil || c.Move != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSnapshotsAreFoundByNameAndID(t *testing.T) {
	w := three(t)
	want, err := w.snaps.Get("two")
	if err != nil {
		t.Fatal(err)
	}
	id := want.ID.String()
	for _, ref := range []string{id, "@" + id, id[:8], "@" + id[:20]} {
		if got, err := w.snaps.Get(ref); err != nil || got.Name != "two" {
			t.Errorf("%q finds %q, %v", ref, got.Name, err)
		}
	}
	for _, ref := range []string{"", "@", id[:7], id + "0", "@two", "2026-01-01", "\x00"} {
		if got, err := w.snaps.Get(ref); err == nil {
			t.Errorf("%q finds %q", ref, got.Name)
		}
	}
}
