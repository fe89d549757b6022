package private

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// Names is a set of package names, given by patterns.
type Names struct {
	patterns []string
	plain    map[string]bool // those without a wildcard, and whole vendors, such as acme/*
	globs    []string        // the others
}

// namesOf makes a set of patterns in their full form.
func namesOf(patterns []string) Names {
	n := Names{plain: map[string]bool{}}
	for _, p := range patterns {
		if n.plain[p] || slices.Contains(n.globs, p) {
			continue
		}
		n.patterns = append(n.patterns, p)
		if strings.ContainsAny(strings.TrimSuffix(p, "/*"), `*?[\`) {
			n.globs = append(n.globs, p)
		} else {
			n.plain[p] = true
		}
	}
	return n
}

// ParseNames reads patterns such as "acme/*", "acme/tool-*" or just "acme",
// which means the whole vendor. The error names the pattern that is wrong.
func ParseNames(patterns []string) (Names, error) {
	var full []string
	for _, p := range patterns {
		p = strings.ToLower(strings.TrimSpace(p))
		if p == "" {
			continue
		}
		if !strings.Contains(p, "/") {
			p += "/*"
		}
		if _, err := path.Match(p, "vendor/name"); err != nil || strings.Count(p, "/") != 1 {
			return Names{}, fmt.Errorf("%q is not a vendor, a package or a pattern like acme/*", p)
		}
		full = append(full, p)
	}
	return namesOf(full), nil
}

// Exclusive is the part of the set that names its vendors: what */* matches is
// everybody's.
func (n Names) Exclusive() Names {
	return namesOf(slices.DeleteFunc(slices.Clone(n.patterns), func(p string) bool { return strings.HasPrefix(p, "*") }))
}

// Empty reports whether nothing is in the set.
func (n Names) Empty() bool { return len(n.patterns) == 0 }

// Patterns are what the set was made of, in their full form.
func (n Names) Patterns() []string { return slices.Clone(n.patterns) }

// Has reports whether a name is in the set.
func (n Names) Has(name composer.Name) bool {
	if n.plain[name.String()] || n.plain[name.Vendor()+"/*"] {
		return true
	}
	for _, p := range n.globs {
		if ok, _ := path.Match(p, name.String()); ok {
			return true
		}
	}
	return false
}
