package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"stasis/api"
)

// lineOf is the access line of one request with an agent.
func lineOf(agent string, text bool) string {
	var log bytes.Buffer
	at := time.Date(2026, 3, 1, 9, 5, 7, 8000, time.UTC)
	h := api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { at = at.Add(1002003 * time.Microsecond) }),
		api.AccessOptions{Lines: &log, TextLines: text, Now: func() time.Time { return at }})
	r := get("/p2/a/b.json")
	r.Header["User-Agent"] = []string{agent}
	h.ServeHTTP(httptest.NewRecorder(), r)
	return log.String()
}

func TestAnAccessLineAsText(t *testing.T) {
	got := lineOf(`Composer/2 "x"`, true)
	_, id, _ := strings.Cut(got, "request_id=")
	id, _, _ = strings.Cut(id, " ")
	want := `time=2026-03-01T09:05:08.002011Z level=INFO msg=request method=GET path=/p2/a/b.json status=200 bytes=0 duration_ms=1002.003 ` +
		`client=203.0.113.9 user_agent="Composer/2 \"x\"" request_id=` + id + " cache=none end=complete\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := lineOf("", true); !strings.Contains(got, ` user_agent="" `) {
		t.Errorf("without an agent: %s", got)
	}
}

// FuzzAccessLine: whatever the agent is, the line is one line, and says what a reader of logs may see.
func FuzzAccessLine(f *testing.F) {
	for _, s := range []string{"", "Composer/2.8.1 (Linux; PHP 8.3)", `a"b\c`, "a=b c", "é\u2028\u202e\xff\x00\n", "\ufffd", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, agent string) {
		want := api.Loggable(agent, 160)
		text := lineOf(agent, false)
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.Agent != want || l.Duration != 1002.003 || strings.Count(text, "\n") != 1 {
			t.Errorf("%q is logged as %s (%v), want the agent %q", agent, text, err, want)
		}
		text = lineOf(agent, true)
		_, got, _ := strings.Cut(text, "user_agent=")
		got, _, _ = strings.Cut(got, " request_id=")
		if unquoted, err := strconv.Unquote(got); err == nil {
			got = unquoted
		}
		if got != want || strings.Count(text, "\n") != 1 {
			t.Errorf("%q is logged as %s, want the agent %q", agent, text, want)
		}
	})
}
