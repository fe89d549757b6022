package integration_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/integration/load"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// outage is one way in which upstream is down: cause brings it about and says which settings the program has meanwhile.
type outage struct {
	name  string
	cause func() []string
}

// outages are the ways of promise F1, and two more.
func outages(t testing.TB, s *standin.Server) []outage {
	t.Helper()
	answers := func(name string, f standin.Fault) outage {
		return outage{name, func() []string { s.Fault("*", f); return nil }}
	}
	at := func(name, url string) outage {
		return outage{name, func() []string { return []string{"PROXY_PACKAGIST_URL=" + url} }}
	}
	_, _, pair := certificate(t)
	untrusted := standin.Start(t, standin.Options{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	return []outage{
		{"refused", func() []string { s.Down(); return nil }},
		// A name that no resolver is ever asked for.
		at("unknown name", "http://registry.onion"),
		at("black hole", "http://"+blackHole(t)),
		{"silent", func() []string { s.Hang("*"); return nil }},
		answers("500", standin.Status(500)),
		answers("502", standin.Status(502)),
		answers("503", standin.Status(503, "Retry-After", "1")),
		answers("429", standin.Status(429, "Retry-After", "31536000")),
		answers("reset", standin.CutWire(standin.Bytes(0), standin.Reset)),
		answers("1 KB a second", standin.Afresh(standin.Drip(100, 100*time.Millisecond))),
		at("bad TLS", untrusted.URL()),
		answers("a sign-in page", standin.HTML()),
		answers("garbage", standin.Garbage()),
		answers("404 for everything", standin.Status(404)),
	}
}

// TestUpstreamDownInEveryWay is promise F1: what was served once is served while upstream is down, and no client is told
// that a package does not exist. Every document counts as old, so that the program would ask upstream each time.
func TestUpstreamDownInEveryWay(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	// Links below the registry's own address follow the address that is configured.
	s.SetRoot(bytes.ReplaceAll(s.Root(), []byte(s.URL()), nil))
	d := start(t, s, "PROXY_METADATA_TTL=0", "PROXY_STALE_WHILE_REVALIDATE=0", "PROXY_NEGATIVE_TTL=0", "PROXY_REVALIDATE_WAIT=1", "PROXY_UPSTREAM_TIMEOUT=2", "PROXY_PACKAGIST_URL="+s.URL())
	sh := stock(t, s, d, 20, 20_000)
	first := project(t, requiring("acme/a", "^1.0"))
	client(t, d.url).run(first, "update", "--no-progress")
	lock := read(t, filepath.Join(first, "composer.lock"))
	want := readLock(t, filepath.Join(first, "composer.lock")).identity()
	files := tree(t, filepath.Join(first, "vendor"))
	for i, o := range outages(t, s) {
		t.Run(o.name, func(t *testing.T) {
			d.restart("PROXY_PACKAGIST_URL=" + s.URL())
			t.Cleanup(func() { s.Heal(); _ = s.Up() })
			if settings := o.cause(); settings != nil {
				d.restart(settings...)
			}
			// Somebody finds out and pays for it.
			began := time.Now()
			if r := d.get(sh.documents[0].path); r.StatusCode != 200 || digest(r.body) == "" {
				t.Errorf("the first client: %d %.200s", r.StatusCode, r.body)
			}
			paid := time.Since(began)
			held := sh.held(t, promise.Rounds(t, 100, 200), promise.Rounds(t, 500*time.Millisecond, 15*time.Second))
			if held.Failed > 0 {
				t.Errorf("%d of %d answers failed, the first: %v", held.Failed, held.Sent, held.First)
			}
			if p99 := held.Quantile(0.99); promise.Full(t) && p99 > 50*time.Millisecond {
				t.Errorf("p99 is %s, want at most 50 ms", p99)
			}
			if o.name != "404 for everything" {
				name := fmt.Sprintf("unseen/p%d", i)
				unseen := s.Publish(standin.Release{Name: name, Version: "1.0.0", Description: standin.Noise(name, 10_000)})
				for _, path := range []string{"/p2/" + name + ".json", "/dist-proxy/" + name + "/1.0.0.0/" + unseen.Reference + ".zip"} {
					if r := d.get(path); r.StatusCode != 502 && r.StatusCode != 503 && r.StatusCode != 504 {
						t.Errorf("%s, which is not held: %d %.200s, want 502, 503 or 504", path, r.StatusCode, r.body)
					}
				}
			}
			runs := 0
			for _, command := range composers(t) {
				c := clientOf(t, command, d.url)
				if promise.Full(t) || i%4 == 0 {
					runs++
					dir := project(t, requiring("acme/a", "^1.0"))
					c.run(dir, "update", "--no-progress")
					if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); got != want {
						t.Errorf("the lock differs:\n%s", diff(got, want))
					}
					c.cool()
				}
				if promise.Full(t) || i%4 == 2 {
					runs++
					dir := project(t, requiring("acme/a", "^1.0"))
					write(t, filepath.Join(dir, "composer.lock"), lock)
					c.run(dir, "install", "--no-progress")
					if got := tree(t, filepath.Join(dir, "vendor")); got != files {
						t.Errorf("other files are installed:\n%s", diff(got, files))
					}
				}
			}
			alert, metric := "upstream_failure", "stasis_upstream_requests_total"
			if o.name == "404 for everything" {
				alert, metric = "", d.counted(t, metric, `code="4xx"`)
			} else {
				metric = d.told(t, alert, "stasis_alert_events_total", `kind="upstream_failure"`) + d.failures()
			}
			promise.Kept(t, promise.Report{
				Promise: "F1", Did: "upstream down: " + o.name, Rounds: held.Sent + runs, Lost: held.Failed,
				Seen: "what is held, at once; 502, 503 or 504 for the rest", Alert: alert, Metric: metric,
				Figure: fmt.Sprintf("the first waited %s, then p50 %s, p99 %s; %d Composer runs", paid.Round(time.Millisecond), held.Quantile(0.5).Round(10*time.Microsecond), held.Quantile(0.99).Round(10*time.Microsecond), runs),
			})
		})
	}
}

// held asks for everything on the shelf at a fixed rate and compares it.
func (sh *shelf) held(t testing.TB, rate int, length time.Duration) *load.Result {
	t.Helper()
	all := slices.Concat(sh.documents, sh.archives)
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	return load.Run(t.Context(), load.Plan{Rate: rate, For: length, Transport: transport, Next: func(n int) load.Request {
		return sh.request(all[n%len(all)], false)
	}})
}

// failures are the outcomes of requests to upstream that were no answers, as stasis_upstream_requests_total counts them.
func (d *daemon) failures() string {
	d.t.Helper()
	var out string
	for line := range bytes.Lines(d.get("/metrics").body) {
		sample, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		_, code, ok := strings.Cut(sample, `stasis_upstream_requests_total{class="metadata",code="`)
		if code = strings.TrimSuffix(code, `"}`); ok && code != "2xx" && code != "3xx" {
			out += "; " + code + " = " + value
		}
	}
	return out
}

// blackHole is an address of this machine at which connections are never made: somebody listens with a full queue and
// accepts nobody.
func blackHole(t testing.TB) string {
	t.Helper()
	addr, full := fullQueue(t)
	eventually(t, "the queue is full", func() bool {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err == nil {
			full(conn)
		}
		return err != nil
	})
	return addr
}
