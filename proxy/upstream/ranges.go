package upstream

import "net/netip"

// The judgement of addresses. IPv4 is refused by list; IPv6 is refused by default outside the
// one block from which global addresses are given out, and by list inside it. Sources: the IANA
// special-purpose address registries, and the addresses at which clouds answer with credentials.
var (
	globalIPv6 = netip.MustParsePrefix("2000::/3")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")

	specialRanges = []struct {
		prefix netip.Prefix
		what   string
	}{
		{netip.MustParsePrefix("0.0.0.0/8"), "of this network"},
		{netip.MustParsePrefix("10.0.0.0/8"), "private"},
		{netip.MustParsePrefix("100.64.0.0/10"), "shared by a carrier"},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("168.63.129.16/32"), "a cloud metadata service"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
		{netip.MustParsePrefix("172.16.0.0/12"), "private"},
		{netip.MustParsePrefix("192.0.0.0/24"), "reserved for protocols"},
		{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
		{netip.MustParsePrefix("192.31.196.0/24"), "reserved for AS112"},
		{netip.MustParsePrefix("192.52.193.0/24"), "reserved for multicast relays"},
		{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay"},
		{netip.MustParsePrefix("192.168.0.0/16"), "private"},
		{netip.MustParsePrefix("192.175.48.0/24"), "reserved for AS112"},
		{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
		{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
		{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

		{netip.MustParsePrefix("2001::/32"), "a Teredo tunnel"},
		{netip.MustParsePrefix("2001::/23"), "reserved for protocols"},
		{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
		{netip.MustParsePrefix("2002::/16"), "a 6to4 tunnel"},
		{netip.MustParsePrefix("2620:4f:8000::/48"), "reserved for AS112"},
		{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	}
)

// special says what makes an address one that strangers must not send us to; it returns ""
// for an ordinary global address. IPv4 inside IPv6 is judged as the IPv4 address it leads to:
// mapped addresses are the same thing written longer, and behind NAT64 the well-known prefix is
// how an IPv6-only machine reaches GitHub. The tunnels are refused whole.
func special(addr netip.Addr) string {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		return "not an address"
	case nat64.Contains(addr.WithZone("")):
		b := addr.As16()
		if what := special(netip.AddrFrom4([4]byte(b[12:]))); what != "" {
			return what + " behind NAT64"
		}
		return ""
	case addr.Is6() && (addr.Zone() != "" || addr.IsLinkLocalUnicast()):
		return "link-local"
	case addr.IsLoopback():
		return "loopback"
	case addr.IsPrivate():
		return "private"
	case addr.IsMulticast():
		return "multicast"
	case addr.IsUnspecified():
		return "unspecified"
	}
	for _, r := range specialRanges {
		if r.prefix.Contains(addr) {
			return r.what
		}
	}
	if addr.Is6() && !globalIPv6.Contains(addr) {
		return "not global"
	}
	return ""
}
