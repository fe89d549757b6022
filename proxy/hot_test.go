package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stasis/integration/standin"
)

func TestTheHotSetIsBoundedByBytes(t *testing.T) {
	const limit = 64 << 10
	w := newRig(t, func(s *settings) { s.proxy.HotSize = limit; s.proxy.BaseURL = "" })
	for i := range 60 {
		w.up.Publish(standin.Release{Name: fmt.Sprintf("acme/p%d", i), Version: "1.0.0", Description: noise(i, 3000)})
	}
	check := func(when string) {
		t.Helper()
		entries, bytes := w.p.HotUsage()
		if bytes > limit || w.p.HotBytes() > bytes || entries == 0 {
			t.Fatalf("%s: %d entries, %d bytes counted, %d held, limit %d", when, entries, bytes, w.p.HotBytes(), limit)
		}
	}
	for round := range 2 {
		for i := range 60 {
			path := fmt.Sprintf("/p2/acme/p%d.json", i)
			for _, coding := range []string{"gzip", "identity", "zstd", "br"} {
				w.want(path, 200, "", "Accept-Encoding", coding)
			}
			check(fmt.Sprintf("round %d, package %d", round, i))
		}
	}
	// Invented hosts make renditions; only a few of them are kept.
	for i := range 50 {
		r := httptest.NewRequest(http.MethodGet, "/p2/acme/p1.json", nil)
		r.Host = fmt.Sprintf("host%d.example", i)
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), "http://"+r.Host+"/dist-proxy/") {
			t.Fatalf("host %d: %d %s", i, rec.Code, rec.Body)
		}
		check(fmt.Sprintf("host %d", i))
	}
	// What fell out is served from the store, without upstream.
	asked := w.up.Total()
	for i := range 60 {
		w.want(fmt.Sprintf("/p2/acme/p%d.json", i), 200, hit)
	}
	if n := w.up.Total(); n != asked {
		t.Errorf("%d requests went upstream for what had fallen out of memory", n-asked)
	}
}

// noise is text that hardly deflates.
func noise(seed, n int) string {
	var b strings.Builder
	x := uint64(seed)*2862933555777941757 + 3037000493
	for b.Len() < n {
		x = x*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()[:n]
}
