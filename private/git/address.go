package git

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// address is where a repository lies, taken apart so that only known parts are put together again
// for git.
type address struct {
	scheme string // https, http, ssh, git or file
	user   string // ssh only
	host   string // lower case, without brackets
	port   string // "" for the scheme's own
	path   string // as the server gets it; for scp-like addresses without a slash in front
	scp    bool   // user@host:path
}

// The alphabet of addresses. No part may begin with a hyphen, which git or ssh could take for an
// option, and nothing in it means anything to a shell on the other side.
var (
	schemed    = regexp.MustCompile(`^([a-z]+)://`)
	scpLike    = regexp.MustCompile(`^(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):([A-Za-z0-9/~_.].*)$`)
	userName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	hostName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\.?$`)
	pathOfURL  = regexp.MustCompile(`^/?([A-Za-z0-9._~+=@,:-]|%[0-9A-Fa-f]{2})+(/([A-Za-z0-9._~+=@,:-]|%[0-9A-Fa-f]{2})+)*/?$`)
	unprinting = regexp.MustCompile(`[\x00-\x1f\x7f]`)
)

const maxAddress = 2048

// parseAddress reads the address of a repository. What it refuses is not repeated in the error when
// it could hold a secret.
func parseAddress(s string) (address, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return address{}, errors.New("the address of the repository is empty")
	case len(s) > maxAddress || unprinting.MatchString(s):
		return address{}, errors.New("the address of the repository is too long or holds control characters")
	case filepath.IsAbs(s):
		return localAddress(s)
	}
	if m := schemed.FindStringSubmatch(s); m != nil {
		return urlAddress(s, m[1])
	}
	m := scpLike.FindStringSubmatch(s)
	slip := m != nil && slices.Contains([]string{"https", "http", "ssh", "git", "file"}, strings.ToLower(m[2])) // https:host/path
	if m == nil || slip || strings.Contains(s, "::") && m[2][0] != '[' {
		return address{}, errors.New("this is no address of a repository: want https://host/path, ssh://user@host/path, user@host:path or an absolute path")
	}
	a := address{scheme: "ssh", user: m[1], host: m[2], path: m[3], scp: true}
	return a, a.check()
}

func urlAddress(s, scheme string) (address, error) {
	switch scheme {
	case "https", "http", "ssh", "git":
	case "file":
		return localAddress(strings.TrimPrefix(s, "file://"))
	default:
		return address{}, fmt.Errorf("repositories are not fetched over %s: want https, ssh, or http, git or a local path where they are allowed", scheme)
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return address{}, errors.New("the address of the repository is not a valid URL")
	}
	if !strings.HasSuffix(s, u.EscapedPath()) {
		return address{}, errors.New("the path of the repository's address holds characters that are not allowed")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.ContainsAny(s, "#?") {
		return address{}, errors.New("the address of a repository has no ? and no #")
	}
	a := address{scheme: scheme, host: u.Host, path: u.EscapedPath()}
	if u.User != nil {
		if _, has := u.User.Password(); has || scheme != "ssh" {
			return address{}, errors.New("the address of the repository holds a user or a password: leave them out and give them as credentials")
		}
		a.user = u.User.Username()
	}
	if host, port, err := net.SplitHostPort(u.Host); err == nil {
		a.host, a.port = host, port
	}
	return a, a.check()
}

// check brings the parts into the one form in which they are compared, and refuses what is outside
// the alphabet.
func (a *address) check() error {
	a.host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(a.host, "["), "]"))
	if addr, err := netip.ParseAddr(a.host); err == nil {
		if addr.Zone() != "" {
			return errors.New("the address of the repository names a network interface")
		}
		a.host = addr.String()
	} else if len(a.host) > 253 || !hostName.MatchString(a.host) {
		return errors.New("the host of the repository's address is neither a name nor an address; write international names in their ASCII form")
	}
	if a.user != "" && !userName.MatchString(a.user) {
		return errors.New("the user in the repository's address holds characters that are not allowed")
	}
	if n, err := strconv.ParseUint(a.port, 10, 16); a.port != "" && (err != nil || n == 0) {
		return fmt.Errorf("%q is not a port", a.port)
	}
	if a.port == defaultPorts[a.scheme] {
		a.port = ""
	}
	if !pathOfURL.MatchString(a.path) {
		return errors.New("the path of the repository's address is empty or holds characters that are not allowed")
	}
	plain, err := url.PathUnescape(a.path)
	if err != nil || unprinting.MatchString(plain) || strings.ContainsAny(plain, "\\'\"`$") {
		return errors.New("the path of the repository's address hides characters that are not allowed")
	}
	for part := range strings.SplitSeq(plain, "/") {
		if part == ".." || part == "." || strings.HasPrefix(part, "-") {
			return fmt.Errorf("the path of the repository's address has the part %q", part)
		}
	}
	a.path = strings.TrimRight(a.path, "/")
	if a.path == "" {
		return errors.New("the address of the repository has no path")
	}
	return nil
}

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

func localAddress(s string) (address, error) {
	if !filepath.IsAbs(s) || strings.HasPrefix(s, "//") || strings.HasPrefix(s, `\\`) {
		return address{}, errors.New("the path of a local repository must be absolute")
	}
	clean := filepath.Clean(s)
	if clean != strings.TrimRight(s, "/") || clean != strings.TrimSpace(clean) {
		return address{}, errors.New("the path of a local repository must be written without . and .. and repeated slashes, and not end in a space")
	}
	return address{scheme: "file", path: clean}, nil
}

// String is the address for people, for metadata and for git. It holds no secret.
func (a address) String() string {
	switch {
	case a.scheme == "file":
		return a.path
	case a.scp:
		return a.at() + ":" + a.path
	}
	host := a.at()
	if a.port != "" {
		host += ":" + a.port
	}
	return a.scheme + "://" + host + "/" + strings.TrimPrefix(a.path, "/")
}

func (a address) at() string {
	host := a.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.user != "" {
		host = a.user + "@" + host
	}
	return host
}

// portNumber is the port that is connected to.
func (a address) portNumber() string {
	if a.port != "" {
		return a.port
	}
	return defaultPorts[a.scheme]
}
