package composer_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"stasis/proxy/composer"
)

const watched = `{"packages":{"acme/a":[{"name":"acme/a","version":"1.1.0","version_normalized":"1.1.0.0"},` +
	`{"version":"1.0.0","version_normalized":"1.0.0.0"}]},"minified":"composer/2.0",` +
	`"security-advisories":[{"advisoryId":"PKSA-1","affectedVersions":">=1.0,<1.1|latest","title":"hole"},{"advisoryId":"PKSA-2"},7],` +
	`"filter":{"malware":[{"constraint":"1.1.0","url":"https://example.org/x","reason":"steals","id":"PKFE-1","source":"aikido","extra":[1]},{"reason":"none"}]}}`

func TestAdvisoriesOfADocument(t *testing.T) {
	list := parse(t, watched).Advisories()
	if len(list) != 1 || list[0].ID != "PKSA-1" || list[0].Object.Text("title") != "hole" {
		t.Fatalf("read %+v", list)
	}
	// One alternative cannot be read; the other one counts all the same.
	if !list[0].Affects("1.0.0.0") || list[0].Affects("1.1.0.0") {
		t.Error("the affected versions were misread")
	}
}

func TestFiltersOfADocument(t *testing.T) {
	doc := parse(t, watched)
	lists := doc.Filters()
	if len(lists) != 1 || len(lists["malware"]) != 1 {
		t.Fatalf("read %+v", lists)
	}
	e := lists["malware"][0]
	if e.Reason != "steals" || e.ID != "PKFE-1" || e.Source != "aikido" || !e.Names("1.1.0.0") || e.Names("1.0.0.0") {
		t.Errorf("read %+v", e)
	}
	own := composer.FilterEntry{Constraint: "^1.0", Reason: "not reviewed", Source: "us"}
	if !own.Names("1.0.0.0") || own.Names("2.0.0.0") {
		t.Error("an entry of our own making names the wrong versions")
	}
	lists["own"] = []composer.FilterEntry{own}
	lists["none"] = nil
	with := doc.WithFilters(lists)
	want := `"filter":{"malware":[{"constraint":"1.1.0","url":"https://example.org/x","reason":"steals","id":"PKFE-1","source":"aikido","extra":[1]}],` +
		`"own":[{"constraint":"^1.0","reason":"not reviewed","source":"us"}]}`
	if got := with.Encode(); !bytes.Contains(got, []byte(want)) {
		t.Errorf("wrote %s", got)
	}
	if got := doc.WithFilters(nil).Encode(); bytes.Contains(got, []byte(`"filter"`)) {
		t.Errorf("no entries left a filter behind: %s", got)
	}
	if again := parse(t, string(with.Encode())).Filters(); len(again) != 2 || again["own"][0].Reason != "not reviewed" {
		t.Errorf("read back %+v", again)
	}
	changed := e.WithConstraint("1.0.0")
	if !changed.Names("1.0.0.0") || changed.Names("1.1.0.0") || !e.Names("1.1.0.0") {
		t.Error("an entry with another constraint names the wrong versions")
	}
}

func TestWithTop(t *testing.T) {
	doc := parse(t, watched)
	if got := doc.WithTop("filter", doc.Top.Get("filter")).Encode(); string(got) != watched {
		t.Errorf("putting back what was there changed the document: %s", got)
	}
	if doc.WithTop("filter", nil).Top.Has("filter") || !doc.Top.Has("filter") {
		t.Error("the key was not removed, or removed from the original")
	}
}

func TestKeepEverythingChangesNothing(t *testing.T) {
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		doc, err := composer.ParseDocument(body, file.Name)
		if err != nil {
			t.Fatal(err)
		}
		if composer.Keep(doc, func(composer.Version, composer.Object) bool { return true }) != doc {
			t.Errorf("%s became another document", file)
		}
	})
}

// Whatever is kept, the versions left are those that were there, whole, in
// order, the first one included or not.
func TestKeepSome(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		doc, err := composer.ParseDocument(body, file.Name)
		if err != nil {
			t.Fatal(err)
		}
		index, err := doc.Index()
		if err != nil {
			t.Fatal(err)
		}
		all := doc.Expanded()
		share := r.Float64()
		var want []composer.Object
		i := 0
		kept := composer.Keep(doc, func(v composer.Version, whole composer.Object) bool {
			if v.Normalized != index[i].Normalized || whole.Text("version") != v.Pretty {
				t.Fatalf("%s: version %d was shown as %s", file, i, v.Pretty)
			}
			yes := i > 0 && r.Float64() < share
			if yes {
				want = append(want, all[i])
			}
			i++
			return yes
		})
		again, err := composer.ParseDocument(kept.Encode(), file.Name)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got := again.Expanded()
		if len(got) != len(want) {
			t.Fatalf("%s: %d versions are left of %d", file, len(got), len(want))
		}
		for i := range got {
			if !sameMembers(got[i], want[i]) {
				t.Fatalf("%s: version %d changed", file, i)
			}
		}
		if !bytes.Equal(kept.Encode(), doc.With(want).Encode()) {
			t.Fatalf("%s: what was kept is written in another way", file)
		}
	})
}

// sameMembers ignores the order of keys, which minifying does not keep.
func sameMembers(a, b composer.Object) bool {
	if len(a) != len(b) {
		return false
	}
	for _, m := range a {
		if !b.Has(m.Key) || !bytes.Equal(m.Value, b.Get(m.Key)) {
			return false
		}
	}
	return true
}

func FuzzSecurityOfDocuments(f *testing.F) {
	f.Add([]byte(watched))
	f.Add([]byte(`{"packages":{"acme/a":[]},"filter":[],"security-advisories":{}}`))
	name, err := composer.ParseName("acme/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		doc, err := composer.ParseDocument(body, name)
		if err != nil {
			return
		}
		for _, a := range doc.Advisories() {
			a.Affects("1.0.0.0")
		}
		written := doc.WithFilters(doc.Filters()).Encode()
		if _, err := composer.ParseDocument(written, name); err != nil {
			t.Fatalf("the filters cannot be read back: %v", err)
		}
	})
}
