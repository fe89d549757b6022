package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// BaseURL returns the URL under which the sender of r reaches this service, without a trailing slash.
// The configured one wins; it is taken as it is, because the configuration was checked at start.
// Otherwise the URL is put together from the connection, from the Host header and, if the peer is a
// trusted proxy, from what that proxy says. An error is a sentence for the client: the request names no
// host, or one that could not be put into a document safely.
func BaseURL(r *http.Request, configured string, trusted []netip.Prefix) (string, error) {
	if configured != "" {
		return strings.TrimRight(configured, "/"), nil
	}
	scheme, host, prefix := "http", r.Host, ""
	if r.TLS != nil {
		scheme = "https"
	}
	var port string
	if peer := peerAddr(r); contains(trusted, peer) {
		c := readChain(r, peer, trusted)
		if c.scheme != "" {
			scheme = strings.ToLower(c.scheme)
		}
		if c.host != "" {
			host = c.host
		}
		port, prefix = c.port, c.prefix
	}
	if scheme != "http" && scheme != "https" {
		return "", fmt.Errorf("the proxy in front names the scheme %s, which is neither http nor https", quote(scheme))
	}
	host, err := checkHost(host, port, scheme)
	if err != nil {
		return "", err
	}
	prefix, err = checkPrefix(prefix)
	if err != nil {
		return "", err
	}
	return scheme + "://" + host + prefix, nil
}

var errNoHost = errors.New("the request names no host, and no base URL is configured")

// checkHost returns host and port in canonical form: lower case, without the scheme's own port.
func checkHost(host, port, scheme string) (string, error) {
	if host == "" {
		return "", errNoHost
	}
	if len(host) > 253+1+5 {
		return "", errors.New("the host name of the request is too long")
	}
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i+1:]
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return "", fmt.Errorf("the port %s of the request is not a number from 1 to 65535", quote(port))
		}
	} else if strings.HasSuffix(host, ":") {
		return "", fmt.Errorf("the host %s of the request ends in a colon", quote(host))
	}
	if strings.HasPrefix(name, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		if err != nil || !strings.HasSuffix(name, "]") || a.Zone() != "" || !a.Is6() {
			return "", fmt.Errorf("the host %s of the request is not an IPv6 address", quote(name))
		}
		name = "[" + a.String() + "]"
	} else if !isHostName(name) {
		return "", fmt.Errorf("the host %s of the request is not a host name", quote(name))
	}
	name = strings.ToLower(name)
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return name, nil
	}
	return name + ":" + port, nil
}

// isHostName accepts DNS names and IPv4 addresses: labels of letters, digits, '-' and '_', where '_'
// is there for the container networks that use it.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// maxPrefix bounds the length of a path prefix.
const maxPrefix = 256

// checkPrefix accepts "/a/b" made of unreserved characters, with or without a trailing slash.
func checkPrefix(p string) (string, error) {
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		return "", nil
	}
	bad := len(p) > maxPrefix || p[0] != '/'
	if !bad {
		for segment := range strings.SplitSeq(p[1:], "/") {
			bad = bad || segment == "" || segment == "." || segment == ".."
			for i := range len(segment) {
				c := segment[i]
				bad = bad || !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0)
			}
		}
	}
	if bad {
		return "", fmt.Errorf("the path prefix %s named by the proxy in front is not a plain path", quote(p))
	}
	return p, nil
}

// quote shows hostile text in an error: escaped and short.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	return strconv.QuoteToASCII(s)
}
