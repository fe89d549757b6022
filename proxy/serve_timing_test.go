package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"stasis/integration/standin"
)

// sink is a response writer that keeps nothing.
type sink struct {
	h      http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header { return s.h }
func (s *sink) WriteHeader(c int)   { s.status = c }
func (s *sink) Write(b []byte) (int, error) {
	s.n += len(b)
	return len(b), nil
}

// hot is a rig whose document has about size bytes when gzipped, and a request
// for it that is answered from memory.
func hot(tb testing.TB, size int) (*rig, *http.Request) {
	w := newRig(tb)
	for i := 0; ; i++ {
		// Hexadecimal noise deflates to somewhat more than half.
		w.up.Publish(standin.Release{Name: "acme/lib", Version: fmt.Sprintf("1.%d.0", i), Description: noise(i, 2000)})
		if body, _ := w.up.Document("acme/lib"); len(standin.Gzip(body)) > size || i > 500 {
			break
		}
	}
	w.Advance(time.Minute)
	w.want(lib, 200, missed, "Accept-Encoding", "gzip")
	r := httptest.NewRequest(http.MethodGet, lib, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("User-Agent", "Composer/2.8.1 (Linux; 6.1.0; PHP 8.3.1; cURL 8.5.0; Platform-PHP 8.3.0)")
	return w, r
}

// allocations of the answer to a request, routing and checks of the path
// included. The sink's header map is used again, as net/http's is not.
func allocations(tb testing.TB, w *rig, r *http.Request, status int) float64 {
	s := &sink{h: http.Header{}}
	n := testing.AllocsPerRun(200, func() { w.h.ServeHTTP(s, r) })
	if s.status != status {
		tb.Fatalf("got %d, want %d", s.status, status)
	}
	return n
}

func TestHotAnswersAllocateNothing(t *testing.T) {
	w, r := hot(t, 5<<10)
	n := allocations(t, w, r, 200)
	t.Logf("a hot document: %.0f allocations", n)
	if n > raceAllocations {
		t.Errorf("a hot document costs %.0f allocations", n)
	}
	r.Header.Set("If-Modified-Since", w.want(lib, 200, hit).header.Get("Last-Modified"))
	n = allocations(t, w, r, 304)
	t.Logf("a 304: %.0f allocations", n)
	if n > raceAllocations {
		t.Errorf("a 304 costs %.0f allocations", n)
	}
}

// bare writes the same bytes and headers as the proxy does, with nothing else.
func bare(a answer) http.Handler {
	h := map[string][]string{}
	for k, v := range a.header {
		h[k] = v
	}
	h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := w.Header()
		for k, v := range h {
			out[k] = v
		}
		if r.Header.Get("If-Modified-Since") == h["Last-Modified"][0] {
			delete(out, "Content-Length")
			delete(out, "Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.body)
	})
}

// BenchmarkServe compares the proxy with a bare net/http handler that writes
// the same bytes, over real connections on the loopback. The ratio is of
// requests per second: 1 means that the proxy costs nothing.
func BenchmarkServe(b *testing.B) {
	for _, c := range []struct {
		name   string
		size   int
		cached bool
	}{{"gzip 5 KB", 5 << 10, false}, {"gzip 200 KB", 200 << 10, false}, {"304", 5 << 10, true}} {
		b.Run(c.name, func(b *testing.B) {
			w, _ := hot(b, c.size)
			a := w.want(lib, 200, hit, "Accept-Encoding", "gzip")
			base := httptest.NewServer(bare(a))
			defer base.Close()
			headers := []string{"Accept-Encoding", "gzip"}
			if c.cached {
				headers = append(headers, "If-Modified-Since", a.header.Get("Last-Modified"))
			}
			ours, theirs := newWire(b, w.srv.URL, headers), newWire(b, base.URL, headers)
			// Side by side, so that what else the machine does hits both.
			var spent [2]time.Duration
			b.SetBytes(int64(len(a.body)))
			b.ReportAllocs()
			for b.Loop() {
				for i, wire := range []*wire{ours, theirs} {
					begun := time.Now()
					wire.get(b)
					spent[i] += time.Since(begun)
				}
			}
			b.ReportMetric(float64(spent[0].Nanoseconds())/float64(b.N), "proxy-ns/op")
			b.ReportMetric(float64(spent[1].Nanoseconds())/float64(b.N), "bare-ns/op")
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "ratio")
		})
	}
}

// BenchmarkHandler is the handler alone, without a connection.
func BenchmarkHandler(b *testing.B) {
	for _, c := range []struct {
		name   string
		size   int
		cached bool
	}{{"gzip 5 KB", 5 << 10, false}, {"gzip 200 KB", 200 << 10, false}, {"304", 5 << 10, true}} {
		b.Run(c.name, func(b *testing.B) {
			w, r := hot(b, c.size)
			if c.cached {
				r.Header.Set("If-Modified-Since", w.want(lib, 200, hit).header.Get("Last-Modified"))
			}
			s := &sink{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				w.h.ServeHTTP(s, r)
			}
		})
	}
}
