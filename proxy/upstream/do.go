package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pauses between attempts are drawn between nothing and a bound that doubles: 300 ms, 600 ms
// and so on, but never more than patience.
const (
	firstPause = 150 * time.Millisecond // the middle of the first draw
	lastPause  = patience / 2
)

// Do sends r and returns the answer if its status is 2xx, 304, or 4xx other than 408, 425 and
// 429. Everything else is an *Error, after bounded retries. A 403 that says that a quota is
// spent counts as 429.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	k, err := newCall(r)
	if err != nil {
		return nil, err
	}
	if e := c.hosts.get(hostOf(k.url)).closedGate(k.method); e != nil {
		c.metrics.refused(k.class, e)
		return nil, e
	}
	slots := c.slots
	if k.class == ClassArchive {
		slots = c.archives
	}
	if err := slots.Acquire(ctx, 1); err != nil {
		return nil, canceled(ctx, hostOf(k.url), k.method)
	}
	inFlight := c.metrics.inFlight.WithLabelValues(k.class)
	inFlight.Inc()
	run := newRun(ctx, c.opts.Timeout, k.class == ClassArchive, func() {
		inFlight.Dec()
		slots.Release(1)
	})
	resp, err := c.attempts(run, k)
	if err != nil {
		run.end()
		return nil, err
	}
	return resp, nil
}

// attempts repeats a call until it has an answer or a failure that will not pass.
func (c *Client) attempts(run *run, k *call) (*Response, error) {
	tries := 1
	if k.idempotent() {
		tries += c.opts.Retries
	}
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: lastPause, Multiplier: 2, RandomizationFactor: 1,
	}
	var last *Error
	try := 0
	resp, err := backoff.Retry(run.ctx, func() (*Response, error) {
		try++
		if try > 1 {
			c.metrics.retries.WithLabelValues(k.class).Inc()
		}
		resp, e := c.attempt(run, k, try == tries)
		switch {
		case e == nil:
			return resp, nil
		case e.Kind == Open && last != nil:
			last.RetryAfter = e.RetryAfter // the host was given up meanwhile; what it did is the better news
		default:
			last = e
		}
		if !e.retry {
			return nil, backoff.Permanent(error(last))
		}
		c.opts.Logger.LogAttrs(run.ctx, slog.LevelDebug, "upstream request failed",
			slog.String("host", e.Host), slog.Int("try", try), slog.String("error", e.Error()))
		if e.RetryAfter > 0 {
			return nil, &backoff.RetryAfterError{Duration: e.RetryAfter + rand.N(firstPause)}
		}
		return nil, last
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(uint(tries)), backoff.WithMaxElapsedTime(c.opts.Timeout))
	if err == nil {
		return resp, nil
	}
	if run.caller.Err() != nil {
		return nil, canceled(run.caller, last.Host, k.method)
	}
	return nil, last
}

// attempt follows one call through its redirects to an answer.
func (c *Client) attempt(run *run, k *call, final bool) (*Response, *Error) {
	at, method, body := k.url, k.method, k.body
	for hops := 0; ; hops++ {
		run.watch()
		resp, err := c.exchange(run, k, hop{method: method, url: at, body: body, final: final})
		if err != nil {
			run.pause()
			return nil, asError(err, hostOf(at), k.method)
		}
		if resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified || resp.StatusCode >= 400 {
			run.pause()
			return c.respond(run, k, at, resp)
		}
		next, method2, e := c.redirect(at, method, len(body) > 0, resp)
		discard(resp)
		if e == nil && hops >= c.opts.MaxRedirects {
			e = &Error{Host: hostOf(at), Kind: TooManyRedirects}
		}
		if e != nil {
			run.pause()
			e.Op = k.method
			return nil, e
		}
		if method2 != method {
			method, body = method2, nil
		}
		at = next
	}
}

// hop is one request of a chain of redirects.
type hop struct {
	method string
	url    *url.URL
	body   []byte
	final  bool // no retry follows
	fresh  bool // on a connection of its own
}

// exchange sends one request and waits for the header of its answer. Statuses that are failures
// come back as errors.
func (c *Client) exchange(run *run, k *call, p hop) (*http.Response, error) {
	host := c.hosts.get(hostOf(p.url))
	if err := c.guard.checkURL(p.url); err != nil {
		e := &Error{Host: host.name, Op: k.method, Kind: Blocked, Err: err, neutral: true}
		c.metrics.refused(k.class, e)
		return nil, e
	}
	sent := false
	resp, err := host.try(k.method, func() (*http.Response, error) {
		sent = true
		transport := c.keep
		if p.fresh {
			transport = c.fresh
		}
		start := time.Now()
		resp, err := transport.RoundTrip(c.request(run, k, p))
		if err != nil {
			err = run.failure(err, host.name, k.method)
		}
		c.metrics.observe(k.class, time.Since(start), resp, err)
		if err != nil {
			return nil, err
		}
		if e := c.judge(resp, host, k, p.final); e != nil {
			discard(resp)
			return nil, e
		}
		return resp, nil
	})
	if err != nil {
		if !sent {
			c.metrics.refused(k.class, err)
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusBadRequest && host.name == codeload && k.idempotent() && !p.fresh {
		// GitHub's archive hosts answer 400 on a connection that went bad; Composer asks again too.
		discard(resp)
		p.fresh = true
		return c.exchange(run, k, p)
	}
	return resp, nil
}

const codeload = "codeload.github.com"

func (c *Client) request(run *run, k *call, p hop) *http.Request {
	req := &http.Request{
		Method: p.method, URL: p.url, Host: p.url.Host, Header: c.header(k, p.url),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(p.body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(p.body)), int64(len(p.body))
	}
	return req.WithContext(run.ctx)
}

// judge turns the statuses that mean "not now" into errors.
func (c *Client) judge(resp *http.Response, host *host, k *call, final bool) *Error {
	e := &Error{Host: host.name, Op: k.method, Status: resp.StatusCode, Kind: ServerError}
	wait, limited := rateLimit(resp, c.opts.Now())
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && limited:
		e.Kind = RateLimited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500, status < 200:
	default:
		return nil
	}
	e.RetryAfter = min(wait, maxRemembered)
	e.retry = e.RetryAfter <= patience && e.Status != http.StatusForbidden && e.Status != http.StatusNotImplemented
	if e.Kind == RateLimited && !limited && final {
		e.RetryAfter = c.opts.BreakerCooldown // it did not say for how long
	}
	if e.RetryAfter > patience {
		host.leaveAlone(e.RetryAfter)
		e.retry = false
	}
	// A document that alone provokes errors should not close the way to all others sooner for
	// being retried: within one call only the last such answer counts.
	e.neutral = e.retry && !final && k.idempotent()
	return e
}

func asError(err error, host, op string) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Host: host, Op: op, Kind: Unreachable, Err: err}
}
