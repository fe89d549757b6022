package history_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stasis/proxy/history"
)

const settled = 15 * time.Minute

var today = at("2026-09-02T12:00:00Z")

func TestParseWhen(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-01":                "2026-03-01T23:59:59Z", // the whole day
		"2024-02-29":                "2024-02-29T23:59:59Z",
		"2026-03-01T12:00:00Z":      "2026-03-01T12:00:00Z",
		"2026-03-01t12:00:00z":      "2026-03-01T12:00:00Z",
		"2026-03-29T02:30:00+01:00": "2026-03-29T01:30:00Z", // an hour that clocks in Berlin skip
		"2026-10-25T02:30:00+02:00": "2026-10-25T00:30:00Z", // one that they have twice
		"2026-10-25T02:30:00+01:00": "2026-10-25T01:30:00Z",
		"2026-01-01T00:30:00+14:00": "2025-12-31T10:30:00Z",
		"2026-03-01T00:00:00-00:00": "2026-03-01T00:00:00Z",
		"20260301T120000Z":          "2026-03-01T12:00:00Z",
		"2026-03-01T00:00:00Z":      "2026-03-01T00:00:00Z", // midnight is not the whole day
		"2026-09-02T11:45:00Z":      "2026-09-02T11:45:00Z", // just settled
		"1970-01-01T00:00:00Z":      "1970-01-01T00:00:00Z",
	} {
		for _, suffix := range []string{"", ",strict"} {
			w, err := history.ParseWhen(text+suffix, today, settled)
			if err != nil {
				if !(strings.HasPrefix(text, "2026-10") && errors.As(err, new(*history.WhenError))) {
					t.Errorf("%s: %v", text, err)
				}
				w, err = history.ParseWhen(text+suffix, today.AddDate(1, 0, 0), settled)
			}
			if err != nil || w.Instant.Format(time.RFC3339) != want || w.Name != "" || w.Strict != (suffix != "") || w.Text != text {
				t.Errorf("%s%s: %+v %v, want %s", text, suffix, w, err, want)
			}
			if w.String() != want+suffix {
				t.Errorf("%s%s is written %s", text, suffix, w)
			}
			again, err := history.ParseWhen(w.String(), today.AddDate(1, 0, 0), settled)
			if err != nil || again.Instant != w.Instant || again.Strict != w.Strict {
				t.Errorf("%s read back: %+v %v", w, again, err)
			}
		}
	}
	for _, name := range []string{"prod", "release-7", "Sprint_42", "v1.2", "@0123456789abcdef"} {
		w, err := history.ParseWhen(name+",strict", today, settled)
		if err != nil || w.Name != name || !w.Instant.IsZero() || !w.Strict || w.String() != name+",strict" {
			t.Errorf("%s: %+v %v", name, w, err)
		}
	}
}

func TestParseWhenExplainsWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "missing",
		",strict":                        "missing",
		"2026-03-01T12:00:00":            "zone",
		"2026-03-01 12:00:00":            "zone",
		"2026-03-01T12:00":               "zone",
		"20260301T120000":                "zone",
		"2026-03-01T12:00:00.5Z":         "whole seconds",
		"2026-03-01T12:00:00.000Z":       "whole seconds",
		"2026-03-01T12:00:00,5+02":       "whole seconds",
		"2026-03-01T12:00:00.5":          "whole seconds",
		"2025-02-29":                     "exists",
		"2026-02-30T00:00:00Z":           "exists",
		"20261301T000000Z":               "exists",
		"2026-03-01T24:00:00Z":           "exists",
		"2026-06-30T23:59:60Z":           "exists",
		"2026-3-1":                       "not understood",
		"1.3.2026":                       "not understood",
		"01/03/2026":                     "not understood",
		"2026-03-01T12:00:00 02:00":      "not understood", // a + that became a space
		"1748000000":                     "not understood",
		"@xyz":                           "id of a snapshot",
		"@ABCDEF0123":                    "id of a snapshot",
		"a/b":                            "not understood",
		"-prod":                          "not understood",
		"prod,":                          "not understood",
		"prod,strict,strict":             "not understood",
		"1969-12-31":                     "years",
		"2262-01-01":                     "years",
		strings.Repeat("a", 101):         "too long",
		"2026-03-01T12:00:00Z\x00":       "not understood",
		"\u0662\u0660\u0662\u0666-03-01": "not understood",
	} {
		_, err := history.ParseWhen(text, today, settled)
		var e *history.WhenError
		if !errors.As(err, &e) || !strings.Contains(e.Sentence, want) || !e.Works.IsZero() {
			t.Errorf("%q: %v, want a sentence with %q", text, err, want)
		}
	}
}

func TestAnInstantMustBeSettled(t *testing.T) {
	for text, want := range map[string]struct{ sentence, works string }{
		"2026-09-02T11:45:01Z": {"not settled", "2026-09-02T12:00:01Z"},
		"2026-09-02T12:00:00Z": {"not settled", "2026-09-02T12:15:00Z"},
		"2026-09-02":           {"is today", "2026-09-03T00:14:59Z"},
		"2026-09-03":           {"in the future", "2026-09-04T00:14:59Z"},
		"2027-01-01T00:00:00Z": {"in the future", "2027-01-01T00:15:00Z"},
	} {
		_, err := history.ParseWhen(text, today, settled)
		var e *history.WhenError
		if !errors.As(err, &e) || !strings.Contains(e.Sentence, want.sentence) || !strings.Contains(e.Sentence, want.works) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !e.Works.Equal(at(want.works)) {
			t.Errorf("%s works from %s, want %s", text, e.Works, want.works)
		}
		if _, err := history.ParseWhen(text, e.Works.Add(-time.Nanosecond), settled); err == nil {
			t.Errorf("%s works before %s", text, e.Works)
		}
		if _, err := history.ParseWhen(text, e.Works, settled); err != nil {
			t.Errorf("%s at %s: %v", text, e.Works, err)
		}
	}
	// Yesterday is over for a quarter of an hour.
	if _, err := history.ParseWhen("2026-09-01", at("2026-09-02T00:14:59Z"), settled); err != nil {
		t.Error(err)
	}
}

func FuzzParseWhen(f *testing.F) {
	for _, s := range []string{"2026-03-01", "2026-03-01T12:00:00+02:00,strict", "20260301T120000Z", "@01234567", "prod", "2026-03-01T12:00:00.5Z"} {
		f.Add(s, int64(1788000000))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		now := time.Unix(unix%(1<<33), 0)
		w, err := history.ParseWhen(s, now, settled)
		if err != nil {
			var e *history.WhenError
			if !errors.As(err, &e) || e.Sentence == "" {
				t.Fatalf("%q: %v is no explanation", s, err)
			}
			if !e.Works.IsZero() {
				if _, err := history.ParseWhen(s, e.Works, settled); err != nil {
					t.Fatalf("%q was said to work at %s: %v", s, e.Works, err)
				}
			}
			return
		}
		if (w.Name == "") == w.Instant.IsZero() && w.Instant.Unix() != 0 {
			t.Fatalf("%q is %+v", s, w)
		}
		if w.Name == "" && (w.Instant.Nanosecond() != 0 || w.Instant.Location() != time.UTC || w.Instant.Add(settled).After(now)) {
			t.Fatalf("%q is %s", s, w.Instant)
		}
		again, err := history.ParseWhen(w.String(), now, settled)
		if err != nil || !again.Instant.Equal(w.Instant) || again.Name != w.Name || again.Strict != w.Strict {
			t.Fatalf("%q is written %q, which is %+v (%v)", s, w, again, err)
		}
	})
}
