package standin

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Options change how a Server starts. The zero value is a plain HTTP registry
// without packages.
type Options struct {
	// Now is the clock that dates changes; time.Now when nil.
	Now func() time.Time
	// TLS serves both listeners with this certificate and offers HTTP/2.
	TLS *tls.Config
	// Chunked sends archives without Content-Length, as GitHub does.
	Chunked bool
}

// Server is a running stand-in.
type Server struct {
	url, archiveURL string
	now             func() time.Time
	chunked         bool
	log             *journal
	closed          chan struct{}
	origin, store   *listener

	mu    sync.Mutex
	reg   registry
	rules []*Rule
	mute  bool
}

// Start runs a stand-in until the test ends.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := New(o)
	if err != nil {
		tb.Fatalf("the stand-in does not start: %v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// New runs a stand-in until Close.
func New(o Options) (*Server, error) {
	s := &Server{now: o.Now, chunked: o.Chunked, log: newJournal(), closed: make(chan struct{}), reg: newRegistry()}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.origin, err = bind(s.observe(s.registryRoutes()), o.TLS); err != nil {
		return nil, err
	}
	if s.store, err = bind(s.observe(s.archiveRoutes()), o.TLS); err != nil {
		return nil, errors.Join(err, s.origin.bound.Close())
	}
	s.url, s.archiveURL = s.origin.url(), s.store.url()
	// Only now, with the URLs known: a stranger may ask a port as soon as it answers.
	return s, s.Up()
}

// URL is the origin of the registry, to be used as the upstream's URL.
func (s *Server) URL() string { return s.url }

// ArchiveURL is the other origin, which hands out archives.
func (s *Server) ArchiveURL() string { return s.archiveURL }

// Down refuses connections to both origins and cuts the open ones.
func (s *Server) Down() {
	s.origin.down()
	s.store.down()
}

// Up listens again on the same ports.
func (s *Server) Up() error { return errors.Join(s.origin.up(), s.store.up()) }

// ArchivesDown refuses connections to the archive origin alone.
func (s *Server) ArchivesDown() { s.store.down() }

// Close ends everything, held requests included.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.Down()
}

// observe records the request and lets the newest matching fault answer it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := &Record{Host: r.Host, Method: r.Method, URI: r.RequestURI, Header: r.Header.Clone(), Body: body, Proto: r.Proto}
		sw := &statusWriter{ResponseWriter: w}
		s.log.begin(rec)
		defer func() {
			status := sw.status
			if status == 0 {
				status = http.StatusOK
			}
			problem := recover()
			if problem != nil {
				status = -1 // the connection was broken on purpose
			}
			s.log.end(rec, status)
			if problem != nil {
				panic(problem)
			}
		}()
		sw.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		if rule := s.match(r); rule != nil {
			rule.fault(sw, r, next)
			return
		}
		next.ServeHTTP(sw, r)
	})
}

// statusWriter remembers the status for the journal.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 && code >= 200 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// listener is one port that can be closed and opened again.
type listener struct {
	handler http.Handler
	tls     *tls.Config
	addr    string
	bound   net.Listener // until the first up
	mu      sync.Mutex
	srv     *http.Server // guarded by mu
}

// bind takes a free port without serving it yet.
func bind(h http.Handler, t *tls.Config) (*listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the stand-in finds no free port: %w", err)
	}
	return &listener{handler: h, tls: t, addr: ln.Addr().String(), bound: ln}, nil
}

func (l *listener) url() string {
	if l.tls != nil {
		return "https://" + l.addr
	}
	return "http://" + l.addr
}

func (l *listener) up() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv != nil {
		return nil
	}
	ln := l.bound
	if l.bound = nil; ln == nil {
		var err error
		if ln, err = net.Listen("tcp", l.addr); err != nil {
			return fmt.Errorf("the stand-in cannot listen on %s: %w", l.addr, err)
		}
	}
	srv := &http.Server{Handler: l.handler, ErrorLog: quiet}
	l.srv = srv
	if l.tls != nil {
		srv.TLSConfig = l.tls.Clone()
		go func() { _ = srv.ServeTLS(ln, "", "") }()
	} else {
		go func() { _ = srv.Serve(ln) }()
	}
	return nil
}

func (l *listener) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv != nil {
		_ = l.srv.Close()
		l.srv = nil
	}
}
