package upstream_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"stasis/proxy/upstream"
)

// newClient returns a client that may reach servers on loopback.
func newClient(t testing.TB, change func(*upstream.Options)) *upstream.Client {
	t.Helper()
	o := upstream.Options{
		UserAgent:    "Stasis/test (+mailto:nobody@example.com)",
		Timeout:      10 * time.Second,
		AllowedHosts: []string{"127.0.0.1"},
	}
	if change != nil {
		change(&o)
	}
	c, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// fetch gets url and reads the whole answer.
func fetch(c *upstream.Client, r upstream.Request) (int, string, error) {
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		return 0, "", err
	}
	body, err := c.ReadAll(resp, 1<<20)
	return resp.Status, string(body), err
}

func get(c *upstream.Client, url string) (int, string, error) {
	return fetch(c, upstream.Request{URL: url})
}

// wantKind fails the test unless err is an *upstream.Error of that kind.
func wantKind(t testing.TB, err error, want upstream.Kind) *upstream.Error {
	t.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *upstream.Error of kind %q", err, want)
	}
	if e.Kind != want {
		t.Fatalf("got kind %q (%v), want %q", e.Kind, e, want)
	}
	return e
}

// network is a world of hosts inside the process: pipes instead of sockets, so that a test in a
// synctest bubble has a clock of its own and nothing left to chance.
type network struct {
	handler http.Handler
	mu      sync.Mutex // guards the rest
	dials   int
	down    bool
	conns   chan net.Conn
}

func newNetwork(t testing.TB, handler http.HandlerFunc) *network {
	n := &network{handler: handler, conns: make(chan net.Conn)}
	server := &http.Server{Handler: handler, ErrorLog: quiet}
	go func() { _ = server.Serve(pipeListener{n.conns, make(chan struct{})}) }()
	t.Cleanup(func() { _ = server.Close() })
	return n
}

func (n *network) setDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

func (n *network) dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func (n *network) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error { close(l.closed); return nil }

func (l pipeListener) Addr() net.Addr { return &net.IPAddr{} }

// clock is a clock that stands still until told otherwise.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var quiet = log.New(io.Discard, "", 0)
