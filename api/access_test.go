package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/api"
)

// line is an access line.
type line struct {
	Msg, Method, Path, Client, Cache, End string
	Agent                                 string `json:"user_agent"`
	RequestID                             string `json:"request_id"`
	Panic, Stack                          string
	Status                                int
	Bytes                                 int64
	Duration                              float64 `json:"duration_ms"`
}

func lines(t *testing.T, log *bytes.Buffer) []line {
	t.Helper()
	var out []line
	for sc := bufio.NewScanner(log); sc.Scan(); {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", sc.Bytes(), err)
		}
		out = append(out, l)
	}
	return out
}

// logged runs one request through the access log and returns the answer, its line and whether the
// connection would be broken.
func logged(t *testing.T, h http.HandlerFunc, r *http.Request, trusted ...netip.Prefix) (rec *httptest.ResponseRecorder, l []line, aborted bool) {
	t.Helper()
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	a := api.AccessLog(h, api.AccessOptions{Lines: &log, Logger: slog.New(slog.NewJSONHandler(&log, nil)), Registerer: reg, TrustedProxies: trusted})
	rec = httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("the panic %v came through", p)
				}
				aborted = true
			}
		}()
		a.ServeHTTP(rec, r)
	}()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stasis_http_requests_in_flight" && f.GetMetric()[0].GetGauge().GetValue() != 0 {
			t.Error("a finished request is still counted as in flight")
		}
	}
	return rec, lines(t, &log), aborted
}

func get(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = "203.0.113.9:4711"
	return r
}

func TestOneLinePerRequest(t *testing.T) {
	r := get("/p2/a/b.json?token=s3cret")
	r.Header.Set("User-Agent", "Composer/2.8.1 (Linux; PHP 8.3)")
	r.Header.Set("Authorization", "Bearer s3cret")
	r.Header.Set("X-Request-Id", "claimed-by-a-stranger")
	rec, l, _ := logged(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Status", "Stasis; fwd=miss; stored")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "hello ")
		_, _ = w.Write([]byte("world"))
	}, r)
	if len(l) != 1 {
		t.Fatalf("%d lines, want 1", len(l))
	}
	got := l[0]
	id := rec.Header().Get("X-Request-Id")
	if len(id) != 16 || got.RequestID != id {
		t.Errorf("request id %q in the answer and %q in the log", id, got.RequestID)
	}
	got.RequestID, got.Duration = "", 0
	if want := (line{Msg: "request", Method: "GET", Path: "/p2/a/b.json", Client: "203.0.113.9", Cache: "miss", End: "complete", Agent: "Composer/2.8.1 (Linux; PHP 8.3)", Status: 418, Bytes: 11}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWhatTheHandlerDoesNotSayIsFilledIn(t *testing.T) {
	_, l, _ := logged(t, func(http.ResponseWriter, *http.Request) {}, get("/"))
	if l[0].Status != 200 || l[0].Bytes != 0 || l[0].Cache != "none" {
		t.Errorf("a handler that says nothing: %+v", l[0])
	}
	r := get("/")
	r.Method = http.MethodHead
	_, l, _ = logged(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("not sent")) }, r)
	if l[0].Status != 200 || l[0].Bytes != 0 {
		t.Errorf("HEAD: %+v", l[0])
	}
}

func TestHostileTextDoesNotReachTheLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *http.Request)
		ok     func(l line) bool
	}{
		{"control characters in the agent", func(r *http.Request) { r.Header.Set("User-Agent", "a\x1b[31mb\u0085c\u202ed\u2028e\xff") }, func(l line) bool { return l.Agent == "a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffd" }},
		{"a long agent", func(r *http.Request) { r.Header.Set("User-Agent", strings.Repeat("é", 1000)) }, func(l line) bool { return l.Agent == strings.Repeat("é", 80) }},
		{"a long path", func(r *http.Request) { r.RequestURI = "/" + strings.Repeat("a", 5000) }, func(l line) bool { return len(l.Path) == 512 }},
		{"a path stays escaped", func(r *http.Request) { r.RequestURI, r.URL.Path = "/a%0ab", "/a\nb" }, func(l line) bool { return l.Path == "/a%0ab" }},
		{"credentials in the absolute form", func(r *http.Request) { r.RequestURI = "http://user:s3cret@evil.example/x?y" }, func(l line) bool { return l.Path == "/" }},
		{"a made-up method", func(r *http.Request) { r.Method = "\x1bABCDEFGHIJKLMNOPQRSTUVWXYZ" }, func(l line) bool { return l.Method == "\ufffdABCDEFGHIJKLMNO" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get("/")
			c.change(r)
			_, l, _ := logged(t, func(http.ResponseWriter, *http.Request) {}, r)
			if !c.ok(l[0]) {
				t.Errorf("logged as %+v", l[0])
			}
		})
	}
}

