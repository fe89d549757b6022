package composer

import (
	"fmt"
	"regexp"
	"strings"
)

// The modifier of a version: an optional stability word with numbers, then an optional dev marker.
const modifier = `[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?[0-9]+)*)?)?([.-]?dev)?`

var (
	aliased       = regexp.MustCompile(`^([^,\s]+) +as +([^,\s]+)$`)
	stabilityFlag = regexp.MustCompile(`(?i)@(?:stable|RC|beta|alpha|dev)$`)
	buildMetadata = regexp.MustCompile(`^([^,\s+]+)\+[^\s]+$`)
	classical     = regexp.MustCompile(`(?i)^v?([0-9]{1,5})(\.[0-9]+)?(\.[0-9]+)?(\.[0-9]+)?` + modifier + `$`)
	dated         = regexp.MustCompile(`(?i)^v?([0-9]{4}(?:[.:-]?[0-9]{2}){1,6}(?:[.:-]?[0-9]{1,3}){0,2})` + modifier + `$`)
	devSuffix     = regexp.MustCompile(`(?is)^(.*?)[.-]?dev$`)
	nonDigit      = regexp.MustCompile(`[^0-9]`)
	ending        = regexp.MustCompile(modifier + `(?:\+.*)?$`)
)

// NormalizeVersion turns a version as its author wrote it ("v1.0-beta2") into the canonical form that Composer compares
// and that stands in file and archive addresses ("1.0.0.0-beta2").
func NormalizeVersion(v string) (string, error) {
	orig := v
	v = strings.Trim(v, phpSpace)
	if m := aliased.FindStringSubmatch(v); m != nil {
		v = m[1]
	}
	v = v[:len(v)-len(stabilityFlag.FindString(v))]
	switch v {
	case "master", "trunk", "default":
		v = "dev-" + v
	}
	if len(v) >= 4 && lowerASCII(v[:4]) == "dev-" {
		return "dev-" + v[4:], nil
	}
	if m := buildMetadata.FindStringSubmatch(v); m != nil {
		v = m[1]
	}
	// Go folds case over all of Unicode (ſ is an s), Composer over ASCII.
	if !isASCII(v) {
		return "", notAVersion(orig)
	}
	if m := classical.FindStringSubmatch(v); m != nil {
		number := m[1]
		for _, part := range m[2:5] {
			if part == "" {
				part = ".0"
			}
			number += part
		}
		return modified(number, m[5:]), nil
	}
	if m := dated.FindStringSubmatch(v); m != nil {
		return modified(nonDigit.ReplaceAllString(m[1], "."), m[2:]), nil
	}
	// What ends in dev is a branch, and only a numeric one may be written that way round.
	if m := devSuffix.FindStringSubmatch(v); m != nil {
		if numeric, ok := numericBranch(strings.Trim(m[1], phpSpace)); ok {
			return numeric, nil
		}
	}
	return "", notAVersion(orig)
}

// modified appends the parts of a matched modifier: word, numbers, dev marker.
func modified(number string, m []string) string {
	word, digits, dev := m[0], m[1], m[2]
	if word == "stable" {
		return number
	}
	if word != "" {
		word = lowerASCII(word)
		switch word {
		case "a":
			word = "alpha"
		case "b":
			word = "beta"
		case "p", "pl":
			word = "patch"
		case "rc":
			word = "RC"
		}
		number += "-" + word + strings.TrimLeft(digits, ".-")
	}
	if dev != "" {
		number += "-dev"
	}
	return number
}

func notAVersion(v string) error { return fmt.Errorf("%q is not a version", v) }

// IsDev reports whether a normalized version belongs to the "~dev" document of its package.
func IsDev(normalized string) bool {
	return strings.HasPrefix(normalized, "dev-") || strings.HasSuffix(normalized, "-dev")
}

// Stability returns "stable", "RC", "beta", "alpha" or "dev" for a normalized version.
func Stability(normalized string) string {
	v := normalized
	if i := strings.IndexByte(v, '#'); i >= 0 && i < len(v)-1 {
		v = v[:i]
	}
	if IsDev(v) {
		return "dev"
	}
	m := ending.FindStringSubmatch(lowerASCII(v))
	if m == nil {
		return "stable"
	}
	if m[3] != "" {
		return "dev"
	}
	switch m[1] {
	case "b", "beta":
		return "beta"
	case "a", "alpha":
		return "alpha"
	case "rc":
		return "RC"
	}
	return "stable"
}

// phpSpace is what PHP's trim removes.
const phpSpace = " \t\n\r\x00\x0b"

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
