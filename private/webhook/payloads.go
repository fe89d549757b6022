package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
)

// parseGitHub reads the payloads of GitHub, and those of Gitea and Forgejo, which are alike as far as we look.
func parseGitHub(event string, body []byte) (Push, error) {
	var b struct {
		Ref, Before, After string
		RefType            string `json:"ref_type"`
		SHA                string
		Release            struct {
			TagName string `json:"tag_name"`
		}
		Repository struct {
			FullName string `json:"full_name"`
			URL      string
			HTMLURL  string `json:"html_url"`
			CloneURL string `json:"clone_url"`
			GitURL   string `json:"git_url"`
			SSHURL   string `json:"ssh_url"`
		}
	}
	if err := decode(body, &b); err != nil {
		return Push{}, err
	}
	r := b.Repository
	push := Push{Path: r.FullName, Repositories: []string{r.CloneURL, r.SSHURL, r.GitURL, r.HTMLURL, r.URL}}
	switch event {
	case "push":
		push.Refs = []Ref{moved(b.Ref, b.Before, b.After)}
	case "create":
		push.Refs = []Ref{{Name: fullRef(b.RefType, b.Ref), New: b.SHA}}
	case "delete":
		push.Refs = []Ref{{Name: fullRef(b.RefType, b.Ref), Deleted: true}}
	case "release":
		push.Refs = []Ref{{Name: fullRef("tag", b.Release.TagName)}}
	case "ping":
		push.Ping = true
	default:
		return Push{}, fmt.Errorf("%q: %w", shortened(event), ErrIgnored)
	}
	return push, nil
}

// parseGitLab reads the payloads of project and group hooks, and those of system hooks, which call their kind otherwise.
func parseGitLab(body []byte) (Push, error) {
	type addresses struct {
		HTTP    string `json:"git_http_url"`
		SSH     string `json:"git_ssh_url"`
		OldHTTP string `json:"http_url"`
		OldSSH  string `json:"ssh_url"`
		Web     string `json:"web_url"`
		URL     string
		Path    string `json:"path_with_namespace"`
	}
	var b struct {
		Kind               string `json:"object_kind"`
		Event              string `json:"event_name"`
		Ref, Before, After string
		Tag                string
		Changes            json.RawMessage
		Project            addresses
		Repository         addresses
	}
	if err := decode(body, &b); err != nil {
		return Push{}, err
	}
	push := Push{Path: b.Project.Path}
	for _, a := range []addresses{b.Project, b.Repository} {
		push.Repositories = append(push.Repositories, a.HTTP, a.SSH, a.OldHTTP, a.OldSSH, a.Web, a.URL)
	}
	kind := b.Kind
	if kind == "" {
		kind = b.Event
	}
	switch kind {
	case "push", "tag_push":
		push.Refs = []Ref{moved(b.Ref, b.Before, b.After)}
	case "repository_update":
		var changes []struct{ Ref, Before, After string }
		if len(b.Changes) > 0 {
			if err := decode(b.Changes, &changes); err != nil {
				return Push{}, err
			}
		}
		for _, c := range changes {
			push.Refs = append(push.Refs, moved(c.Ref, c.Before, c.After))
		}
	case "release":
		push.Refs = []Ref{{Name: fullRef("tag", b.Tag)}}
	default:
		return Push{}, fmt.Errorf("%q: %w", shortened(kind), ErrIgnored)
	}
	return push, nil
}

type link struct{ Href, Name string }

// links reads a list of links, or the one link that stands there instead.
type links []link

func (l *links) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]link)(l))
	}
	var one link
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = links{one}
	return nil
}

type bitbucketRef struct {
	Type, Name string
	Target     struct{ Hash string }
}

