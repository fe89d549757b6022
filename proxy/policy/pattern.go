package policy

import (
	"fmt"
	"strings"

	"stasis/proxy/composer"
)

// pattern matches package names: "*" stands for any characters, everything
// else for itself.
type pattern string

// readPattern checks a pattern and lower-cases it. A pattern without "*" has
// to be a package name.
func readPattern(s string) (pattern, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" {
		return "", invalidf("a package name or a pattern like vendor/* is missing")
	}
	if !strings.Contains(s, "*") {
		n, err := composer.ParseName(s)
		if err != nil {
			return "", invalidf("%v", err)
		}
		return pattern(n.String()), nil
	}
	if len(s) > 255 {
		return "", invalidf("the pattern has %d characters, more than the 255 allowed", len(s))
	}
	for _, c := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_./*", c) {
			return "", invalidf("the pattern %q holds %q, which no package name has", s, c)
		}
	}
	return pattern(s), nil
}

// exact reports whether the pattern is a plain name.
func (p pattern) exact() bool { return !strings.Contains(string(p), "*") }

func (p pattern) matches(name string) bool {
	parts := strings.Split(string(p), "*")
	if len(parts) == 1 {
		return string(p) == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}

// ErrInvalid is matched by errors about what was asked for; their text is a
// sentence for whoever asked.
var ErrInvalid error = &Invalid{"the request is not valid"}

// Invalid says what is wrong with a rule or a setting.
type Invalid struct{ Sentence string }

func (e *Invalid) Error() string { return e.Sentence }

// Is matches ErrInvalid.
func (e *Invalid) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error {
	return &Invalid{fmt.Sprintf(format, args...)}
}
