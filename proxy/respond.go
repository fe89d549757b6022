package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/history"
)

// Header values that never change, shared by all answers.
var (
	headerJSON = []string{"application/json"}
	// A user name can choose a world, and a token what is seen.
	headerVary          = []string{"Accept-Encoding, Authorization, X-Stasis-Token"}
	headerAuthorization = []string{"Authorization, X-Stasis-Token"}
	headerNoCache       = []string{"no-cache"}
	headerPrivate       = []string{"private, no-cache"}
	headerNoStore       = []string{"no-store"}
)

// Cache-Status values (RFC 9211).
var (
	cacheHit      = []string{"Stasis; hit"}
	cacheStale    = []string{"Stasis; hit; detail=stale"}
	cacheNegative = []string{"Stasis; hit; detail=negative"}
	cacheMiss     = []string{"Stasis; fwd=uri-miss; stored"}
	cacheRefresh  = []string{"Stasis; fwd=stale; stored"}
	cachePass     = []string{"Stasis; fwd=uri-miss; detail=not-stored"}
	cacheFailed   = []string{"Stasis; fwd=miss; detail=failed"}
	cacheLocal    = []string{"Stasis; hit; detail=local"}
)

// warningStale tells people reading headers why an answer is old.
const warningStale = `111 Stasis "upstream could not be asked: this is the last good copy"`

// respond writes a rendition: negotiate, compare validators, set headers, one
// Write. Nothing is computed here that could be ready. It returns the body
// bytes sent.
func (p *Proxy) respond(w http.ResponseWriter, r *http.Request, e *entry, rd *rendition, cache []string) (sent int64) {
	enc, grew, err := rd.encoded(negotiate(headerOf(r, "Accept-Encoding")))
	if err != nil {
		p.fail(w, r, err)
		return 0
	}
	if grew != 0 {
		p.hot.grow(e.key, e, grew)
	}
	h := w.Header()
	h["Content-Type"] = headerJSON
	h["Vary"] = headerVary
	h["Cache-Control"] = headerNoCache
	if !p.readerOf(r).Anonymous() {
		h["Cache-Control"] = headerPrivate
	}
	h["Cache-Status"] = cache
	h["Last-Modified"] = rd.modified
	h["Etag"] = enc.etag
	if rd.denied != nil {
		h["X-Snapshot-Denied"] = rd.denied
	}
	if notModified(r, rd, enc) {
		w.WriteHeader(http.StatusNotModified)
		return 0
	}
	h["Content-Length"] = enc.length
	if enc.encoding != nil {
		h["Content-Encoding"] = enc.encoding
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return 0
	}
	n, _ := w.Write(enc.body) // the client may be gone; nothing to do about it
	return int64(n)
}

// headerOf is r.Header.Get for a name in canonical form, without looking whether
// it is.
func headerOf(r *http.Request, name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// notModified compares for equality only: after a rollback a client holding
// the newer body must be given the older one (protocol 2.5, C31 to C33).
func notModified(r *http.Request, rd *rendition, enc *encoded) bool {
	if match := headerOf(r, "If-None-Match"); match != "" {
		for tag := range strings.SplitSeq(match, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == enc.etag[0] || tag == "*" {
				return true
			}
		}
		return false
	}
	since := headerOf(r, "If-Modified-Since")
	if since == "" {
		return false
	}
	if since == rd.modified[0] {
		return true
	}
	t, ok := history.ParseHTTPTime(since)
	return ok && t.Equal(rd.lastModified)
}

// problem is the body of an error answer. Composer prints warning, other
// clients print error.
type problem struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Warning string `json:"warning,omitempty"`
}

// refuse answers with an error status and one sentence. Composer prints it,
// except for a 404, which is an everyday answer (virtual packages).
func refuse(w http.ResponseWriter, r *http.Request, status int, message string, retry time.Duration) {
	pr := problem{Status: "error", Message: message}
	if status != http.StatusNotFound {
		pr.Warning = message
	}
	writeProblem(w, r, status, pr, retry)
}

// refuseAloud is refuse, with a sentence that Composer prints in any case.
func refuseAloud(w http.ResponseWriter, r *http.Request, status int, message string, retry time.Duration) {
	writeProblem(w, r, status, problem{Status: "error", Message: message, Warning: message}, retry)
}

func writeProblem(w http.ResponseWriter, r *http.Request, status int, pr problem, retry time.Duration) {
	body, err := json.Marshal(pr)
	if err != nil {
		panic(err) // three strings
	}
	h := w.Header()
	h.Del("Last-Modified")
	h.Del("Etag")
	h["Content-Type"] = headerJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = headerNoStore
	if retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// fail answers with the status that the table in errors.go gives err.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errAborted) || r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	a := classify(err)
	if w.Header()["Cache-Status"] == nil {
		w.Header()["Cache-Status"] = cacheFailed
	}
	if a.log {
		p.log.LogAttrs(r.Context(), a.level, "request not answered", attrs(r, err)...)
	}
	refuse(w, r, a.status, a.message, a.retry)
}
