package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// patience is the longest Retry-After that is waited out within one request.
	patience = 3 * time.Second
	// maxRemembered caps how long a host's wish to be left alone is honoured without looking
	// again: registries are known to answer offenders with a year.
	maxRemembered = 5 * time.Minute
	// maxRetryAfter keeps arithmetic on hostile values far from overflow.
	maxRetryAfter = 366 * 24 * time.Hour
)

// parseRetryAfter reads both forms of Retry-After, seconds and a date. A date in the past means
// now; anything else that is not understood is treated as absent.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if digits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// rateLimit says for how long a response asks to be left alone, and whether it does at all.
// GitHub reports a spent quota as 403 with its own headers, sometimes without Retry-After.
func rateLimit(resp *http.Response, now time.Time) (time.Duration, bool) {
	wait, ok := parseRetryAfter(resp.Header.Get("Retry-After"), now)
	if ok || resp.Header.Get("X-RateLimit-Remaining") != "0" {
		return wait, ok
	}
	reset := resp.Header.Get("X-RateLimit-Reset")
	if !digits(reset) {
		return 0, false
	}
	at, err := strconv.ParseInt(reset, 10, 64)
	if err != nil || at > now.Add(maxRetryAfter).Unix() {
		return maxRetryAfter, true
	}
	return max(time.Unix(at, 0).Sub(now), 0), true
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
