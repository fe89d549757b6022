package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"stasis/api"
	"stasis/private/access"
	"stasis/proxy"
	"stasis/proxy/upstream"
	"stasis/store"
)

// registry is the least that is a Composer repository: one package with one version.
func registry() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/packages.json":
			_, _ = io.WriteString(w, `{"packages":[],"metadata-url":"/p2/%package%.json"}`)
		case "/p2/acme/lib.json":
			w.Header().Set("Last-Modified", "Sat, 28 Feb 2026 10:00:00 GMT")
			_, _ = io.WriteString(w, `{"packages":{"acme/lib":[{"name":"acme/lib","version":"1.0.0","version_normalized":"1.0.0.0",`+
				`"dist":{"type":"zip","url":"https://example.org/lib.zip","reference":"0123456789012345678901234567890123456789","shasum":""}}]},"minified":"composer/2.0"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `404 not found, no packages here`)
		}
	}))
}

func TestTheProxyItselfAnswersAsDescribed(t *testing.T) {
	reg := registry()
	defer reg.Close()
	st, err := store.Open(context.Background(), store.Options{Path: t.TempDir(), MaxCacheSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	u, _ := url.Parse(reg.URL)
	up, err := upstream.New(upstream.Options{UserAgent: "Stasis test", AllowedHosts: []string{u.Host}, Retries: -1, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.New(proxy.Options{Store: st, Upstream: up, Enabled: true, PackagistURL: reg.URL, MetadataTTL: time.Hour, NegativeTTL: time.Minute, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Start()
	s := serve(t, api.Options{Operator: p, Access: administered(t, access.Options{AdminToken: token})})
	p.Register(s.echo)

	if a := s.do("GET", "/p2/acme/lib.json", ""); a.StatusCode != 200 {
		t.Fatalf("the package cannot be had: %d %s", a.StatusCode, a.body)
	}
	status := data[proxy.Status](t, s.do("GET", "/api/v1/proxy/status", ""))
	if status.Version != "1.2.3" || status.Upstream.URL != reg.URL || !status.Upstream.Reachable || status.Cache.Files != 1 || len(status.Upstream.Hosts) != 1 {
		t.Errorf("status %+v", status)
	}
	stats := data[proxy.Stats](t, s.do("GET", "/api/v1/proxy/stats", ""))
	if k := stats.ByKind[proxy.KindMetadata]; k.Misses != 1 || len(stats.TopPackages) != 1 || stats.TopPackages[0].Package != "acme/lib" {
		t.Errorf("stats %+v", stats)
	}

	first := data[proxy.Freeze](t, s.do("POST", "/api/v1/proxy/freeze/acme/lib", `{"reason":"release week"}`))
	again := data[proxy.Freeze](t, s.do("POST", "/api/v1/proxy/freeze/acme/lib", `{"reason":"release week"}`))
	if len(first.Documents) != 2 || first.Documents[0].SHA256 == "" || !first.Documents[1].Absent || !again.At.Equal(first.At) {
		t.Errorf("freeze %+v, and again %+v", first, again)
	}
	if f := data[[]proxy.Freeze](t, s.do("GET", "/api/v1/proxy/frozen", "")); len(f) != 1 || f[0].Package != "acme/lib" || f[0].Reason != "release week" {
		t.Errorf("frozen %+v", f)
	}
	if r := data[proxy.PurgeResult](t, s.do("POST", "/api/v1/proxy/purge", `{"package":"acme/lib"}`)); r.Archives != 0 {
		t.Errorf("purge %+v", r)
	}
	data[proxy.PurgeResult](t, s.do("POST", "/api/v1/proxy/purge", ""))
	if f := data[[]proxy.Freeze](t, s.do("GET", "/api/v1/proxy/frozen", "")); len(f) != 1 {
		t.Errorf("a purge lifts freezes: %+v", f)
	}
	for _, want := range []bool{true, false} {
		if u := data[api.Unfrozen](t, s.do("POST", "/api/v1/proxy/unfreeze/acme/lib", "")); u.Unfrozen != want {
			t.Errorf("unfreeze %+v, want %v", u, want)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
		code       api.Code
	}{
		{"freeze/acme/none", "", 404, api.CodeNotFound},
		{"freeze/acme/lib", `{"at":"2001-01-01T00:00:00Z"}`, 400, api.CodeValidation},
		{"alerts/none/ack", "", 404, api.CodeNotFound},
	} {
		if a := s.do("POST", "/api/v1/proxy/"+c.path, c.body); a.StatusCode != c.status || a.code() != c.code {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.StatusCode, a.body)
		}
	}

	reg.Close()
	if a := s.do("POST", "/api/v1/proxy/freeze/acme/other", ""); a.StatusCode != 503 || a.code() != api.CodeUpstream || a.Header.Get("Retry-After") == "" {
		t.Errorf("a freeze that needs a dead upstream: %d %s", a.StatusCode, a.body)
	}
	alerts := data[[]proxy.Alert](t, s.do("GET", "/api/v1/proxy/alerts?acked=false", ""))
	if len(alerts) != 1 || alerts[0].Kind != proxy.AlertUpstreamFailure {
		t.Fatalf("alerts %+v", alerts)
	}
	if a := data[proxy.Alert](t, s.do("POST", "/api/v1/proxy/alerts/"+alerts[0].ID+"/ack", "")); a.AckedAt.IsZero() {
		t.Errorf("acknowledged %+v", a)
	}
	if left := data[[]proxy.Alert](t, s.do("GET", "/api/v1/proxy/alerts?acked=false", "")); len(left) != 0 {
		t.Errorf("alerts left %+v", left)
	}
	if status := data[proxy.Status](t, s.do("GET", "/api/v1/proxy/status", "")); status.Upstream.Reachable || status.Upstream.LastError == "" || status.Alerts != 0 {
		t.Errorf("status %+v", status)
	}
}
