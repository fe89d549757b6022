package policy_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/policy"
)

const malware = `{"malware":[{"constraint":"1.1.0","url":"https://example.org/x","reason":"steals keys","id":"PKFE-1","source":"aikido"}]}`

var legacy = policy.View{Legacy: true}

func two() []release {
	return []release{
		{version: "1.1.0", reference: "b1", published: start.Add(-30 * day)},
		{version: "1.0.0", reference: "a1", published: start.Add(-60 * day)},
	}
}

func TestBlockTakesVersionsOut(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.sees(two()...)
	for _, c := range []struct {
		rule policy.Rule
		want string
	}{
		{policy.Rule{Versions: ">=1.1"}, "1.0.0@a1"},
		{policy.Rule{Reference: "a1"}, "1.1.0@b1"},
		{policy.Rule{}, ""},
		{policy.Rule{Versions: "^2"}, "1.1.0@b1 1.0.0@a1"},
	} {
		c.rule.Kind = policy.Block
		r := w.add(c.rule)
		if got := strings.Join(w.shows(legacy), " "); got != c.want {
			t.Errorf("a block of %q %q leaves %q, want %q", r.Versions, r.Reference, got, c.want)
		}
		w.lift(r)
	}
}

func TestBlockIsAnsweredAtTheArchive(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.sees(two()...)
	r := w.add(policy.Rule{Kind: policy.Block, Versions: "1.1.0", Reason: "taken over", ExpiresAt: start.Add(day), Owner: "eve"})
	d := w.archive("1.1.0.0", "b1", policy.View{})
	if d == nil || d.Status != http.StatusUnavailableForLegalReasons || d.Rule != policy.RuleBlock || !d.Until.Equal(r.ExpiresAt) {
		t.Fatalf("the archive is answered with %+v", d)
	}
	for _, part := range []string{"acme/a 1.1.0", "eve", "taken over", "2026-07-02"} {
		if !strings.Contains(d.Sentence, part) {
			t.Errorf("%q does not say %q", d.Sentence, part)
		}
	}
	if d := w.archive("1.0.0.0", "a1", policy.View{}); d != nil {
		t.Errorf("a version that is not blocked is refused: %+v", d)
	}
	// The same content by another name.
	if d := w.archive("dev-main", "b1", policy.View{}); d == nil {
		t.Error("blocked content is handed out under the name of a branch")
	}
	w.now = start.Add(day)
	if d := w.archive("1.1.0.0", "b1", policy.View{}); d != nil {
		t.Errorf("the block outlives its expiry: %+v", d)
	}
}

// The archive's address holds hashes in place of some versions and references.
func TestBlockKnowsAddresses(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, nil, release{version: "dev-fix/it", reference: "Release 1"})
	w.observe(true, doc)
	w.add(policy.Rule{Kind: policy.Block, Versions: "dev-fix/it", Reference: "Release 1"})
	if w.archive(composer.VersionKey("dev-fix/it"), composer.ReferenceKey("Release 1"), policy.View{}) == nil {
		t.Error("the block does not know its archive by the address")
	}
}

// The name of a branch stands for every commit it ever had: to deny it denies
// no release made from it. To deny a release denies a branch at its commit.
func TestDenyingABranchSparesReleases(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.sees(two()...)
	w.observe(true, document(w.name, nil, release{version: "dev-main", reference: "b1"}))
	w.now = start.Add(day)
	branches := document(w.name, nil, release{version: "dev-main", reference: "c1"}, release{version: "dev-old", reference: "b1"})
	w.observe(true, branches)
	r := w.add(policy.Rule{Kind: policy.Block, Versions: "dev-main"})
	if got := w.shows(legacy); len(got) != 2 {
		t.Errorf("of the releases are left %v", got)
	}
	if d := w.archive("1.1.0", "b1", policy.View{}); d != nil {
		t.Errorf("the archive of a release is refused: %+v", d)
	}
	for _, ref := range []string{"b1", "c1", "dead"} {
		if w.archive("dev-main", ref, policy.View{}) == nil {
			t.Errorf("a blocked branch is handed out at %s", ref)
		}
	}
	w.lift(r)
	w.add(policy.Rule{Kind: policy.Block, Versions: "1.1.0"})
	res := w.apply(true, branches, policy.View{})
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"dev-main@c1"}) || !strings.Contains(res.Hidden[0].Sentence, "content") {
		t.Errorf("the branches are %v: %+v", got, res.Hidden)
	}
}

