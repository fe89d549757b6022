package upstream

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// InterceptConnects makes the real dialer use resolver and ask connect before the socket
// connects to an address that the guard has let through.
func (c *Client) InterceptConnects(resolver *net.Resolver, connect func(address string) error) {
	c.guard.base.Resolver = resolver
	c.guard.base.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return connect(address)
	}
}

func ParseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	return parseRetryAfter(value, now)
}

func Special(addr netip.Addr) string { return special(addr) }

func Allowed(entries []string, host, port string) (bool, error) {
	list, err := parseAllowList(entries)
	return list.has(host, port), err
}

const (
	MaxRetryAfter = maxRetryAfter
	MaxHosts      = maxHosts
)

// ResolveWith replaces the name service.
func ResolveWith(r *Resolver, lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)) {
	r.lookup = lookup
}