// parseBitbucket reads the payloads of Bitbucket Cloud and of Bitbucket Data Center.
func parseBitbucket(event string, body []byte) (Push, error) {
	var b struct {
		Test       bool
		Repository struct {
			FullName string `json:"full_name"`
			Slug     string
			Project  struct{ Key string }
			Links    struct{ HTML, Clone, Self links }
		}
		Push struct {
			Changes []struct{ Old, New *bitbucketRef }
		}
		Changes []struct {
			Ref              struct{ ID, Type string }
			RefID            string
			FromHash, ToHash string
			Type             string
		}
	}
	if err := decode(body, &b); err != nil {
		return Push{}, err
	}
	r := b.Repository
	push := Push{Path: r.FullName}
	for _, l := range append(r.Links.Clone, r.Links.HTML...) {
		push.Repositories = append(push.Repositories, l.Href)
	}
	switch event {
	case "repo:push":
		if r.FullName != "" { // the payload has no address for git
			push.Repositories = append(push.Repositories, "https://bitbucket.org/"+r.FullName+".git", "git@bitbucket.org:"+r.FullName+".git")
		}
		for _, c := range b.Push.Changes {
			var ref Ref
			if c.Old != nil {
				ref.Name, ref.Old = fullRef(c.Old.Type, c.Old.Name), c.Old.Target.Hash
			}
			if c.New != nil {
				ref.Name, ref.New = fullRef(c.New.Type, c.New.Name), c.New.Target.Hash
			}
			ref.Deleted = c.New == nil
			push.Refs = append(push.Refs, ref)
		}
	case "repo:refs_changed":
		for _, l := range r.Links.Self {
			push.Repositories = append(push.Repositories, l.Href)
		}
		if r.Project.Key != "" && r.Slug != "" {
			push.Path = r.Project.Key + "/" + r.Slug
		}
		for _, c := range b.Changes {
			name := c.RefID
			if name == "" {
				name = c.Ref.ID
			}
			push.Refs = append(push.Refs, Ref{Name: fullRef(c.Ref.Type, name), Old: c.FromHash, New: c.ToHash, Deleted: c.Type == "DELETE"})
		}
	case "diagnostics:ping":
		push.Ping = true
	default:
		return Push{}, fmt.Errorf("%q: %w", shortened(event), ErrIgnored)
	}
	return push, nil
}

// parseGeneric reads what people write into a script of theirs, and what Packeton's hook takes: the address of a
// repository, or names of packages. The payloads of other providers are understood as far as their addresses go.
func parseGeneric(body []byte) (Push, error) {
	var b struct {
		Ref, Before, After string
		Repository         json.RawMessage
		Project            struct {
			HTTP string `json:"git_http_url"`
		}
		Composer struct {
			Package json.RawMessage `json:"package_name"`
		}
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return Push{}, nil
	}
	if err := decode(body, &b); err != nil {
		return Push{}, err
	}
	push := Push{Repositories: []string{b.Project.HTTP}}
	var r struct {
		URL     string
		HTMLURL string `json:"html_url"`
		Links   struct{ HTML, Clone links }
	}
	switch text := oneText(b.Repository); {
	case text != "":
		push.Repositories = append(push.Repositories, text)
	case len(b.Repository) > 0:
		if err := decode(b.Repository, &r); err != nil {
			return Push{}, err
		}
		push.Repositories = append(push.Repositories, r.URL, r.HTMLURL)
		for _, l := range append(r.Links.Clone, r.Links.HTML...) {
			push.Repositories = append(push.Repositories, l.Href)
		}
	}
	if name := oneText(b.Composer.Package); name != "" {
		push.Packages = []string{name}
	} else if len(b.Composer.Package) > 0 {
		if err := decode(b.Composer.Package, &push.Packages); err != nil {
			return Push{}, err
		}
	}
	if strings.HasPrefix(b.Ref, "refs/") {
		push.Refs = []Ref{moved(b.Ref, b.Before, b.After)}
	}
	return push, nil
}

func oneText(v json.RawMessage) (s string) {
	if len(v) > 0 && v[0] == '"' {
		_ = json.Unmarshal(v, &s)
	}
	return s
}

func shortened(s string) string { return s[:min(len(s), 60)] }
