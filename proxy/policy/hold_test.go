package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/policy"
)

func TestHold(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := w.sees(two()...)
	w.now = start.Add(day)
	r := w.add(policy.Rule{Kind: policy.Hold, Package: "acme/*", Versions: "<1.1", Reason: "waiting for the port", Owner: "ann", ExpiresAt: start.Add(10 * day)})
	res := w.apply(false, doc, policy.View{})
	if got := listing(t, res.Doc); !slices.Equal(got, []string{"1.0.0@a1"}) {
		t.Fatalf("the view shows %v", got)
	}
	if h := res.Hidden[0]; h.Rule != policy.RuleHold || !h.Until.Equal(r.ExpiresAt) || !strings.Contains(h.Sentence, "ann (waiting for the port)") {
		t.Errorf("hidden as %+v", h)
	}
	if d := w.archive("1.1.0", "b1", policy.View{}); d != nil {
		t.Errorf("what is locked is refused: %+v", d)
	}
	w.now = start.Add(2 * day)
	w.lift(r)
	w.now = start.Add(3 * day)
	// A dated view is held if it was held then.
	for hours, want := range map[int]int{0: 2, 23: 2, 24: 1, 47: 1, 48: 2, 60: 2} {
		at := start.Add(time.Duration(hours) * time.Hour)
		if got := listing(t, w.apply(false, doc, policy.View{At: at}).Doc); len(got) != want {
			t.Errorf("%d hours after the start the view shows %v", hours, got)
		}
	}
	if w.apply(false, doc, policy.View{}).Doc != doc {
		t.Error("a lifted hold counts")
	}
}

func TestHoldAndBranches(t *testing.T) {
	w := newWorld(t, policy.Options{})
	doc := document(w.name, nil, release{version: "dev-main", reference: "c1"}, release{version: "1.x-dev", reference: "c2"}, release{version: "2.x-dev", reference: "c3"})
	w.add(policy.Rule{Kind: policy.Hold, Versions: "<2.0 || dev-main"})
	if got := listing(t, w.apply(true, doc, policy.View{}).Doc); !slices.Equal(got, []string{"dev-main@c1", "1.x-dev@c2"}) {
		t.Errorf("the view shows %v", got)
	}
}

func TestExplainAbsence(t *testing.T) {
	w := newWorld(t, policy.Options{})
	first := w.sees(two()[1])
	w.now = start.Add(2 * day)
	w.sees(release{version: "1.1.0", reference: "b1", published: start.Add(day)}, two()[1])
	w.now = start.Add(4 * day)
	last := w.sees(two()[1])
	for what, c := range map[string]struct {
		doc     *composer.Document
		version string
		view    policy.View
		want    string
	}{
		"later":       {first, "1.1.0", policy.View{At: start.Add(day / 2)}, "is not visible at 2026-07-02T00:00:00Z: it appeared on 2026-07-02T12:00:00Z"},
		"deleted":     {last, "v1.1.0", policy.View{}, "upstream no longer had it when it was asked on 2026-07-05T12:00:00Z"},
		"never":       {last, "9.9", policy.View{}, "no document of the package ever seen here has such a version"},
		"no document": {nil, "1.0.0", policy.View{}, "the document of this view does not have it; it was first seen here on 2026-07-01"},
	} {
		x := w.explain(false, c.doc, c.version, c.view)
		if x.Visible || x.Rule != policy.RuleAbsent || !strings.Contains(x.Sentence, c.want) {
			t.Errorf("%s: explained as %+v", what, x)
		}
	}
	if x := w.explain(false, last, "1.0", policy.View{}); !x.Visible || x.Reference != "a1" || !strings.Contains(x.Sentence, "no rule objects") {
		t.Errorf("explained as %+v", x)
	}
	if _, err := w.policy.Explain(w.file(false), last, "latest", w.facts(policy.View{}), policy.View{}); err == nil {
		t.Error("what is not a version was explained")
	}
}

