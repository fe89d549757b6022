package satis

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stasis/proxy/composer"
)

// repositories turns each repository into a source or a note. They stand in a list, or in an object by their names.
func (p *parser) repositories() error {
	v := p.config.Get("repositories")
	switch {
	case len(v) > 0 && v[0] == '[':
		for i, r := range list(v) {
			p.repository("", fmt.Sprintf("repositories[%d]", i), r)
		}
	case len(v) > 0 && v[0] == '{':
		for _, m := range object(v) {
			name := m.Key
			if _, err := strconv.Atoi(name); err == nil {
				name = ""
			}
			p.repository(name, "repositories."+m.Key, m.Value)
		}
	default:
		return errors.New("this is not a configuration of Satis: its repositories are neither a list nor an object")
	}
	p.selection()
	for i, r := range list(p.config.Get("repositories-dep")) {
		p.lost(fmt.Sprintf("repositories-dep[%d]", i), "%s served dependencies only. Packages of Packagist come through the proxy; add another repository as a source if its packages are still needed.", where(object(r)))
	}
	return nil
}

// selection says what becomes of the packages that are required by name. Which repository has which of them is not written
// anywhere, so only a single one can be limited to them.
func (p *parser) selection() {
	if p.names == nil || len(p.out.Sources) == 0 {
		return
	}
	if s := &p.out.Sources[0]; len(p.out.Sources) == 1 && len(s.Packages) == 0 {
		s.Packages = p.names
		return
	}
	p.lost("require", "Every package that the sources have is provided, not only those that are required by name. Where a source has more, name the packages that it may provide.")
}

func (p *parser) repository(name, key string, v json.RawMessage) {
	r := object(v)
	if r == nil {
		if string(v) != "false" { // {"packagist.org": false} switches a default off
			p.lost(key, "It is no repository and is left out.")
		}
		return
	}
	if len(r) == 1 && string(r[0].Value) == "false" {
		return
	}
	src := Source{Name: name, URL: r.Text("url")}
	if src.Name == "" {
		src.Name = r.Text("name")
	}
	switch typ := strings.ToLower(r.Text("type")); typ {
	case "vcs", "git", "github", "gitlab", "bitbucket", "git-bitbucket", "forgejo", "gitea":
		src.Type = "git"
		if !p.gitRepository(key, typ, &src) {
			return
		}
	case "composer":
		src.Type = "composer"
		if !p.composerRepository(key, &src) {
			return
		}
	case "artifact":
		src.Type, src.Folder, src.URL = "artifact", src.URL, ""
		p.note(key, "Archives are read from the folder %q. It must lie where Stasis runs, in the folder that is set for such archives.", src.Folder)
	case "package":
		src.Type, src.URL = "package", ""
		src.Definitions, _ = json.Marshal(composer.Object{{Key: "type", Value: json.RawMessage(`"package"`)}, {Key: "package", Value: r.Get("package")}, {Key: "security-advisories", Value: r.Get("security-advisories")}})
		if !r.Has("package") {
			p.lost(key, "It defines no package and is left out.")
			return
		}
	case "path":
		p.lost(key, "%s is a folder on the machine of Satis and is left out. Put its packages into a git repository, or upload archives of them.", where(r))
		return
	case "svn", "hg", "fossil", "perforce", "hg-bitbucket", "pear", "filesystem":
		p.lost(key, "%s is left out: repositories of type %s are not supported.", where(r), typ)
		return
	case "":
		p.lost(key, "It has no type and is left out.")
		return
	default:
		p.lost(key, "%s is left out: the type %.40q is not known.", where(r), typ)
		return
	}
	p.limits(key, r, &src)
	if src.URL == "" && src.Folder == "" && src.Definitions == nil {
		p.lost(key, "It has no url and is left out.")
		return
	}
	if !p.attach(key, r, &src) {
		return
	}
	src.Name = p.uniqueName(src)
	p.out.Sources = append(p.out.Sources, src)
}

func (p *parser) gitRepository(key, typ string, src *Source) bool {
	scheme, _, _ := strings.Cut(src.URL, "://")
	if scheme == "svn" || scheme == "svn+ssh" || scheme == "perforce" {
		p.lost(key, "%s is left out: only git repositories are supported.", withoutUser(src.URL))
		return false
	}
	if typ == "vcs" && strings.HasSuffix(strings.TrimRight(src.URL, "/"), "/trunk") {
		p.note(key, "%s is taken for a git repository; if it is another, remove the source again.", withoutUser(src.URL))
	}
	if strings.HasPrefix(src.URL, ".") {
		p.note(key, "%s is a path relative to where Satis ran; give the source the whole path.", src.URL)
	}
	return true
}

func (p *parser) composerRepository(key string, src *Source) bool {
	u, err := url.Parse(src.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		p.lost(key, "%s is left out: it is not the http or https address of a Composer repository.", withoutUser(src.URL))
		return false
	}
	switch strings.ToLower(u.Hostname()) {
	case "packagist.org", "repo.packagist.org", "www.packagist.org":
		p.note(key, "Packagist is no source: its packages come through the proxy.")
		return false
	}
	return true
}

// limits takes over which packages a repository may provide.
func (p *parser) limits(key string, r composer.Object, src *Source) {
	if only := texts(r.Get("only")); len(only) > 0 {
		src.Packages = nil
		for _, pattern := range only {
			if strings.Count(pattern, "/") != 1 || strings.HasPrefix(pattern, "-") {
				p.lost(key+".only", "%q is no package name or pattern with a vendor and a slash, and is left out.", pattern)
				continue
			}
			src.Packages = append(src.Packages, strings.ToLower(pattern))
		}
	}
	if exclude := texts(r.Get("exclude")); len(exclude) > 0 {
		p.lost(key+".exclude", "A source cannot exclude packages; %s would be provided. Name those that it may provide.", strings.Join(exclude, ", "))
	}
	if string(r.Get("canonical")) == "false" {
		p.lost(key+".canonical", "Every package comes from one source: the versions of several repositories are never mixed.")
	}
	if r.Has("filter") {
		p.lost(key+".filter", "Filter lists of a package repository are not carried over; write rules instead.")
	}
}

// where says which repository is meant.
func where(r composer.Object) string {
	if u := r.Text("url"); u != "" {
		return withoutUser(u)
	}
	return "The repository"
}

// uniqueName makes a short name of the address when there is none.
func (p *parser) uniqueName(src Source) string {
	name := src.Name
	if name == "" {
		name = src.URL + src.Folder
		if _, rest, ok := strings.Cut(name, "://"); ok {
			name = rest
		}
		if i := strings.IndexByte(name, '@'); i >= 0 {
			name = name[i+1:]
		}
		name = strings.TrimSuffix(strings.Trim(strings.ReplaceAll(name, ":", "/"), "/"), ".git")
	}
	if name == "" {
		name = src.Type
	}
	name = name[:min(len(name), 100)]
	for i, base := 2, name; slices.ContainsFunc(p.out.Sources, func(s Source) bool { return s.Name == name }); i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	return name
}
