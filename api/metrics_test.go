package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stasis/api"
)

func TestMetricsShowRequestsByClass(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	s.echo.GET("/p2/*", func(c echo.Context) error {
		c.Response().Header().Set("Cache-Status", "Stasis; hit")
		return c.String(200, "four")
	})
	s.do("GET", "/p2/a/b.json", "")
	s.do("GET", "/p2/c/d.json", "")
	s.do("GET", "/api/v1/proxy/status", "")
	s.do("GET", "/api/v1/proxy/status", "", "Authorization: Bearer wrong")
	s.do("GET", "/wp-login.php", "")
	got := string(s.do("GET", "/metrics", "").body)
	for _, want := range []string{
		`stasis_http_requests_total{cache="hit",code="2xx",route="metadata"} 2`,
		`stasis_http_requests_total{cache="none",code="2xx",route="management"} 1`,
		`stasis_http_requests_total{cache="none",code="4xx",route="management"} 1`,
		`stasis_http_requests_total{cache="none",code="4xx",route="other"} 1`,
		`stasis_http_response_bytes_total{route="metadata"} 8`,
		`stasis_http_request_duration_seconds_count{route="metadata"} 2`,
		`stasis_http_requests_in_flight 1`,
		`stasis_admin_auth_failures_total{reason="wrong"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestPathsAreClassifiedWithoutTheBasePath(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := api.AccessLog(http.NotFoundHandler(), api.AccessOptions{Registerer: reg, BasePath: "/composer/"})
	h.ServeHTTP(httptest.NewRecorder(), get("/composer/p2/a/b.json"))
	h.ServeHTTP(httptest.NewRecorder(), get("/p2/a/b.json"))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stasis_http_response_bytes_total" && len(f.GetMetric()) == 1 && f.GetMetric()[0].GetLabel()[0].GetValue() == "metadata" {
			return
		}
	}
	t.Errorf("both paths should be of the class metadata: %v", families)
}

func TestARegistryKnowsTheVersion(t *testing.T) {
	families, err := api.NewRegistry("1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stasis_build_info" && f.GetMetric()[0].GetLabel()[0].GetValue() == "1.2.3" {
			return
		}
	}
	t.Error("there is no stasis_build_info")
}

func TestRouteClass(t *testing.T) {
	for path, want := range map[string]string{
		"/p2/a/b.json": "metadata", "/dist-proxy/a/b/1/x.zip": "archives", "/packages.json": "root", "/api/v1/proxy/status": "management",
		"/api/security-advisories/": "api", "/packages/list.json": "api", "/search.json": "api", "/readyz": "health", "/metrics": "metrics", "/": "other", "": "other", "/p3": "other",
		"/snapshot/2026-01-01/p2/a/b.json": "metadata", "/snapshot/prod/packages.json": "root", "/cooldown/7d/p2/a/b.json": "metadata", "/snapshot/x": "other",
	} {
		if got := api.RouteClass(path); got != want {
			t.Errorf("the class of %s is %s, want %s", path, got, want)
		}
	}
}

func TestCacheResult(t *testing.T) {
	for header, want := range map[string]string{
		"": "none", "Stasis; hit": "hit", "Stasis;hit;ttl=300": "hit", "Stasis; hit; ttl=-30": "stale", "Stasis; hit; detail=stale": "stale",
		"Stasis; fwd=miss; stored": "miss", "Stasis; fwd=uri-miss; collapsed": "miss", "Stasis; fwd=stale; fwd-status=304": "revalidated",
		"Stasis; hit; detail=negative": "negative", "Stasis; detail=negative; hit": "negative", "Stasis; fwd=bypass": "bypass", "Other": "other",
	} {
		if got := api.CacheResult(header); got != want {
			t.Errorf("%q means %s, want %s", header, got, want)
		}
	}
}
