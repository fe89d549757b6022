package policy_test

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"stasis/proxy/policy"
)

func TestRulesAreKept(t *testing.T) {
	w := newWorld(t, policy.Options{})
	before := w.policy.Generation()
	block := w.add(policy.Rule{Kind: policy.Block, Package: " Acme/* ", Versions: "^1.0", Reason: "taken over"})
	w.add(policy.Rule{Kind: policy.Exemption, Package: "own/*", ExpiresAt: start.Add(day)})
	if w.policy.Generation() == before {
		t.Error("a new rule did not change the generation")
	}
	w.reopen()
	list := w.policy.Rules(policy.Block, false)
	if len(list) != 1 || list[0] != block {
		t.Fatalf("after reopening the blocks are %+v, want %+v", list, block)
	}
	if block.Package != "acme/*" || block.Owner != "admin" || !block.CreatedAt.Equal(start) || block.ID == "" {
		t.Errorf("the block was kept as %+v", block)
	}
	w.now = start.Add(2 * day)
	if n := len(w.policy.Rules(policy.Exemption, false)); n != 0 {
		t.Errorf("%d exemptions count after their expiry", n)
	}
	if n := len(w.policy.Rules(policy.Exemption, true)); n != 1 {
		t.Errorf("%d exemptions are remembered", n)
	}
}

func TestSameRuleTwiceIsOneRule(t *testing.T) {
	w := newWorld(t, policy.Options{})
	a := w.add(policy.Rule{Kind: policy.Block, Versions: "1.0"})
	w.now = start.Add(day)
	if b := w.add(policy.Rule{Kind: policy.Block, Versions: "1.0"}); b != a {
		t.Errorf("the same block became %+v", b)
	}
	if b := w.add(policy.Rule{Kind: policy.Block, Versions: "1.1"}); b.ID == a.ID {
		t.Error("another block got the same id")
	}
}

func TestLiftedRulesAreRemembered(t *testing.T) {
	w := newWorld(t, policy.Options{})
	r := w.add(policy.Rule{Kind: policy.Hold, Versions: "<2"})
	w.now = start.Add(day)
	if _, err := w.policy.Lift(policy.Block, r.ID, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a hold was lifted as a block: %v", err)
	}
	w.lift(r)
	for _, id := range []string{r.ID, "77", "x"} {
		if _, err := w.policy.Lift(policy.Hold, id, ""); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("lifting %s again: %v", id, err)
		}
	}
	w.reopen()
	if len(w.policy.Rules(policy.Hold, false)) != 0 {
		t.Error("a lifted rule counts")
	}
	past := w.policy.Rules(policy.Hold, true)
	if len(past) != 1 || past[0].LiftedBy != "tester" || !past[0].LiftedAt.Equal(w.now) {
		t.Fatalf("remembered %+v", past)
	}
	if !past[0].ActiveAt(start) || past[0].ActiveAt(w.now) || past[0].ActiveAt(start.Add(-1)) {
		t.Error("the rule does not count exactly in its time")
	}
	// A rule like it begins anew.
	if again := w.add(policy.Rule{Kind: policy.Hold, Versions: "<2"}); again.ID == r.ID {
		t.Error("a lifted rule was revived")
	}
}

func TestRulesThatMakeNoSense(t *testing.T) {
	w := newWorld(t, policy.Options{})
	later := start.Add(day)
	for what, r := range map[string]policy.Rule{
		"no kind":                   {Package: "acme/a", Reason: "x"},
		"no package":                {Kind: policy.Block, Reason: "x"},
		"no package name":           {Kind: policy.Block, Package: "acme", Reason: "x"},
		"strange pattern":           {Kind: policy.Block, Package: "acme/*?", Reason: "x"},
		"long pattern":              {Kind: policy.Block, Package: strings.Repeat("a", 300) + "*", Reason: "x"},
		"no reason":                 {Kind: policy.Block, Package: "acme/a"},
		"long reason":               {Kind: policy.Block, Package: "acme/a", Reason: strings.Repeat("x", 2000)},
		"bad constraint":            {Kind: policy.Block, Package: "acme/a", Versions: "latest", Reason: "x"},
		"over before it begins":     {Kind: policy.Block, Package: "acme/a", Reason: "x", ExpiresAt: start},
		"hold without constraint":   {Kind: policy.Hold, Package: "acme/a", Reason: "x"},
		"hold at a reference":       {Kind: policy.Hold, Package: "acme/a", Versions: "1.0", Reference: "aa", Reason: "x"},
		"eternal exemption":         {Kind: policy.Exemption, Package: "acme/a", Reason: "x"},
		"exemption of a version":    {Kind: policy.Exemption, Package: "acme/a", Versions: "1.0", Reason: "x", ExpiresAt: later},
		"eternal waiver":            {Kind: policy.Waiver, Package: "acme/a", Versions: "1.0", Reference: "aa", Reason: "x"},
		"waiver of a pattern":       {Kind: policy.Waiver, Package: "acme/*", Versions: "1.0", Reference: "aa", Reason: "x", ExpiresAt: later},
		"waiver without reference":  {Kind: policy.Waiver, Package: "acme/a", Versions: "1.0", Reason: "x", ExpiresAt: later},
		"waiver of many versions":   {Kind: policy.Waiver, Package: "acme/a", Versions: "^1.0", Reference: "aa", Reason: "x", ExpiresAt: later},
		"waiver without any detail": {Kind: policy.Waiver, Package: "acme/a", Reason: "x", ExpiresAt: later},
	} {
		if _, err := w.policy.Add(r); !errors.Is(err, policy.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		} else if len(err.Error()) < 20 {
			t.Errorf("%s: %q explains nothing", what, err)
		}
	}
	if err := w.policy.SetRetag("sometimes"); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("an unknown re-tag policy: %v", err)
	}
}

func TestPatterns(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, nil, release{version: "1.0", reference: "a1"})
	for pattern, want := range map[string]bool{
		"*": true, "acme/*": true, "*/a": true, "acme/a": true, "a*e/*": true, "acme/a*": true, "*acme/a*": true, "ACME/A": true,
		"acme/b": false, "acme/a-*": false, "acm/*": false, "*b": false, "acme/a*a": false, "*acme/a/*": false,
	} {
		r := w.add(policy.Rule{Kind: policy.Block, Package: pattern})
		if got := w.apply(false, doc, policy.View{}).Denied == 1; got != want {
			t.Errorf("%s matches acme/a: %v", pattern, got)
		}
		w.lift(r)
	}
}

// Many operators at once: every rule is kept, under an id of its own.
func TestRulesFromMany(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, nil, release{version: "1.0", reference: "a1"})
	facts := w.facts(policy.View{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				r, err := w.policy.Add(policy.Rule{Kind: policy.Block, Package: "acme/a", Versions: "1." + string(rune('0'+i)) + "." + string(rune('0'+j)), Reason: "x"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := w.policy.Apply(w.file(false), doc, facts, policy.View{Now: start}); err != nil {
					t.Error(err)
				}
				if j%2 == 1 {
					if _, err := w.policy.Lift(policy.Block, r.ID, ""); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, r := range w.policy.Rules(policy.Block, true) {
		ids[r.ID] = true
	}
	if n := len(w.policy.Rules(policy.Block, false)); len(ids) != 40 || n != 24 {
		t.Errorf("%d rules have an id of their own, %d count; want 40 and 24", len(ids), n)
	}
}
