package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"stasis/proxy/upstream"
	"stasis/store"
)

// errAborted means that the header has left and the body cannot be finished:
// the connection is broken, so that nobody takes a part for the whole.
var errAborted = errors.New("the answer was broken off")

// absence is a certain "does not exist", with the sentence to say so.
type absence string

func (a absence) Error() string        { return string(a) }
func (a absence) Is(target error) bool { return target == fs.ErrNotExist }

// badUpstream is an answer of upstream that cannot be used.
type badUpstream struct {
	what string // what was asked for
	err  error
}

func (e *badUpstream) Error() string {
	return fmt.Sprintf("upstream's answer for %s: %v", e.what, e.err)
}
func (e *badUpstream) Unwrap() error     { return e.err }
func (e *badUpstream) Unavailable() bool { return true }

// refusal is a decision not to hand something out (HTTP 451).
type refusal struct{ message string }

func (e *refusal) Error() string { return e.message }

// invalid is a request that makes no sense, with what to do instead.
type invalid struct{ message string }

func (e *invalid) Error() string    { return e.message }
func (e *invalid) Validation() bool { return true }

// unavailable is a "cannot know now".
type unavailable struct {
	message string
	retry   time.Duration
	err     error
}

func (e *unavailable) Error() string {
	if e.err != nil {
		return e.message + ": " + e.err.Error()
	}
	return e.message
}
func (e *unavailable) Unwrap() error             { return e.err }
func (e *unavailable) Unavailable() bool         { return true }
func (e *unavailable) RetryAfter() time.Duration { return e.retry }

type answer struct {
	status  int
	message string
	retry   time.Duration
	log     bool
	level   slog.Level
}

// What clients are told about coming back. Composer from 2.11 waits that long,
// for every request to us and before each of three retries, so a long time
// would hold up what we can serve very well.
const (
	retrySoon = time.Second // when we know of nothing better
	retryLate = 10 * time.Second
)

// classify is the one table from errors to what a Composer client is told.
// 404 is only ever a certain absence; upstream trouble is 502, 503 or 504,
// which Composer retries and for which it falls back to its own copy; 429 and
// 403 are never passed on (protocol 2.6, C28, C30, C51). Which host failed is
// for the log and the alerts, not for clients.
func classify(err error) answer {
	var (
		abs  absence
		bad  *badUpstream
		ref  *refusal
		inv  *invalid
		una  *unavailable
		up   *upstream.Error
		warn = slog.LevelWarn
	)
	switch {
	case errors.As(err, &abs):
		return answer{status: http.StatusNotFound, message: string(abs)}
	case errors.As(err, &inv):
		return answer{status: http.StatusBadRequest, message: inv.message}
	case errors.As(err, &ref):
		return answer{status: http.StatusUnavailableForLegalReasons, message: ref.message, log: true, level: warn}
	case errors.As(err, &una):
		return answer{status: http.StatusServiceUnavailable, message: una.message, retry: max(una.retry, time.Second), log: true, level: warn}
	case errors.As(err, &bad):
		return answer{status: http.StatusBadGateway, message: "Stasis cannot use " + bad.Error() + "; try again, or look at the alerts of Stasis", retry: retrySoon, log: true, level: warn}
	case errors.As(err, &up):
		return upstreamAnswer(up)
	case errors.Is(err, store.ErrNoSpace):
		return answer{status: http.StatusInsufficientStorage, message: "Stasis has no disk space left to keep this; free some space or lower PROXY_MAX_CACHE_SIZE", log: true, level: slog.LevelError}
	case errors.Is(err, context.DeadlineExceeded):
		return answer{status: http.StatusGatewayTimeout, message: "upstream did not answer in time and Stasis holds no copy", retry: retrySoon, log: true, level: warn}
	case errors.Is(err, context.Canceled):
		return answer{status: http.StatusServiceUnavailable, message: "Stasis is shutting down", retry: retrySoon}
	}
	return answer{status: http.StatusInternalServerError, message: "Stasis could not answer because of an internal error; its log says more", log: true, level: slog.LevelError}
}

func upstreamAnswer(e *upstream.Error) answer {
	a := answer{status: http.StatusServiceUnavailable, retry: max(min(e.RetryAfter, retryLate), retrySoon), log: true, level: slog.LevelWarn}
	switch e.Kind {
	case upstream.Timeout:
		a.status = http.StatusGatewayTimeout
		a.message = "upstream did not answer in time and Stasis holds no copy"
	case upstream.RateLimited:
		a.message = "upstream limits our requests and Stasis holds no copy; credentials in PROXY_AUTH_JSON raise most limits"
	case upstream.Blocked:
		a.status = http.StatusBadGateway
		a.message = "the address it lies at is not one Stasis may connect to; PROXY_ALLOWED_HOSTS can allow it"
	case upstream.Open:
		a.message = "upstream has been failing and Stasis holds no copy; it is tried again shortly"
		a.level = slog.LevelInfo
	case upstream.ServerError:
		a.status = http.StatusBadGateway
		a.message = fmt.Sprintf("upstream answered %d and Stasis holds no copy", e.Status)
	default:
		a.status = http.StatusBadGateway
		a.message = "upstream could not be asked and Stasis holds no copy"
	}
	return a
}

func attrs(r *http.Request, err error) []slog.Attr {
	return []slog.Attr{slog.String("path", r.URL.Path), slog.String("error", err.Error())}
}

// conflict is a request that the present state forbids.
type conflict struct{ err error }

func (e *conflict) Error() string  { return e.err.Error() }
func (e *conflict) Unwrap() error  { return e.err }
func (e *conflict) Conflict() bool { return true }
