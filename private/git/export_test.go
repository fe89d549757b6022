package git

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// ResolveWith replaces the looking up and judging of hosts.
func ResolveWith(g *Git, resolve func(ctx context.Context, host, port string) ([]netip.Addr, error)) {
	g.resolve = resolve
}

// ParseAddress returns the usual form of an address.
func ParseAddress(s string) (string, error) {
	a, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// FolderOf returns the names in a tree object, with their modes and ids.
func FolderOf(data []byte) (names, modes, ids []string, err error) {
	t, err := parseTree(data)
	for _, e := range t {
		names, modes, ids = append(names, e.name), append(modes, e.mode), append(ids, e.id)
	}
	return names, modes, ids, err
}

// CommitOf returns the tree and the time of a commit object.
func CommitOf(data []byte) (tree string, at time.Time) {
	c := parseCommit(data)
	return c.tree, c.time
}

// ListingOf returns the names and commits of a list of references, at most that many, and the default branch.
func ListingOf(data string, most int) (names, commits []string, branch string, err error) {
	l, err := readListing(strings.NewReader(data), most)
	for _, r := range l.refs {
		names, commits = append(names, r.name), append(commits, r.commit)
	}
	return names, commits, l.defaultBranch(), err
}
