package origin_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"stasis/proxy/origin"
)

var trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

// request makes a request that arrived from peer with the given header lines.
func request(peer, host string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/packages.json", nil)
	r.RemoteAddr, r.Host = peer, host
	for _, l := range lines {
		k, v, _ := strings.Cut(l, ": ")
		r.Header.Add(k, v)
	}
	return r
}

func TestClientAddr(t *testing.T) {
	for _, c := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"a direct client is its own address", "203.0.113.9:4711", nil, "203.0.113.9"},
		{"a stranger cannot claim an address", "203.0.113.9:4711", []string{"X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4"}, "203.0.113.9"},
		{"a trusted proxy names the client", "10.0.0.1:80", []string{"X-Forwarded-For: 198.51.100.7"}, "198.51.100.7"},
		{"what the client itself claimed is further left", "10.0.0.1:80", []string{"X-Forwarded-For: 1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		{"a chain of trusted proxies is walked through", "10.0.0.1:80", []string{"X-Forwarded-For: 1.2.3.4, 198.51.100.7, 10.9.9.9"}, "198.51.100.7"},
		{"several header lines are one list", "10.0.0.1:80", []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 10.9.9.9"}, "198.51.100.7"},
		{"only trusted hops give the outermost", "10.0.0.1:80", []string{"X-Forwarded-For: 10.1.1.1, 10.2.2.2"}, "10.1.1.1"},
		{"an unknown hop stops at the last known one", "10.0.0.1:80", []string{"X-Forwarded-For: 1.2.3.4, unknown, 10.2.2.2"}, "10.2.2.2"},
		{"ports are dropped", "10.0.0.1:80", []string{"X-Forwarded-For: 198.51.100.7:5555"}, "198.51.100.7"},
		{"IPv6 with brackets and port", "[fd00::1]:80", []string{"X-Forwarded-For: [2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 in brackets", "[fd00::1]:80", []string{"X-Forwarded-For: [2001:db8::1]"}, "2001:db8::1"},
		{"an IPv4 peer on an IPv6 socket is recognised", "[::ffff:10.0.0.1]:80", []string{"X-Forwarded-For: ::ffff:198.51.100.7"}, "198.51.100.7"},
		{"RFC 7239", "10.0.0.1:80", []string{`Forwarded: for=1.2.3.4, for="[2001:db8:cafe::17]:4711";proto=https`}, "2001:db8:cafe::17"},
		{"RFC 7239 through two trusted hops", "10.0.0.1:80", []string{"Forwarded: for=192.0.2.43, FOR=10.3.3.3;by=10.0.0.1"}, "192.0.2.43"},
		{"RFC 7239 hidden client", "10.0.0.1:80", []string{"Forwarded: for=_hidden, for=10.3.3.3"}, "10.3.3.3"},
		{"a malformed Forwarded is ignored", "10.0.0.1:80", []string{`Forwarded: for="1.2.3.4`}, "10.0.0.1"},
		{"Forwarded does not count beside X-Forwarded-*", "10.0.0.1:80", []string{"Forwarded: for=1.2.3.4", "X-Forwarded-For: 198.51.100.7"}, "198.51.100.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := origin.ClientAddr(request(c.peer, "h", c.lines...), trusted); got.String() != c.want {
				t.Errorf("ClientAddr = %s, want %s", got, c.want)
			}
		})
	}
	if got := origin.ClientAddr(request("@", "h"), trusted); got.IsValid() {
		t.Errorf("a peer without address gives %s, want the invalid address", got)
	}
}

