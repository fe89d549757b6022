package integration_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// raw sends bytes over a connection of its own and returns all that comes back.
func (d *daemon) raw(request string) string {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// unfinished sends bytes and hangs up without waiting for more than what comes
// back at once.
func (d *daemon) unfinished(request string) string {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, request)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestC81LinksUseTheAddressClientsSee(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "packages.example.com", "Host", "inner:8080"}

	d := start(t, s)
	if link := into[map[string]any](t, d.get("/packages.json", forwarded...))["metadata-url"]; fmt.Sprint(link) != "http://inner:8080/p2/%package%.json" {
		t.Errorf("forwarding headers from a stranger: metadata-url is %v", link)
	}
	d = start(t, s, "TRUSTED_PROXIES=127.0.0.1/32")
	if link := into[map[string]any](t, d.get("/packages.json", forwarded...))["metadata-url"]; fmt.Sprint(link) != "https://packages.example.com/p2/%package%.json" {
		t.Errorf("forwarding headers from a trusted proxy: metadata-url is %v", link)
	}
	if body := string(d.get("/p2/acme/b.json", forwarded...).body); !strings.Contains(body, "https://packages.example.com/dist-proxy/") {
		t.Errorf("documents do not use the forwarded address: %.300s", body)
	}
	d = start(t, s, "BASE_URL=https://composer.example.com/mirror", "TRUSTED_PROXIES=127.0.0.1/32")
	if link := into[map[string]any](t, d.get("/packages.json", forwarded...))["metadata-url"]; fmt.Sprint(link) != "https://composer.example.com/mirror/p2/%package%.json" {
		t.Errorf("with BASE_URL: metadata-url is %v", link)
	}
	// Two addresses, two documents, two dates: neither client may get the other's.
	d = start(t, s, "TRUSTED_PROXIES=127.0.0.1/32")
	one := d.get("/p2/acme/b.json", "X-Forwarded-Host", "one.example.com")
	two := d.get("/p2/acme/b.json", "X-Forwarded-Host", "two.example.com", "If-Modified-Since", one.Header.Get("Last-Modified"))
	if two.StatusCode == 200 && bytes.Contains(two.body, []byte("one.example.com")) || bytes.Contains(one.body, []byte("two.example.com")) {
		t.Error("a document made for one address reached another")
	}
}

func TestC82AClientWithoutKeepAliveIsServed(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, path := range []string{"/packages.json", "/p2/acme/a.json", "/p2/acme/a~dev.json"} {
		answer := d.raw("GET " + path + " HTTP/1.1\r\nHost: " + d.addr + "\r\nUser-Agent: Composer/2.5.5 (Linux; 6.1; PHP 8.2.0; streams)\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(strings.ToLower(answer), "\r\nconnection: close\r\n") {
			t.Errorf("%s: %.300q", path, answer)
		}
	}
	if answer := d.raw("GET /packages.json HTTP/1.0\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.0 200 ") && !strings.HasPrefix(answer, "HTTP/1.1 200 ") && !strings.Contains(answer, " 400 ") {
		t.Errorf("HTTP/1.0 without Host: %.200q", answer)
	}
	// The same by Composer with its own fallback to PHP's streams.
	c := clientOf(t, "php -d disable_functions=curl_multi_exec,curl_multi_init "+composers(t)[0], d.url)
	c.run(project(t, requiring("acme/a", "^1.0")), "update", "--no-progress")
	streams := false
	for line := range strings.Lines(d.log.String()) {
		streams = streams || strings.Contains(line, "; streams")
	}
	t.Logf("the access log shows the streams transport: %t", streams)
}

func TestC83ALeavingClientDoesNotEndTheFetch(t *testing.T) {
	s, d := pair(t)
	p := s.Publish(standin.Release{Name: "acme/large", Version: "1.0.0", Size: 2 << 20})
	link := d.distURL("acme/large", "1.0.0")
	for _, c := range []struct {
		path, upstream string
		after          int
	}{{"/p2/acme/large~dev.json", "/p2/acme/large~dev.json", -1}, {strings.TrimPrefix(link, d.url), "*/legacy.zip/*", 100_000}} {
		gate := s.HoldAfter(c.upstream, c.after)
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, d.url+c.path, nil)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if resp, err := wire.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}()
		if err := gate.Wait(within(t), 1); err != nil {
			t.Fatal(err)
		}
		stays := d.crowd(1, c.path)
		leave()
		<-gone
		gate.Open()
		if r := <-stays; r.err != nil || r.status != 200 || c.after >= 0 && r.digest != digest(p.Archive) {
			t.Errorf("%s: the client that stayed got %+v", c.path, r)
		}
		if n := s.Requests(c.upstream); n != 1 {
			t.Errorf("%s: upstream was asked %d times", c.path, n)
		}
	}
	// Nobody stays: the download is still finished and kept.
	alone := s.Publish(standin.Release{Name: "acme/alone", Version: "1.0.0", Size: 2 << 20})
	link = d.distURL("acme/alone", "1.0.0")
	gate := s.HoldAfter("/acme/alone/legacy.zip/*", 100_000)
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	resp, err := wire.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := gate.Wait(within(t), 1); err != nil {
		t.Fatal(err)
	}
	leave()
	_ = resp.Body.Close()
	gate.Open()
	if err := s.AwaitDone(within(t), "/acme/alone/legacy.zip/*", 1); err != nil {
		t.Fatal(err)
	}
	same(t, "the archive whose client left", d.get(link).body, alone.Archive)
	if n := s.Requests("/acme/alone/legacy.zip/*"); n != 1 {
		t.Errorf("the download was started %d times", n)
	}
}

