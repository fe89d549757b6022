package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stasis/api"
	"stasis/proxy"
	"stasis/proxy/composer"
)

const token = "correct-horse-battery-staple"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// operator is an api.Operator that answers with fixed values, or with err, and remembers what it was asked.
type operator struct {
	mu     sync.Mutex
	err    error
	purged []proxy.PurgeRequest
	frozen []proxy.FreezeRequest
	names  []string
	empty  bool // answers have nothing in them
	asked  []string
	breaks error // what a bundle breaks off with
}

func (o *operator) Status(context.Context) (proxy.Status, error) {
	if o.empty {
		return proxy.Status{Upstream: proxy.UpstreamStatus{}}, o.err
	}
	return proxy.Status{
		Version: "1.2.3", StartedAt: noon, UptimeSeconds: 60,
		Upstream: proxy.UpstreamStatus{URL: "https://repo.packagist.org", Reachable: true, LastSuccess: noon, LastErrorAt: noon, LastError: "it timed out",
			Hosts: []proxy.HostStatus{{Host: "api.github.com", State: proxy.HostHalfOpen, Failures: 3, LastError: "no", OpenUntil: noon}, {Host: "repo.packagist.org", State: proxy.HostClosed}}},
		Feed:  proxy.FeedStatus{Enabled: true, Cursor: 17723664000000, LastPoll: noon, LagSeconds: 2, Pending: 1, LastError: "x"},
		Cache: proxy.CacheStatus{Documents: 1, Files: 2, Archives: 3, ArchiveBytes: 4, PinnedBytes: 5, LimitBytes: 6, DiskBytes: 7, FreeBytes: 8},
	}, o.err
}

func (o *operator) Stats(context.Context) (proxy.Stats, error) {
	if o.empty {
		return proxy.Stats{}, o.err
	}
	return proxy.Stats{Since: noon,
		ByKind:      map[proxy.Kind]proxy.KindStats{proxy.KindMetadata: {Hits: 5, Misses: 1, Stale: 2, Negative: 3, Errors: 4, BytesServed: 1 << 40, BytesFetched: 9}},
		TopPackages: []proxy.PackageStats{{Package: "monolog/monolog", Requests: 7, BytesServed: 8}}}, o.err
}

func (o *operator) Purge(_ context.Context, req proxy.PurgeRequest) (proxy.PurgeResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.purged = append(o.purged, req)
	return proxy.PurgeResult{Metadata: 1, Archives: 2, Bytes: 3, Kept: 4}, o.err
}

func (o *operator) Freeze(_ context.Context, name composer.Name, req proxy.FreezeRequest) (proxy.Freeze, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen, o.names = append(o.frozen, req), append(o.names, name.String())
	f := proxy.Freeze{Package: name.String(), At: noon, CreatedAt: noon, Reason: req.Reason, Owner: req.Owner}
	if req.ExpiresAt != nil {
		f.ExpiresAt = *req.ExpiresAt
	}
	if !o.empty {
		f.Documents = []proxy.FrozenDocument{{File: name.String(), SHA256: strings.Repeat("0a", 32), ValidFrom: noon}, {File: name.String() + "~dev", Absent: true}}
	}
	return f, o.err
}

func (o *operator) Unfreeze(_ context.Context, name composer.Name) (bool, error) {
	return !o.empty, o.err
}

func (o *operator) Frozen(context.Context) ([]proxy.Freeze, error) {
	if o.empty {
		return nil, o.err
	}
	return []proxy.Freeze{{Package: "a/b", At: noon, CreatedAt: noon}}, o.err
}

func (o *operator) Alerts(context.Context) ([]proxy.Alert, error) {
	if o.empty {
		return nil, o.err
	}
	return []proxy.Alert{
		{ID: "one", Kind: proxy.AlertDiskFull, Severity: proxy.SeverityCritical, Subject: "data", Message: "The disk is full.", Count: 3, FirstSeen: noon, LastSeen: noon},
		{ID: "two", Kind: proxy.AlertRetagged, Severity: proxy.SeverityWarning, Subject: "a/b", Message: "Moved.", Count: 1, FirstSeen: noon, LastSeen: noon, AckedAt: noon},
		{ID: "three", Kind: proxy.AlertCacheLimit, Severity: proxy.SeverityWarning, Subject: "archives", Message: "Full.", Count: 1, FirstSeen: noon, LastSeen: noon},
	}, o.err
}

