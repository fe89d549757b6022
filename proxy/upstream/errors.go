package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrTooLarge is matched by the error for an answer that is larger, after inflation, than its
// reader was willing to take.
var ErrTooLarge = errors.New("the answer is larger than allowed")

// Kind says what went wrong, as far as a caller can act on it.
type Kind int

const (
	// Unreachable: no connection, or one that broke.
	Unreachable Kind = iota + 1
	// Timeout: the host, or the caller's own deadline, let the time run out.
	Timeout
	// ServerError: the host answered with a status that means it is unwell, or with something
	// that is not a usable answer.
	ServerError
	// RateLimited: the host wants to be left alone for RetryAfter.
	RateLimited
	// Open: the host failed so often that it is not asked before RetryAfter has passed.
	Open
	// Blocked: the host has an address that must not be connected to.
	Blocked
	// BadRedirect: the host redirected to something that cannot be followed.
	BadRedirect
	// TooManyRedirects: the chain of redirects is longer than allowed.
	TooManyRedirects
	// Insecure: the certificate is not valid for the host, or a redirect left https.
	Insecure
	// Invalid: the request itself makes no sense, such as a URL that is neither http nor https.
	Invalid
	// Canceled: the caller went away. It says nothing about the host.
	Canceled
)

var kindNames = [...]string{
	"", "unreachable", "timeout", "server error", "rate limited", "open", "blocked",
	"bad redirect", "too many redirects", "insecure", "invalid", "canceled",
}

// String names the kind in lower case.
func (k Kind) String() string {
	if k < 1 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Error is what every failed request returns. Its text names the host and never a path, a query
// or a credential.
type Error struct {
	Host       string        // whom the request was for when it failed; after a redirect the new host
	Op         string        // the method
	Status     int           // the HTTP status, when there was one
	RetryAfter time.Duration // asking again sooner is pointless; zero when unknown
	Kind       Kind
	Err        error // the cause, when there is more to say

	body    bool // the header had arrived
	retry   bool // another attempt may help
	neutral bool // says nothing about the health of the host
}

func (e *Error) Error() string {
	host := e.Host
	if host == "" {
		host = "the upstream"
	}
	var text string
	switch e.Kind {
	case Unreachable, Timeout:
		switch {
		case e.body && e.Kind == Timeout:
			text = host + " fell silent in the middle of its answer"
		case e.body:
			text = "the answer of " + host + " broke off"
		case e.Kind == Timeout:
			text = host + " did not answer in time"
		default:
			text = host + " could not be reached"
		}
	case ServerError, RateLimited:
		switch {
		case e.Status != 0:
			text = fmt.Sprintf("%s answered %d %s", host, e.Status, http.StatusText(e.Status))
		case e.Kind == RateLimited:
			text = host + " asked not to be asked"
		default:
			text = host + " gave an unusable answer"
		}
	case Open:
		text = host + " kept failing and is left alone"
	case Blocked:
		text = "connecting to " + host + " is refused"
	case BadRedirect:
		text = host + " redirected to something that cannot be followed"
	case TooManyRedirects:
		text = host + " redirected too often"
	case Insecure:
		text = "the connection to " + host + " is not secure"
	case Invalid:
		text = "the request cannot be made"
	case Canceled:
		text = "the request to " + host + " was given up"
	default:
		text = "the request to " + host + " failed"
	}
	text = strings.TrimSpace(text)
	if e.RetryAfter > 0 {
		text += ", try again in " + roundUp(e.RetryAfter).String()
	}
	if e.Err != nil {
		text += ": " + printable(e.Err.Error())
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// canceled describes a request whose caller's context has ended.
func canceled(ctx context.Context, host, op string) *Error {
	kind := Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = Timeout
	}
	return &Error{Host: host, Op: op, Kind: kind, Err: ctx.Err(), neutral: true}
}

// roundUp makes a waiting time readable without ever promising too little.
func roundUp(d time.Duration) time.Duration {
	if r := d.Round(time.Second); r >= d {
		return r
	}
	return d.Round(time.Second) + time.Second
}

// printable keeps foreign text out of terminals' hair: one line, no control characters, bounded.
func printable(s string) string {
	const limit = 300
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
