package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"stasis/proxy/upstream"
	"stasis/store"
)

// failure is an error that knows its whole answer.
type failure struct {
	status     int
	code       Code
	message    string        // a sentence for the client
	retryAfter time.Duration // for Retry-After; 0 leaves it out
	header     string        // one more header line: name and value
	value      string
}

func (f *failure) Error() string { return f.message }

func invalid(message string) error {
	return &failure{status: http.StatusBadRequest, code: CodeValidation, message: message}
}

func notFound(message string) error {
	return &failure{status: http.StatusNotFound, code: CodeNotFound, message: message}
}

// missing turns "does not exist" into a 404 with the given sentence and leaves other errors alone.
func missing(err error, message string) error {
	if errors.Is(err, fs.ErrNotExist) && !unavailable(err) {
		return notFound(message)
	}
	return err
}

func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	var away *upstream.Error
	return errors.As(err, &u) && u.Unavailable() || errors.As(err, &away)
}

// explain is the one table from errors to answers. The second result says whether the cause is news for
// the log, because the client is not told.
//
// An error takes part by having one of these methods:
//
//	Validation() bool                                the request asks for something impossible: 400
//	Conflict() bool                                  it contradicts the present state: 409
//	Unavailable() bool; RetryAfter() time.Duration   upstream is needed and does not answer: 503 with a time, else 502
//
// An *upstream.Error says the last by itself.
// The text of the first two is shown to the client.
func explain(err error) (f *failure, log bool) {
	var (
		validation interface {
			error
			Validation() bool
		}
		conflict interface {
			error
			Conflict() bool
		}
		retry interface{ RetryAfter() time.Duration }
	)
	switch {
	case errors.As(err, &f):
		return f, false
	case errors.As(err, &validation) && validation.Validation():
		return &failure{status: http.StatusBadRequest, code: CodeValidation, message: validation.Error()}, false
	case errors.As(err, &conflict) && conflict.Conflict():
		return &failure{status: http.StatusConflict, code: CodeConflict, message: conflict.Error()}, false
	case unavailable(err):
		f = &failure{status: http.StatusBadGateway, code: CodeUpstream, message: "The upstream registry does not give a usable answer; try again later."}
		var away *upstream.Error
		switch {
		case errors.As(err, &retry) && retry.RetryAfter() > 0:
			f.status, f.retryAfter = http.StatusServiceUnavailable, retry.RetryAfter()
		case errors.As(err, &away) && away.RetryAfter > 0:
			f.status, f.retryAfter = http.StatusServiceUnavailable, away.RetryAfter
		}
		return f, true
	case errors.Is(err, store.ErrNoSpace):
		return &failure{status: http.StatusInsufficientStorage, code: CodeNoSpace,
			message: "There is no room to keep this: the disk is at its free-space floor or a configured limit is reached."}, true
	case errors.Is(err, store.ErrClosed):
		return &failure{status: http.StatusServiceUnavailable, code: CodeUnavailable, message: "The server is shutting down."}, false
	case errors.Is(err, fs.ErrNotExist):
		return &failure{status: http.StatusNotFound, code: CodeNotFound, message: "There is no such thing here."}, false
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{status: http.StatusGatewayTimeout, code: CodeTimeout, message: "The operation took too long and was given up."}, true
	default:
		return &failure{status: http.StatusInternalServerError, code: CodeInternal, message: "Something went wrong inside; the server's log has the details under this request's id."}, true
	}
}

// fail answers with an error and logs it if the answer hides something.
func (m *management) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, log := explain(err)
	if log && r.Context().Err() == nil {
		level := slog.LevelWarn
		if f.status == http.StatusInternalServerError {
			level = slog.LevelError
		}
		m.log.LogAttrs(r.Context(), level, "management request failed",
			slog.String("path", loggable(r.URL.Path, maxLoggedPath)), slog.Int("status", f.status),
			slog.String("request_id", w.Header().Get(requestIDHeader)), slog.String("error", loggable(err.Error(), maxLoggedError)))
	}
	if f.retryAfter > 0 {
		seconds := int64((f.retryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if f.header != "" {
		w.Header().Set(f.header, f.value)
	}
	writeJSON(w, f.status, Envelope[any]{Error: &Problem{Code: f.code, Message: f.message}})
}