func TestNewClientsAreToldTheReason(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := w.sees(two()...)
	r := w.add(policy.Rule{Kind: policy.Block, Versions: "^1.1", Reason: "taken over"})
	res := w.apply(false, doc, policy.View{})
	if got := listing(t, res.Doc); len(got) != 2 || res.Denied != 1 || !res.Hidden[0].Listed {
		t.Fatalf("a client with filter lists sees %v, %+v", got, res.Hidden)
	}
	lists := res.Doc.Filters()
	for _, list := range []string{"malware", "stasis"} {
		e := lists[list]
		if len(e) != 1 || !e[0].Names("1.1.0.0") || e[0].Names("1.0.0.0") || e[0].Reason != "taken over" || e[0].ID != "stasis-block-"+r.ID {
			t.Errorf("list %s has %+v", list, e)
		}
	}
	// In the document of the branches no client looks for filter entries.
	dev := document(w.name, nil, release{version: "dev-main", reference: "c1"})
	w.observe(true, dev)
	w.add(policy.Rule{Kind: policy.Block, Versions: "dev-main"})
	if res := w.apply(true, dev, policy.View{}); len(listing(t, res.Doc)) != 0 || res.Doc.Top.Has("filter") {
		t.Errorf("a blocked branch is shown: %s", res.Doc.Encode())
	}
}

func TestMalwareIsDeniedInThePast(t *testing.T) {
	w := newWorld(t, policy.Options{})
	old := w.sees(two()...)
	w.now = start.Add(10 * day)
	flagged := document(w.name, extras{"filter": malware}, two()...)
	w.observe(false, flagged)
	past := policy.View{At: start.Add(day), Legacy: true}
	res := w.apply(false, old, past)
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.0.0@a1"}) || res.Denied != 1 || res.Hidden[0].Rule != policy.RuleMalware {
		t.Errorf("the past shows %v: %+v", got, res.Hidden)
	}
	if !strings.Contains(res.Hidden[0].Sentence, "steals keys") || !strings.Contains(res.Hidden[0].Sentence, "PKFE-1") {
		t.Errorf("%q does not say why", res.Hidden[0].Sentence)
	}
	past.Legacy = false
	if doc := w.apply(false, old, past).Doc; string(doc.Top.Get("filter")) != malware || len(listing(t, doc)) != 2 {
		t.Errorf("a new client sees %s", doc.Encode())
	}
	if d := w.archive("1.1.0.0", "b1", policy.View{}); d == nil || d.Rule != policy.RuleMalware {
		t.Errorf("the archive is answered with %+v", d)
	}
	// What upstream itself publishes needs no change for a new client.
	if w.apply(false, flagged, policy.View{}).Doc != flagged {
		t.Error("the live document was changed")
	}
	// A package that is pulled altogether stays flagged.
	w.now = start.Add(20 * day)
	w.gone()
	if got := listing(t, w.apply(false, old, past).Doc); len(got) != 2 {
		t.Errorf("a new client sees %v", got)
	}
	past.Legacy = true
	if got := listing(t, w.apply(false, old, past).Doc); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("after the package was pulled, the past shows %v", got)
	}
	// Upstream takes it back: the past is what it was.
	w.now = start.Add(30 * day)
	w.observe(false, document(w.name, nil, two()...))
	if got := w.apply(false, old, past).Doc; got != old {
		t.Errorf("after the flag was lifted, the past shows %s", got.Encode())
	}
}

func TestMalwareKnownOnlyToTheSummary(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := w.sees(two()...)
	facts := w.facts(policy.View{})
	facts.Filters = map[string][]composer.FilterEntry{"malware": {{Constraint: "1.1.0", Reason: "steals keys"}}}
	res, err := w.policy.Apply(w.file(false), doc, facts, policy.View{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("a client that cannot know the entry sees %v", got)
	}
}

func TestListsThatClientsDoNotObey(t *testing.T) {
	w := newWorld(t, policy.Options{DenyLists: []string{"malware", "typosquat"}})
	doc := document(w.name, extras{"filter": `{"typosquat":[{"constraint":"1.1.0","reason":"looks like another"}]}`}, two()...)
	w.observe(false, doc)
	if got := w.shows(policy.View{}); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("a new client is left alone with %v", got)
	}
	w = newWorld(t, policy.Options{})
	w.observe(false, doc)
	if got := w.shows(legacy); len(got) != 2 {
		t.Errorf("a list that nobody chose takes out versions: %v are left", got)
	}
}

