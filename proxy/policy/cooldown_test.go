package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

var week = policy.View{MinAge: 7 * day}

// settled is a world that has long known 1.0.0.
func settled(t *testing.T, o policy.Options) *world {
	w := newWorld(t, o)
	w.sees(old())
	w.now = start.Add(30 * day)
	return w
}

func old() release {
	return release{version: "1.0.0", reference: "a1", published: start.Add(-60 * day)}
}

func TestYoungVersionsWait(t *testing.T) {
	w := settled(t, policy.Options{EnforceOnDownload: true})
	appeared := w.now
	doc := w.sees(release{version: "1.1.0", reference: "b1", published: appeared.Add(-time.Minute)}, old())
	res := w.apply(false, doc, week)
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Fatalf("the view shows %v", got)
	}
	h := res.Hidden[0]
	if h.Rule != policy.RuleCooldown || !h.Until.Equal(appeared.Add(7*day)) || !res.Until.Equal(h.Until) || !strings.Contains(h.Sentence, "7 days old") {
		t.Errorf("hidden as %+v until %s", h, res.Until)
	}
	d := w.archive("1.1.0.0", "b1", week)
	if d == nil || d.Rule != policy.RuleCooldown || d.Status != 451 || !d.Until.Equal(h.Until) || !strings.Contains(d.Sentence, "acme/a 1.1.0 is held back until 2026-08-07T12:00:00Z") {
		t.Errorf("the archive is answered with %+v", d)
	}
	if d := w.archive("1.0.0.0", "a1", week); d != nil {
		t.Errorf("an old archive is refused: %+v", d)
	}
	if d := w.archive("1.1.0.0", "b1", policy.View{}); d != nil {
		t.Errorf("without a minimum age the archive is refused: %+v", d)
	}
	w.now = appeared.Add(7*day - time.Second)
	if got := w.shows(week); len(got) != 1 {
		t.Errorf("a second too early the view shows %v", got)
	}
	w.now = appeared.Add(7 * day)
	if res := w.apply(false, doc, week); res.Doc != doc || !res.Until.IsZero() {
		t.Errorf("after a week the view shows %v until %s", listing(t, res.Doc), res.Until)
	}
	if d := w.archive("1.1.0.0", "b1", week); d != nil {
		t.Errorf("after a week the archive is refused: %+v", d)
	}
	if got := listing(t, w.apply(false, doc, policy.View{At: appeared, MinAge: 7 * day}).Doc); len(got) != 2 {
		t.Errorf("in a dated view the age counts: %v", got)
	}
}

func TestArchivesAreFreeWithoutEnforcement(t *testing.T) {
	w := settled(t, policy.Options{})
	w.sees(release{version: "1.1.0", reference: "b1"}, old())
	if d := w.archive("1.1.0.0", "b1", week); d != nil {
		t.Errorf("refused: %+v", d)
	}
}

func TestArchiveNeverSeenIsYoung(t *testing.T) {
	w := settled(t, policy.Options{EnforceOnDownload: true})
	w.observe(true, document(w.name, nil, release{version: "dev-main", reference: "c1"}))
	if d := w.archive("dev-main", "cafe", week); d == nil || d.Rule != policy.RuleCooldown {
		t.Errorf("a commit nobody has seen is answered with %+v", d)
	}
	// Content that has long been known by another name is not young.
	if d := w.archive("dev-other", "a1", week); d != nil {
		t.Errorf("known content is refused: %+v", d)
	}
}

func TestLyingDatesGainNothing(t *testing.T) {
	for what, r := range map[string]release{
		"back-dated commit":           {version: "1.1.0", reference: "b1", time: start.Add(-900 * day)},
		"back-dated publication":      {version: "1.1.0", reference: "b1", published: start.Add(-900 * day)},
		"commit and publication":      {version: "1.1.0", reference: "b1", published: start.Add(-900 * day), time: start.Add(-900 * day)},
		"publication in the future":   {version: "1.1.0", reference: "b1", published: start.Add(900 * day)},
		"no dates":                    {version: "1.1.0", reference: "b1"},
		"a commit date in the future": {version: "1.1.0", reference: "b1", time: start.Add(900 * day)},
	} {
		w := settled(t, policy.Options{})
		w.sees(r, old())
		w.now = w.now.Add(7*day - time.Second)
		if got := w.shows(week); len(got) != 1 {
			t.Errorf("%s: a second before the week is over the view shows %v", what, got)
		}
		w.now = w.now.Add(time.Second)
		if got := w.shows(week); (len(got) == 2) != (r.published.Before(w.now)) {
			t.Errorf("%s: after a week the view shows %v", what, got)
		}
	}
}

// A date of publication in the future is no date to count from: what it hides
// it hides for the age after it, and says no later moment than that.
func TestFuturePublicationIsClamped(t *testing.T) {
	w := settled(t, policy.Options{})
	doc := w.sees(release{version: "1.1.0", reference: "b1", published: w.now.Add(900 * day)}, old())
	if h := w.apply(false, doc, week).Hidden[0]; !h.Until.Equal(w.now.Add(7 * day)) {
		t.Errorf("it is held back until %s", h.Until)
	}
}

