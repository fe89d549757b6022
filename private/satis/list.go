package satis

import (
	"bufio"
	"bytes"
	"fmt"
	"net/url"
	"strings"
)

// ParseList reads a list of git repositories: an address on each line, as one gives it to git clone. What follows an
// address are the patterns of the packages that may come from it. Empty lines and what stands behind a # are passed over.
func ParseList(body []byte) (Import, error) {
	p := parser{hosts: map[string]Credentials{}}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 1<<20)
	seen := map[string]int{}
	for n := 1; lines.Scan(); n++ {
		line, key := lines.Text(), fmt.Sprintf("line %d", n)
		if i := strings.Index(line, "#"); i == 0 || i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
		fields := strings.Fields(strings.TrimPrefix(line, "\ufeff"))
		if len(fields) == 0 {
			continue
		}
		if before := seen[fields[0]]; before > 0 {
			p.note(key, "%s stands in line %d already.", withoutUser(fields[0]), before)
			continue
		}
		seen[fields[0]] = n
		src := Source{Type: "git", URL: fields[0], Packages: fields[1:]}
		if why := notAnAddress(src.URL); why != "" {
			p.lost(key, "%s is left out: %s.", withoutUser(src.URL), why)
			continue
		}
		if !p.attach(key, nil, &src) {
			continue
		}
		src.Name = p.uniqueName(src)
		p.out.Sources = append(p.out.Sources, src)
	}
	if err := lines.Err(); err != nil {
		return Import{}, fmt.Errorf("read the list of repositories: %w", err)
	}
	return p.out, nil
}

// notAnAddress says why something cannot be the address of a git repository.
func notAnAddress(s string) string {
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		if u, err := url.Parse(s); err != nil || u.Path == "" || u.Path == "/" {
			return "it is not a whole address"
		}
		switch strings.ToLower(scheme) {
		case "http", "https", "ssh", "git", "file":
			return ""
		}
		return "git is reached by https, http, ssh or git"
	}
	host, path, ok := strings.Cut(s, ":")
	switch {
	case strings.HasPrefix(s, "/"):
		return ""
	case !ok || host == "" || path == "" || strings.HasPrefix(s, "-") || strings.HasPrefix(path, ":") || strings.Contains(host, "/"):
		return "it is neither an address nor a whole path"
	}
	return ""
}
