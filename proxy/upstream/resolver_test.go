package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"stasis/proxy/upstream"
)

func TestAResolverGivesOnlyAddressesThatAClientWouldConnectTo(t *testing.T) {
	names := map[string][]string{
		"good.test":    {"93.184.216.34", "2606:2800:220:1::1"},
		"inside.test":  {"10.0.0.7"},
		"mixed.test":   {"169.254.169.254", "93.184.216.34", "::ffff:127.0.0.1"},
		"hidden.test":  {"64:ff9b::a9fe:a9fe", "::ffff:10.0.0.1", "2002:a9fe:a9fe::1"},
		"mapped.test":  {"::ffff:93.184.216.34"},
		"nothing.test": {},
	}
	for _, c := range []struct {
		host, port string
		allowed    []string
		want       string // the addresses, or what the error says
	}{
		{"good.test", "443", nil, "93.184.216.34 2606:2800:220:1::1"},
		{"mapped.test", "443", nil, "93.184.216.34"},
		{"mixed.test", "443", nil, "93.184.216.34"},
		{"inside.test", "443", nil, "the address 10.0.0.7 is private"},
		{"inside.test", "443", []string{"inside.test"}, "10.0.0.7"},
		{"inside.test", "22", []string{"inside.test:443"}, "the address 10.0.0.7 is private"},
		{"inside.test", "443", []string{"10.0.0.0/8"}, "the address 10.0.0.7 is private"}, // the name could lead anywhere tomorrow
		{"hidden.test", "443", nil, "is a 6to4 tunnel"},
		{"nothing.test", "443", nil, "it has no address"},
		{"unknown.test", "443", nil, "look up unknown.test: no such host"},
		{"127.0.0.1", "22", nil, "the address 127.0.0.1 is loopback"},
		{"127.0.0.1", "22", []string{"127.0.0.1"}, "127.0.0.1"},
		{"127.0.0.1", "22", []string{"127.0.0.0/8"}, "127.0.0.1"},
		{"::1", "22", nil, "the address ::1 is loopback"},
	} {
		r, err := upstream.NewResolver(c.allowed)
		if err != nil {
			t.Fatal(err)
		}
		upstream.ResolveWith(r, func(_ context.Context, _, host string) ([]netip.Addr, error) {
			list, ok := names[host]
			if !ok {
				return nil, errors.New("no such host")
			}
			var addrs []netip.Addr
			for _, s := range list {
				addrs = append(addrs, netip.MustParseAddr(s))
			}
			return addrs, nil
		})
		addrs, err := r.Resolve(t.Context(), c.host, c.port)
		got := strings.Trim(fmt.Sprint(addrs), "[]")
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s:%s with %q allowed: got %q, want %q", c.host, c.port, c.allowed, got, c.want)
		}
		if (err == nil) != (len(addrs) > 0) {
			t.Errorf("%s: %d addresses and the error %v", c.host, len(addrs), err)
		}
	}
	if _, err := upstream.NewResolver([]string{"not a host"}); err == nil {
		t.Error("a wrong entry in the list is accepted")
	}
}
