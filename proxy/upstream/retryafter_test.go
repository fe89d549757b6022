package upstream_test

import (
	"testing"
	"time"

	"stasis/proxy/upstream"
)

func TestBothFormsOfRetryAfterAreRead(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0":                                 0,
		"120":                               2 * time.Minute,
		" 7 ":                               7 * time.Second,
		"99999999999999999999999":           upstream.MaxRetryAfter,
		"Wed, 01 Jul 2026 12:00:30 GMT":     30 * time.Second,
		"Wednesday, 01-Jul-26 12:00:30 GMT": 30 * time.Second,
		"Wed Jul  1 12:00:30 2026":          30 * time.Second,
		"Wed, 01 Jul 2020 12:00:30 GMT":     0,
		"Fri, 31 Dec 9999 23:59:59 GMT":     upstream.MaxRetryAfter,
	} {
		if got, ok := upstream.ParseRetryAfter(value, now); !ok || got != want {
			t.Errorf("%q: %v %v, want %v", value, got, ok, want)
		}
	}
	for _, value := range []string{"", " ", "-1", "+1", "1.5", "1s", "soon", "0x10", "٣"} {
		if got, ok := upstream.ParseRetryAfter(value, now); ok {
			t.Errorf("%q is understood as %v", value, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"0", "3", "31536000", "9999999999999999999", "Wed, 01 Jul 2026 12:00:30 GMT", "-1", ""} {
		f.Add(value, int64(1782907200))
	}
	f.Fuzz(func(t *testing.T, value string, at int64) {
		got, ok := upstream.ParseRetryAfter(value, time.Unix(at, 0))
		if got < 0 || got > upstream.MaxRetryAfter || (!ok && got != 0) {
			t.Errorf("%q at %d is %v, %v", value, at, got, ok)
		}
	})
}
