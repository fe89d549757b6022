package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

// retagged is a world in which 1.1.0 was moved from b1 to bad after three days.
func retagged(t *testing.T, o policy.Options) *world {
	w := newWorld(t, o)
	w.sees(two()...)
	w.now = start.Add(3 * day)
	w.sees(
		release{version: "1.1.0", reference: "bad", published: start.Add(-30 * day)},
		release{version: "1.0.0", reference: "a1", published: start.Add(-60 * day)},
	)
	return w
}

func TestKeepFirst(t *testing.T) {
	w := retagged(t, policy.Options{})
	res := w.apply(false, w.current(false), policy.View{})
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.1.0@b1", "1.0.0@a1"}) {
		t.Fatalf("the view shows %v", got)
	}
	if text := res.Doc.Expanded()[0].Text("description"); text != "made for b1" {
		t.Errorf("of 1.1.0 more than the reference was taken from the new document: %q", text)
	}
	if len(res.Hidden) != 1 || res.Hidden[0].Reference != "bad" || res.Hidden[0].Instead != "b1" || res.Denied != 0 {
		t.Errorf("hidden are %+v", res.Hidden)
	}
	if d := w.archive("1.1.0.0", "bad", policy.View{}); d == nil || d.Rule != policy.RuleRetag || d.Status != 451 {
		t.Errorf("the new archive is answered with %+v", d)
	}
	for _, ref := range []string{"b1", "a1"} {
		if d := w.archive("1.1.0.0", ref, policy.View{}); d != nil {
			t.Errorf("the archive at %s is refused: %+v", ref, d)
		}
	}
	x := w.explain(false, w.current(false), "1.1.0", policy.View{})
	if !x.Visible || x.Reference != "b1" || x.Rule != policy.RuleRetag || !strings.Contains(x.Sentence, "bad") {
		t.Errorf("explained as %+v", x)
	}
}

func TestHideAndFollow(t *testing.T) {
	w := retagged(t, policy.Options{Retag: policy.Hide})
	if got := w.shows(policy.View{}); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("hide shows %v", got)
	}
	if w.archive("1.1.0", "bad", policy.View{}) == nil || w.archive("1.1.0", "b1", policy.View{}) != nil {
		t.Error("hide hands out the wrong archives")
	}
	w = retagged(t, policy.Options{Retag: policy.Follow})
	if got := w.shows(policy.View{}); !slices.Equal(got, []string{"1.1.0@bad", "1.0.0@a1"}) {
		t.Errorf("follow shows %v", got)
	}
	if w.archive("1.1.0", "bad", policy.View{}) != nil {
		t.Error("follow refuses the archive it shows")
	}
	// What was given out stays installable when the policy gets stricter.
	w.now = start.Add(5 * day)
	if err := w.policy.SetRetag(policy.KeepFirst); err != nil {
		t.Fatal(err)
	}
	if w.archive("1.1.0", "bad", policy.View{}) != nil {
		t.Error("what was given out under follow is refused later")
	}
}

// A dated view shows what the policy of its instant showed.
func TestRetagPolicyAsOfTheInstant(t *testing.T) {
	w := retagged(t, policy.Options{Retag: policy.Follow})
	doc := w.current(false)
	w.now = start.Add(5 * day)
	w.options.Retag = policy.Hide
	w.reopen()
	w.now = start.Add(7 * day)
	w.options.Retag = policy.KeepFirst
	w.reopen()
	w.reopen() // the same policy again is no change
	w.now = start.Add(30 * day)
	for after, want := range map[int]string{0: "1.1.0@bad 1.0.0@a1", 4: "1.1.0@bad 1.0.0@a1", 5: "1.0.0@a1", 6: "1.0.0@a1", 7: "1.1.0@b1 1.0.0@a1", 20: "1.1.0@b1 1.0.0@a1"} {
		at := start.AddDate(0, 0, after)
		if got := strings.Join(listing(t, w.apply(false, doc, policy.View{At: at}).Doc), " "); got != want {
			t.Errorf("%d days after the start the view is %s, want %s", after, got, want)
		}
	}
	if w.policy.Retag(start.Add(-day)) != policy.Follow {
		t.Error("before it was ever set, the policy is not the first one")
	}
}

// A clock that was set back does not keep the last word from counting.
func TestRetagPolicyAfterTheClockWentBack(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.now = start.Add(-day)
	if err := w.policy.SetRetag(policy.Follow); err != nil {
		t.Fatal(err)
	}
	w.options.Retag = policy.Follow
	w.reopen()
	if got := w.policy.Retag(start.Add(day)); got != policy.Follow {
		t.Errorf("the policy is %s", got)
	}
}

func TestReviewedRetagIsLetThrough(t *testing.T) {
	w := retagged(t, policy.Options{})
	w.add(policy.Rule{Kind: policy.Waiver, Versions: "1.1.0", Reference: "bad", ExpiresAt: w.now.Add(day)})
	if got := w.shows(policy.View{}); got[0] != "1.1.0@bad" {
		t.Errorf("the view shows %v", got)
	}
	if d := w.archive("1.1.0", "bad", policy.View{}); d != nil {
		t.Errorf("the archive is refused: %+v", d)
	}
	// The past is not rewritten by a waiver of today.
	if got := listing(t, w.apply(false, w.current(false), policy.View{At: w.now.Add(-day)}).Doc); got[0] != "1.1.0@b1" {
		t.Errorf("the past shows %v", got)
	}
}

