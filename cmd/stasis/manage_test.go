package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stasis/config"
)

// scriptedAPI answers management requests from a table and remembers what it was asked.
type scriptedAPI struct {
	*httptest.Server
	answers map[string]string // "METHOD path?query" -> data
	asked   []string          // "METHOD path?query body"
}

const apiToken = "correct-horse-battery"

func newScriptedAPI(t *testing.T, answers map[string]string) *scriptedAPI {
	t.Helper()
	a := &scriptedAPI{answers: answers}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		what := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api/v1/proxy/")
		a.asked = append(a.asked, strings.TrimSpace(what+" "+string(body)))
		data, known := a.answers[what]
		switch {
		case r.Header.Get("Authorization") == "":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"data":null,"error":{"code":"UNAUTHORIZED","message":"A token is needed."}}`)
		case r.Header.Get("Authorization") != "Bearer "+apiToken:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"data":null,"error":{"code":"UNAUTHORIZED","message":"The token is wrong."}}`)
		case !known:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"data":null,"error":{"code":"NOT_FOUND","message":"Nothing is known about it."}}`)
		default:
			fmt.Fprintf(w, `{"data":%s,"error":null}`, data)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *scriptedAPI) environ() []string {
	return []string{"STASIS_URL=" + a.URL, "ADMIN_TOKEN=" + apiToken}
}

const (
	statusData = `{"version":"1.2","started_at":"2026-01-02T03:04:05Z","uptime_seconds":3700,
		"upstream":{"url":"https://repo.packagist.org","reachable":false,"last_error":"It is gone","hosts":[{"host":"api.github.com","state":"open","failures":3,"last_error":"refused"}]},
		"feed":{"enabled":true,"lag_seconds":61,"pending":2},
		"cache":{"documents":5,"files":4,"archives":3,"archive_bytes":3145728,"limit_bytes":10737418240},"frozen":1,"alerts":2}`
	statsData = `{"since":"2026-01-02T03:04:05Z","by_kind":{"archives":{"hits":7,"bytes_served":2048},"metadata":{"misses":9}},
		"top_packages":[{"package":"monolog/monolog","requests":12,"bytes_served":100}]}`
	freezeData = `{"package":"acme/lib","at":"2026-01-31T00:00:00Z","created_at":"2026-02-01T00:00:00Z","reason":"release","documents":[]}`
	alertData  = `{"id":"x1","kind":"retagged","severity":"critical","subject":"acme/lib 1.0","message":"It points at another commit.","count":2,"first_seen":"2026-01-01T00:00:00Z","last_seen":"2026-01-01T00:00:00Z"}`
)

func TestManagementCommandsAskAndShow(t *testing.T) {
	asksAndShows(t, []exchange{
		{[]string{"status"}, "GET status", statusData,
			[]string{"up 1h1m40s", "reachable no", "It is gone", "host api.github.com open after 3 failures: refused", "3, 3.0 MiB of at most 10.0 GiB", "read 1m1s ago, 2 documents pending", "open alerts 2"}},
		{[]string{"stats"}, "GET stats", statsData, []string{"archives 7 0 0 0 0 2.0 KiB 0 B", "metadata 0 9", "monolog/monolog 12 100 B"}},
		{[]string{"frozen"}, "GET frozen", "[" + freezeData + "]", []string{"acme/lib", "release"}},
		{[]string{"frozen"}, "GET frozen", "[]", []string{"no package is frozen"}},
		{[]string{"alerts"}, "GET alerts?acked=false", "[" + alertData + "]", []string{"x1 critical retagged acme/lib 1.0 2"}},
		{[]string{"alerts", "list", "--all"}, "GET alerts", "[]", []string{"no alerts"}},
		{[]string{"alerts", "ack", "x1"}, "POST alerts/x1/ack", alertData, []string{"x1 critical"}},
		{[]string{"freeze", "Acme/Lib", "--reason", "release", "--at", "2026-01-31"},
			`POST freeze/acme/lib {"reason":"release","at":"2026-01-31T00:00:00Z"}`, freezeData, []string{"acme/lib", "release"}},
		{[]string{"unfreeze", "acme/lib"}, "POST unfreeze/acme/lib", `{"package":"acme/lib","unfrozen":true}`, []string{"acme/lib follows upstream again"}},
		{[]string{"unfreeze", "acme/lib"}, "POST unfreeze/acme/lib", `{"package":"acme/lib","unfrozen":false}`, []string{"acme/lib was not frozen"}},
		{[]string{"purge", "acme/lib", "--kind", "archives"}, `POST purge {"package":"acme/lib","kind":"archives"}`,
			`{"metadata":0,"archives":2,"bytes":2048,"kept":1}`, []string{"archives removed 2", "bytes freed 2.0 KiB", "archives kept (pinned) 1"}},
		{[]string{"purge", "--all"}, `POST purge {}`, `{"metadata":3,"archives":2,"bytes":0,"kept":0}`, []string{"metadata to fetch anew 3"}},
	})
}

// exchange is a command, what it asks the API for, what the API says to that, and what is shown of it.
type exchange struct {
	args  []string
	asked string // "METHOD path?query body"
	data  string
	shown []string
}

func asksAndShows(t *testing.T, exchanges []exchange) {
	t.Helper()
	for _, test := range exchanges {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			method, rest, _ := strings.Cut(test.asked, " ")
			path, _, _ := strings.Cut(rest, " ")
			api := newScriptedAPI(t, map[string]string{method + " " + path: test.data})
			got := stasis(t, api.environ(), "", test.args...)
			if got.code != exitOK {
				t.Fatalf("got %+v", got)
			}
			if len(api.asked) != 1 || api.asked[0] != test.asked {
				t.Errorf("asked %q, want %q", api.asked, test.asked)
			}
			text := strings.Join(strings.Fields(got.stdout), " ")
			for _, want := range test.shown {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not shown in\n%s", want, got.stdout)
				}
			}

			got = stasis(t, api.environ(), "", append(test.args, "--json")...)
			want := test.data
			var job jobData
			if json.Unmarshal([]byte(want), &job) == nil && job.Result != nil {
				want = string(job.Result) // how it came about is of no interest
			}
			if compact(t, got.stdout) != compact(t, want) {
				t.Errorf("--json printed\n%s\nand not the data\n%s", got.stdout, want)
			}
		})
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSeveralPackagesAreFrozenOneByOne(t *testing.T) {
	api := newScriptedAPI(t, map[string]string{"POST freeze/acme/lib": freezeData, "POST freeze/acme/two": freezeData})
	got := stasis(t, api.environ(), "", "freeze", "acme/lib", "acme/two", "--json")
	var list []any
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || len(list) != 2 || len(api.asked) != 2 {
		t.Errorf("got %+v after %q: %v", got, api.asked, err)
	}
	if got := stasis(t, api.environ(), "", "freeze", "acme/lib", "nonsense"); got.code != exitUsage || len(api.asked) != 2 {
		t.Errorf("with a wrong name: got %+v after %q", got, api.asked)
	}
}

func TestAFreezeCanExpireAfterADuration(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"": "", "30d": "2026-01-31T12:00:00Z", "2026-06-01": "2026-06-01T00:00:00Z", "2026-06-01T02:00:00+02:00": "2026-06-01T00:00:00Z",
	} {
		if got, err := deadline("--expires", text, now); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestRefusalsAreSentences(t *testing.T) {
	api := newScriptedAPI(t, nil)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	moved := httptest.NewServer(http.RedirectHandler(api.URL, http.StatusFound))
	defer moved.Close()
	for _, test := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"what the API says", api.environ(), "Nothing is known about it (NOT_FOUND)."},
		{"no token", []string{"STASIS_URL=" + api.URL}, "A token is needed (set ADMIN_TOKEN to the token of " + api.URL + ")."},
		{"a wrong token", []string{"STASIS_URL=" + api.URL, "ADMIN_TOKEN=wrong"}, "The token is wrong (UNAUTHORIZED)."},
		{"a hash for a token", []string{"STASIS_URL=" + api.URL, "ADMIN_TOKEN=$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g"},
			"ADMIN_TOKEN holds a hash; this command needs the token itself."},
		{"another server", []string{"STASIS_URL=" + other.URL, "ADMIN_TOKEN=x"},
			"What answers at " + other.URL + " (status 404) is not the management API of Stasis."},
		{"a redirect, which the token must not follow", []string{"STASIS_URL=" + moved.URL, "ADMIN_TOKEN=" + apiToken},
			"What answers at " + moved.URL + " (status 302) is not the management API of Stasis."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := stasis(t, test.environ, "", "unfreeze", "acme/lib")
			if got.code != exitFailure || got.stderr != strings.ToUpper(test.want[:1])+test.want[1:]+"\n" {
				t.Errorf("got %+v, want %q", got, test.want)
			}
		})
	}
}

// The commands and the running program understand each other.
func TestManagementCommandsAgainstTheProgramItself(t *testing.T) {
	c := testConfig(t)
	c.Admin.Token = config.NewSecret(apiToken)
	r := serveForTest(t, c, discard)
	environ := []string{"STASIS_URL=http://" + r.addr.String(), "ADMIN_TOKEN=" + apiToken}
	for _, args := range [][]string{{"status"}, {"stats"}, {"frozen"}, {"alerts"}, {"alerts", "--all"}, {"purge", "--all"}} {
		if got := stasis(t, environ, "", args...); got.code != exitOK || got.stdout == "" {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	if got := stasis(t, environ[:1], "", "status"); got.code != exitFailure {
		t.Errorf("without a token: got %+v", got)
	}
}