// Whatever hides a version, the explanation is the rule that Apply names.
func TestExplainNamesTheRule(t *testing.T) {
	w := settled(t, policy.Options{})
	doc := document(w.name, extras{"filter": malware}, release{version: "1.2.0", reference: "c1"}, release{version: "1.1.0", reference: "b1"}, old())
	w.observe(false, doc)
	w.add(policy.Rule{Kind: policy.Block, Versions: "1.2.0"})
	for version, want := range map[string]policy.RuleName{"1.2.0": policy.RuleBlock, "1.1.0": policy.RuleMalware, "1.0.0": policy.RuleNone} {
		x := w.explain(false, doc, version, week)
		if x.Rule != want || x.Visible != (want == policy.RuleNone) || !strings.HasPrefix(x.Sentence, "acme/a "+version) {
			t.Errorf("%s is explained as %+v", version, x)
		}
	}
}

func TestRootFilter(t *testing.T) {
	for what, upstream := range map[string]string{
		"upstream's":      `{"metadata":true,"lists":{"malware":{"enabled":true},"other":{"enabled":true}},"summary-url":"https://example.org/s.json","more":1}`,
		"none":            ``,
		"switched off":    `{"metadata":false,"lists":{}}`,
		"the old form":    `{"metadata":true,"lists":["malware"]}`,
		"no filter, list": `[]`,
	} {
		var got struct {
			Metadata bool
			Lists    map[string]struct{ Enabled bool }
			Summary  string `json:"summary-url"`
			More     int
		}
		text := policy.RootFilter([]byte(upstream))
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %s: %v", what, text, err)
		}
		if !got.Metadata || !got.Lists["stasis"].Enabled || !got.Lists["malware"].Enabled || got.Summary == "" {
			t.Errorf("%s: %s", what, text)
		}
		if what == "upstream's" && (got.More != 1 || !got.Lists["other"].Enabled || got.Summary != "https://example.org/s.json") {
			t.Errorf("%s: something was lost: %s", what, text)
		}
		// What the root's rewriting makes of it is still a filter.
		root, err := composer.ParseRoot([]byte(`{"packages":[],"filter":` + string(text) + `}`))
		if err != nil || !root.FilterMetadata {
			t.Fatalf("%s: %v, %+v", what, err, root)
		}
		if out := string(root.Rewrite("https://proxy.example", composer.RootOptions{})); !strings.Contains(out, `"stasis":{"enabled":true}`) || !strings.Contains(out, "https://proxy.example/lists/all/summary.json") {
			t.Errorf("%s: rewritten as %s", what, out)
		}
	}
}

func TestSummary(t *testing.T) {
	w := newWorld(t, policy.Options{})
	upstream := []byte(`{"filter":{"malware":{"evil/a":"1.0.1|1.0.2","acme/a":"3.0"}}}`)
	tracked := slices.Values([]composer.Name{name(t, "acme/a"), name(t, "acme/b"), name(t, "good/c")})
	read := func(body []byte) map[string]map[string]string {
		t.Helper()
		var got struct{ Filter map[string]map[string]string }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return got.Filter
	}
	body, err := w.policy.Summary(upstream, tracked)
	if err != nil || string(body) != string(upstream) {
		t.Errorf("without blocks the summary is %s, %v", body, err)
	}
	w.add(policy.Rule{Kind: policy.Block, Package: "acme/*", Versions: "^1.0"})
	w.add(policy.Rule{Kind: policy.Block, Package: "never/seen", Reference: "aa"})
	lifted := w.add(policy.Rule{Kind: policy.Block, Package: "good/c"})
	w.lift(lifted)
	for _, given := range [][]byte{upstream, []byte(`{"filter":[]}`), nil} {
		body, err := w.policy.Summary(given, tracked)
		if err != nil {
			t.Fatal(err)
		}
		lists := read(body)
		if own := lists["stasis"]; len(own) != 3 || own["acme/a"] != "^1.0" || own["acme/b"] != "^1.0" || own["never/seen"] != "*" {
			t.Errorf("our list is %v", own)
		}
		all := lists["malware"]
		if all["never/seen"] != "*" || given != nil && given[10] != '[' && (all["evil/a"] != "1.0.1|1.0.2" || all["acme/a"] != "3.0|^1.0") {
			t.Errorf("the list that clients obey is %v", all)
		}
	}
	for _, bad := range []string{`<html>`, `{}`, `{"filter":7}`, `{"filter":{"malware":7}}`} {
		if body, err := w.policy.Summary([]byte(bad), tracked); err == nil {
			t.Errorf("%s became %s", bad, body)
		}
	}
}
