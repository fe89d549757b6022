// Package private is about packages that are ours alone.
//
// It owns the question which names those are. It promises that the answer
// depends on the configuration only, never on whether a package exists or a
// source answers, so that a private name is never asked of a public registry
// (dependency confusion).
package private

import (
	"fmt"
	"path"
	"strings"

	"stasis/proxy/composer"
)

// Names is a set of reserved package names.
type Names struct{ patterns []string }

// ParseNames reads patterns such as "acme/*", "acme/tool-*" or just "acme",
// which means the whole vendor. The error names the pattern that is wrong.
func ParseNames(patterns []string) (Names, error) {
	var n Names
	for _, p := range patterns {
		p = strings.ToLower(strings.TrimSpace(p))
		if p == "" {
			continue
		}
		if !strings.Contains(p, "/") {
			p += "/*"
		}
		if _, err := path.Match(p, "vendor/name"); err != nil || strings.Count(p, "/") != 1 || strings.HasPrefix(p, "*") {
			return Names{}, fmt.Errorf("PRIVATE_VENDORS: %q is not a vendor or a pattern like acme/*", p)
		}
		n.patterns = append(n.patterns, p)
	}
	return n, nil
}

// Has reports whether a name is reserved.
func (n Names) Has(name composer.Name) bool {
	for _, p := range n.patterns {
		if ok, _ := path.Match(p, name.String()); ok {
			return true
		}
	}
	return false
}
