package standin

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// Fault answers a request in place of next, the handler that knows the truth.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Rule is a fault in force.
type Rule struct {
	pattern string
	fault   Fault
	limit   int64 // how many requests it still applies to; negative is without end
	hits    atomic.Int64
	gone    chan struct{}
	once    sync.Once
}

// Fault puts f in force for every request whose URI matches pattern (see
// Match), until the rule is removed. The newest matching rule wins.
func (s *Server) Fault(pattern string, f Fault) *Rule { return s.FaultTimes(pattern, -1, f) }

// FaultTimes puts f in force for the first n matching requests.
func (s *Server) FaultTimes(pattern string, n int, f Fault) *Rule {
	rule := &Rule{pattern: pattern, fault: f, limit: int64(n), gone: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, rule)
	return rule
}

// Remove ends the rule; requests it is holding go on with the truth.
func (r *Rule) Remove() {
	r.once.Do(func() { close(r.gone) })
}

// Hits counts the requests the rule has answered.
func (r *Rule) Hits() int { return int(r.hits.Load()) }

// Heal removes every rule.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		r.Remove()
	}
	s.rules = nil
}

func (s *Server) match(r *http.Request) *Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.rules) - 1; i >= 0; i-- {
		rule := s.rules[i]
		select {
		case <-rule.gone:
			continue
		default:
		}
		if rule.limit == 0 || !Match(rule.pattern, r.RequestURI) {
			continue
		}
		rule.limit--
		rule.hits.Add(1)
		return rule
	}
	return nil
}

// When applies f to the requests that cond accepts and tells the truth to others.
func When(cond func(*http.Request) bool, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if cond(r) {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Status answers with a code and a small JSON body, after setting the header
// pairs (name, value, …).
func Status(code int, header ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"status":"error","message":"the stand-in was told to fail"}`)
	}
}

// Body answers 200 with the given content.
func Body(contentType, content string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		_, _ = io.WriteString(w, content)
	}
}

// HTML answers 200 with a page, as captive portals and static hosts do.
func HTML() Fault {
	return Body("text/html; charset=utf-8", "<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>")
}

// Garbage answers 200 with something that only starts like JSON.
func Garbage() Fault { return Body("application/json", `{"packages":{"acme/`) }

// Empty answers 200 with no body at all.
func Empty() Fault { return Body("application/json", "") }

// Hang accepts the request and says nothing until the client gives up, the rule
// is removed, or the stand-in closes.
func (s *Server) Hang(pattern string) *Rule {
	var rule *Rule
	ready := make(chan struct{})
	rule = s.Fault(pattern, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		<-ready
		select {
		case <-rule.gone:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-s.closed:
			panic(http.ErrAbortHandler)
		}
	})
	close(ready)
	return rule
}

// Delay answers truthfully after d.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if pause(r, d) {
			next.ServeHTTP(w, r)
		}
	}
}

func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// Drip sends the true answer in pieces of size bytes with a pause after each.
func Drip(size int, every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body := replay(w, r, next)
		for len(body) > 0 {
			n := min(size, len(body))
			if _, err := w.Write(body[:n]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			if body = body[n:]; len(body) > 0 && !pause(r, every) {
				return
			}
		}
	}
}

// replay asks next for the true answer, sends its status and header, and
// returns the body for the caller to send as it likes.
func replay(w http.ResponseWriter, r *http.Request, next http.Handler) []byte {
	truth := httptest.NewRecorder()
	next.ServeHTTP(truth, r)
	for k, v := range truth.Header() {
		w.Header()[k] = v
	}
	if truth.Code == http.StatusOK {
		w.Header().Set("Content-Length", strconv.Itoa(truth.Body.Len()))
	}
	w.WriteHeader(truth.Code)
	return truth.Body.Bytes()
}

// Ending says how a cut answer ends.
type Ending int

const (
	Short   Ending = iota // Content-Length promised more; the connection closes
	Chunk                 // chunked, and the last chunk never comes
	Reset                 // the connection is reset
	Unknown               // no length was given and the connection closes: nothing shows the cut
)

// CutAt sends the first n bytes of the true answer and then breaks off.
func CutAt(n int, how Ending) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		truth := httptest.NewRecorder()
		next.ServeHTTP(truth, r)
		body := truth.Body.Bytes()
		n := min(n, len(body))
		for k, v := range truth.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("Content-Length")
		switch how {
		case Short, Reset:
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		case Unknown:
			w.Header().Set("Connection", "close")
			if conn, rw, err := http.NewResponseController(w).Hijack(); err == nil {
				defer conn.Close()
				_, _ = io.WriteString(rw, "HTTP/1.0 "+strconv.Itoa(truth.Code)+" "+http.StatusText(truth.Code)+"\r\n")
				_ = w.Header().Write(rw)
				_, _ = io.WriteString(rw, "\r\n")
				_, _ = rw.Write(body[:n])
				_ = rw.Flush()
				return
			}
		}
		w.WriteHeader(truth.Code)
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
		if how == Reset {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = conn.Close()
				return
			}
		}
		panic(http.ErrAbortHandler)
	}
}

// Afresh applies f to the whole answer even if the client has asked only for what is newer.
func Afresh(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("If-Modified-Since")
		r.Header.Del("If-None-Match")
		f(w, r, next)
	}
}

// CutWire sends the true answer as it goes over the wire, status line and header included, up to the place that at finds
// in it, and then breaks off: with Reset by a reset, and otherwise by closing the connection.
func CutWire(at func(answer []byte) int, how Ending) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		truth := httptest.NewRecorder()
		next.ServeHTTP(truth, r)
		answer := truth.Result()
		answer.Request = r
		answer.ProtoMajor, answer.ProtoMinor = 1, 1
		answer.Header.Del("Content-Length")
		switch answer.ContentLength = int64(truth.Body.Len()); how {
		case Chunk:
			answer.ContentLength, answer.TransferEncoding = -1, []string{"chunked"}
		case Unknown:
			answer.ContentLength, answer.ProtoMinor, answer.Close = -1, 0, true
		}
		var wire bytes.Buffer
		if err := answer.Write(&wire); err != nil {
			panic(fmt.Sprintf("standin: an answer that cannot be written: %v", err))
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(fmt.Sprintf("standin: a connection that cannot be cut: %v", err))
		}
		defer conn.Close()
		_, _ = conn.Write(wire.Bytes()[:max(0, min(at(wire.Bytes()), wire.Len()))])
		if tcp, ok := conn.(*net.TCPConn); ok && how == Reset {
			_ = tcp.SetLinger(0)
		}
	}
}

// Bytes cuts after n bytes.
func Bytes(n int) func([]byte) int { return func([]byte) int { return n } }

// HeaderLines cuts after n lines of the header, the status line being the first, and the empty line behind it the last.
func HeaderLines(n int) func([]byte) int {
	return func(answer []byte) int {
		at := 0
		for range n {
			i := bytes.Index(answer[at:], []byte("\r\n"))
			if i < 0 {
				break
			}
			at += i + 2
		}
		return at
	}
}
