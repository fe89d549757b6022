package private_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"stasis/private"
	"stasis/proxy/composer"
)

// FuzzNames compares a set of names with trying its patterns one by one.
func FuzzNames(f *testing.F) {
	f.Add("acme acme/tool-* */* Other/Lib", "acme/tool-x")
	f.Add("acme/lib", "acme/library")
	f.Add("ac?e/* acme/[a-c]*", "acme/c")
	f.Add("a*/x a/*b", "ab/x")
	f.Fuzz(func(t *testing.T, patterns, name string) {
		n, err := composer.ParseName(name)
		if err != nil {
			return
		}
		given := strings.Fields(patterns)
		set, err := private.ParseNames(given)
		if err != nil {
			return
		}
		matches := func(p string) bool { ok, _ := path.Match(p, n.String()); return ok }
		exclusive := slices.DeleteFunc(set.Patterns(), func(p string) bool { return strings.HasPrefix(p, "*") })
		if got, want := set.Has(n), slices.ContainsFunc(set.Patterns(), matches); got != want {
			t.Errorf("%s in %q: %v, want %v", n, given, got, want)
		}
		if got, want := set.Exclusive().Has(n), slices.ContainsFunc(exclusive, matches); got != want {
			t.Errorf("%s in the vendors of %q: %v, want %v", n, given, got, want)
		}
		for _, p := range given {
			if whole, _ := path.Match(strings.ToLower(p), n.String()); whole && !set.Has(n) {
				t.Errorf("%s matches %q, and is not in %q", n, p, given)
			}
		}
	})
}
