package composer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Constraint is a set of versions as Composer writes it: "^1.2 || >=3.0 <3.4 || dev-main". The zero Constraint contains
// every version.
type Constraint struct {
	text string
	any  [][]bound // one of these has to hold, and every bound in it
}

// bound compares with one normalized version.
type bound struct {
	op      operator
	version string
}

type operator string

const (
	equal     operator = "="
	different operator = "!="
	less      operator = "<"
	atMost    operator = "<="
	more      operator = ">"
	atLeast   operator = ">="
)

// maxConstraint bounds a constraint in bytes; a list of all versions of the largest packages has some 15,000.
const maxConstraint = 64 << 10

const versionInConstraint = `[vV]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:\.([0-9]+))?(?:` + modifier + `|\.([xX*][.-]?dev))(?:\+[^\s]+)?`

var (
	alternatives   = regexp.MustCompile(`[\s\v]*\|\|?[\s\v]*`)
	anyVersion     = regexp.MustCompile(`^([vV])?[xX*](\.[xX*])*$`)
	tildeRange     = regexp.MustCompile(`(?i)^~>?` + versionInConstraint + `$`)
	caretRange     = regexp.MustCompile(`(?i)^\^` + versionInConstraint + `$`)
	wildcardRange  = regexp.MustCompile(`^v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:\.[xX*])+$`)
	hyphenRange    = regexp.MustCompile(`(?i)^(` + versionInConstraint + `) +- +(` + versionInConstraint + `)$`)
	comparator     = regexp.MustCompile(`^(<>|!=|>=?|<=?|==?)?[\s\v]*(.*)$`)
	withReference  = regexp.MustCompile(`(?i)^(dev-[^,\s@]+?|[^,\s@]+?\.x-dev)#.+$`)
	withModifier   = regexp.MustCompile(`-` + modifier + `$`)
	branchBackward = regexp.MustCompile(`^[0-9a-zA-Z./-]+-dev$`)
)

// ParseConstraint reads a constraint with the meaning that Composer gives it. Stability flags count where Composer lets
// them change a bound; aliases ("1.x-dev as 1.9") and references behind "#" stand for the version before them.
func ParseConstraint(s string) (Constraint, error) {
	c := Constraint{text: s}
	if len(s) > maxConstraint {
		return Constraint{}, fmt.Errorf("the version constraint has %d bytes, more than the %d allowed", len(s), maxConstraint)
	}
	trimmed := strings.Trim(s, phpSpace)
	if strings.ContainsAny(trimmed, "\n\r\x00") {
		return Constraint{}, fmt.Errorf("%q is not a version constraint: it has several lines", s)
	}
	for _, alternative := range alternatives.Split(trimmed, -1) {
		var all []bound
		for _, part := range splitAnd(alternative) {
			bounds, err := parseBounds(part)
			if err != nil {
				return Constraint{}, fmt.Errorf("%q is not a version constraint: %w", s, err)
			}
			all = append(all, bounds...)
		}
		c.any = append(c.any, all)
	}
	return c, nil
}

// String returns the constraint as it was written.
func (c Constraint) String() string {
	if c.text == "" && c.any == nil {
		return "*"
	}
	return c.text
}

