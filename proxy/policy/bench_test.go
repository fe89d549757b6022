package policy_test

import (
	"fmt"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

// big is a package with 3,000 tagged versions, one of which was re-tagged.
func big(b *testing.B) (*world, *composer.Document, policy.Facts) {
	w := newWorld(b, policy.Options{SecurityGrace: day})
	var list []release
	var facts policy.Facts
	for i := 3000; i > 0; i-- {
		r := release{version: fmt.Sprintf("%d.%d.%d", i/100, i/10%10, i%10), reference: fmt.Sprintf("%040x", i), published: start.Add(-time.Duration(3000-i) * time.Hour)}
		list = append(list, r)
		facts.References = append(facts.References, history.Reference{
			Version: r.version, Normalized: r.version + ".0", Reference: r.reference, Published: r.published, FirstSeen: r.published, Via: history.Demand,
		})
	}
	doc := document(w.name, extras{"security-advisories": advisory}, list...)
	facts.Live = doc
	entry := doc.Expanded()[7]
	facts.References = append(facts.References, history.Reference{Version: list[7].version, Normalized: list[7].version + ".0", Reference: "f00d", FirstSeen: start.Add(-9000 * time.Hour), GoneAt: start})
	facts.Entry = func(history.Reference, time.Time) (composer.Object, error) { return entry, nil }
	return w, doc, facts
}

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		name  string
		view  policy.View
		rules bool
		quiet bool
	}{
		{"NothingToDo", policy.View{}, false, true},
		{"Retag", policy.View{}, false, false},
		{"Cooldown", policy.View{MinAge: 7 * day}, false, false},
		{"DatedWithBlock", policy.View{At: start, Legacy: true}, true, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, doc, facts := big(b)
			if c.quiet {
				facts.References = facts.References[:3000]
			}
			if c.rules {
				if _, err := w.policy.Add(policy.Rule{Kind: policy.Block, Package: "acme/*", Versions: "<2", Reason: "old"}); err != nil {
					b.Fatal(err)
				}
			}
			c.view.Now = start
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.policy.Apply(w.file(false), doc, facts, c.view); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
