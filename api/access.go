package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/proxy/origin"
)

// requestIDHeader names a request in the log, in the answer, and towards trusted proxies.
const requestIDHeader = "X-Request-Id"

// AccessOptions is what AccessLog needs.
type AccessOptions struct {
	// Logger receives one line per request at level Info, and panics at level Error; nil discards them.
	// Its writer should be a LogWriter's Lossy side, so that a slow log does not slow requests.
	Logger *slog.Logger
	// Registerer receives the HTTP metrics; nil keeps them to itself.
	Registerer prometheus.Registerer
	// TrustedProxies are the peers whose forwarding headers and request ids are believed.
	TrustedProxies []netip.Prefix
	// BasePath is the path of the external URL where requests arrive with it, such as "/composer"; the
	// metrics classify paths without it.
	BasePath string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// AccessLog is the outermost handler. It names the request, counts it, writes its access line, and turns
// a panic into an answer: 500 when nothing was sent yet, otherwise a broken connection, so that the client
// does not take a short body for a whole one. http.ErrAbortHandler passes through.
//
// The request's id is in the answer's X-Request-Id header before next is called, which is where inner
// handlers read it from.
func AccessLog(next http.Handler, o AccessOptions) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &accessLog{
		next: next, log: o.Logger, metrics: newHTTPMetrics(o.Registerer), trusted: o.TrustedProxies,
		base: strings.TrimRight(o.BasePath, "/"), now: o.Now,
	}
}

type accessLog struct {
	next    http.Handler
	log     *slog.Logger
	metrics *httpMetrics
	trusted []netip.Prefix
	base    string
	now     func() time.Time
}

func (a *accessLog) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	start := a.now()
	w := &responseWriter{ResponseWriter: inner}
	w.id[0] = a.requestID(r)
	w.Header()[requestIDHeader] = w.id[:]
	a.metrics.inFlight.Inc()

	panicked := true // until next returns
	defer func() {
		a.metrics.inFlight.Dec()
		var abort bool
		if panicked {
			abort = a.recovered(w, r, recover())
		}
		a.finish(w, r, a.now().Sub(start), abort)
		if abort {
			panic(http.ErrAbortHandler)
		}
	}()
	a.next.ServeHTTP(w, r)
	panicked = false
}

// recovered deals with a panic and reports whether the connection has to be broken.
func (a *accessLog) recovered(w *responseWriter, r *http.Request, reason any) (abort bool) {
	if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	a.log.LogAttrs(r.Context(), slog.LevelError, "a handler panicked",
		slog.String("panic", loggable(fmt.Sprint(reason), maxLoggedError)), slog.String("path", loggedPath(r)), slog.String("request_id", w.id[0]), slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		return true
	}
	h := w.Header() // what the handler wanted to say about its body does not hold for ours
	clear(h)
	h[requestIDHeader] = w.id[:]
	writeJSON(w, http.StatusInternalServerError, Envelope[any]{Error: &Problem{Code: CodeInternal,
		Message: "Something went wrong inside; the server's log has the details under this request's id."}})
	return false
}

// finish counts the request and writes its line.
func (a *accessLog) finish(w *responseWriter, r *http.Request, took time.Duration, aborted bool) {
	status, bytes := w.status, w.bytes
	if status == 0 && !aborted {
		status = http.StatusOK // net/http says so for a handler that says nothing
	}
	if r.Method == http.MethodHead {
		bytes = 0
	}
	cache := ""
	if v := w.Header()["Cache-Status"]; len(v) > 0 {
		cache = v[0]
	}
	result, code := cacheResult(cache), codeClass(status)
	if aborted {
		code = "aborted"
	}
	a.metrics.done(routeClass(strings.TrimPrefix(r.URL.Path, a.base)), code, result, bytes, took)

	if !a.log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	end := "complete"
	if aborted {
		end = "aborted"
	} else if w.failed {
		end = "client_gone"
	}
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", loggable(r.Method, 16)),
		slog.String("path", loggedPath(r)),
		slog.Int("status", status),
		slog.Int64("bytes", bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", a.client(r)),
		slog.String("user_agent", loggable(r.UserAgent(), maxLoggedAgent)),
		slog.String("request_id", w.id[0]),
		slog.String("cache", result),
		slog.String("end", end),
	)
}

// client is the address for the log; the common case, a peer that speaks for itself, costs nothing.
func (a *accessLog) client(r *http.Request) string {
	if len(a.trusted) > 0 && origin.Trusted(r, a.trusted) {
		return origin.ClientAddr(r, a.trusted).String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return loggable(r.RemoteAddr, 64)
	}
	return host
}

// requestID takes the id of a trusted proxy, if it looks like one, or makes one up. It is a name, not a
// secret.
func (a *accessLog) requestID(r *http.Request) string {
	if len(a.trusted) > 0 {
		if v := r.Header[requestIDHeader]; len(v) == 1 && isRequestID(v[0]) && origin.Trusted(r, a.trusted) {
			return v[0]
		}
	}
	const digits = "0123456789abcdef"
	var id [16]byte
	n := rand.Uint64()
	for i := range id {
		id[i] = digits[n&15]
		n >>= 4
	}
	return string(id[:])
}

func isRequestID(s string) bool {
	return len(s) >= 8 && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:=+/", r))
	})
}