func TestTrustedProxiesNameClientAndRequest(t *testing.T) {
	trusted := netip.MustParsePrefix("203.0.113.0/24")
	r := get("/")
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	r.Header.Set("X-Request-Id", "01HZX3-from_the.proxy")
	rec, l, _ := logged(t, func(http.ResponseWriter, *http.Request) {}, r, trusted)
	if l[0].Client != "198.51.100.7" || l[0].RequestID != "01HZX3-from_the.proxy" || rec.Header().Get("X-Request-Id") != l[0].RequestID {
		t.Errorf("logged as %+v", l[0])
	}
	for _, id := range []string{"short", "with space in it", "new\nline-in-it", strings.Repeat("a", 129), `quote"quote"`} {
		r.Header["X-Request-Id"] = []string{id}
		if _, l, _ := logged(t, func(http.ResponseWriter, *http.Request) {}, r, trusted); l[0].RequestID == id {
			t.Errorf("the request id %q is believed", id)
		}
	}
}

func TestPanics(t *testing.T) {
	t.Run("before anything was sent the client gets a 500", func(t *testing.T) {
		rec, l, aborted := logged(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("ETag", `"x"`)
			panic("the \x1b[0m secret")
		}, get("/p2/a/b.json"))
		var e api.Envelope[any]
		if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || aborted || rec.Code != 500 || e.Error.Code != api.CodeInternal {
			t.Errorf("status %d, aborted %v, body %s", rec.Code, aborted, rec.Body)
		}
		if h := rec.Header(); h.Get("Content-Length") != "" || h.Get("ETag") != "" || h.Get("Content-Encoding") != "" || h.Get("X-Request-Id") == "" {
			t.Errorf("header %v", h)
		}
		if len(l) != 2 || l[0].Panic != "the \ufffd[0m secret" || !strings.Contains(l[0].Stack, "access_test.go") || l[0].RequestID != rec.Header().Get("X-Request-Id") || l[1].Status != 500 || l[1].End != "complete" {
			t.Errorf("lines %+v", l)
		}
		if strings.Contains(rec.Body.String(), "secret") {
			t.Error("the client is told about the panic")
		}
	})
	t.Run("after that the connection is broken", func(t *testing.T) {
		_, l, aborted := logged(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			panic(errors.New("x"))
		}, get("/"))
		if !aborted || len(l) != 2 || l[1].End != "aborted" || l[1].Bytes != 4 {
			t.Errorf("aborted %v, lines %+v", aborted, l)
		}
	})
	t.Run("an aborted transfer is no panic to report", func(t *testing.T) {
		_, l, aborted := logged(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			panic(http.ErrAbortHandler)
		}, get("/"))
		if !aborted || len(l) != 1 || l[0].End != "aborted" || l[0].Status != 200 {
			t.Errorf("aborted %v, lines %+v", aborted, l)
		}
	})
}

func TestTheClientSeesABrokenTransfer(t *testing.T) {
	srv := httptest.NewServer(api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
		panic("x")
	}), api.AccessOptions{}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		return // the connection was broken before the header got through, which is fine as well
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client takes %q for the whole", b)
	}
}

// sink is a ResponseWriter without costs of its own.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) WriteHeader(int)             {}

func hot() (http.Handler, http.ResponseWriter, *http.Request) {
	body, status := []byte("body"), []string{"Stasis; hit"}
	h := api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Cache-Status"] = status
		_, _ = w.Write(body)
	}), api.AccessOptions{Lines: io.Discard, Registerer: prometheus.NewRegistry(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	r := get("/p2/monolog/monolog.json")
	r.Header.Set("User-Agent", "Composer/2.8.1")
	return h, sink{http.Header{}}, r
}

func TestTheAccessLogAllocatesLittle(t *testing.T) {
	h, w, r := hot()
	if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > allowedAllocations {
		t.Errorf("%.0f allocations per request, want at most %d", n, allowedAllocations)
	}
}

func BenchmarkAccessLog(b *testing.B) {
	h, w, r := hot()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
