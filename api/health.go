package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// NotReady is a reason for not being ready that anybody may read.
type NotReady string

func (n NotReady) Error() string { return string(n) }

// readyTimeout bounds one readiness check. Who asks usually gives up after a second or so.
const readyTimeout = 2 * time.Second

// Health is the answer of /healthz, /livez and /readyz.
type Health struct {
	// Status is "ok" or "unavailable".
	Status string `json:"status"`
	// Reason says why it is unavailable, as far as strangers may know.
	Reason string `json:"reason,omitempty"`
}

// Version is the answer of /version.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// readiness answers /readyz and logs when the answer changes, not that it was asked.
type readiness struct {
	check func(ctx context.Context) error
	log   *slog.Logger
	bad   atomic.Bool
}

// registerHealth mounts the probes. The process being there is all that /healthz and /livez say:
// restarting it would not help an upstream that is down or a disk that is full.
func registerHealth(e *echo.Echo, o Options) {
	rd := &readiness{check: o.Ready, log: o.Logger}
	for path, h := range map[string]http.HandlerFunc{
		"/healthz": alive,
		"/livez":   alive,
		"/readyz":  rd.serve,
		"/version": func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, Version{Name: "stasis", Version: o.Version})
		},
	} {
		e.GET(path, echo.WrapHandler(h))
		e.HEAD(path, echo.WrapHandler(h))
	}
}

func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, Health{Status: "ok"})
}

func (rd *readiness) serve(w http.ResponseWriter, r *http.Request) {
	var err error
	if rd.check != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		err = rd.check(ctx)
	}
	if r.Context().Err() != nil {
		return // nobody listens, and the check may only have been interrupted
	}
	if was := rd.bad.Swap(err != nil); was != (err != nil) {
		if err != nil {
			rd.log.LogAttrs(r.Context(), slog.LevelWarn, "no longer ready", slog.String("reason", loggable(err.Error(), maxLoggedError)))
		} else {
			rd.log.LogAttrs(r.Context(), slog.LevelInfo, "ready again")
		}
	}
	if err == nil {
		writeJSON(w, http.StatusOK, Health{Status: "ok"})
		return
	}
	h := Health{Status: "unavailable"}
	var public NotReady
	if errors.As(err, &public) {
		h.Reason = public.Error()
	}
	w.Header().Set("Retry-After", "5")
	writeJSON(w, http.StatusServiceUnavailable, h)
}
