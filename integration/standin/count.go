package standin

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
)

// Record is one request the stand-in received.
type Record struct {
	Host   string // the Host header: tells the two origins apart
	Method string
	URI    string // path and query as sent
	Header http.Header
	Body   []byte
	Proto  string
	Status int // 0 while the answer is not finished
}

// journal counts requests and wakes whoever waits for one.
type journal struct {
	mu       sync.Mutex
	records  []*Record
	changed  chan struct{} // closed and replaced at every change
	inFlight int
	peak     int
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

func (j *journal) begin(r *Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, r)
	j.inFlight++
	j.peak = max(j.peak, j.inFlight)
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *journal) end(r *Record, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.Status = status
	j.inFlight--
	close(j.changed)
	j.changed = make(chan struct{})
}

// Match reports whether a request URI matches a pattern: "*" stands for any
// text, slashes included; a pattern without "?" looks at the path alone.
func Match(pattern, uri string) bool {
	if !strings.Contains(pattern, "?") {
		uri, _, _ = strings.Cut(uri, "?")
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == uri
	}
	if !strings.HasPrefix(uri, parts[0]) {
		return false
	}
	uri = uri[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(uri, part)
		if i < 0 {
			return false
		}
		uri = uri[i+len(part):]
	}
	return strings.HasSuffix(uri, last)
}

// Records returns copies of the requests whose URI matches pattern, in order of
// arrival.
func (s *Server) Records(pattern string) []Record {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	var out []Record
	for _, r := range s.log.records {
		if Match(pattern, r.URI) {
			c := *r
			c.Header = r.Header.Clone()
			c.Body = bytes.Clone(r.Body)
			out = append(out, c)
		}
	}
	return out
}

// Requests counts the requests whose URI matches pattern.
func (s *Server) Requests(pattern string) int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.count(pattern)
}

func (j *journal) count(pattern string) int {
	n := 0
	for _, r := range j.records {
		if Match(pattern, r.URI) {
			n++
		}
	}
	return n
}

// Total counts every request but those for the change feed, which a follower
// sends on its own clock.
func (s *Server) Total() int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	n := 0
	for _, r := range s.log.records {
		if !Match("/metadata/changes.json", r.URI) {
			n++
		}
	}
	return n
}

// Peak is the largest number of requests that were being answered at once.
func (s *Server) Peak() int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.peak
}

// Forget starts counting anew.
func (s *Server) Forget() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.records = nil
	s.log.peak = s.log.inFlight
}

// Await returns when at least n requests matching pattern have arrived.
func (s *Server) Await(ctx context.Context, pattern string, n int) error {
	return s.await(ctx, func(j *journal) bool { return j.count(pattern) >= n })
}

// AwaitDone returns when at least n requests matching pattern have been
// answered to the end.
func (s *Server) AwaitDone(ctx context.Context, pattern string, n int) error {
	return s.await(ctx, func(j *journal) bool {
		done := 0
		for _, r := range j.records {
			if r.Status != 0 && Match(pattern, r.URI) {
				done++
			}
		}
		return done >= n
	})
}

// AwaitIdle returns when no request is being answered.
func (s *Server) AwaitIdle(ctx context.Context) error {
	return s.await(ctx, func(j *journal) bool { return j.inFlight == 0 })
}

func (s *Server) await(ctx context.Context, done func(*journal) bool) error {
	for {
		s.log.mu.Lock()
		ok, changed := done(s.log), s.log.changed
		s.log.mu.Unlock()
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