func (o *operator) AckAlert(_ context.Context, id string) (proxy.Alert, error) {
	return proxy.Alert{ID: id, Kind: proxy.AlertCorrupt, Severity: proxy.SeverityInfo, Subject: "s", Message: "m", Count: 1, FirstSeen: noon, LastSeen: noon, AckedAt: noon}, o.err
}

// service is the whole operator surface on a local server, whose every answer is held against the
// OpenAPI document.
type service struct {
	t      *testing.T
	echo   *echo.Echo
	url    string
	router routers.Router
	log    *bytes.Buffer
}

// described is the served description and a router made of it. Making them takes seconds where the race detector
// watches, so that all tests use the same.
var described = sync.OnceValues(func() (d struct {
	*openapi3.T
	routers.Router
}, err error) {
	e := echo.New()
	api.Register(e, api.Options{})
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.json", nil))
	loader := openapi3.NewLoader()
	if d.T, err = loader.LoadFromData(rec.Body.Bytes()); err != nil {
		return d, fmt.Errorf("the document cannot be read: %w", err)
	}
	// It also validates the document.
	if d.Router, err = legacy.NewRouter(d.T); err != nil {
		return d, fmt.Errorf("the document is not valid OpenAPI: %w", err)
	}
	return d, nil
})

func document(t *testing.T) *openapi3.T {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return d.T
}

func serve(t *testing.T, o api.Options) *service {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, echo: echo.New(), router: d.Router, log: new(bytes.Buffer)}
	reg := prometheus.NewRegistry()
	o.Registerer, o.Gatherer = reg, reg
	o.Logger = slog.New(slog.NewJSONHandler(s.log, nil))
	if o.Version == "" {
		o.Version = "1.2.3"
	}
	api.Register(s.echo, o)
	srv := httptest.NewServer(api.AccessLog(s.echo, api.AccessOptions{Registerer: reg, TrustedProxies: o.TrustedProxies}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) code() api.Code {
	var e api.Envelope[json.RawMessage]
	if json.Unmarshal(a.body, &e) != nil || e.Error == nil {
		return ""
	}
	return e.Error.Code
}

func (a answer) message() string {
	var e api.Envelope[json.RawMessage]
	if json.Unmarshal(a.body, &e) != nil || e.Error == nil {
		return ""
	}
	return e.Error.Message
}

// data decodes the data of a successful answer.
func data[T any](t *testing.T, a answer) T {
	t.Helper()
	var e api.Envelope[T]
	if err := json.Unmarshal(a.body, &e); err != nil || e.Error != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d, body %s, want data (%v)", a.StatusCode, a.body, err)
	}
	return e.Data
}

// envelope decodes a whole answer.
func envelope[T any](t *testing.T, a answer) (e api.Envelope[T]) {
	t.Helper()
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("status %d, body %s: %v", a.StatusCode, a.body, err)
	}
	return e
}

// do sends a request with the administrator's token and checks the answer against the document.
func (s *service) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, s.url+path, rd)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		if v == "" {
			r.Header.Del(k)
		} else {
			r.Header.Set(k, v)
		}
	}
	return s.send(r)
}

func (s *service) send(r *http.Request) answer {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{resp, b}
	s.conforms(a)
	return a
}

// conforms holds an answer against the document: that of its operation, or the error form where no
// operation exists.
func (s *service) conforms(a answer) {
	s.t.Helper()
	r := a.Request.Clone(context.Background())
	r.URL.Scheme, r.URL.Host, r.Host = "", "", ""
	if r.Method == http.MethodHead {
		return
	}
	route, params, err := s.router.FindRoute(r)
	if err != nil || strings.HasSuffix(r.URL.Path, "/") { // this router does not mind a slash too many; ours does
		if strings.HasPrefix(r.URL.Path, "/api/v1") && a.code() == "" {
			s.t.Errorf("%s %s is not described and not answered with an error: %d %s", r.Method, r.URL.Path, a.StatusCode, a.body)
		}
		return
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 a.StatusCode, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		s.t.Errorf("%s %s: the answer %d is not as described: %v\n%s", r.Method, r.URL.Path, a.StatusCode, err, a.body)
	}
}
