package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts exchanges: one request and one response header, so that redirects and retries
// count for themselves. Labels take their values from short fixed lists.
type metrics struct {
	exchanges *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	inFlight  *prometheus.GaugeVec
	retries   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, hosts *hostTable) (*metrics, error) {
	m := &metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_upstream_requests_total",
			Help: "Requests to upstream hosts, retries and redirects included, by class and by status class or kind of failure.",
		}, []string{"class", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stasis_upstream_request_seconds",
			Help:    "Time from sending a request upstream to its response header.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"class"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stasis_upstream_in_flight",
			Help: "Requests that hold a slot: sent, being retried, or with a body still being read.",
		}, []string{"class"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_upstream_retries_total",
			Help: "Requests that were repeated after a failure.",
		}, []string{"class"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.exchanges, m.seconds, m.inFlight, m.retries, hostCollector{hosts}} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register upstream metrics: %w", err)
		}
	}
	return m, nil
}

// observe counts one exchange.
func (m *metrics) observe(class string, took time.Duration, resp *http.Response, err error) {
	m.seconds.WithLabelValues(class).Observe(took.Seconds())
	m.exchanges.WithLabelValues(class, outcome(resp, err)).Inc()
}

// refused counts a request that was never sent.
func (m *metrics) refused(class string, err error) {
	m.exchanges.WithLabelValues(class, outcome(nil, err)).Inc()
}

func outcome(resp *http.Response, err error) string {
	if resp != nil {
		return strconv.Itoa(resp.StatusCode/100) + "xx"
	}
	var e *Error
	if !errors.As(err, &e) {
		return "error"
	}
	if e.Status != 0 {
		return strconv.Itoa(e.Status/100) + "xx"
	}
	return strings.ReplaceAll(e.Kind.String(), " ", "_")
}

var breakerState = prometheus.NewDesc("stasis_upstream_breaker_state",
	"Whether an upstream host is asked: 0 yes, 1 it is being tried again, 2 it is left alone. Hosts beyond the first few share the label other, which shows the worst of them.",
	[]string{"host"}, nil)

// hostCollector shows the state of hosts at the time of the scrape.
type hostCollector struct{ hosts *hostTable }

func (c hostCollector) Describe(ch chan<- *prometheus.Desc) { ch <- breakerState }

func (c hostCollector) Collect(ch chan<- prometheus.Metric) {
	worst := map[string]float64{}
	for _, h := range c.hosts.hosts.Values() {
		value := 0.0
		switch h.state().State {
		case "half-open":
			value = 1
		case "open", "rate-limited":
			value = 2
		}
		worst[h.label] = max(worst[h.label], value)
	}
	for label, value := range worst {
		ch <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, value, label)
	}
}