// What was there before us is believed the registry's dates, or else the date
// of the document, but not its author's.
func TestFirstDocumentIsBelieved(t *testing.T) {
	w := newWorld(t, policy.Options{})
	first := []release{
		{version: "1.3.0", reference: "d1", published: start.Add(-2 * day), time: start.Add(-900 * day)},
		{version: "1.2.0", reference: "c1", time: start.Add(-900 * day)},
		{version: "1.1.0", reference: "b1", published: start.Add(-8 * day)},
	}
	doc := document(w.name, nil, first...)
	if _, err := w.history.Observe(w.file(false), history.Observation{
		AskedAt: start, Body: doc.Encode(), LastModified: "Sun, 28 Jun 2026 12:00:00 GMT", Via: history.Demand,
	}); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[int]string{
		0: "1.1.0@b1",
		4: "1.2.0@c1 1.1.0@b1", // seven days after the document's date
		5: "1.3.0@d1 1.2.0@c1 1.1.0@b1",
	} {
		w.now = start.AddDate(0, 0, after)
		if got := strings.Join(w.shows(week), " "); got != want {
			t.Errorf("%d days later the view shows %s, want %s", after, got, want)
		}
	}
}

func TestRetagRestartsTheClock(t *testing.T) {
	w := settled(t, policy.Options{Retag: policy.Follow})
	w.sees(release{version: "1.0.0", reference: "bad", published: start.Add(-60 * day)})
	if got := w.shows(week); len(got) != 0 {
		t.Errorf("moved content is shown at once: %v", got)
	}
	w.now = w.now.Add(7 * day)
	if got := w.shows(week); len(got) != 1 {
		t.Errorf("after a week the view shows %v", got)
	}
	// With keep-first there is an older reference to show.
	w = settled(t, policy.Options{})
	w.sees(release{version: "1.0.0", reference: "bad", published: start.Add(-60 * day)})
	if got := w.shows(week); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("keep-first shows %v", got)
	}
}

func TestBranchIsShownAtAnOlderHead(t *testing.T) {
	w := newWorld(t, policy.Options{EnforceOnDownload: true})
	head := func(ref string) *composer.Document {
		doc := document(w.name, nil, release{version: "dev-main", reference: ref, published: w.now}, release{version: "2.x-dev", reference: "2" + ref, published: w.now})
		w.observe(true, doc)
		return doc
	}
	head("c0")
	w.now = start.Add(10 * day)
	head("c1")
	w.now = start.Add(16 * day)
	head("c2")
	w.now = start.Add(18 * day)
	doc := head("c3")
	res := w.apply(true, doc, week)
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"dev-main@c1", "2.x-dev@2c1"}) {
		t.Fatalf("8 days after c1 the branches are at %v", got)
	}
	if h := res.Hidden[0]; h.Instead != "c1" || h.Reference != "c3" {
		t.Errorf("hidden is %+v", h)
	}
	if res.Doc.Expanded()[0].Text("description") != "made for c1" {
		t.Error("the older head has the newer one's metadata")
	}
	if x := w.explain(true, doc, "dev-main", week); !x.Visible || x.Reference != "c1" || x.Rule != policy.RuleCooldown {
		t.Errorf("explained as %+v", x)
	}
	if w.archive("dev-main", "c3", week) == nil || w.archive("dev-main", "c2", week) == nil || w.archive("dev-main", "c1", week) != nil {
		t.Error("the wrong archives are refused")
	}
	// An older head that is blocked is no way out.
	r := w.add(policy.Rule{Kind: policy.Block, Reference: "c1"})
	if got := listing(t, w.apply(true, doc, week).Doc); got[0] != "dev-main@c0" {
		t.Errorf("with c1 blocked the branch is at %v", got)
	}
	w.lift(r)
	w.now = start.Add(23 * day)
	if got := listing(t, w.apply(true, doc, week).Doc); got[0] != "dev-main@c2" {
		t.Errorf("7 days after c2 the branch is at %v", got)
	}
	w.now = start.Add(25 * day)
	if res := w.apply(true, doc, week); res.Doc != doc {
		t.Errorf("7 days after c3 the branch is at %v", listing(t, res.Doc))
	}
}

func TestNewBranchWaits(t *testing.T) {
	w := settled(t, policy.Options{})
	w.observe(true, document(w.name, nil, release{version: "dev-main", reference: "c1"}))
	w.now = w.now.Add(30 * day)
	doc := document(w.name, nil, release{version: "dev-main", reference: "c1"}, release{version: "dev-new", reference: "n1", time: start.Add(-900 * day)})
	w.observe(true, doc)
	if got := listing(t, w.apply(true, doc, week).Doc); !slices.Equal(got, []string{"dev-main@c1"}) {
		t.Errorf("the branches are %v", got)
	}
}

