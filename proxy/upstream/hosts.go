package upstream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"
)

const (
	// maxHosts bounds what is remembered about hosts: documents name hosts freely.
	maxHosts = 256
	// maxNamedHosts bounds the values of the host label in metrics.
	maxNamedHosts = 24
	// maxCooldown bounds the growth of the cool-down.
	maxCooldown = 5 * time.Minute
	// probing is when to come back while another request finds out whether a host has recovered.
	probing = time.Second
)

// HostState is what is known about one host, for the status page.
type HostState struct {
	Host        string    `json:"host"`
	State       string    `json:"state"`    // closed, half-open, open, or rate-limited
	Failures    int       `json:"failures"` // in a row
	LastError   string    `json:"lastError,omitempty"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	OpenUntil   time.Time `json:"openUntil,omitzero"` // not asked before
}

// known says whether the host ever gave a sign of itself.
func (s HostState) known() bool {
	return s.State != "closed" || !s.LastFailure.IsZero() || !s.LastSuccess.IsZero()
}

// hostTable holds a host for every name that was asked lately.
type hostTable struct {
	failures int
	cooldown time.Duration
	now      func() time.Time
	log      *slog.Logger

	mu    sync.Mutex // guards the creation of hosts and named
	hosts *lru.Cache[string, *host]
	named map[string]bool
}

func newHostTable(failures int, cooldown time.Duration, now func() time.Time, log *slog.Logger) *hostTable {
	hosts, err := lru.New[string, *host](maxHosts)
	if err != nil {
		panic(err) // only a size below one is refused
	}
	return &hostTable{failures: failures, cooldown: cooldown, now: now, log: log, hosts: hosts, named: map[string]bool{}}
}

// get returns the host of that name, remembering it.
func (t *hostTable) get(name string) *host {
	if h, ok := t.hosts.Get(name); ok {
		return h
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.hosts.Get(name); ok {
		return h
	}
	h := &host{name: name, label: name, table: t}
	if len(t.named) < maxNamedHosts {
		t.named[name] = true
	} else if !t.named[name] {
		h.label = "other"
	}
	h.breaker = gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{ //nolint:bodyclose // a type, and no response
		Name:          name,
		MaxRequests:   1,
		Timeout:       1, // the gate below keeps the time
		ReadyToTrip:   func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= t.failures },
		IsSuccessful:  func(err error) bool { return !unhealthy(err) },
		IsExcluded:    neutral,
		OnStateChange: h.changed,
	})
	t.hosts.Add(name, h)
	return h
}

// states lists the hosts by name.
func (t *hostTable) states() []HostState {
	var list []HostState
	for _, h := range t.hosts.Values() {
		if s := h.state(); s.known() {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b HostState) int { return cmp.Compare(a.Host, b.Host) })
	return list
}

// host decides whether one host may be asked. The breaker counts failures in a row and lets a
// single probe through after a pause; how long the pause is, the gate says: a cool-down that
// doubles with every failed probe, or the host's own Retry-After. Only the gate looks at the
// clock, so that it can be somebody else's clock.
type host struct {
	name    string
	label   string // in metrics
	table   *hostTable
	breaker *gobreaker.CircuitBreaker[*http.Response]

	mu          sync.Mutex // guards the rest; taken by changed with the breaker's own lock held
	until       time.Time
	why         Kind // Open or RateLimited, when until lies ahead
	opened      int  // how often in a row the breaker opened
	failures    int
	lastError   string
	lastFailure time.Time
	lastSuccess time.Time
}

// closedGate returns the error for a host that is being left alone, and nil for others.
func (h *host) closedGate(op string) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := h.until.Sub(h.table.now())
	if wait <= 0 {
		return nil
	}
	e := &Error{Host: h.name, Op: op, Kind: h.why, RetryAfter: wait, neutral: true}
	if h.why == Open && h.lastError != "" {
		e.Err = errors.New(h.lastError)
	}
	return e
}

// try runs one exchange with the host if it may be asked, and learns from the outcome.
func (h *host) try(op string, exchange func() (*http.Response, error)) (*http.Response, error) {
	if e := h.closedGate(op); e != nil {
		return nil, e
	}
	resp, err := h.breaker.Execute(func() (*http.Response, error) {
		resp, err := exchange()
		h.learn(err)
		return resp, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, &Error{Host: h.name, Op: op, Kind: Open, RetryAfter: probing, neutral: true}
	}
	return resp, err
}

// learn records an outcome for the status page. It runs before the breaker's own counting, so
// that an opening breaker finds the error that opened it.
func (h *host) learn(err error) {
	if neutral(err) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !unhealthy(err) {
		h.failures, h.lastSuccess = 0, h.table.now()
		return
	}
	h.failures++
	h.lastError, h.lastFailure = err.Error(), h.table.now()
}

// leaveAlone remembers that the host asked not to be asked for a while.
func (h *host) leaveAlone(wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	until := h.table.now().Add(wait)
	if until.After(h.until) {
		h.until, h.why = until, RateLimited
		h.table.log.LogAttrs(context.Background(), slog.LevelWarn, "upstream host asks to be left alone",
			slog.String("host", h.name), slog.Duration("for", wait))
	}
}

// changed is called by the breaker, with its lock held.
func (h *host) changed(_ string, from, to gobreaker.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	log := h.table.log
	switch to {
	case gobreaker.StateOpen:
		cooldown := maxCooldown
		if base := h.table.cooldown; h.opened < 16 && base<<h.opened < maxCooldown {
			cooldown = base << h.opened
		}
		h.opened++
		if until := h.table.now().Add(cooldown); until.After(h.until) {
			h.until, h.why = until, Open
		}
		log.LogAttrs(context.Background(), slog.LevelWarn, "upstream host is left alone after failures",
			slog.String("host", h.name), slog.Int("failures", h.failures),
			slog.Duration("for", cooldown), slog.String("last_error", h.lastError))
	case gobreaker.StateClosed:
		h.opened = 0
		log.LogAttrs(context.Background(), slog.LevelInfo, "upstream host answers again", slog.String("host", h.name))
	case gobreaker.StateHalfOpen:
		log.LogAttrs(context.Background(), slog.LevelDebug, "upstream host is tried again",
			slog.String("host", h.name), slog.String("from", from.String()))
	}
}

func (h *host) state() HostState {
	breaker := h.breaker.State()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HostState{
		Host: h.name, State: "closed", Failures: h.failures,
		LastError: h.lastError, LastFailure: h.lastFailure, LastSuccess: h.lastSuccess,
	}
	switch {
	case h.until.After(h.table.now()):
		s.State, s.OpenUntil = "open", h.until
		if h.why == RateLimited {
			s.State = "rate-limited"
		}
	case breaker != gobreaker.StateClosed:
		s.State = "half-open"
	}
	return s
}

// neutral says whether an outcome tells nothing about the health of the host.
func neutral(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.neutral
}

// unhealthy says whether an outcome counts against the host.
func unhealthy(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return err != nil
	}
	switch e.Kind {
	case Unreachable, Timeout, Insecure:
		return true
	case ServerError:
		return e.Status == 0 || e.Status >= http.StatusInternalServerError
	}
	return false
}
