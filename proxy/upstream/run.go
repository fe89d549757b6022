package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// errSilence ends a request whose time ran out.
var errSilence = errors.New("the time for this request ran out")

// run is the life of one call, from the slot it was given until its body is done with. It ends
// once: when the body ends, fails or is closed, when the caller's context ends, or when its time
// runs out. A whole-time run has one deadline from start to end. A rolling run, for archives of
// any size, starts counting anew with every request and every read, and does not count while
// nobody reads.
type run struct {
	caller  context.Context
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	rolling bool
	timer   *time.Timer
	end     func()
}

func newRun(caller context.Context, timeout time.Duration, rolling bool, release func()) *run {
	ctx, cancel := context.WithCancelCause(caller)
	r := &run{caller: caller, ctx: ctx, cancel: cancel, timeout: timeout, rolling: rolling}
	r.timer = time.AfterFunc(timeout, func() { cancel(errSilence) })
	r.end = sync.OnceFunc(func() {
		r.timer.Stop()
		cancel(context.Canceled)
		release()
	})
	context.AfterFunc(ctx, r.end) // a body that nobody closes gives its slot back all the same
	return r
}

// watch starts counting anew where that is the rule.
func (r *run) watch() {
	if r.rolling {
		r.timer.Reset(r.timeout)
	}
}

// pause stops counting where that is the rule.
func (r *run) pause() {
	if r.rolling {
		r.timer.Stop()
	}
}

// failure explains why an exchange or a body broke off.
func (r *run) failure(err error, host, op string) error {
	if r.caller.Err() != nil {
		return canceled(r.caller, host, op)
	}
	e := &Error{Host: host, Op: op, Kind: Unreachable, Err: err, retry: true}
	var (
		refused *refusal
		netErr  net.Error
		dnsErr  *net.DNSError
		certErr *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &refused):
		e.Kind, e.Err, e.retry, e.neutral = Blocked, refused, false, true
	case errors.Is(context.Cause(r.ctx), errSilence):
		e.Kind, e.Err, e.retry = Timeout, nil, false
	case errors.As(err, &certErr):
		e.Kind, e.retry = Insecure, false
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		e.retry = false
	case errors.As(err, &netErr) && netErr.Timeout():
		e.Kind = Timeout
	}
	return e
}

// discard gives the connection back if the rest of an unwanted body is short and quick.
func discard(resp *http.Response) {
	late := time.AfterFunc(100*time.Millisecond, func() { _ = resp.Body.Close() })
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	late.Stop()
	_ = resp.Body.Close()
}
