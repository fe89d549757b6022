package proxy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"stasis/integration/standin"
	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/upstream"
	"stasis/store"
)

// TestMain keeps every connection of the tests on this machine.
func TestMain(m *testing.M) {
	dialer := &net.Dialer{}
	http.DefaultTransport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(addr); err != nil || !net.ParseIP(host).IsLoopback() {
			return nil, fmt.Errorf("a test tried to reach %s, which is not this machine", addr)
		}
		return dialer.DialContext(ctx, network, addr)
	}
	os.Exit(m.Run())
}

// clock is a time that moves only when it is told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// settings are what a test may change before its proxy starts.
type settings struct {
	proxy    proxy.Options
	store    store.Options
	upstream upstream.Options
	standin  standin.Options
}

// rig is a proxy with its real store and client in front of a scripted registry.
type rig struct {
	testing.TB
	*clock
	up    *standin.Server
	store *store.Store
	p     *proxy.Proxy
	h     http.Handler
	srv   *httptest.Server
}

func newRig(tb testing.TB, change ...func(*settings)) *rig {
	tb.Helper()
	c := newClock()
	s := settings{
		proxy: proxy.Options{
			Enabled: true, MetadataTTL: time.Hour, StaleWhileRevalidate: 6 * time.Hour, RevalidateWait: 5 * time.Second,
			NegativeTTL: 5 * time.Minute, ArchiveTTL: 24 * time.Hour, FeedInterval: time.Minute, UpstreamTimeout: 20 * time.Second,
			BaseURL: "http://stasis.test", Now: c.Now, Version: "1.0.0-test",
		},
		store:    store.Options{Path: tb.TempDir(), MaxCacheSize: 1 << 30, MinFreeSpace: 1 << 20, Now: c.Now},
		upstream: upstream.Options{UserAgent: "Stasis test", Timeout: 10 * time.Second, Retries: -1, Now: c.Now, BreakerFailures: 3, BreakerCooldown: 10 * time.Second},
		standin:  standin.Options{Now: c.Now},
	}
	for _, f := range change {
		f(&s)
	}
	w := &rig{TB: tb, clock: c, up: standin.Start(tb, s.standin)}
	registry, archives := hostOf(w.up.URL()), hostOf(w.up.ArchiveURL())
	s.upstream.AllowedHosts = append(s.upstream.AllowedHosts, registry, archives)
	var err error
	alert := func(kind, subject, message string) {
		if w.p != nil {
			w.p.Alert(kind, subject, message)
		}
	}
	if s.store.Alert == nil {
		s.store.Alert = alert
	}
	if w.store, err = store.Open(tb.Context(), s.store); err != nil {
		tb.Fatal(err)
	}
	client, err := upstream.New(s.upstream)
	if err != nil {
		tb.Fatal(err)
	}
	s.proxy.Store, s.proxy.Upstream, s.proxy.PackagistURL = w.store, client, w.up.URL()
	if w.p, err = proxy.New(s.proxy); err != nil {
		tb.Fatal(err)
	}
	e := echo.New()
	w.p.Register(e)
	w.h = proxy.Canonical(s.proxy.BaseURL, e)
	w.srv = httptest.NewUnstartedServer(w.h)
	w.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.srv.Start()
	tb.Cleanup(func() {
		w.up.Heal()
		w.srv.CloseClientConnections()
		if err := w.p.Close(); err != nil {
			tb.Errorf("close the proxy: %v", err)
		}
		w.srv.Close()
		if err := w.store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return w
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// answer is a complete response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) cache() string { return a.header.Get("Cache-Status") }

func (a answer) String() string { return fmt.Sprintf("%d %s %.200s", a.status, a.cache(), a.body) }

// ask sends a request to the handler; headers are name and value in turn.
func (w *rig) ask(method, path string, body io.Reader, headers ...string) answer {
	w.Helper()
	r := httptest.NewRequestWithContext(w.Context(), method, path, body)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.Bytes()}
}

func (w *rig) get(path string, headers ...string) answer {
	w.Helper()
	return w.ask(http.MethodGet, path, nil, headers...)
}

// want fails the test when a GET is not answered as said.
func (w *rig) want(path string, status int, cache string, headers ...string) answer {
	w.Helper()
	a := w.get(path, headers...)
	if a.status != status || cache != "" && a.cache() != cache {
		w.Fatalf("%s: got %v, want %d %s", path, a, status, cache)
	}
	return a
}

// download gets a body over a real connection. The error tells a broken
// transfer.
func (w *rig) download(path string, headers ...string) (answer, error) {
	w.Helper()
	resp, err := w.open(path, headers...)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

func (w *rig) open(path string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.srv.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.srv.Client().Do(req)
}

// await waits for n requests to be answered by the registry and for what they
// brought to be recorded.
func (w *rig) await(pattern string, n int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if err := w.up.AwaitDone(ctx, pattern, n); err != nil {
		w.Fatalf("%d requests for %s: %v", n, pattern, err)
	}
	w.p.Settle()
}

func (w *rig) asked(pattern string, n int) {
	w.Helper()
	if got := w.up.Requests(pattern); got != n {
		w.Fatalf("upstream was asked %d times for %s, want %d", got, pattern, n)
	}
}

// alerted returns the alerts of one kind.
func (w *rig) alerted(kind proxy.AlertKind) (list []proxy.Alert) {
	w.Helper()
	all, err := w.p.Alerts(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, a := range all {
		if a.Kind == kind {
			list = append(list, a)
		}
	}
	return list
}

// publish adds a release of acme/lib and returns it. The clock moves past the
// second of its date, within which a document is not settled.
func (w *rig) publish(version, salt string) standin.Published {
	return w.release(standin.Release{Name: "acme/lib", Version: version, Salt: salt})
}

func (w *rig) release(r standin.Release) standin.Published {
	p := w.up.Publish(r)
	w.Advance(5 * time.Second)
	return p
}

// distPath is where an archive of acme/lib is had from us.
func distPath(version, reference, ext string) string {
	return "/dist-proxy/acme/lib/" + version + "/" + reference + "." + ext
}

const lib = "/p2/acme/lib.json"

func name(s string) composer.Name {
	n, err := composer.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// versions lists the versions of a served document, in order.
func versions(t testing.TB, body []byte) (list []string) {
	t.Helper()
	var doc struct {
		Packages map[string][]struct {
			Version string `json:"version"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("not a document: %v: %.100s", err, body)
	}
	for _, l := range doc.Packages {
		for _, v := range l {
			list = append(list, v.Version)
		}
	}
	return list
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// together runs fn n times at once and reports the errors.
func together(t testing.TB, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	bad := 0
	for _, err := range errs {
		if err != nil {
			if bad++; bad == 1 {
				t.Errorf("the first failure: %v", err)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d failed", bad, n)
	}
}

// Short names for the signature of a standin.Fault.
type (
	httpWriter  = http.ResponseWriter
	httpRequest = http.Request
	httpHandler = http.Handler
)

func joined(list []string) string { return strings.Join(list, " ") }

// md5Hex is how Composer writes a reference that is no hex into an address.
func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
