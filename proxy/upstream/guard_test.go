package upstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"stasis/proxy/upstream"
)

// specialAddresses must never be connected to on a stranger's word.
var specialAddresses = []string{
	// IPv4
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
	"127.0.0.1", "127.0.0.53", "127.1.2.3", "127.255.255.255", "168.63.129.16", "169.254.0.1",
	"169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192",
	"192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
	"192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	// IPv6
	"::", "::1", "::2", "100::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1",
	"fe80::a9fe:a9fe", "fec0::1", "ff00::1", "ff02::1", "ff0e::1", "2001:2::1", "2001:10::1", "2001:20::1",
	"2001:db8::1", "3fff::1", "2620:4f:8000::1", "5f00::1", "4000::1", "64:ff9b:1::1",
	// IPv4 inside IPv6
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.100.100.200",
	"::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1",
	"2002:a9fe:a9fe::1", "2002:7f00:1::1", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
}

var ordinaryAddresses = []string{
	"1.1.1.1", "8.8.8.8", "140.82.121.4", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
	"192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17", "169.253.255.255",
	"2606:50c0:8000::153", "2a00:1450:4001:82a::200e", "2400:cb00::1", "2001:4860:4860::8888", "::ffff:8.8.8.8",
	"64:ff9b::8.8.8.8",
}

func TestOrdinaryAddressesAreReachable(t *testing.T) {
	for _, a := range ordinaryAddresses {
		if what := upstream.Special(netip.MustParseAddr(a)); what != "" {
			t.Errorf("%s is refused as %s", a, what)
		}
	}
}

var errNoPackets = errors.New("no packet leaves this test")

// connects counts the connections that the guard let through; only those to the test's own
// server are really made.
type connects struct {
	mu    sync.Mutex
	own   string
	count map[string]int
}

func (c *connects) connect(address string) error {
	if address == c.own {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[address]++
	return errNoPackets
}

func (c *connects) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.count
	c.count = map[string]int{}
	return count
}

// TestSpecialAddressesAreRefusedHoweverTheyAreReached is the matrix of addresses and ways.
func TestSpecialAddressesAreRefusedHoweverTheyAreReached(t *testing.T) {
	if n := len(specialAddresses); n < 60 {
		t.Fatalf("only %d addresses", n)
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	})
	own := server.Listener.Addr().String()
	made := &connects{own: own, count: map[string]int{}}
	dns := &nameServer{}
	c := newClient(t, func(o *upstream.Options) { o.AllowedHosts = []string{own}; o.BreakerFailures = 1 })
	c.InterceptConnects(dns.resolver(), made.connect)
	if status, _, err := get(c, server.URL+"/?to=http://"+own+"/end"); status != 0 || err == nil {
		t.Fatal("the test's own server does not redirect")
	}

	for i, address := range specialAddresses {
		literal := address
		if strings.Contains(address, ":") {
			literal = "[" + address + "]"
		}
		name := fmt.Sprintf("h%d.attack.test", i)
		mixed := fmt.Sprintf("m%d.attack.test", i)
		dns.set(name, address)
		dns.set(mixed, address, address)
		for way, url := range map[string]string{
			"written out":                http.MethodGet + " http://" + literal + "/dist.zip",
			"written out, https":         http.MethodGet + " https://" + literal + "/dist.zip",
			"written out, posted to":     http.MethodPost + " http://" + literal + "/notify",
			"as a name":                  http.MethodGet + " http://" + name + "/dist.zip",
			"as a name, https":           http.MethodGet + " https://" + name + ":8443/dist.zip",
			"as a name with two answers": http.MethodGet + " http://" + mixed + "/dist.zip",
			"redirected to, written out": http.MethodGet + " " + server.URL + "/?to=http://" + literal + "/",
			"redirected to, as a name":   http.MethodGet + " " + server.URL + "/?to=http://" + name + "/",
		} {
			method, url, _ := strings.Cut(url, " ")
			_, err := c.Do(context.Background(), upstream.Request{Method: method, URL: url, Class: upstream.ClassArchive})
			var e *upstream.Error
			if !errors.As(err, &e) || e.Kind != upstream.Blocked {
				t.Errorf("%s %s: got %v, want it blocked", address, way, err)
			}
		}
	}
	if count := made.take(); len(count) != 0 {
		t.Errorf("connections were made: %v", count)
	}
	for _, h := range c.Hosts() {
		if h.State != "closed" {
			t.Errorf("a refused address counts against its host: %+v", h)
		}
	}
}

func TestANameThatChangesItsAddressIsJudgedAtEveryConnection(t *testing.T) {
	made := &connects{count: map[string]int{}}
	dns := &nameServer{}
	c := newClient(t, func(o *upstream.Options) {
		o.AllowedHosts, o.Retries, o.BreakerFailures = nil, -1, 1000
	})
	c.InterceptConnects(dns.resolver(), made.connect)
	ask := func() error { _, _, err := get(c, "http://rebind.attack.test/"); return err }

	dns.set("rebind.attack.test", "8.8.8.8")
	wantKind(t, ask(), upstream.Unreachable) // let through, and stopped by the test
	if count := made.take(); count["8.8.8.8:80"] != 1 {
		t.Fatalf("connections: %v", count)
	}
	dns.set("rebind.attack.test", "169.254.169.254")
	wantKind(t, ask(), upstream.Blocked)
	dns.set("rebind.attack.test", "8.8.8.8", "10.0.0.1")
	_ = ask()
	dns.set("rebind.attack.test", "10.0.0.1", "8.8.8.8")
	_ = ask()
	for address := range made.take() {
		if address != "8.8.8.8:80" {
			t.Errorf("connected to %s", address)
		}
	}
}

