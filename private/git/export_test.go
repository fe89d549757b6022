package git

import (
	"context"
	"net/netip"
)

// ResolveWith replaces the looking up and judging of hosts.
func ResolveWith(g *Git, resolve func(ctx context.Context, host, port string) ([]netip.Addr, error)) {
	g.resolve = resolve
}

// ParseAddress returns the usual form of an address.
func ParseAddress(s string) (string, error) {
	a, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}