// MarshalText and UnmarshalText let a Constraint stand in JSON as it was written.
func (c Constraint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseConstraint.
func (c *Constraint) UnmarshalText(b []byte) (err error) {
	*c, err = ParseConstraint(string(b))
	return err
}

// Matches reports whether a normalized version is in the set. Branches without a number are never less or more than
// anything: only "=" and "!=" and "*" can contain them.
func (c Constraint) Matches(normalized string) bool {
	if c.any == nil {
		return true
	}
	for _, all := range c.any {
		if holds(all, normalized) {
			return true
		}
	}
	return false
}

func holds(all []bound, v string) bool {
	for _, b := range all {
		if !b.holds(v) {
			return false
		}
	}
	return true
}

func (b bound) holds(v string) bool {
	if strings.HasPrefix(v, "dev-") || strings.HasPrefix(b.version, "dev-") {
		return b.op == equal && v == b.version || b.op == different && v != b.version
	}
	c := CompareVersions(v, b.version)
	switch b.op {
	case equal:
		return c == 0
	case different:
		return c != 0
	case less:
		return c < 0
	case atMost:
		return c <= 0
	case more:
		return c > 0
	}
	return c >= 0
}

// splitAnd cuts at the commas and spaces that mean "and": not those behind an operator, around "as", or around the
// hyphen of a range.
func splitAnd(s string) []string {
	var parts []string
	start := 0
	for i := 1; i < len(s); i++ {
		if end, ok := conjunction(s, i); ok {
			parts = append(parts, s[start:i])
			start, i = end, end
		}
	}
	return append(parts, s[start:])
}

// conjunction reports whether an "and" begins at i, and where it ends.
func conjunction(s string, i int) (end int, ok bool) {
	if strings.IndexByte("=>< ,", s[i-1]) >= 0 || strings.HasSuffix(s[:i], "as") {
		return 0, false
	}
	spaces := func(at int) int { return len(s[at:]) - len(strings.TrimLeft(s[at:], " ")) }
	for at := i + spaces(i); at >= i; at-- {
		if at == len(s) || s[at] != ',' && s[at] != ' ' || s[at-1] == '-' || at+1 < len(s) && s[at+1] == '-' {
			continue
		}
		for end := at + 1 + spaces(at+1); end > at; end-- {
			if rest := s[end:]; rest != "" && rest[0] != ',' && !strings.HasPrefix(rest, "as") {
				return end, true
			}
		}
	}
	return 0, false
}

// parseBounds reads one constraint without "or" and "and".
func parseBounds(s string) ([]bound, error) {
	if m := aliased.FindStringSubmatch(s); m != nil {
		s = m[1]
	}
	s, flag := cutStability(s)
	if m := withReference.FindStringSubmatch(s); m != nil {
		s = m[1]
	}
	if m := anyVersion.FindStringSubmatch(s); m != nil {
		if m[1] != "" || m[2] != "" {
			return []bound{{atLeast, "0.0.0.0-dev"}}, nil
		}
		return nil, nil
	}
	if isASCII(s) {
		for _, read := range []func(string) ([]bound, error){tilde, caret, wildcard, hyphen} {
			if b, err := read(s); b != nil || err != nil {
				return b, err
			}
		}
	}
	return comparison(s, flag)
}

// cutStability cuts "@beta" off. A flag of "stable" says nothing new.
func cutStability(s string) (rest, flag string) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 || strings.ContainsAny(s[:i], ", \t\v\f") {
		return s, ""
	}
	flag = lowerASCII(s[i+1:])
	switch flag {
	case "stable":
		flag = ""
	case "rc":
		flag = "RC"
	case "beta", "alpha", "dev":
	default:
		return s, ""
	}
	if i == 0 {
		return "*", flag
	}
	return s[:i], flag
}

// tilde: "~1.2" lets the last given number grow, "~1.2.3" lets the patch level grow.
func tilde(s string) ([]bound, error) {
	if s == "" || s[0] != '~' {
		return nil, nil
	}
	m := tildeRange.FindStringSubmatch(s)
	if m == nil {
		return nil, nil
	}
	if s[1] == '>' {
		return nil, errors.New(`"~>" is no operator, "~" is probably meant`)
	}
	position := given(m)
	if m[8] != "" {
		position++
	}
	return between(s[1:], m, max(1, position-1))
}

// caret: "^1.2" lets everything behind the first number that is not zero grow.
func caret(s string) ([]bound, error) {
	if s == "" || s[0] != '^' {
		return nil, nil
	}
	m := caretRange.FindStringSubmatch(s)
	if m == nil {
		return nil, nil
	}
	position := 3
	switch {
	case m[1] != "0" || m[2] == "":
		position = 1
	case m[2] != "0" || m[3] == "":
		position = 2
	}
	return between(s[1:], m, position)
}

// between is the range from a version to the next one at a position.
func between(from string, m []string, position int) ([]bound, error) {
	if m[5] == "" && m[7] == "" && m[8] == "" {
		from += "-dev"
	}
	low, err := NormalizeVersion(from)
	if err != nil {
		return nil, err
	}
	return []bound{{atLeast, low}, {less, bump(m, position) + "-dev"}}, nil
}

// wildcard: "1.2.*" is everything that begins with 1.2.
func wildcard(s string) ([]bound, error) {
	m := wildcardRange.FindStringSubmatch(s)
	if m == nil {
		return nil, nil
	}
	m = append(m, "")
	position := given(m)
	low, high := pad(m, position)+"-dev", bound{less, bump(m, position) + "-dev"}
	if low == "0.0.0.0-dev" {
		return []bound{high}, nil
	}
	return []bound{{atLeast, low}, high}, nil
}

