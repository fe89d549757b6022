package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// guard makes connections and refuses those to special addresses. The decision belongs to the
// connection: it is made from the host the transport dials, which is the key under which the
// transport pools the connection, and from the address the socket is about to connect to, after
// resolution. Neither a header nor a second look-up can come between.
type guard struct {
	allowed allowList
	base    net.Dialer // copied for each dial
	dial    dialFunc   // replaces resolving and connecting; nil for the real thing
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// refusal is the error for an address that must not be connected to.
type refusal struct {
	addr string
	what string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the address %s is %s, and the host is not one of the allowed hosts", r.addr, r.what)
}

func newGuard(allowed allowList, connectTimeout time.Duration, dial dialFunc) *guard {
	return &guard{
		allowed: allowed,
		base:    net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second},
		dial:    dial,
	}
}

// DialContext is the transport's only way to the network.
func (g *guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if err := g.checkHost(host, port); err != nil {
		return nil, err
	}
	if g.dial != nil {
		return g.dial(ctx, network, address)
	}
	if g.allowed.has(host, port) {
		return g.base.DialContext(ctx, network, address)
	}
	dialer, next := g.base, g.base.ControlContext
	dialer.ControlContext = func(ctx context.Context, network, resolved string, conn syscall.RawConn) error {
		if err := checkResolved(resolved); err != nil {
			return err
		}
		if next != nil {
			return next(ctx, network, resolved, conn)
		}
		return nil
	}
	return dialer.DialContext(ctx, network, address)
}

// checkURL refuses special addresses that are written out in a URL, before anything is dialled.
func (g *guard) checkURL(u *url.URL) error { return g.checkHost(u.Hostname(), portOf(u)) }

func (g *guard) checkHost(host, port string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil || g.allowed.has(host, port) {
		return nil
	}
	return checkAddr(addr)
}

func checkResolved(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusal{address, "not understood"}
	}
	return checkAddr(ap.Addr())
}

func checkAddr(addr netip.Addr) error {
	if what := special(addr); what != "" {
		return &refusal{addr.String(), what}
	}
	return nil
}
