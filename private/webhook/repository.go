package webhook

import (
	"net/url"
	"path"
	"strings"
)

// SameRepository reports whether two addresses lead to one git repository, whatever protocol, user and spelling they use.
// Where that cannot be told from the text, such as behind different names of one host, they are taken for different. Paths
// on hosts are compared without case, as the large hosts do: a fetch too many does no harm.
func SameRepository(a, b string) bool {
	x, y := locate(a), locate(b)
	if x.path == "" || x.host != y.host || x.path != y.path {
		return false
	}
	// Ports tell repositories apart only within one protocol: the same host has others for others.
	return x.protocol != y.protocol || x.port == y.port
}

// location is what counts of an address.
type location struct {
	protocol   string // "http", "ssh", "git", or "" for a path on disk
	host, port string
	path       string
}

// aliases are other names of the large hosts.
var aliases = map[string]string{
	"www.github.com":       "github.com",
	"ssh.github.com":       "github.com",
	"altssh.gitlab.com":    "gitlab.com",
	"altssh.bitbucket.org": "bitbucket.org",
	"www.bitbucket.org":    "bitbucket.org",
}

// locate takes an address apart. An empty path means that it is none.
func locate(address string) location {
	address = strings.TrimSpace(address)
	if len(address) > maxAddress {
		return location{}
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return locateShort(address)
	}
	var l location
	switch strings.ToLower(scheme) {
	case "http", "https":
		l.protocol = "http"
	case "ssh", "git+ssh", "ssh+git":
		l.protocol = "ssh"
	case "git":
		l.protocol = "git"
	case "file":
		u, err := url.Parse("file://" + rest)
		if err != nil {
			return location{}
		}
		return locatePath(u.Path)
	default:
		return location{}
	}
	u, err := url.Parse(strings.ToLower(scheme) + "://" + rest)
	if err != nil || u.Host == "" {
		return location{}
	}
	l.host, l.port = u.Hostname(), u.Port()
	switch l.port {
	case "80", "443", "22", "9418":
		l.port = ""
	}
	return l.finish(u.Path)
}

// locateShort reads "user@host:path", and paths on disk.
func locateShort(address string) location {
	host, p, ok := strings.Cut(address, ":")
	if !ok || host == "" || strings.ContainsAny(host, `/\`) || len(host) == 1 { // one letter is a drive of Windows
		return locatePath(address)
	}
	if strings.HasPrefix(p, ":") { // a remote helper, such as ext::
		return location{}
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return location{protocol: "ssh", host: host}.finish(p)
}

func locatePath(p string) location {
	if p == "" || strings.HasPrefix(p, "-") {
		return location{}
	}
	return location{path: strings.TrimSuffix(strings.TrimSuffix(path.Clean(strings.ReplaceAll(p, `\`, "/")), "/"), ".git")}
}

// finish brings host and path into the one form that all spellings share.
func (l location) finish(p string) location {
	l.host = strings.ToLower(l.host)
	p = strings.ToLower(strings.Trim(p, "/"))
	if l.host == "api.github.com" {
		if rest, ok := strings.CutPrefix(p, "repos/"); ok {
			l.host, p = "github.com", rest
		}
	}
	if name, ok := aliases[l.host]; ok {
		l.host = name
	}
	p = strings.Trim(strings.TrimSuffix(p, ".git"), "/")
	if l.protocol == "http" {
		p = dataCenter(p)
	}
	l.path = p
	return l
}

// dataCenter turns the addresses that Bitbucket Data Center has for browsers and for git over HTTP into the one that it
// has for SSH: "projects/key/repos/name/browse" and "scm/key/name" are "key/name".
func dataCenter(p string) string {
	if _, rest, ok := cutSegment(p, "scm/"); ok && strings.Count(rest, "/") == 1 {
		return rest
	}
	for _, top := range []string{"projects/", "users/"} {
		_, rest, ok := cutSegment(p, top)
		parts := strings.Split(strings.TrimSuffix(rest, "/browse"), "/")
		if !ok || len(parts) != 3 || parts[1] != "repos" {
			continue
		}
		if top == "users/" {
			return "~" + parts[0] + "/" + parts[2]
		}
		return parts[0] + "/" + parts[2]
	}
	return p
}

// cutSegment cuts at a folder that stands first, or behind the folder that the program is installed in.
func cutSegment(p, folder string) (before, after string, ok bool) {
	if rest, ok := strings.CutPrefix(p, folder); ok {
		return "", rest, true
	}
	before, after, ok = strings.Cut(p, "/"+folder)
	return before, after, ok && !strings.Contains(before, "/")
}