// A version that is taken away and put back with other content is a re-tag.
func TestReturnWithOtherContent(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.sees(two()...)
	w.now = start.Add(day)
	w.sees(two()[1])
	w.now = start.Add(2 * day)
	w.sees(release{version: "1.1.0", reference: "bad"}, two()[1])
	if got := w.shows(policy.View{}); got[0] != "1.1.0@b1" {
		t.Errorf("the view shows %v", got)
	}
	// And back again: nothing to object.
	w.now = start.Add(3 * day)
	doc := w.sees(two()...)
	if res := w.apply(false, doc, policy.View{}); res.Doc != doc || len(res.Hidden) != 0 {
		t.Errorf("the view shows %v: %+v", listing(t, res.Doc), res.Hidden)
	}
}

func TestFirstReferenceWithoutItsDocument(t *testing.T) {
	w := retagged(t, policy.Options{})
	facts := w.facts(policy.View{})
	facts.Entry = func(history.Reference, time.Time) (composer.Object, error) { return nil, nil }
	res, err := w.policy.Apply(w.file(false), w.current(false), facts, policy.View{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Errorf("what cannot be served at its first reference is shown: %v", got)
	}
	facts.Entry = func(history.Reference, time.Time) (composer.Object, error) {
		return nil, fmt.Errorf("the disk is on fire")
	}
	if _, err := w.policy.Apply(w.file(false), w.current(false), facts, policy.View{Now: w.now}); err == nil || !strings.Contains(err.Error(), "acme/a 1.1.0") {
		t.Errorf("a document that cannot be read: %v", err)
	}
}

func TestBranchesMove(t *testing.T) {
	w := newWorld(t, policy.Options{})
	w.observe(true, document(w.name, nil, release{version: "dev-main", reference: "c1"}))
	w.now = start.Add(day)
	doc := document(w.name, nil, release{version: "dev-main", reference: "c2"})
	w.observe(true, doc)
	if res := w.apply(true, doc, policy.View{}); res.Doc != doc {
		t.Errorf("a branch that moved is shown as %v", listing(t, res.Doc))
	}
	if d := w.archive("dev-main", "c2", policy.View{}); d != nil {
		t.Errorf("the archive of a branch that moved is refused: %+v", d)
	}
}

// A lock file from before our time is no reason to hide what was seen since.
func TestImportedReferencesAreNoRetag(t *testing.T) {
	w := newWorld(t, policy.Options{})
	lock, err := composer.ParseLock([]byte(`{"packages":[{"name":"acme/a","version":"1.1.0","dist":{"type":"zip","url":"https://example.org/a/old.zip","reference":"old"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.history.ImportLock(lock, start.Add(-100*day)); err != nil {
		t.Fatal(err)
	}
	doc := w.sees(two()...)
	if res := w.apply(false, doc, policy.View{}); res.Doc != doc {
		t.Errorf("the view shows %v", listing(t, res.Doc))
	}
	past := document(w.name, nil, release{version: "1.1.0", reference: "old"})
	if res := w.apply(false, past, policy.View{At: start.Add(-50 * day)}); res.Doc != past {
		t.Errorf("the past shows %v", listing(t, res.Doc))
	}
}

func TestMassRetag(t *testing.T) {
	w := newWorld(t, policy.Options{})
	var before, after []release
	for i := range 8 {
		v := fmt.Sprintf("1.%d.0", i)
		before = append(before, release{version: v, reference: fmt.Sprintf("a%d", i)})
		after = append(after, release{version: v, reference: fmt.Sprintf("b%d", i)})
	}
	w.sees(before...)
	held, err := w.history.State(w.file(false))
	if err != nil {
		t.Fatal(err)
	}
	w.now = start.Add(day)
	few := w.observe(false, document(w.name, nil, append(after[:5:5], before[5:]...)...))
	if _, mass := policy.MassRetag(few.Retags); mass || len(few.Retags) != 5 {
		t.Errorf("%d re-tags are taken for an attack: %v", len(few.Retags), mass)
	}
	w.now = start.Add(2 * day)
	w.sees(before...)
	w.now = start.Add(3 * day)
	many := w.observe(false, document(w.name, nil, after...))
	reason, mass := policy.MassRetag(many.Retags)
	if !mass || !strings.Contains(reason, "8 tagged versions of acme/a") {
		t.Errorf("8 re-tags: %v, %q", mass, reason)
	}
	if err := w.policy.RecordRetags(many.Retags, held.Document); err != nil {
		t.Fatal(err)
	}
	if err := w.policy.RecordRetags(nil, held.Document); err != nil {
		t.Fatal(err)
	}
	seen, err := w.policy.Retags(w.name)
	if err != nil || len(seen) != 8 || seen[0].Document != held.Document || seen[0].Old != "a0" || seen[0].New != "b0" || !seen[0].At.Equal(w.now) {
		t.Errorf("recorded %+v, %v", seen, err)
	}
	if other, err := w.policy.Retags(name(t, "acme/b")); err != nil || len(other) != 0 {
		t.Errorf("another package has %+v, %v", other, err)
	}
}
