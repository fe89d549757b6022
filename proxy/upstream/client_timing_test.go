package upstream_test

import (
	"io"
	"net/http"
	"testing"

	"stasis/proxy/upstream"
)

func BenchmarkAnOpenHost(b *testing.B) {
	c := newClient(b, func(o *upstream.Options) { o.Retries, o.BreakerFailures = -1, 1 })
	s := serve(b, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	_, _, _ = get(c, s.URL)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(b.Context(), upstream.Request{URL: s.URL}); err == nil {
			b.Fatal("answered")
		}
	}
}

func BenchmarkADocument(b *testing.B) {
	c := newClient(b, nil)
	s := serve(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := get(c, s.URL); err != nil {
			b.Fatal(err)
		}
	}
}
