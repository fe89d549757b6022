package access

import (
	"path"
	"regexp"
	"strings"

	"stasis/proxy/composer"
)

// pattern is a set of package names: "acme/*", "acme/tool-*", "acme/tool", or "acme", which means the whole vendor.
// "*" is every name.
type pattern string

var patternForm = regexp.MustCompile(`^[a-z0-9*]([a-z0-9*._-]*[a-z0-9*])?/[a-z0-9*]([a-z0-9*._-]*[a-z0-9*])?$`)

func parsePattern(s string) (pattern, error) {
	p := strings.ToLower(strings.TrimSpace(s))
	switch {
	case p == "*":
		p = "*/*"
	case p != "" && !strings.Contains(p, "/"):
		p += "/*"
	}
	if len(p) > maxText || !patternForm.MatchString(p) {
		return "", wrongf("%.100q is not a package or a pattern like acme/* or acme/tool-*.", s)
	}
	return pattern(p), nil
}

func (p pattern) has(n composer.Name) bool {
	ok, _ := path.Match(string(p), n.String()) // its form was checked
	return ok
}

// both is a constraint that contains what a and b contain; "" contains everything. Composer's constraints have no
// parentheses, so alternatives are multiplied out.
func both(a, b string) string {
	if a == "" || a == b {
		return b
	}
	if b == "" {
		return a
	}
	var out []string
	for _, x := range alternatives(a) {
		for _, y := range alternatives(b) {
			out = append(out, x+", "+y)
		}
	}
	return strings.Join(out, " || ")
}

// either is a constraint that contains what one of a and b contains.
func either(a, b string) string {
	switch {
	case a == "" || b == "":
		return ""
	case a == b:
		return a
	}
	return a + " || " + b
}

func alternatives(c string) []string {
	parts := strings.FieldsFunc(c, func(r rune) bool { return r == '|' })
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
