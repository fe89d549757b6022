package api

import (
	"errors"
	"fmt"
	"io"
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
	// Lines receives one line per request, each in one Write; nil for none. It should be a LogWriter's Lossy
	// side, so that a slow log does not slow requests.
	Lines io.Writer
	// TextLines writes them as text in place of JSON.
	TextLines bool
	// Logger receives panics; nil discards them.
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
		next: next, lines: lineWriter{o.Lines, o.TextLines}, log: o.Logger, metrics: newHTTPMetrics(o.Registerer), trusted: o.TrustedProxies,
		base: strings.TrimRight(o.BasePath, "/"), now: o.Now,
	}
}

type accessLog struct {
	next    http.Handler
	lines   lineWriter
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
	a.metrics.inFlight.Add(1)

	panicked := true // until next returns
	defer func() {
		a.metrics.inFlight.Add(-1)
		var abort bool
		if panicked {
			abort = a.recovered(w, r, recover())
		}
		a.finish(w, r, start, abort)
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
func (a *accessLog) finish(w *responseWriter, r *http.Request, start time.Time, aborted bool) {
	now := a.now()
	l := accessLine{at: now, status: w.status, bytes: w.bytes, took: now.Sub(start), requestID: w.id[0], end: "complete"}
	if l.status == 0 && !aborted {
		l.status = http.StatusOK // net/http says so for a handler that says nothing
	}
	if r.Method == http.MethodHead {
		l.bytes = 0
	}
	cache := ""
	if v := w.Header()["Cache-Status"]; len(v) > 0 {
		cache = v[0]
	}
	l.cache = cacheResult(cache)
	code := codeClass(l.status)
	if aborted {
		code, l.end = "aborted", "aborted"
	} else if w.failed {
		l.end = "client_gone"
	}
	a.metrics.done(routeClass(strings.TrimPrefix(r.URL.Path, a.base)), code, l.cache, l.bytes, l.took)

	if a.lines.out == nil {
		return
	}
	l.method, l.path, l.client = loggable(r.Method, 16), loggedPath(r), a.client(r)
	if v := r.Header["User-Agent"]; len(v) > 0 {
		l.agent = loggable(v[0], maxLoggedAgent)
	}
	a.lines.write(&l)
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
