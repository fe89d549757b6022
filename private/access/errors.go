package access

import (
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"
)

// Denied is why a request is not let in, and the whole answer to it: a status, the headers it comes with, and a
// sentence for the client. Status is 401 when a right token would help, 403 when the token is right and its owner is
// suspended, and 429 while wrong tokens are slowed.
//
// 403 rather than 401 for the suspended, because to Composer both are an error after one request, and only the
// message differs: 401 sends people looking for another password, 403 says that access was refused. A stranger learns
// nothing from it, because only the right token gets it.
type Denied struct {
	Status     int
	Reason     string        // for metrics and the audit log: missing, malformed, wrong, expired, revoked, suspended or limited
	RetryAfter time.Duration // of a 429
	Message    string        // a sentence
}

func (d *Denied) Error() string { return d.Message }

// Headers sets what belongs to the status: the challenge of a 401, Retry-After of a 429. Composer assumes Basic
// whatever the challenge says; other clients read it.
func (d *Denied) Headers(h http.Header) {
	switch d.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="Stasis", charset="UTF-8"`)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.FormatInt(int64((d.RetryAfter+time.Second-1)/time.Second), 10))
	}
}

func unauthorized(reason, message string) *Denied {
	return &Denied{Status: http.StatusUnauthorized, Reason: reason, Message: message}
}

// invalid is a request to change something that makes no sense.
type invalid struct{ message string }

func (e *invalid) Error() string    { return e.message }
func (e *invalid) Validation() bool { return true }

func wrongf(format string, args ...any) error { return &invalid{fmt.Sprintf(format, args...)} }

// conflict is one that the present state forbids.
type conflict struct{ message string }

func (e *conflict) Error() string  { return e.message }
func (e *conflict) Conflict() bool { return true }

// absent is a token or owner that does not exist.
type absent struct{ what, id string }

func (e *absent) Error() string        { return fmt.Sprintf("there is no %s %q", e.what, e.id) }
func (e *absent) Is(target error) bool { return target == fs.ErrNotExist }
