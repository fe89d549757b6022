package policy_test

import (
	"encoding/json"
	"slices"
	"testing"

	"stasis/proxy/composer"
	"stasis/proxy/policy"
)

func FuzzSummary(f *testing.F) {
	w := newWorld(f, policy.Options{})
	w.add(policy.Rule{Kind: policy.Block, Package: "acme/*", Versions: "^1.0"})
	tracked := []composer.Name{w.name}
	f.Add([]byte(`{"filter":{"malware":{"evil/a":"1.0.1|1.0.2","acme/a":"3.0"}}}`))
	f.Add([]byte(`{"filter":[]}`))
	f.Add([]byte(`{"filter":{"stasis":[],"malware":{"a/b":7}},"more":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := w.policy.Summary(body, slices.Values(tracked))
		if err != nil {
			return
		}
		var got struct{ Filter map[string]map[string]string }
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
		if got.Filter["stasis"]["acme/a"] == "" || got.Filter["malware"]["acme/a"] == "" {
			t.Fatalf("%q became %q, which lacks our block", body, out)
		}
	})
}

func FuzzRootFilter(f *testing.F) {
	f.Add([]byte(`{"metadata":true,"lists":{"malware":{"enabled":true}},"summary-url":"https://example.org/s.json"}`))
	f.Add([]byte(`{"metadata":true,"lists":[]}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, upstream []byte) {
		root, err := composer.ParseRoot([]byte(`{"filter":` + string(policy.RootFilter(upstream)) + `}`))
		if err != nil || !root.FilterMetadata || root.FilterSummaryURL == "" {
			t.Fatalf("%q became a filter that is none: %v", upstream, err)
		}
	})
}

func FuzzExplain(f *testing.F) {
	w := newWorld(f, policy.Options{})
	doc := w.sees(two()...)
	facts := w.facts(policy.View{})
	for _, v := range []string{"1.0.0", "v1.1", "dev-main", "latest", ""} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, version string) {
		x, err := w.policy.Explain(w.file(false), doc, version, facts, policy.View{Now: start})
		if err == nil && x.Sentence == "" {
			t.Fatalf("%q is not explained", version)
		}
	})
}
