package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Push is what a delivery says has happened.
type Push struct {
	// Repositories are the addresses of the one repository, as many spellings as the provider gives: for git, and for
	// browsers. Compare them by SameRepository, or use Concerns.
	Repositories []string
	// Path is what the provider calls the repository, such as "owner/name". Old versions of Bitbucket Data Center give
	// nothing else.
	Path string
	// Packages are package names, which only the generic provider gives, and as they were written.
	Packages []string
	// Refs are what has changed; empty when the provider does not say.
	Refs []Ref
	// Ping says that nothing happened: the hook was set up or is tried out.
	Ping bool
}

// Ref is a branch or a tag that was pushed.
type Ref struct {
	Name string `json:"name"` // whole: refs/heads/… or refs/tags/…
	// Old and New are commit ids. Old is empty for a new ref, New for a deleted one, both where unknown.
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

// Tag reports whether the ref is a tag.
func (r Ref) Tag() bool { return strings.HasPrefix(r.Name, "refs/tags/") }

// Concerns reports whether the push is about the repository at an address.
func (p Push) Concerns(address string) bool {
	for _, r := range p.Repositories {
		if SameRepository(r, address) {
			return true
		}
	}
	if len(p.Repositories) > 0 || p.Path == "" {
		return false
	}
	l := locate(address)
	return l.protocol != "" && l.path == strings.ToLower(p.Path)
}

// ErrIgnored says that a delivery is good, but of a kind that changes no code.
var ErrIgnored = errors.New("this kind of event changes no code")

// What a payload is held to. GitHub sends at most 25 MB, nearly all of it about commits.
const (
	maxAddress = 2048
	maxRefName = 1024
	maxRefs    = 1000
)

// Parse reads a delivery that was verified. The error is ErrIgnored for events that are about something else.
func Parse(p Provider, h http.Header, body []byte) (Push, error) {
	body, err := unform(h, body)
	if err != nil {
		return Push{}, err
	}
	var push Push
	switch p {
	case GitHub:
		push, err = parseGitHub(h.Get("X-GitHub-Event"), body)
	case Gitea:
		push, err = parseGitHub(h.Get("X-Gitea-Event"), body)
	case Forgejo:
		push, err = parseGitHub(first(h, "X-Forgejo-Event", "X-Gitea-Event"), body)
	case GitLab:
		push, err = parseGitLab(body)
	case Bitbucket:
		push, err = parseBitbucket(h.Get("X-Event-Key"), body)
	case Generic:
		push, err = parseGeneric(body)
	default:
		return Push{}, fmt.Errorf("%.40q is not a webhook provider", p)
	}
	if err != nil {
		return Push{}, err
	}
	push.tidy()
	if len(push.Repositories) == 0 && push.Path == "" && len(push.Packages) == 0 && !push.Ping {
		return Push{}, errors.New("the delivery names no repository")
	}
	return push, nil
}

// unform takes the payload out of a form, as which GitHub and Gitea can be told to send it.
func unform(h http.Header, body []byte) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || len(body) > 0 && body[0] == '{' { // curl -d says so of anything
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("payload") == "" {
		return nil, errors.New("the delivery is a form without a payload")
	}
	return []byte(form.Get("payload")), nil
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the delivery cannot be read: %w", err)
	}
	return nil
}

// tidy drops what nobody could have pushed to or meant.
func (p *Push) tidy() {
	p.Repositories = slices.DeleteFunc(p.Repositories, func(a string) bool { return a == "" || len(a) > maxAddress || !printable(a) })
	slices.Sort(p.Repositories)
	p.Repositories = slices.Compact(p.Repositories)
	if len(p.Path) > maxAddress || !printable(p.Path) {
		p.Path = ""
	}
	p.Packages = slices.DeleteFunc(p.Packages, func(n string) bool { return n == "" || len(n) > maxAddress || !printable(n) })
	whole := len(p.Refs)
	p.Refs = slices.DeleteFunc(p.Refs, func(r Ref) bool { return !isRef(r.Name) })
	if len(p.Refs) < whole || whole > maxRefs { // then it may have been any
		p.Refs = nil
	}
	for i := range p.Refs {
		r := &p.Refs[i]
		r.Old, r.New = commit(r.Old), commit(r.New)
	}
}

func isRef(name string) bool {
	return strings.HasPrefix(name, "refs/") && !strings.HasSuffix(name, "/") && len(name) <= maxRefName && printable(name)
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) < 0
}

// commit returns a commit id, and nothing for the zeros that stand for none.
func commit(id string) string {
	id = strings.ToLower(id)
	if len(id) != 40 && len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// moved is a ref that went from one commit to another; zeros stand for none.
func moved(name, before, after string) Ref {
	return Ref{Name: name, Old: before, New: after, Deleted: after != "" && strings.Trim(after, "0") == ""}
}

// fullRef makes a whole ref of the name and kind of a branch or tag.
func fullRef(kind, name string) string {
	switch {
	case strings.HasPrefix(name, "refs/"):
		return name
	case strings.EqualFold(kind, "tag"):
		return "refs/tags/" + name
	}
	return "refs/heads/" + name
}
