// Package origin answers two questions about a request that may have come through reverse proxies: who
// asked (ClientAddr), and under which address this service is known to whoever asked (BaseURL).
//
// It promises that nothing a stranger can put into a header changes either answer: the X-Forwarded-*
// family and the Forwarded header of RFC 7239 count only when the directly connected peer is one of the
// trusted proxies, and a base URL is handed out only after every part of it was checked character by
// character, because it ends up inside JSON documents and lock files.
//
// When a request carries any X-Forwarded-* header, Forwarded is not looked at: most proxies write the
// former and pass the latter on untouched, so mixing the two would let a client smuggle one past a
// proxy that maintains the other. A proxy that passes a client's own X-Forwarded-Host on untouched
// cannot be told from one that set it; where that is possible, the configured base URL is the answer.
//
// Which proxies are trusted and which base URL is configured is decided elsewhere. The package keeps no
// state and depends on nothing of ours.
package origin

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how many entries of a forwarding chain are looked at, nearest first.
const maxHops = 32

// ClientAddr returns the address of the client that sent r: the peer of the connection or, when that
// is a trusted proxy, the nearest address in the forwarding chain that is not one. An entry that is not
// an address ends the search at the last known one. The result is invalid only if r has no usable
// RemoteAddr.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := peerAddr(r)
	if !contains(trusted, peer) {
		return peer
	}
	return readChain(r, peer, trusted).client
}

// Trusted reports whether the peer that r came from directly is one of the trusted proxies.
func Trusted(r *http.Request, trusted []netip.Prefix) bool {
	return contains(trusted, peerAddr(r))
}

// chain is what the forwarding headers of a trusted peer say.
type chain struct {
	client netip.Addr
	scheme string // as written; "" when not said
	host   string
	port   string
	prefix string
}

// readChain walks the forwarding headers from the nearest hop outwards while the hops are trusted.
func readChain(r *http.Request, peer netip.Addr, trusted []netip.Prefix) chain {
	h := r.Header
	if !hasXForwarded(h) {
		return readForwarded(h.Values("Forwarded"), peer, trusted)
	}
	c := chain{client: peer}
	hops := 1
	addrs := list(h.Values("X-Forwarded-For"))
	for i := len(addrs) - 1; i >= 0; i-- {
		a, ok := parseNode(addrs[i])
		if !ok {
			break
		}
		c.client = a
		hops = len(addrs) - i
		if !contains(trusted, a) {
			break
		}
	}
	// A proxy that appends to these lists adds one entry per hop, so the entry of the outermost trusted
	// proxy is as far from the end as the client is in X-Forwarded-For. A proxy that replaces the header
	// leaves one entry, which is then the one taken.
	c.scheme = entry(list(h.Values("X-Forwarded-Proto")), hops)
	c.host = entry(list(h.Values("X-Forwarded-Host")), hops)
	c.port = entry(list(h.Values("X-Forwarded-Port")), hops)
	c.prefix = entry(list(h.Values("X-Forwarded-Prefix")), hops)
	return c
}

// readForwarded is readChain for RFC 7239, where one element says everything about one hop.
func readForwarded(values []string, peer netip.Addr, trusted []netip.Prefix) chain {
	c := chain{client: peer}
	elements, ok := parseForwarded(values)
	if !ok {
		return c
	}
	for i := len(elements) - 1; i >= 0 && len(elements)-i <= maxHops; i-- {
		e := elements[i]
		c.scheme, c.host = e.proto, e.host
		a, ok := parseNode(e.client)
		if !ok {
			break
		}
		c.client = a
		if !contains(trusted, a) {
			break
		}
	}
	return c
}

func hasXForwarded(h http.Header) bool {
	for _, name := range [...]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// list splits the values of a repeatable header at the commas and returns at most the last maxHops entries.
func list(values []string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			out = append(out, strings.Trim(part, " \t"))
		}
	}
	return out[max(0, len(out)-maxHops):]
}

// entry is the entry n from the end, or the first one of a shorter list.
func entry(l []string, n int) string {
	if len(l) == 0 {
		return ""
	}
	return l[max(0, len(l)-n)]
}

// parseNode reads an address with or without a port, IPv6 with or without brackets.
func parseNode(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return canonical(a), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return canonical(ap.Addr()), true
	}
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok := strings.CutSuffix(rest, "]"); ok {
			if a, err := netip.ParseAddr(inner); err == nil {
				return canonical(a), true
			}
		}
	}
	return netip.Addr{}, false
}

func peerAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return canonical(ap.Addr())
}

// canonical makes addresses comparable: no IPv4 inside IPv6, no zone.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