// hyphen: "1.0 - 2.3" contains both ends, and every 2.3.
func hyphen(s string) ([]bound, error) {
	if !strings.Contains(s, " - ") {
		return nil, nil
	}
	m := hyphenRange.FindStringSubmatch(s)
	if m == nil {
		return nil, nil
	}
	from, to := m[1:10], m[10:]
	low, err := NormalizeVersion(from[0])
	if err != nil {
		return nil, err
	}
	if from[5] == "" && from[7] == "" && from[8] == "" {
		low += "-dev"
	}
	high, err := NormalizeVersion(to[0])
	if err != nil {
		return nil, err
	}
	upper := bound{atMost, high}
	if (to[2] == "" || to[3] == "") && to[5] == "" && to[7] == "" && to[8] == "" {
		position := 2
		if to[2] == "" {
			position = 1
		}
		upper = bound{less, bump(to, position) + "-dev"}
	}
	return []bound{{atLeast, low}, upper}, nil
}

// comparison is an operator and a version, or a version alone.
func comparison(s, flag string) ([]bound, error) {
	m := comparator.FindStringSubmatch(s)
	if m == nil {
		return nil, notAVersion(s)
	}
	given := m[2]
	v, err := NormalizeVersion(given)
	if err != nil {
		// "feature-dev" means the branch "feature".
		if !branchBackward.MatchString(given) {
			return nil, err
		}
		v = "dev-" + strings.TrimSuffix(given, "-dev")
	}
	op := operator(m[1])
	switch op {
	case "", "==":
		op = equal
	case "<>":
		op = different
	}
	switch {
	case op != equal && flag != "" && Stability(v) == "stable":
		v += "-" + flag
	case (op == less || op == atLeast) && !withModifier.MatchString(lowerASCII(given)) && !strings.HasPrefix(given, "dev-"):
		v += "-dev"
	}
	return []bound{{op, v}}, nil
}

// given is the position of the last number that was written.
func given(m []string) int {
	for i := 4; i > 1; i-- {
		if m[i] != "" {
			return i
		}
	}
	return 1
}

// pad writes the numbers up to a position and zeros behind it.
func pad(m []string, position int) string {
	n := [4]string{"0", "0", "0", "0"}
	for i := range position {
		n[i] = m[i+1]
	}
	return strings.Join(n[:], ".")
}

// bump is pad with one more at the position.
func bump(m []string, position int) string {
	m = append([]string(nil), m...)
	m[position] = increment(m[position])
	return pad(m, position)
}

// increment adds one to a number of any length.
func increment(digits string) string {
	b := []byte(digits)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < '9' {
			b[i]++
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}

// ExceptVersion rewrites a constraint so that it no longer contains one version; an alternative that is just this version
// is left out. The result is empty when nothing remains. An alternative stays as it is when no text says what is meant,
// which is so only for versions and branches that no constraint can name.
func ExceptVersion(constraint, normalized string) string {
	var kept []string
	for _, alternative := range alternatives.Split(strings.Trim(constraint, phpSpace), -1) {
		c, err := ParseConstraint(alternative)
		switch {
		case err != nil || !c.Matches(normalized):
			kept = append(kept, alternative)
		case len(c.any[0]) != 1 || c.any[0][0].op != equal:
			kept = append(kept, without(alternative, c.any[0], normalized))
		}
	}
	return strings.Join(kept, "|")
}

// without adds "and not this version" to an alternative with these bounds. A comma does not always mean "and" (behind a
// hyphen it is part of a branch's name), so what was written is read again.
func without(alternative string, all []bound, normalized string) string {
	exact := ExactConstraint(normalized)
	out := bound{different, normalized}
	behind, before := append(slices.Clone(all), out), append([]bound{out}, all...)
	spelled := make([]string, 0, len(all)+1)
	for _, b := range before {
		spelled = append(spelled, string(b.op)+ExactConstraint(b.version))
	}
	for _, try := range []struct {
		text string
		want []bound
	}{
		{alternative + ",!=" + exact, behind},
		{"!=" + exact + "," + alternative, before},
		{strings.Join(spelled, ","), before},
	} {
		if c, err := ParseConstraint(try.text); err == nil && len(c.any) == 1 && slices.Equal(c.any[0], try.want) {
			return try.text
		}
	}
	return alternative
}

// ExactConstraint spells a normalized version so that, read as a constraint, it contains that version and no other. That
// is the version itself, unless it is a date: "2010.01.02" would be read as a number.
func ExactConstraint(normalized string) string {
	if again, err := NormalizeVersion(normalized); err == nil && again != normalized {
		if dashed := strings.ReplaceAll(normalized, ".", "-"); normalizesTo(dashed, normalized) {
			return dashed
		}
	}
	return normalized
}

func normalizesTo(version, normalized string) bool {
	v, err := NormalizeVersion(version)
	return err == nil && v == normalized
}
