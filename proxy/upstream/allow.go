package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// allowList is the operator's list of hosts that may have any address and may be reached over
// plain http from an https redirect. It is asked about the host as the URL spells it: an
// address entry allows URLs that name that address, not names that happen to resolve to it.
type allowList []allowEntry

type allowEntry struct {
	name   string // exact host name
	suffix string // ".corp.example" for *.corp.example
	prefix netip.Prefix
	port   string // "" for every port
}

// parseAllowList reads host, host:port, address, address:port, CIDR and *.suffix entries.
func parseAllowList(entries []string) (allowList, error) {
	var list allowList
	for _, raw := range entries {
		entry, err := parseAllowEntry(strings.ToLower(strings.TrimSpace(raw)))
		if err != nil {
			return nil, fmt.Errorf("allowed host %q: %w", raw, err)
		}
		list = append(list, entry)
	}
	return list, nil
}

func parseAllowEntry(s string) (allowEntry, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return allowEntry{prefix: prefix.Masked()}, nil
	}
	host, port := s, ""
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		if h, p, err := net.SplitHostPort(s); err == nil {
			host, port = h, p
		} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			host = s[1 : len(s)-1]
		}
	}
	if port != "" && !validPort(port) {
		return allowEntry{}, fmt.Errorf("%q is not a port", port)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		return allowEntry{prefix: netip.PrefixFrom(addr, addr.BitLen()), port: port}, nil
	}
	name, wildcard := strings.CutPrefix(strings.TrimSuffix(host, "."), "*.")
	name, err := asciiHost(name)
	if err != nil {
		return allowEntry{}, errors.New("want a host, host:port, address, CIDR range or *.domain")
	}
	if wildcard {
		return allowEntry{suffix: "." + name, port: port}, nil
	}
	return allowEntry{name: name, port: port}, nil
}

// has says whether host, with port, is on the list.
func (l allowList) has(host, port string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	addr, err := netip.ParseAddr(host)
	literal := err == nil
	addr = addr.Unmap()
	for _, e := range l {
		if e.port != "" && e.port != port {
			continue
		}
		switch {
		case e.name != "" && e.name == host,
			e.suffix != "" && !literal && strings.HasSuffix(host, e.suffix),
			e.prefix.IsValid() && literal && e.prefix.Contains(addr):
			return true
		}
	}
	return false
}

// hasURL says whether the host of u is on the list.
func (l allowList) hasURL(u *url.URL) bool { return l.has(u.Hostname(), portOf(u)) }
