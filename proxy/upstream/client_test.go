package upstream_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/proxy/upstream"
)

func TestRequestsCarryOurUserAgentAndOnlyAFewHeadersOfTheCaller(t *testing.T) {
	var got http.Header
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c := newClient(t, nil)
	_, _, err := fetch(c, upstream.Request{URL: s.URL, Header: http.Header{
		"Accept":            {"application/json"},
		"If-Modified-Since": {"Mon, 02 Jan 2006 15:04:05 GMT"},
		"If-None-Match":     {`"v"`},
		"Range":             {"bytes=0-1"},
		"User-Agent":        {"somebody else"},
		"Authorization":     {"Basic Y2xpZW50OnNlY3JldA=="},
		"Cookie":            {"session=1"},
		"X-Forwarded-For":   {"192.0.2.1"},
		"Accept-Encoding":   {"br"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"User-Agent":        "Stasis/test (+mailto:nobody@example.com)",
		"Accept":            "application/json",
		"Accept-Encoding":   "gzip",
		"If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT",
		"If-None-Match":     `"v"`,
		"Range":             "bytes=0-1",
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("the header %s left the machine", name)
		}
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
}

func TestHTTP2IsSpokenWhereItIsOffered(t *testing.T) {
	var conns sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c := newClient(t, func(o *upstream.Options) { o.RootCAs = pool })
	for range 20 {
		if _, body, err := get(c, s.URL); err != nil || body != "HTTP/2.0" {
			t.Fatalf("got %q, %v", body, err)
		}
	}
	count := 0
	conns.Range(func(_, _ any) bool { count++; return true })
	if count != 1 {
		t.Errorf("20 requests used %d connections, want 1", count)
	}
}

func TestACertificateNobodyVouchesForIsInsecureAndNotRetried(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	_, _, err := get(newClient(t, nil), s.URL)
	wantKind(t, err, upstream.Insecure)
}

func TestStatusesThatAreAnswersAndStatusesThatAreErrors(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		for _, d := range r.URL.Path[1:] {
			status = status*10 + int(d-'0')
		}
		w.WriteHeader(status)
	})
	c := newClient(t, func(o *upstream.Options) { o.Retries = -1; o.BreakerFailures = 100; o.BreakerCooldown = 1 })
	for _, status := range []string{"200", "204", "206", "304", "400", "401", "403", "404", "410", "423", "451"} {
		resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL + "/" + status})
		if err != nil {
			t.Errorf("%s: %v", status, err)
			continue
		}
		_ = resp.Body.Close()
	}
	for status, kind := range map[string]upstream.Kind{
		"408": upstream.ServerError, "425": upstream.ServerError, "429": upstream.RateLimited,
		"500": upstream.ServerError, "502": upstream.ServerError, "503": upstream.ServerError,
		"504": upstream.ServerError, "599": upstream.ServerError,
		"300": upstream.BadRedirect, "305": upstream.BadRedirect,
	} {
		_, _, err := get(c, s.URL+"/"+status)
		e := wantKind(t, err, kind)
		if got := e.Status; http.StatusText(got) != http.StatusText(mustStatus(status)) {
			t.Errorf("%s: the error says %d", status, got)
		}
	}
}

func mustStatus(s string) int {
	n := 0
	for _, d := range s {
		n = n*10 + int(d-'0')
	}
	return n
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	c := newClient(t, nil)
	for name, r := range map[string]upstream.Request{
		"no URL":              {},
		"no scheme":           {URL: "repo.packagist.org/packages.json"},
		"file":                {URL: "file:///etc/passwd"},
		"gopher":              {URL: "gopher://127.0.0.1:70/"},
		"no host":             {URL: "https:///p2/a/b.json"},
		"opaque":              {URL: "https:repo.packagist.org"},
		"port out of range":   {URL: "https://example.org:70000/"},
		"port zero":           {URL: "http://127.0.0.1:0/"},
		"space in the host":   {URL: "http://exa mple.org/"},
		"control in the URL":  {URL: "http://example.org/\r\nX: y"},
		"odd host characters": {URL: "http://exa$mple.org/"},
		"unknown class":       {URL: "https://example.org/", Class: "gold"},
		"unknown method":      {URL: "https://example.org/", Method: "CONNECT"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Do(context.Background(), r)
			e := wantKind(t, err, upstream.Invalid)
			if strings.Contains(e.Error(), "passwd") {
				t.Errorf("the error repeats the URL: %v", e)
			}
		})
	}
	if hosts := c.Hosts(); len(hosts) != 0 {
		t.Errorf("hosts that were never asked are listed: %v", hosts)
	}
}

func TestInternationalNamesAreSpelledOneWay(t *testing.T) {
	var dialled []string
	c := newClient(t, func(o *upstream.Options) {
		o.Retries = -1
		o.AllowedHosts = []string{"Bücher.test"}
		o.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errors.New("no")
		}
	})
	for _, url := range []string{"http://bücher.test/", "http://BÜCHER.test:80/", "http://xn--bcher-kva.test/"} {
		e := wantKind(t, second(get(c, url)), upstream.Unreachable)
		if e.Host != "xn--bcher-kva.test:80" {
			t.Errorf("%s is called %s", url, e.Host)
		}
	}
	for _, address := range dialled {
		if address != "xn--bcher-kva.test:80" {
			t.Errorf("dialled %s", address)
		}
	}
	wantKind(t, second(get(c, "http://\u202eevil.test/")), upstream.Invalid)
}