func TestExemptionEnds(t *testing.T) {
	w := settled(t, policy.Options{EnforceOnDownload: true})
	doc := w.sees(release{version: "1.1.0", reference: "b1"}, old())
	w.add(policy.Rule{Kind: policy.Exemption, Package: "acme/*", ExpiresAt: w.now.Add(day)})
	if got := w.shows(week); len(got) != 2 {
		t.Errorf("the view shows %v", got)
	}
	if d := w.archive("1.1.0", "b1", week); d != nil {
		t.Errorf("the archive is refused: %+v", d)
	}
	if x := w.explain(false, doc, "1.1.0", week); !x.Visible || !strings.Contains(x.Sentence, "exempt") {
		t.Errorf("explained as %+v", x)
	}
	if res := w.apply(false, doc, week); !res.Until.Equal(w.now.Add(day)) {
		t.Errorf("the answer ends at %s", res.Until)
	}
	w.now = w.now.Add(day)
	if got := w.shows(week); len(got) != 1 {
		t.Errorf("after the exemption the view shows %v", got)
	}
}

// advisory affects every 1.0.
const advisory = `[{"advisoryId":"PKSA-1","affectedVersions":">=1.0,<1.1"}]`

func TestSecurityFixPasses(t *testing.T) {
	for what, c := range map[string]struct {
		advisories string
		young      release
		filter     string
		want       bool
	}{
		"a fix":                         {advisory, release{version: "1.1.0", reference: "b1"}, "", true},
		"no advisory":                   {`[]`, release{version: "1.1.0", reference: "b1"}, "", false},
		"it is affected itself":         {`[{"advisoryId":"PKSA-1","affectedVersions":">=1.0,<1.2"}]`, release{version: "1.1.0", reference: "b1"}, "", false},
		"affected by another advisory":  {`[{"advisoryId":"PKSA-1","affectedVersions":"<1.1"},{"advisoryId":"PKSA-2","affectedVersions":"1.1.0"}]`, release{version: "1.1.0", reference: "b1"}, "", false},
		"the newest is not affected":    {`[{"advisoryId":"PKSA-1","affectedVersions":"<1.0"}]`, release{version: "1.1.0", reference: "b1"}, "", false},
		"another major series":          {advisory, release{version: "2.0.0", reference: "b1"}, "", false},
		"older than what is allowed":    {`[{"advisoryId":"PKSA-1","affectedVersions":"1.0.0"}]`, release{version: "0.9.9", reference: "b1"}, "", false},
		"older, in the same series":     {`[{"advisoryId":"PKSA-1","affectedVersions":"1.0.0"}]`, release{version: "1.0.0-RC1", reference: "b1"}, "", false},
		"not a stable version":          {advisory, release{version: "1.1.0-beta1", reference: "b1"}, "", false},
		"it is malware":                 {advisory, release{version: "1.1.0", reference: "b1"}, malware, false},
		"the advisory cannot be read":   {`[{"advisoryId":"PKSA-1","affectedVersions":"everything"}]`, release{version: "1.1.0", reference: "b1"}, "", false},
		"the advisory is part readable": {`[{"advisoryId":"PKSA-1","affectedVersions":"everything|1.0.0"}]`, release{version: "1.1.0", reference: "b1"}, "", true},
	} {
		w := settled(t, policy.Options{SecurityGrace: day, EnforceOnDownload: true})
		doc := document(w.name, extras{"security-advisories": c.advisories, "filter": c.filter}, c.young, old())
		w.observe(false, doc)
		v := week
		v.Legacy = true
		if got := w.shows(v); slices.Contains(got, c.young.version+"@b1") {
			t.Errorf("%s: within the grace the view shows %v", what, got)
		}
		w.now = w.now.Add(day)
		if got := w.shows(v); slices.Contains(got, c.young.version+"@b1") != c.want {
			t.Errorf("%s: after the grace the view shows %v", what, got)
		}
		if d := w.archive(c.young.version, "b1", v); (d == nil) != c.want {
			t.Errorf("%s: the archive is answered with %+v", what, d)
		}
		if x := w.explain(false, doc, c.young.version, v); x.Visible != c.want || c.want && !strings.Contains(x.Sentence, "advisory") {
			t.Errorf("%s: explained as %+v", what, x)
		}
	}
}

func TestSecurityFixWithoutGrace(t *testing.T) {
	w := settled(t, policy.Options{})
	w.observe(false, document(w.name, extras{"security-advisories": advisory}, release{version: "1.1.0", reference: "b1"}, old()))
	if got := w.shows(week); len(got) != 2 {
		t.Errorf("the view shows %v", got)
	}
}

// Advisories that the document does not carry count as well.
func TestSecurityFixByFurtherAdvisory(t *testing.T) {
	w := settled(t, policy.Options{})
	doc := w.sees(release{version: "1.1.0", reference: "b1"}, old())
	a, ok := composer.ReadAdvisory([]byte(`{"advisoryId":"PKSA-1","affectedVersions":"1.0.0"}`))
	if !ok {
		t.Fatal("the advisory was not read")
	}
	facts := w.facts(week)
	facts.Advisories = []composer.Advisory{a}
	v := week
	v.Now = w.now
	res, err := w.policy.Apply(w.file(false), doc, facts, v)
	if err != nil || len(listing(t, res.Doc)) != 2 {
		t.Errorf("the view shows %v, %v", listing(t, res.Doc), err)
	}
}
