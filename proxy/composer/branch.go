package composer

import (
	"regexp"
	"strings"
)

var numbered = regexp.MustCompile(`^[vV]?([0-9]+)(\.(?:[0-9]+|[xX*]))?(\.(?:[0-9]+|[xX*]))?(\.(?:[0-9]+|[xX*]))?$`)

// NormalizeBranch turns the name of a branch into a normalized version: "1.x" is a line of releases, anything else
// stays a name. A "#" becomes "+", since behind "#" Composer expects a reference.
func NormalizeBranch(b string) string {
	b = strings.Trim(b, phpSpace)
	if v, ok := numericBranch(b); ok {
		return v
	}
	return "dev-" + strings.ReplaceAll(b, "#", "+")
}

func numericBranch(b string) (string, bool) {
	m := numbered.FindStringSubmatch(b)
	if m == nil {
		return "", false
	}
	v := m[1]
	for _, part := range m[2:] {
		switch part {
		case "", ".x", ".X", ".*":
			part = ".9999999"
		}
		v += part
	}
	return v + "-dev", true
}