func TestAllowedHostsMayHaveAnyAddress(t *testing.T) {
	made := &connects{count: map[string]int{}}
	dns := &nameServer{}
	for name, address := range map[string]string{
		"satis.corp.test": "10.1.2.3", "git.corp.test": "10.1.2.4", "public.test": "10.1.2.5",
	} {
		dns.set(name, address)
	}
	for _, c := range []struct {
		allowed, url string
		want         string
	}{
		{"satis.corp.test", "http://satis.corp.test/", "10.1.2.3:80"},
		{"SATIS.corp.test.", "http://Satis.Corp.Test/", "10.1.2.3:80"},
		{"satis.corp.test", "http://git.corp.test/", ""},
		{"satis.corp.test:8080", "http://satis.corp.test:8080/", "10.1.2.3:8080"},
		{"satis.corp.test:8080", "http://satis.corp.test/", ""},
		{"*.corp.test", "http://git.corp.test/", "10.1.2.4:80"},
		{"*.corp.test", "http://public.test/", ""},
		{"10.1.2.3", "http://10.1.2.3/", "10.1.2.3:80"},
		{"10.1.2.3", "http://[::ffff:10.1.2.3]/", "10.1.2.3:80"},
		{"10.1.2.3:81", "http://10.1.2.3/", ""},
		{"10.0.0.0/8", "http://10.1.2.3/", "10.1.2.3:80"},
		{"10.0.0.0/8", "http://192.168.0.1/", ""},
		{"10.0.0.0/8", "http://satis.corp.test/", ""}, // the name is not on the list
		{"[fd00::1]:80", "http://[fd00::1]/", "[fd00::1]:80"},
		{"fd00::/8", "http://[fd00::1]/", "[fd00::1]:80"},
		{"fd00::1", "http://[fd00::2]/", ""},
	} {
		client := newClient(t, func(o *upstream.Options) { o.AllowedHosts, o.Retries = []string{c.allowed}, -1 })
		client.InterceptConnects(dns.resolver(), made.connect)
		_, _, err := get(client, c.url)
		count := made.take()
		switch {
		case c.want == "":
			wantKind(t, err, upstream.Blocked)
			if len(count) != 0 {
				t.Errorf("%s with %s allowed connects to %v", c.url, c.allowed, count)
			}
		case !errors.Is(err, errNoPackets):
			t.Errorf("%s with %s allowed: %v", c.url, c.allowed, err)
		default:
			for address := range count {
				if address != c.want && netip.MustParseAddrPort(address).Addr().Unmap() != netip.MustParseAddrPort(c.want).Addr() {
					t.Errorf("%s connects to %s, want %s", c.url, address, c.want)
				}
			}
		}
	}
}

func TestAWildcardIsForNamesBelowADomain(t *testing.T) {
	for host, want := range map[string]bool{
		"a.corp.example": true, "a.b.corp.example": true, "A.CORP.EXAMPLE": true,
		"corp.example": false, "evilcorp.example": false, "corp.example.evil.test": false,
	} {
		got, err := upstream.Allowed([]string{"*.corp.example"}, host, "443")
		if err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", host, got, err, want)
		}
	}
}

func TestEnvironmentProxiesAreUsedOnlyWhenAskedFor(t *testing.T) {
	var proxied []string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		proxied = append(proxied, r.RequestURI)
		_, _ = io.WriteString(w, "by proxy")
	})
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("NO_PROXY", "")
	without := newClient(t, func(o *upstream.Options) { o.Retries = -1; o.AllowedHosts = nil })
	without.InterceptConnects((&nameServer{}).resolver(), func(string) error { return errNoPackets })
	if _, _, err := get(without, "http://registry.test/"); err == nil || len(proxied) != 0 {
		t.Errorf("the proxy was asked for %v (%v)", proxied, err)
	}
	with := newClient(t, func(o *upstream.Options) { o.UseEnvProxy = true; o.AllowedHosts = nil })
	if _, body, err := get(with, "http://registry.test/p2/a/b.json"); err != nil || body != "by proxy" {
		t.Errorf("got %q %v", body, err)
	}
	wantKind(t, second(get(with, "http://169.254.169.254/latest/meta-data")), upstream.Blocked)
	if len(proxied) != 1 || proxied[0] != "http://registry.test/p2/a/b.json" {
		t.Errorf("the proxy was asked for %v", proxied)
	}
}

// nameServer answers questions about names with addresses it was given, within the process.
type nameServer struct {
	mu    sync.Mutex
	names map[string][]netip.Addr
}

func (s *nameServer) set(name string, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string][]netip.Addr{}
	}
	s.names[name+"."] = nil
	for _, a := range addresses {
		s.names[name+"."] = append(s.names[name+"."], netip.MustParseAddr(a))
	}
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go s.answer(theirs)
		return ours, nil
	}}
}

// answer speaks DNS as over TCP: every message after its length.
func (s *nameServer) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		reply, err := s.reply(message)
		if err != nil {
			return
		}
		if _, err := conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(reply)))); err != nil {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

func (s *nameServer) reply(message []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(message); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	question := m.Questions[0]
	s.mu.Lock()
	addresses, known := s.names[strings.ToLower(question.Name.String())]
	s.mu.Unlock()
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class}
		switch {
		case question.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case question.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}