func TestErrorsReadAsSentences(t *testing.T) {
	for want, e := range map[string]*upstream.Error{
		"registry.test could not be reached: connection refused":                  {Host: "registry.test", Kind: upstream.Unreachable, Err: errors.New("connection refused")},
		"registry.test did not answer in time":                                    {Host: "registry.test", Kind: upstream.Timeout},
		"registry.test answered 502 Bad Gateway":                                  {Host: "registry.test", Kind: upstream.ServerError, Status: 502},
		"registry.test answered 429 Too Many Requests, try again in 1m30s":        {Host: "registry.test", Kind: upstream.RateLimited, Status: 429, RetryAfter: 90 * time.Second},
		"registry.test asked not to be asked, try again in 2s":                    {Host: "registry.test", Kind: upstream.RateLimited, RetryAfter: 1100 * time.Millisecond},
		"registry.test kept failing and is left alone, try again in 10s: it died": {Host: "registry.test", Kind: upstream.Open, RetryAfter: 10 * time.Second, Err: errors.New("it died")},
		"connecting to registry.test is refused":                                  {Host: "registry.test", Kind: upstream.Blocked},
		"registry.test redirected too often":                                      {Host: "registry.test", Kind: upstream.TooManyRedirects},
		"the request cannot be made: the URL has no host":                         {Kind: upstream.Invalid, Err: errors.New("the URL has no host")},
		"registry.test gave an unusable answer: a b c":                            {Host: "registry.test", Kind: upstream.ServerError, Err: errors.New("a\x1bb\r\x7fc")},
		"the request to registry.test was given up: context canceled":             {Host: "registry.test", Kind: upstream.Canceled, Err: context.Canceled},
	} {
		if got := e.Error(); strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	long := &upstream.Error{Host: "registry.test", Kind: upstream.Unreachable, Err: errors.New(strings.Repeat("x", 1<<20))}
	if n := len(long.Error()); n > 500 {
		t.Errorf("an error is %d bytes long", n)
	}
	if got := (upstream.RateLimited).String() + ", " + upstream.Kind(99).String(); got != "rate limited, kind 99" {
		t.Errorf("got %q", got)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, o := range map[string]upstream.Options{
		"user agent with a line break": {UserAgent: "Stasis\r\nX: y"},
		"allowed host with a path":     {AllowedHosts: []string{"example.org/x"}},
		"allowed host with a scheme":   {AllowedHosts: []string{"https://example.org"}},
		"everything allowed":           {AllowedHosts: []string{"*"}},
		"wildcard in the middle":       {AllowedHosts: []string{"a.*.example"}},
		"port that is none":            {AllowedHosts: []string{"example.org:x"}},
		"empty entry":                  {AllowedHosts: []string{""}},
	} {
		if _, err := upstream.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRequestsInFlightAreBoundedAndArchivesHaveTheirOwnSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		inFlight := map[string]int{}
		release := make(chan struct{})
		n := newNetwork(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			inFlight[r.URL.Path]++
			mu.Unlock()
			<-release
		})
		reg := prometheus.NewRegistry()
		c := newClient(t, func(o *upstream.Options) {
			o.DialContext, o.Concurrency, o.ArchiveConcurrency, o.Registerer = n.DialContext, 3, 2, reg
		})
		var done sync.WaitGroup
		for _, class := range []string{"metadata", "api", "feed", "archive"} {
			for range 10 {
				done.Go(func() {
					if _, _, err := fetch(c, upstream.Request{URL: "http://registry.test/" + class, Class: class}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		synctest.Wait()
		mu.Lock()
		documents := inFlight["/metadata"] + inFlight["/api"] + inFlight["/feed"]
		if documents != 3 || inFlight["/archive"] != 2 {
			t.Errorf("%d documents and %d archives in flight, want 3 and 2", documents, inFlight["/archive"])
		}
		mu.Unlock()
		if got := metric(t, reg, "stasis_upstream_in_flight", "archive"); got != 2 {
			t.Errorf("the gauge says %v archives, want 2", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		go func() {
			_, err := c.Do(ctx, upstream.Request{URL: "http://registry.test/late"})
			waiting <- err
		}()
		synctest.Wait()
		cancel()
		wantKind(t, <-waiting, upstream.Canceled)

		close(release)
		done.Wait()
		if got := metric(t, reg, "stasis_upstream_in_flight", "archive"); got != 0 {
			t.Errorf("the gauge says %v archives after all have ended", got)
		}
		if inFlight["/late"] != 0 {
			t.Error("a request whose caller had gone was sent")
		}
	})
}

func TestABodyThatIsClosedEarlyOrReadToItsEndGivesItsSlotBack(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	c := newClient(t, func(o *upstream.Options) { o.Concurrency = 1 })
	for i := range 6 {
		resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = resp.Body.Close()
		} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
}

// metric returns the value of the series whose labels hold the given value.
func metric(t *testing.T, reg *prometheus.Registry, name string, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if strings.Join(values, ",") == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
