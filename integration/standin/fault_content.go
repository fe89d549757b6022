package standin

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
)

// OtherPackage answers with the document of another file than was asked for.
func (s *Server) OtherPackage(file string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		body, modified := s.Document(file)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Last-Modified", modified)
		_, _ = w.Write(body)
	}
}

// StaleEdge answers with the state of the file that was current before its
// last change, with its older Last-Modified, as a forgotten CDN edge does.
func (s *Server) StaleEdge(file string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		s.mu.Lock()
		past := s.reg.past[file]
		var old *state
		if len(past) > 0 {
			old = past[len(past)-1]
		}
		s.mu.Unlock()
		if old == nil {
			next.ServeHTTP(w, r)
			return
		}
		s.serveState(w, r, old)
	}
}

// Unconditional304 answers 304 to everybody, asked for or not.
func Unconditional304() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotModified) }
}

// NoCentralDirectory sends a complete answer whose zip lacks its end.
func NoCentralDirectory() Fault {
	return alter(withoutCentralDirectory)
}

// FlipByte changes one byte in the middle of the true answer.
func FlipByte() Fault {
	return alter(func(b []byte) []byte {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[len(b)/2] ^= 0xff
		}
		return b
	})
}

// alter sends the true answer with another body of the right length.
func alter(change func([]byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		truth := httptest.NewRecorder()
		next.ServeHTTP(truth, r)
		body := truth.Body.Bytes()
		if truth.Code == http.StatusOK {
			body = change(body)
		}
		for k, v := range truth.Header() {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(truth.Code)
		_, _ = w.Write(body)
	}
}

// GzipBomb answers with a gzip body of a kilobyte per megabyte of size. It is
// made of many members, each of them a megabyte of spaces.
func GzipBomb(size int64) Fault {
	member := Gzip(bytes.Repeat([]byte{' '}, 1<<20))
	bomb := bytes.Repeat(member, max(1, int(size>>20)))
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(bomb)))
		_, _ = w.Write(bomb)
	}
}

// Gate holds requests until it is opened.
type Gate struct {
	rule    *Rule
	log     *journal
	opened  chan struct{}
	waiting int // guarded by log.mu
}

// Hold makes matching requests wait, before a byte is answered, until Open.
func (s *Server) Hold(pattern string) *Gate { return s.HoldAfter(pattern, -1) }

// HoldAfter sends status, header and the first n bytes of the true answer, and
// the rest when the gate opens. With n < 0 nothing is sent before.
func (s *Server) HoldAfter(pattern string, n int) *Gate {
	g := &Gate{log: s.log, opened: make(chan struct{})}
	g.rule = s.Fault(pattern, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		var body []byte
		if n >= 0 {
			body = replay(w, r, next)
			k := min(n, len(body))
			_, _ = w.Write(body[:k])
			_ = http.NewResponseController(w).Flush()
			body = body[k:]
		}
		g.arrive(1)
		defer g.arrive(-1)
		select {
		case <-g.opened:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-s.closed:
			panic(http.ErrAbortHandler)
		}
		if n >= 0 {
			_, _ = w.Write(body)
			return
		}
		next.ServeHTTP(w, r)
	})
	return g
}

func (g *Gate) arrive(d int) {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	g.waiting += d
	close(g.log.changed)
	g.log.changed = make(chan struct{})
}

// Wait returns when n requests are held at once.
func (g *Gate) Wait(ctx context.Context, n int) error {
	for {
		g.log.mu.Lock()
		ok, changed := g.waiting >= n, g.log.changed
		g.log.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Open lets the held requests, and all later ones, go on.
func (g *Gate) Open() {
	g.rule.once.Do(func() {
		close(g.rule.gone)
		close(g.opened)
	})
}
