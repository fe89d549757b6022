package api

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"stasis/private/access"
	"stasis/private/audit"
	"stasis/proxy/origin"
)

// recorder writes changes, and tries at them, to the audit log.
type recorder struct {
	log     *audit.Log // nil writes nothing
	trusted []netip.Prefix
	now     func() time.Time
	errors  *slog.Logger

	mu      sync.Mutex // guards what follows
	window  time.Time  // the minute that is counted
	tries   map[string]bool
	omitted int // tries that were not written since the last one that was
}

func newRecorder(o Options) *recorder {
	return &recorder{log: o.Audit, trusted: o.TrustedProxies, now: o.Now, errors: o.Logger}
}

// room says beforehand whether a change could be written down, so that on a full disk nothing is done that is missing in
// the log. What makes room there may always be done.
func (a *recorder) room(rt route) error {
	if a.log == nil || rt.change == "" || rt.change == purging {
		return nil
	}
	return a.log.Room()
}

// purging is the action of removing what is cached.
const purging = "cache.purge"

// done takes note of a change that an administrator asked for, and of what became of it. It returns err, or what is to
// be answered when a change was made and cannot be written down.
func (a *recorder) done(rt route, c *call, reader *access.Reader, err error) error {
	if a.log == nil {
		return err
	}
	e := a.entry(rt, c, reader, err)
	if _, failed := a.log.Append(e); failed != nil {
		a.errors.LogAttrs(c.r.Context(), slog.LevelError, "an administrative act is missing in the audit log",
			slog.String("actor", e.Actor), slog.String("from", e.From), slog.String("action", e.Action), slog.String("subject", e.Subject),
			slog.String("result", e.Result), slog.String("request_id", e.RequestID), slog.String("error", failed.Error()))
		if err == nil {
			return &failure{status: http.StatusInternalServerError, code: CodeInternal,
				message: "The change was made, but the audit log could not be written; the server's log has the details."}
		}
	}
	return err
}

// Tries at a change by those who may not make it can come in any number, so that only so many are written: the first of
// each client and action in a minute, and no more than triesPerMinute. The next one that is written says how many
// were left out.
const triesPerMinute = 30

// refused takes note of a change that somebody may not make.
func (a *recorder) refused(rt route, c *call, reader *access.Reader, err error) {
	if a.log == nil {
		return
	}
	e := a.entry(rt, c, reader, err)
	key := e.From + " " + e.Action + " " + e.Actor
	a.mu.Lock()
	if minute := a.now().Truncate(time.Minute); !minute.Equal(a.window) {
		a.window, a.tries = minute, map[string]bool{}
	}
	if a.tries[key] || len(a.tries) >= triesPerMinute {
		a.omitted++
		a.mu.Unlock()
		return
	}
	a.tries[key] = true
	omitted := a.omitted
	a.omitted = 0
	a.mu.Unlock()
	if omitted > 0 {
		e.Details = map[string]string{"omitted_before": strconv.Itoa(omitted)}
	}
	if _, failed := a.log.Append(e); failed != nil {
		a.errors.LogAttrs(c.r.Context(), slog.LevelError, "a refused administrative act is missing in the audit log",
			slog.String("from", e.From), slog.String("action", e.Action), slog.String("error", failed.Error()))
	}
}

func (a *recorder) entry(rt route, c *call, reader *access.Reader, err error) audit.Entry {
	e := audit.Entry{
		From: origin.ClientAddr(c.r, a.trusted).String(), Action: rt.change, Subject: loggable(c.subject, maxLoggedPath),
		RequestID: c.w.Header().Get(requestIDHeader), Result: audit.OK, Details: c.details,
	}
	if reader != nil {
		e.Actor = reader.Token()
	}
	if e.Subject == "" {
		e.Subject = loggable(subjectOf(rt.path, c), maxLoggedPath)
	}
	if c.by != "" {
		e.Details = withDetail(e.Details, "by", loggable(c.by, maxOwner))
	}
	if err != nil {
		f, _ := explain(err)
		e.Result = string(f.code)
	}
	return e
}

// subjectOf is what the parameters of a path name.
func subjectOf(path string, c *call) string {
	var parts []string
	for segment := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			parts = append(parts, c.param(name))
		}
	}
	return strings.Join(parts, "/")
}

func withDetail(details map[string]string, key, value string) map[string]string {
	if details == nil {
		details = map[string]string{}
	}
	details[key] = value
	return details
}
