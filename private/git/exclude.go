package git

import (
	"encoding/json"
	"regexp"
	"strings"

	"stasis/proxy/composer"
)

// excludes are the rules of archive.exclude in a composer.json.
type excludes []excludeRule

type excludeRule struct {
	match   *regexp.Regexp
	include bool // it began with "!"
}

const (
	maxRules = 1000
	maxRule  = 1024 // bytes
)

// parseExcludes reads the rules. Like Composer it passes over those that are no patterns.
func parseExcludes(manifest composer.Object) excludes {
	var archive struct{ Exclude []json.RawMessage }
	if json.Unmarshal(manifest.Get("archive"), &archive) != nil {
		return nil
	}
	var list excludes
	for _, raw := range archive.Exclude[:min(len(archive.Exclude), maxRules)] {
		var rule string
		if json.Unmarshal(raw, &rule) != nil || len(rule) > maxRule {
			continue
		}
		if r, ok := parseExclude(rule); ok {
			list = append(list, r)
		}
	}
	return list
}

// has reports whether a file is left out. The last rule that fits decides, also when an earlier one
// left out the folder it lies in.
func (l excludes) has(path string) bool {
	out := false
	for _, r := range l {
		if out == r.include && r.match.MatchString("/"+path) {
			out = !r.include
		}
	}
	return out
}

// parseExclude gives a rule the meaning it has for Composer's own archiver, which is that of a line
// in .gitignore but for this: a rule with a slash in its middle fits at any depth, and may begin in
// the middle of a name; stars do not fit a leading dot; {a,b} is a choice; [!a] is none.
func parseExclude(rule string) (excludeRule, bool) {
	trimmed := strings.TrimLeft(rule, "!")
	r := excludeRule{include: trimmed != rule}
	start := ""
	switch slash := strings.IndexByte(trimmed, '/'); slash {
	case 0:
		start = "^/"
	case -1, len(trimmed) - 1:
		start = "/"
	}
	glob := strings.Trim(trimmed, "/")
	if glob == "" {
		return r, false
	}
	var err error
	r.match, err = regexp.Compile(`(?s)` + start + globPattern(glob) + `(?:$|/)`)
	return r, err == nil
}

// globPattern writes a glob as a regular expression.
func globPattern(glob string) string {
	var b strings.Builder
	first, escaped, choices := true, false, 0
	for i := 0; i < len(glob); i++ {
		c := glob[i]
		atFirst := first
		if first = c == '/'; first {
			// "/**/" is any number of folders, and "/**" at the end everything below.
			if rest := glob[i+1:]; rest == "**" {
				b.WriteString(`/(?:[^/.][^/]*/?)*`)
				break
			} else if strings.HasPrefix(rest, "**/") {
				b.WriteString(`/(?:[^/.][^/]*/)*`)
				i += 3
				continue
			}
		}
		for c == '*' && !escaped && strings.HasPrefix(glob[i+1:], "*") {
			i++ // stars in a row are one
		}
		switch {
		case c == '\\' && !escaped:
			escaped = true
			continue
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(rune(c))))
		case c == '*' && atFirst:
			b.WriteString(`(?:[^/.][^/]*)`)
			if i+1 < len(glob) && glob[i+1] != '.' {
				b.WriteByte('?')
			}
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?' && atFirst:
			b.WriteString(`[^/.]`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '{':
			b.WriteByte('(')
			choices++
		case c == '}' && choices > 0:
			b.WriteByte(')')
			choices--
		case c == ',' && choices > 0:
			b.WriteByte('|')
		case strings.IndexByte(`#.()|+^$`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
		escaped = false
	}
	return b.String()
}
