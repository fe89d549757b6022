package snapshot_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/snapshot"
)

// tell writes a difference in one line.
func tell(d snapshot.Difference) string {
	var s strings.Builder
	for _, part := range []struct {
		word string
		list []snapshot.Change
	}{{"added", d.Added}, {"removed", d.Removed}, {"retagged", d.Retagged}, {"denied", d.Denied}, {"allowed", d.Allowed}} {
		for _, c := range part.list {
			fmt.Fprintf(&s, "%s %s %s", part.word, c.Package, c.Version)
			if c.OldReference != "" {
				fmt.Fprintf(&s, " %s->%s", strings.TrimLeft(c.OldReference, "0"), strings.TrimLeft(c.Reference, "0"))
			}
			if c.Reason != "" {
				fmt.Fprintf(&s, " (%s)", c.Reason)
			}
			s.WriteString("; ")
		}
	}
	for _, c := range d.Fidelity {
		fmt.Fprintf(&s, "%s %s->%s; ", c.File, c.From, c.To)
	}
	return s.String()
}

func TestDiffTellsWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.publish("a/one", release{version: "1.1.0", reference: ref(2)}, release{version: "1.0.0", reference: ref(1)})
	w.publish("a/one~dev", release{version: "dev-main", reference: ref(3)})
	w.publish("a/two", release{version: "1.0.0", reference: ref(4)})
	w.publish("a/same", release{version: "1.0.0", reference: ref(5)})
	w.watch("a/one", "a/one~dev", "a/two", "a/same")
	before := w.seal(snapshot.Request{Name: "before"})
	w.pass(time.Hour)
	w.publish("a/one", release{version: "1.10.0", reference: ref(7)}, release{version: "1.9.0", reference: ref(6)}, release{version: "1.0.0", reference: ref(9)})
	w.publish("a/one~dev", release{version: "dev-main", reference: ref(8)})
	w.publish("a/new", release{version: "3.0.0", reference: ref(10)})
	delete(w.files, "a/two")
	w.watch("a/one", "a/one~dev", "a/two", "a/same", "a/new")
	after := w.seal(snapshot.Request{Name: "after"})

	denied := func(reference string) snapshot.Look {
		return func(_ context.Context, _ composer.File, doc *composer.Document, _ time.Time) ([]snapshot.VersionView, error) {
			list, err := snapshot.VersionsOf(doc)
			for i := range list {
				if list[i].Reference == reference {
					list[i].Denied = "malware"
				}
			}
			return list, err
		}
	}
	diff := func(from, to snapshot.Snapshot, a, b snapshot.Look, only ...composer.Name) string {
		t.Helper()
		x, err := w.snaps.View(from.ID, a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := w.snaps.View(to.ID, b)
		if err != nil {
			t.Fatal(err)
		}
		d, err := snapshot.Diff(context.Background(), x, y, only, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.Empty() != (tell(d) == "") {
			t.Errorf("Empty is %v of %q", d.Empty(), tell(d))
		}
		return tell(d)
	}
	for _, c := range []struct{ got, want string }{
		{diff(before, before, nil, nil), ""},
		{diff(before, after, nil, nil),
			"added a/new 3.0.0; added a/one 1.10.0; added a/one 1.9.0; removed a/one 1.1.0; removed a/two 1.0.0; " +
				"retagged a/one 1.0.0 1->9; retagged a/one dev-main 3->8; a/new ->exact; a/two exact->absent; "},
		{diff(before, after, nil, nil, parseFile(t, "a/one").Name),
			"added a/one 1.10.0; added a/one 1.9.0; removed a/one 1.1.0; retagged a/one 1.0.0 1->9; retagged a/one dev-main 3->8; "},
		{diff(before, before, nil, denied(ref(1))), "denied a/one 1.0.0 (malware); "},
		{diff(before, before, denied(ref(2)), nil), "allowed a/one 1.1.0 (malware); "},
		{diff(before, after, nil, denied(ref(9)), parseFile(t, "a/one").Name),
			"added a/one 1.10.0; added a/one 1.9.0; removed a/one 1.1.0; retagged a/one 1.0.0 1->9 (malware); retagged a/one dev-main 3->8; " +
				"denied a/one 1.0.0 1->9 (malware); "},
		{diff(before, after, nil, nil, parseFile(t, "a/same").Name), ""},
	} {
		if c.got != c.want {
			t.Errorf("the difference is\n%s\nwant\n%s", c.got, c.want)
		}
	}
}
