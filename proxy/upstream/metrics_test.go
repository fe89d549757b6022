package upstream_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/proxy/upstream"
)

func TestMetricsCountExchangesByClassAndOutcome(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	reg := prometheus.NewRegistry()
	c := newClient(t, func(o *upstream.Options) { o.Registerer, o.Retries, o.BreakerFailures = reg, 1, 2 })
	for _, path := range []string{"/", "/missing", "/moved", "/broken", "/broken", "/broken"} {
		_, _, _ = get(c, s.URL+path)
	}
	_, _, _ = fetch(c, upstream.Request{URL: "http://10.0.0.1/", Class: upstream.ClassArchive})
	for label, want := range map[string]float64{
		"metadata,2xx": 2, "metadata,3xx": 1, "metadata,4xx": 1, "metadata,5xx": 4, "metadata,open": 1, "archive,blocked": 1,
	} {
		class, code, _ := strings.Cut(label, ",")
		if got := metric(t, reg, "stasis_upstream_requests_total", class+","+code); got != want {
			t.Errorf("%s: %v, want %v", label, got, want)
		}
	}
	if got := metric(t, reg, "stasis_upstream_request_seconds", "metadata"); got != 8 {
		t.Errorf("%v durations were observed, want 8", got)
	}
	if got := metric(t, reg, "stasis_upstream_retries_total", "metadata"); got != 2 {
		t.Errorf("%v retries were counted, want 2", got)
	}
	if got := metric(t, reg, "stasis_upstream_breaker_state", strings.TrimPrefix(s.URL, "http://")); got != 2 {
		t.Errorf("the breaker's state is %v, want 2", got)
	}
}

func TestStrangersCannotMultiplyMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, nil)
		n.setDown(true)
		reg := prometheus.NewRegistry()
		c := newClient(t, func(o *upstream.Options) {
			o.DialContext, o.Registerer, o.Retries, o.BreakerFailures = n.DialContext, reg, -1, 1
		})
		for i := range 1000 {
			_, _, _ = get(c, fmt.Sprintf("http://h%d.test/", i))
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if len(f.GetMetric()) > 40 {
				t.Errorf("%s has %d series", f.GetName(), len(f.GetMetric()))
			}
		}
		if got := metric(t, reg, "stasis_upstream_breaker_state", "other"); got != 2 {
			t.Errorf("the hosts without a label of their own are in state %v", got)
		}
	})
}

func TestTwoClientsCannotShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := upstream.New(upstream.Options{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := upstream.New(upstream.Options{Registerer: reg}); err == nil {
		t.Error("the second registration went unnoticed")
	}
}