// A reviewed reference is let through although its label is flagged; the same
// label at another reference is not.
func TestWaiver(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, extras{"filter": malware}, two()...)
	w.observe(false, doc)
	w.add(policy.Rule{Kind: policy.Waiver, Versions: "1.1.0", Reference: "b1", ExpiresAt: start.Add(day)})
	if got := w.shows(legacy); len(got) != 2 {
		t.Errorf("the view shows %v", got)
	}
	if d := w.archive("1.1.0.0", "b1", policy.View{}); d != nil {
		t.Errorf("the archive is refused: %+v", d)
	}
	if d := w.archive("1.1.0.0", "bad", policy.View{}); d == nil {
		t.Error("the waiver counts for another reference")
	}
	// A new client would refuse it by itself if the entry still named it.
	if f := w.apply(false, doc, policy.View{}).Doc.Filters(); len(f["malware"]) != 0 {
		t.Errorf("clients are told %+v", f)
	}
	if x := w.explain(false, doc, "1.1.0", policy.View{}); !x.Visible || !strings.Contains(x.Sentence, "waiver") {
		t.Errorf("explained as %+v", x)
	}
	w.now = start.Add(day)
	if got := w.shows(legacy); len(got) != 1 {
		t.Errorf("after the waiver's expiry the view shows %v", got)
	}
}

func TestWaiverWithinABlock(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := w.sees(two()...)
	w.add(policy.Rule{Kind: policy.Block})
	w.add(policy.Rule{Kind: policy.Waiver, Versions: "v1.0", Reference: "a1", ExpiresAt: start.Add(day)})
	if got := w.shows(legacy); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("the view shows %v", got)
	}
	for list, entries := range w.apply(false, doc, policy.View{}).Doc.Filters() {
		if len(entries) != 1 || entries[0].Names("1.0.0.0") || !entries[0].Names("1.1.0.0") || !entries[0].Names("dev-main") {
			t.Errorf("list %s has %+v", list, entries)
		}
	}
	// A block of a reference is written as the versions that have it.
	w.add(policy.Rule{Kind: policy.Block, Reference: "b1", Reason: "reference"})
	found := false
	for _, e := range w.apply(false, doc, policy.View{}).Doc.Filters()["stasis"] {
		if e.Reason == "reference" {
			found = e.Names("1.1.0.0") && !e.Names("1.2.0.0")
		}
	}
	if !found {
		t.Error("a block of a reference is not advertised as the version that has it")
	}
}

// Whatever is denied and lifted again, the view is byte for byte what it was.
func TestLiftingRestoresBytes(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, extras{"filter": malware, "security-advisories": `[]`}, two()...)
	w.observe(false, doc)
	for _, v := range []policy.View{{}, legacy, {At: start.Add(-time.Hour)}} {
		before := w.apply(false, doc, v).Doc.Encode()
		r := w.add(policy.Rule{Kind: policy.Block, Package: "*", Versions: "1.0.0"})
		if bytes.Equal(before, w.apply(false, doc, v).Doc.Encode()) {
			t.Error("the block changed nothing")
		}
		w.lift(r)
		if after := w.apply(false, doc, v).Doc.Encode(); !bytes.Equal(before, after) {
			t.Errorf("%s became %s", before, after)
		}
	}
}

// A flag or a block that concerns no version of a dated view leaves it alone.
func TestPastIsToldOnlyWhatConcernsIt(t *testing.T) {
	w := newWorld(t, policy.Options{})
	old := w.sees(two()...)
	past := policy.View{At: start.Add(time.Hour)}
	w.now = start.Add(10 * day)
	w.observe(false, document(w.name, extras{"filter": `{"malware":[{"constraint":"1.2.0","reason":"other"},{"constraint":"1.1.0","reason":"steals keys"}]}`}, two()...))
	w.add(policy.Rule{Kind: policy.Block, Versions: "^3"})
	lists := w.apply(false, old, past).Doc.Filters()
	if len(lists) != 1 || len(lists["malware"]) != 1 || lists["malware"][0].Reason != "steals keys" {
		t.Errorf("the past is told %+v", lists)
	}
	w.now = start.Add(20 * day)
	w.observe(false, document(w.name, extras{"filter": `{"malware":[{"constraint":"1.2.0","reason":"other"}]}`}, two()...))
	if doc := w.apply(false, old, past).Doc; doc != old {
		t.Errorf("the past is %s", doc.Encode())
	}
	if lists := w.apply(false, w.current(false), policy.View{}).Doc.Filters(); len(lists["malware"]) != 2 {
		t.Errorf("the present is told %+v", lists)
	}
}

func TestResultSaysUntilWhenItHolds(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := w.sees(release{version: "1.0.0", reference: "a1", published: start.Add(-60 * day)})
	if res := w.apply(false, doc, policy.View{}); !res.Until.IsZero() {
		t.Errorf("without rules the answer ends at %s", res.Until)
	}
	w.add(policy.Rule{Kind: policy.Block, ExpiresAt: start.Add(2 * day)})
	w.add(policy.Rule{Kind: policy.Block, Versions: "3", ExpiresAt: start.Add(day)})
	if res := w.apply(false, doc, policy.View{}); !res.Until.Equal(start.Add(day)) {
		t.Errorf("the answer ends at %s", res.Until)
	}
}