func TestBaseURL(t *testing.T) {
	const proxy, stranger = "10.0.0.1:80", "203.0.113.9:4711"
	for _, c := range []struct {
		name, peer, host, configured string
		lines                        []string
		want                         string
	}{
		{"the configured URL wins", proxy, "a.example", "https://packages.example.com/", []string{"X-Forwarded-Host: b.example"}, "https://packages.example.com"},
		{"the Host header", stranger, "packages.example.com:8080", "", nil, "http://packages.example.com:8080"},
		{"the scheme's own port is left out", stranger, "packages.example.com:80", "", nil, "http://packages.example.com"},
		{"upper case is lowered", stranger, "Packages.Example.COM", "", nil, "http://packages.example.com"},
		{"IPv6", stranger, "[2001:DB8::1]:8080", "", nil, "http://[2001:db8::1]:8080"},
		{"a container name", stranger, "my_stasis:8080", "", nil, "http://my_stasis:8080"},
		{"a stranger's headers do not count", stranger, "a.example", "", []string{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example"}, "http://a.example"},
		{"a trusted proxy names scheme and host", proxy, "stasis:8080", "", []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: packages.example.com"}, "https://packages.example.com"},
		{"scheme only keeps the Host header", proxy, "packages.example.com", "", []string{"X-Forwarded-Proto: HTTPS"}, "https://packages.example.com"},
		{"port from the proxy", proxy, "stasis", "", []string{"X-Forwarded-Host: p.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"}, "https://p.example:8443"},
		{"a port in the host wins", proxy, "stasis", "", []string{"X-Forwarded-Host: p.example:9000", "X-Forwarded-Port: 8443"}, "http://p.example:9000"},
		{"port 443 of https is left out", proxy, "stasis", "", []string{"X-Forwarded-Host: p.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"}, "https://p.example"},
		{"path prefix", proxy, "p.example", "", []string{"X-Forwarded-Prefix: /composer/"}, "http://p.example/composer"},
		{"a host the client put in front is passed over", proxy, "stasis", "", []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-Host: evil.example, p.example"}, "http://p.example"},
		{"the outermost of two trusted hops names the host", proxy, "stasis", "", []string{"X-Forwarded-For: 198.51.100.7, 10.2.2.2", "X-Forwarded-Host: evil.example, p.example, inner", "X-Forwarded-Proto: https, http"}, "https://p.example"},
		{"RFC 7239", proxy, "stasis", "", []string{`Forwarded: for=1.2.3.4;host=evil.example, for=198.51.100.7;host="p.example:8443";proto=https`}, "https://p.example:8443"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := origin.BaseURL(request(c.peer, c.host, c.lines...), c.configured, trusted)
			if err != nil || got != c.want {
				t.Errorf("BaseURL = %q, %v, want %q", got, err, c.want)
			}
		})
	}
	t.Run("TLS is https", func(t *testing.T) {
		r := request(stranger, "p.example:443")
		r.TLS = &tls.ConnectionState{}
		if got, err := origin.BaseURL(r, "", nil); got != "https://p.example" || err != nil {
			t.Errorf("BaseURL = %q, %v", got, err)
		}
	})
}

func TestBaseURLRefusesWhatCouldBreakADocument(t *testing.T) {
	for _, host := range []string{
		"", "a b", `a"b`, "a<b>", "a/b", "a?b", "a#b", "user@host", "a\\b", "a\x00b", "ä.example", "a..b", ".a", "a.", "-a", "a-",
		"a:", "a:0", "a:080", "a:65536", "a:x", "a:1:2", "[::1", "::1", "[::1%25eth0]", "[127.0.0.1]", "[]", "%2e", "a%20b",
		strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a", "a\nb", "a\u2028b",
	} {
		if got, err := origin.BaseURL(request("203.0.113.9:1", host), "", nil); err == nil {
			t.Errorf("host %q gives %q, want an error", host, got)
		}
	}
	for _, line := range []string{
		"X-Forwarded-Proto: javascript", "X-Forwarded-Prefix: //evil.example", "X-Forwarded-Prefix: /../x", "X-Forwarded-Prefix: x",
		`X-Forwarded-Prefix: /"`, "X-Forwarded-Prefix: /a%2fb", "X-Forwarded-Port: 99999", "X-Forwarded-Host: a/b",
		"X-Forwarded-Prefix: /" + strings.Repeat("a", 300),
	} {
		if got, err := origin.BaseURL(request("10.0.0.1:1", "p.example", line), "", trusted); err == nil {
			t.Errorf("%s gives %q, want an error", line, got)
		}
	}
}

func TestTrusted(t *testing.T) {
	if !origin.Trusted(request("10.1.2.3:4", "h"), trusted) || origin.Trusted(request("11.1.2.3:4", "h"), trusted) || origin.Trusted(request("", "h"), trusted) {
		t.Error("Trusted does not follow the list of prefixes")
	}
}
