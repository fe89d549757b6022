package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/integration/promise"
	"stasis/integration/standin"
)

// certificate makes a certificate for 127.0.0.1 and returns its files.
func certificate(t testing.TB) (cert, key string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Stasis tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, certPEM)
	write(t, key, keyPEM)
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

// together runs fn n times at once and returns the errors.
func together(n int, fn func(i int) error) []error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errs
}

func report(t testing.TB, what string, errs []error) {
	t.Helper()
	if len(errs) > 0 {
		t.Errorf("%s: %d failures, the first: %v", what, len(errs), errs[0])
	}
}

func TestC39ConnectionsAreKeptAndShared(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	cert, key, _ := certificate(t)
	d := start(t, s, "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
	for i := range 120 {
		s.Publish(standin.Release{Name: fmt.Sprintf("acme/p%d", i), Version: "1.0.0"})
	}
	h2 := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
	t.Cleanup(h2.CloseIdleConnections)
	fetch := func(rt http.RoundTripper, path string, major int) error {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+d.addr+path, nil)
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 || resp.ProtoMajor != major {
			return fmt.Errorf("%s: %s %d %.100s", path, resp.Proto, resp.StatusCode, body)
		}
		if n := resp.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) && !resp.Uncompressed {
			return fmt.Errorf("%s: Content-Length %s for %d bytes", path, n, len(body))
		}
		return nil
	}
	report(t, "120 streams on one HTTP/2 connection", together(120, func(i int) error { return fetch(h2, fmt.Sprintf("/p2/acme/p%d.json", i), 2) }))
	h1 := &http.Transport{TLSClientConfig: trusting(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	t.Cleanup(h1.CloseIdleConnections)
	report(t, "50 parallel HTTP/1.1 requests", together(50, func(int) error { return fetch(h1, "/p2/acme/a.json", 1) }))

	var dials int
	counting := &http.Transport{TLSClientConfig: trusting(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(counting.CloseIdleConnections)
	for range 10 {
		for _, path := range []string{"/packages.json", "/p2/acme/a.json"} {
			if err := fetch(counting, path, 1); err != nil {
				t.Error(err)
			}
		}
	}
	if dials != 1 {
		t.Errorf("20 requests one after another needed %d connections, want 1", dials)
	}
}

// TestC40OneUpstreamRequestForManyClients sends a crowd for a document nobody has, for one that has to be asked for again,
// and for an archive. Upstream says nothing until all of them are there.
func TestC40OneUpstreamRequestForManyClients(t *testing.T) {
	const n = 500
	s, d := pair(t, revalidating...)
	rounds, asked := promise.Rounds(t, 1, 34), 0
	var first []time.Duration
	for round := range rounds {
		name := fmt.Sprintf("acme/crowded%d", round)
		p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 500_000})
		for _, c := range []struct{ what, path, upstream string }{
			{"a cold document", "/p2/" + name + ".json", "/p2/" + name + ".json"},
			{"a revalidation", "/p2/" + name + ".json", "/p2/" + name + ".json"},
			{"a cold archive", "/dist-proxy/" + name + "/1.0.0.0/" + p.Reference + ".zip", "/" + name + "/legacy.zip/*"},
		} {
			s.Forget()
			gate := s.Hold(c.upstream)
			replies := d.crowd(n, c.path)
			if err := gate.Wait(within(t), 1); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all of them are in the program", func() bool { return d.metric("stasis_http_requests_in_flight") > n })
			opened := time.Now()
			gate.Open()
			want := ""
			for range n {
				r := <-replies
				if want == "" {
					want = r.digest
				}
				if r.err != nil || r.status != 200 || r.digest != want {
					t.Fatalf("%s: one of %d clients got %+v, another the digest %s", c.what, n, r, want)
				}
				first = append(first, r.first.Sub(opened))
			}
			if strings.HasPrefix(c.path, "/dist") && want != digest(p.Archive) {
				t.Errorf("%s: not the origin's bytes", c.what)
			}
			got := s.Requests(c.upstream)
			if asked += got; got != 1 {
				t.Errorf("%s: %d clients made %d upstream requests, want 1", c.what, n, got)
			}
		}
	}
	slices.Sort(first)
	promise.Kept(t, promise.Report{
		Promise: "L3", Did: fmt.Sprintf("%d clients at once: a cold document, a revalidation, a cold archive", n), Rounds: 3 * rounds,
		Seen: "the same answer for all", Metric: d.counted(t, "stasis_upstream_requests_total"),
		Figure: fmt.Sprintf("%d upstream requests for %d crowds; first byte after upstream's: median %s, the last of %d %s", asked, 3*rounds,
			first[len(first)/2].Round(100*time.Microsecond), n, first[len(first)-1].Round(100*time.Microsecond)),
	})
}

func TestC41ABurstRespectsTheUpstreamCeiling(t *testing.T) {
	s, d := pair(t, "PROXY_UPSTREAM_CONCURRENCY=10")
	const n = 1000
	for i := range n {
		s.SetDocument(fmt.Sprintf("burst/p%d", i), fmt.Appendf(nil, `{"packages":{"burst/p%d":[]},"minified":"composer/2.0"}`, i))
	}
	_ = d.get("/packages.json")
	s.Forget()
	began := time.Now()
	limit := make(chan struct{}, 100)
	report(t, "1000 cold packages", together(n, func(i int) error {
		limit <- struct{}{}
		defer func() { <-limit }()
		r, err := d.try(http.MethodGet, fmt.Sprintf("/p2/burst/p%d.json", i), nil)
		if err == nil && r.StatusCode != 200 {
			err = fmt.Errorf("%d %.100s", r.StatusCode, r.body)
		}
		return err
	}))
	t.Logf("1000 cold packages, 100 at a time, took %s; upstream saw at most %d at once", time.Since(began).Round(time.Millisecond), s.Peak())
	if p := s.Peak(); p > 10 {
		t.Errorf("upstream saw %d requests at once, want at most 10", p)
	}
	if got := s.Requests("/p2/burst/*"); got != n {
		t.Errorf("upstream was asked %d times, want %d", got, n)
	}
}

func TestC43HEADTellsWhatGETTells(t *testing.T) {
	s, d := pair(t)
	made(s)
	dist := d.distURL("acme/a", "v1.0.0")
	for _, path := range []string{"/packages.json", "/p2/acme/a.json", "/packages/list.json", "/search.json?q=thing", dist, "/p2/acme/unknown.json"} {
		get := d.get(path)
		head := d.do(http.MethodHead, path, nil)
		if head.StatusCode != get.StatusCode || len(head.body) != 0 {
			t.Errorf("%s: HEAD %d with %d bytes, GET %d", path, head.StatusCode, len(head.body), get.StatusCode)
		}
		for _, h := range []string{"Content-Type", "Content-Length", "Last-Modified", "ETag", "Vary", "Cache-Control", "Content-Encoding"} {
			if head.Header.Get(h) != get.Header.Get(h) {
				t.Errorf("%s: HEAD says %s %q, GET %q", path, h, head.Header.Get(h), get.Header.Get(h))
			}
		}
	}
	// A HEAD on an archive nobody has yet asked for answers as well.
	cold := d.do(http.MethodHead, d.distURL("acme/a", "v1.1.0"), nil)
	if cold.StatusCode != 200 || len(cold.body) != 0 {
		t.Errorf("HEAD on a cold archive: %d", cold.StatusCode)
	}
}
