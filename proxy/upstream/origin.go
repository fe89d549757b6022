package upstream

import (
	"net"
	"net/url"
	"strings"
)

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
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
