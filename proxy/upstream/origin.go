package upstream

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// asciiHost spells a host the one way in which it is compared, dialled and printed: lower case,
// international names in their ASCII form.
func asciiHost(host string) (string, error) {
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("the host is not a valid international name")
		}
		host = ascii
	}
	if !hostName(strings.TrimSuffix(host, ".")) {
		return "", errors.New("the host is neither a name nor an address")
	}
	return host, nil
}

// hostName says whether s, in lower case, could be a name in DNS or in a hosts file.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, r := range label {
			if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
				return false
			}
		}
	}
	return true
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// joinHostPort is net.JoinHostPort for a port that may be missing.
func joinHostPort(host, port string) string {
	switch {
	case port != "":
		return net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// portOf returns the port a URL leads to.
func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// originOf is what credentials are bound to: scheme, host and port, all three spelled out.
func originOf(u *url.URL) string {
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u))
}

// hostOf names the host for breakers, errors and the status page. The port is left out where
// https makes it obvious.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if port := portOf(u); u.Scheme == "http" || port != "443" {
		return net.JoinHostPort(host, port)
	}
	return joinHostPort(host, "")
}
