package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Resolver looks up hosts on behalf of programs that make their own connections, such as git, under
// the rules that hold for a Client. Such a program has to be held to the addresses it is given: if
// it resolves the name again, somebody may answer differently.
type Resolver struct {
	allowed allowList
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NewResolver returns a Resolver for which the given hosts may have special addresses, written as
// in Options.AllowedHosts.
func NewResolver(allowedHosts []string) (*Resolver, error) {
	allowed, err := parseAllowList(allowedHosts)
	if err != nil {
		return nil, err
	}
	return &Resolver{allowed: allowed, lookup: net.DefaultResolver.LookupNetIP}, nil
}

// Resolve returns the addresses at which a host may be connected to, best first; never none without
// an error. Of a host that has ordinary and special addresses, the special ones are left out.
func (r *Resolver) Resolve(ctx context.Context, host, port string) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, 1)
	var err error
	if addrs[0], err = netip.ParseAddr(host); err != nil {
		if addrs, err = r.lookup(ctx, "ip", host); err != nil {
			return nil, fmt.Errorf("look up %s: %w", host, err)
		}
	}
	allowed := r.allowed.has(host, port)
	var may []netip.Addr
	for _, addr := range addrs {
		refused := checkAddr(addr)
		if refused != nil && !allowed {
			err = refused
			continue
		}
		may = append(may, addr.Unmap())
	}
	switch {
	case len(may) > 0:
		return may, nil
	case err == nil:
		err = fmt.Errorf("look up %s: it has no address", host)
	}
	return nil, err
}