var agent = regexp.MustCompile(`^Stasis/\S+ \(.*(mailto=|contact).*\)$`)

func TestC84UpstreamIsAskedPolitely(t *testing.T) {
	cert, _, certificate := certificate(t)
	s := standin.Start(t, standin.Options{TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}})
	made(s)
	d := start(t, s, append([]string{"SSL_CERT_FILE=" + cert}, revalidating...)...)
	for range 2 {
		if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
			t.Fatalf("%d %.300s", r.StatusCode, r.body)
		}
	}
	if r := d.archive("acme/a", "v1.0.0"); r.StatusCode != 200 {
		t.Errorf("the archive: %d %.300s", r.StatusCode, r.body)
	}
	records := s.Records("/p2/acme/a.json")
	if len(records) < 2 {
		t.Fatalf("upstream was asked %d times, want 2", len(records))
	}
	if first, last := records[0].Header.Get("If-Modified-Since"), records[len(records)-1].Header.Get("If-Modified-Since"); first != "" || last == "" {
		t.Errorf("the first request was conditional on %q, the last on %q", first, last)
	}
	for _, r := range s.Records("*") {
		if !agent.MatchString(r.Header.Get("User-Agent")) {
			t.Errorf("%s was asked by %q", r.URI, r.Header.Get("User-Agent"))
		}
		if r.Proto != "HTTP/2.0" {
			t.Errorf("%s was asked over %s", r.URI, r.Proto)
		}
	}
}

func TestC94TheUpstreamFeedIsFollowed(t *testing.T) {
	s, d := pair(t, "PROXY_FEED_INTERVAL=100ms")
	for _, name := range []string{"acme/a", "acme/b", "acme/gone"} {
		s.Publish(standin.Release{Name: name, Version: "1.0.0"})
		_ = d.document(name)
		_ = d.document(name + "~dev")
	}
	if err := s.Await(within(t), "/metadata/changes.json?since=*", 1); err != nil {
		t.Fatal(err)
	}
	has := func(file, pretty string) func() bool {
		return func() bool {
			r := d.get("/p2/" + file + ".json")
			return r.StatusCode == 200 && strings.Contains(string(r.body), `"version":"`+pretty+`"`)
		}
	}
	// An update shows without waiting for the TTL of an hour.
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	eventually(t, "the update shows", has("acme/a", "1.1.0"))

	// An edge that still answers the older file is asked again.
	rule := s.FaultTimes("/p2/acme/a.json", 2, s.StaleEdge("acme/a"))
	s.Publish(standin.Release{Name: "acme/a", Version: "1.2.0"})
	eventually(t, "the update shows though an edge was late", has("acme/a", "1.2.0"))
	t.Logf("the stale edge answered %d times", rule.Hits())

	s.Delete("acme/gone")
	eventually(t, "the deletion shows", func() bool {
		return d.get("/p2/acme/gone.json").StatusCode == 404 && d.get("/p2/acme/gone~dev.json").StatusCode == 404
	})

	// A change that the feed has forgotten is found by revalidating everything.
	s.Mute(true)
	s.Publish(standin.Release{Name: "acme/b", Version: "1.9.0"})
	s.Mute(false)
	s.ForgetFeed()
	eventually(t, "the resync finds the silent change", has("acme/b", "1.9.0"))
}

func TestC95AStaleEdgeDoesNotTurnTheClockBack(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	_ = d.get("/p2/acme/a.json")
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	want := d.get("/p2/acme/a.json")
	s.Fault("/p2/acme/a.json", s.StaleEdge("acme/a"))
	for range 3 {
		r := d.get("/p2/acme/a.json")
		if r.StatusCode != 200 || !bytes.Equal(r.body, want.body) {
			t.Errorf("a stale edge made it %d %.200s", r.StatusCode, r.body)
		}
	}
	s.Heal()
	s.Publish(standin.Release{Name: "acme/a", Version: "1.2.0"})
	version(t, d.document("acme/a"), "1.2.0")
}

func TestC96TheNewerOfTwoVariantsWins(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	_ = d.get("/p2/acme/a.json")
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	plain := func(r *http.Request) bool { return !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") }
	packed := func(r *http.Request) bool { return !plain(r) }
	for name, cond := range map[string]func(*http.Request) bool{"identity": plain, "gzip": packed} {
		// One variant is old; whichever the program asks for, it never goes back.
		version(t, d.document("acme/a"), "1.1.0")
		rule := s.Fault("/p2/acme/a.json", standin.When(cond, s.StaleEdge("acme/a")))
		for range 3 {
			version(t, d.document("acme/a"), "1.1.0")
		}
		rule.Remove()
		t.Logf("the old %s variant was asked for %d times", name, rule.Hits())
	}
}
