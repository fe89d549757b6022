package git

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ref is a tag or a branch.
type ref struct {
	name   string // refs/heads/… or refs/tags/…
	id     string // what it names: for an annotated tag the tag itself
	commit string // what that leads to in the end, which may also be no commit
}

// listing is what a repository shows of itself.
type listing struct {
	refs []ref  // by name
	head string // the branch that HEAD names, "" when it names none
	at   string // the commit at HEAD
}

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// readListing reads lines of an id and a name, as ls-remote and show-ref write them. A line with ^{}
// behind the name says where the tag before it leads.
func readListing(r io.Reader, most int) (listing, error) {
	var l listing
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		id, name, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			id, name, ok = strings.Cut(lines.Text(), " ")
		}
		if target, symbolic := strings.CutPrefix(id, "ref: "); symbolic {
			if name == "HEAD" && strings.HasPrefix(target, heads) {
				l.head = target
			}
			continue
		}
		switch {
		case len(id) == 64 && isHex(id):
			return l, errors.New("it names its objects by SHA-256, which Composer does not understand")
		case !ok || len(id) != 40 || !isHex(id):
			return l, fmt.Errorf("it has the odd line %.80q in its list of references", lines.Text())
		case name == "HEAD":
			l.at = id
			continue
		case !strings.HasPrefix(name, heads) && !strings.HasPrefix(name, tags):
			continue
		}
		if tag, peeled := strings.CutSuffix(name, "^{}"); peeled {
			if n := len(l.refs); n > 0 && l.refs[n-1].name == tag {
				l.refs[n-1].commit = id
			}
			continue
		}
		if len(l.refs) == most {
			return l, fmt.Errorf("it has more than the %d tags and branches allowed", most)
		}
		l.refs = append(l.refs, ref{name: name, id: id, commit: id})
	}
	slices.SortFunc(l.refs, func(a, b ref) int { return cmp.Compare(a.name, b.name) })
	return l, lines.Err()
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// defaultBranch is the branch that HEAD stands for, also when a server shows only its commit.
func (l listing) defaultBranch() string {
	has := func(name string) int {
		return slices.IndexFunc(l.refs, func(r ref) bool { return r.name == name })
	}
	if l.head != "" && has(l.head) >= 0 {
		return l.head
	}
	usual := []string{heads + "main", heads + "master"}
	for _, name := range usual {
		if i := has(name); i >= 0 && (l.at == "" || l.refs[i].id == l.at) {
			return name
		}
	}
	for _, r := range l.refs {
		if r.id == l.at && strings.HasPrefix(r.name, heads) {
			return r.name
		}
	}
	for _, name := range usual {
		if has(name) >= 0 {
			return name
		}
	}
	return ""
}

// list reads the mirror's own references.
func (r *Repository) list(ctx context.Context) (listing, error) {
	var l listing
	err := r.git.run(ctx, call{dir: r.dir, args: []string{"show-ref", "--dereference", "--heads", "--tags"}}, func(in io.WriteCloser, out io.Reader) (err error) {
		in.Close()
		l, err = readListing(out, 1<<31-1)
		return err
	})
	var f *failure
	if errors.As(err, &f) && f.code == 1 {
		err = nil // there are none
	}
	if err != nil {
		return listing{}, fmt.Errorf("list what the mirror of %s has: %w", r.at, err)
	}
	if l.head, err = r.head(ctx); err != nil {
		return listing{}, err
	}
	return l, nil
}

// head is the default branch as the last Sync found it.
func (r *Repository) head(ctx context.Context) (string, error) {
	head, err := r.git.output(ctx, call{dir: r.dir, args: []string{"symbolic-ref", "--quiet", "HEAD"}})
	if err != nil {
		return "", fmt.Errorf("find the default branch of the mirror of %s: %w", r.at, err)
	}
	return strings.TrimSuffix(head, "\n"), nil
}
