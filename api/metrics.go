package api

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry that already has the Go runtime, the process and the program's version.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stasis_build_info", Help: "Always 1; the label tells the version.",
		ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	return r
}

// registerMetrics mounts /metrics. A collector that fails spoils its own figures and not the others.
func registerMetrics(e *echo.Echo, o Options, m *management) {
	if o.Gatherer == nil {
		return
	}
	h := echo.WrapHandler(promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(o.Logger.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	if o.MetricsPrivate {
		open := h
		h = func(c echo.Context) error {
			if _, err := m.auth.admit(c.Request()); err != nil {
				m.fail(c.Response(), c.Request(), err)
				return nil
			}
			return open(c)
		}
	}
	e.GET("/metrics", h)
	e.HEAD("/metrics", h)
}

// httpMetrics counts requests. Every label comes from a closed set, whatever strangers ask for.
type httpMetrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight atomic.Int64

	// series are the counters of every combination of labels that there was, ready to be counted: finding
	// them by their labels costs more than counting. The map is replaced when one is added.
	series atomic.Pointer[map[labels]*series]
	adding sync.Mutex // held while that happens
}

// labels of a request.
type labels struct{ route, code, cache string }

type series struct {
	requests, bytes prometheus.Counter
	duration        prometheus.Observer
}

func newHTTPMetrics(reg prometheus.Registerer) *httpMetrics {
	f := promauto.With(reg)
	m := &httpMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_http_requests_total",
			Help: "Answered requests by class of path, class of status (or \"aborted\") and what the cache did.",
		}, []string{"route", "code", "cache"}),
		bytes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_http_response_bytes_total",
			Help: "Body bytes sent by class of path.",
		}, []string{"route"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stasis_http_request_duration_seconds",
			Help:    "Time from the request's header to the last byte of its answer, by class of path.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"route"}),
	}
	m.series.Store(&map[labels]*series{})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stasis_http_requests_in_flight",
		Help: "Requests being answered.",
	}, func() float64 { return float64(m.inFlight.Load()) })
	return m
}

func (m *httpMetrics) done(route, code, cache string, bytes int64, took time.Duration) {
	l := labels{route, code, cache}
	s := (*m.series.Load())[l]
	if s == nil {
		s = m.add(l)
	}
	s.requests.Inc()
	s.bytes.Add(float64(bytes))
	s.duration.Observe(took.Seconds())
}

func (m *httpMetrics) add(l labels) *series {
	m.adding.Lock()
	defer m.adding.Unlock()
	s := &series{m.requests.WithLabelValues(l.route, l.code, l.cache), m.bytes.WithLabelValues(l.route), m.duration.WithLabelValues(l.route)}
	next := maps.Clone(*m.series.Load())
	next[l] = s
	m.series.Store(&next)
	return s
}

// routeClasses map the beginning of a path to the label "route"; the first that fits counts.
var routeClasses = []struct{ prefix, class string }{
	{"/p2/", "metadata"},
	{"/dist-proxy/", "archives"},
	{"/packages.json", "root"},
	{"/api/v1", "management"},
	{"/api/security-advisories", "api"},
	{"/packages/", "api"},
	{"/providers/", "api"},
	{"/search.json", "api"},
	{"/metadata/", "api"},
	{"/lists/", "api"},
	{"/downloads", "api"},
	{"/healthz", "health"},
	{"/livez", "health"},
	{"/readyz", "health"},
	{"/version", "health"},
	{"/metrics", "metrics"},
}

// routeClass returns the class of a path. A path below a dated or filtered view has the class of what it
// would be without the view.
func routeClass(path string) string {
	for _, view := range [...]string{"/snapshot/", "/cooldown/"} {
		if rest, ok := strings.CutPrefix(path, view); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				path = rest[i:]
			}
			break
		}
	}
	for _, c := range routeClasses {
		if strings.HasPrefix(path, c.prefix) {
			return c.class
		}
	}
	return "other"
}

func codeClass(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "other"
}

// cacheResult reads what the cache did from a Cache-Status header (RFC 9211) as the proxy writes it. A
// hit that is past its time has a negative ttl; a known absence says detail=negative.
func cacheResult(header string) string {
	switch header {
	case "":
		return "none"
	case "Stasis; hit": // nearly all of them, without being taken apart
		return "hit"
	}
	result := "other"
	for param := range strings.SplitSeq(header, ";") {
		switch param = strings.Trim(param, " "); {
		case param == "detail=negative":
			return "negative"
		case param == "detail=stale" || strings.HasPrefix(param, "ttl=-"):
			if result == "hit" {
				result = "stale"
			}
		case param == "hit":
			result = "hit"
		case param == "fwd=miss" || param == "fwd=uri-miss" || param == "fwd=vary-miss" || param == "fwd=partial":
			result = "miss"
		case param == "fwd=stale":
			result = "revalidated"
		case param == "fwd=bypass" || param == "fwd=method" || param == "fwd=request":
			result = "bypass"
		}
	}
	return result
}
