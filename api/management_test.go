package api_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/api"
	"stasis/private/access"
	"stasis/private/audit"
	"stasis/proxy"
	"stasis/store"
)

// clock stands still at noon.
func clock() time.Time { return noon }

func options(t testing.TB, op api.Operator) api.Options {
	t.Helper()
	o := api.Options{Operator: op, Now: clock}
	o.Backups, _ = op.(api.Backups)
	o.Access, o.Audit = admins(t, access.Options{AdminToken: token})
	o.Hooks = newHooks(t, newStore(t), &sources{})
	return o
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// admins is an Access and an audit log with a store of their own, whose clock stands still at noon.
func admins(t testing.TB, o access.Options) (*access.Access, *audit.Log) {
	t.Helper()
	st := newStore(t)
	if o.Store = st; o.Now == nil {
		o.Now = clock
	}
	a, err := access.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a, audit.New(audit.Options{Store: st, Now: o.Now})
}

// administered is the least that the administrator can use.
func administered(t testing.TB, o access.Options) *access.Access {
	t.Helper()
	a, _ := admins(t, o)
	return a
}

// operations is every operation once.
var operations = []struct{ method, path, body string }{
	{"GET", "/api/v1/proxy/status", ""},
	{"GET", "/api/v1/proxy/stats", ""},
	{"POST", "/api/v1/proxy/purge", ""},
	{"POST", "/api/v1/proxy/freeze/monolog/monolog", ""},
	{"POST", "/api/v1/proxy/unfreeze/monolog/monolog", ""},
	{"GET", "/api/v1/proxy/frozen", ""},
	{"POST", "/api/v1/proxy/freezes", `{"pattern":"acme/*"}`},
	{"DELETE", "/api/v1/proxy/freezes?pattern=acme/*", ""},
	{"GET", "/api/v1/proxy/alerts", ""},
	{"POST", "/api/v1/proxy/alerts/one/ack", ""},
	{"GET", "/api/v1/proxy/snapshots", ""},
	{"POST", "/api/v1/proxy/snapshots", ""},
	{"POST", "/api/v1/proxy/snapshots/import", ""},
	{"GET", "/api/v1/proxy/snapshots/one", ""},
	{"DELETE", "/api/v1/proxy/snapshots/one", ""},
	{"GET", "/api/v1/proxy/snapshots/@0a1b2c3d/manifest", ""},
	{"GET", "/api/v1/proxy/snapshots/one/missing", ""},
	{"POST", "/api/v1/proxy/snapshots/one/verify", ""},
	{"POST", "/api/v1/proxy/snapshots/one/verify?wait=false", ""},
	{"GET", "/api/v1/proxy/channels", ""},
	{"GET", "/api/v1/proxy/channels/prod", ""},
	{"PUT", "/api/v1/proxy/channels/prod", `{"snapshot":"one"}`},
	{"DELETE", "/api/v1/proxy/channels/prod", ""},
	{"POST", "/api/v1/proxy/channels/prod/rollback", ""},
	{"GET", "/api/v1/proxy/channels/prod/history", ""},
	{"GET", "/api/v1/proxy/diff?from=2026-01-01&to=now", ""},
	{"POST", "/api/v1/proxy/diff?from=2026-01-01&to=prod", `{"packages":[{"name":"a/b","version":"1.0"}]}`},
	{"POST", "/api/v1/proxy/diff?from=2026-01-01&to=prod&wait=false", `{"packages":[{"name":"a/b","version":"1.0"}]}`},
	{"GET", "/api/v1/proxy/jobs/j1", ""},
	{"GET", "/api/v1/proxy/packages/a/b/history", ""},
	{"GET", "/api/v1/proxy/packages/a/b/explain?version=1.0&at=2026-01-01", ""},
	{"GET", "/api/v1/proxy/instants", ""},
	{"POST", "/api/v1/proxy/history/import-lock?at=2026-01-01T00:00:00Z", `{"packages":[]}`},
	{"GET", "/api/v1/proxy/blocks", ""},
	{"POST", "/api/v1/proxy/blocks", `{"package":"a/b","reason":"x"}`},
	{"DELETE", "/api/v1/proxy/blocks/1", ""},
	{"GET", "/api/v1/proxy/waivers", ""},
	{"POST", "/api/v1/proxy/waivers", `{"package":"a/b","reason":"x"}`},
	{"DELETE", "/api/v1/proxy/waivers/1", ""},
	{"GET", "/api/v1/proxy/exemptions", ""},
	{"POST", "/api/v1/proxy/exemptions", `{"package":"a/b","reason":"x"}`},
	{"DELETE", "/api/v1/proxy/exemptions/1", ""},
	{"GET", "/api/v1/proxy/holds", ""},
	{"POST", "/api/v1/proxy/holds", `{"package":"a/b","reason":"x"}`},
	{"DELETE", "/api/v1/proxy/holds/1", ""},
}

func TestEveryOperationAnswersAsDescribed(t *testing.T) {
	for _, empty := range []bool{false, true} {
		s := serve(t, options(t, &operator{empty: empty}))
		for _, o := range operations {
			a := s.do(o.method, o.path, o.body)
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %d %s", o.method, o.path, a.StatusCode, a.body)
			}
			if o.method == http.MethodGet {
				h := s.do(http.MethodHead, o.path, "")
				if h.StatusCode != http.StatusOK || len(h.body) != 0 {
					t.Errorf("HEAD %s: %d with %d bytes", o.path, h.StatusCode, len(h.body))
				}
			}
		}
	}
}

// told is an error with the methods the table of errors looks for.
type told struct {
	validation, conflict, unavailable bool
	after                             time.Duration
}

func (e told) Error() string             { return "the operator said so" }
func (e told) Validation() bool          { return e.validation }
func (e told) Conflict() bool            { return e.conflict }
func (e told) Unavailable() bool         { return e.unavailable }
func (e told) RetryAfter() time.Duration { return e.after }

func TestErrorsBecomeAnswersByOneTable(t *testing.T) {
	const secret = "/var/lib/stasis"
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   api.Code
		shown  bool // the operator's own words reach the client
		logged bool
	}{
		{"validation", told{validation: true}, 400, api.CodeValidation, true, false},
		{"conflict", told{conflict: true}, 409, api.CodeConflict, true, false},
		{"upstream away", told{unavailable: true}, 502, api.CodeUpstream, false, true},
		{"upstream away for a known time", told{unavailable: true, after: 1500 * time.Millisecond}, 503, api.CodeUpstream, false, true},
		{"upstream away, and therefore not there", errors.Join(told{unavailable: true}, fs.ErrNotExist), 502, api.CodeUpstream, false, true},
		{"no space", store.ErrNoSpace, 507, api.CodeNoSpace, false, true},
		{"closed", store.ErrClosed, 503, api.CodeUnavailable, false, false},
		{"too slow", context.DeadlineExceeded, 504, api.CodeTimeout, false, true},
		{"anything else", errors.New("broken"), 500, api.CodeInternal, false, true},
		{"damage", store.ErrCorrupt, 500, api.CodeInternal, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, options(t, &operator{err: fmt.Errorf("freeze %s: %w", secret, c.err)}))
			for _, o := range operations {
				if o.method == http.MethodGet && (c.status == 409 || c.status == 502 || c.status == 507) || strings.HasSuffix(o.path, "/ack") && c.status == 502 {
					continue // what only reads the store cannot fail like that
				}
				s.log.Reset()
				a := s.do(o.method, o.path, o.body)
				if a.StatusCode != c.status || a.code() != c.code {
					t.Errorf("%s %s: %d %s", o.method, o.path, a.StatusCode, a.body)
				}
				if strings.Contains(a.message(), secret) || c.shown != (a.message() == "the operator said so") {
					t.Errorf("%s %s: message %q", o.method, o.path, a.message())
				}
				if lines := strings.Count(s.log.String(), "\n"); (lines == 1) != c.logged || lines > 1 {
					t.Errorf("%s %s: %d log lines", o.method, o.path, lines)
				}
				if want := map[bool]string{true: "2"}[c.status == 503 && c.code == api.CodeUpstream]; a.Header.Get("Retry-After") != want {
					t.Errorf("Retry-After = %q, want %q", a.Header.Get("Retry-After"), want)
				}
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		s := serve(t, options(t, &operator{err: &fs.PathError{Op: "find", Path: secret, Err: fs.ErrNotExist}}))
		for _, path := range []string{"/api/v1/proxy/freeze/a/b", "/api/v1/proxy/unfreeze/a/b", "/api/v1/proxy/alerts/x/ack", "/api/v1/proxy/purge"} {
			if a := s.do("POST", path, ""); a.StatusCode != 404 || a.code() != api.CodeNotFound || strings.Contains(a.message(), secret) {
				t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
			}
		}
	})
}

func TestPurge(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	for _, c := range []struct {
		body, pkg string
		kind      proxy.Kind
	}{
		{"", "", ""}, {"{}", "", ""}, {" \n", "", ""},
		{`{"package":"Monolog/Monolog"}`, "monolog/monolog", ""},
		{`{"kind":"archives"}`, "", proxy.KindArchives},
		{`{"kind":"metadata","package":"a/b"}`, "a/b", proxy.KindMetadata},
	} {
		op.purged = nil
		got := data[proxy.PurgeResult](t, s.do("POST", "/api/v1/proxy/purge", c.body))
		if got.Metadata != 1 || len(op.purged) != 1 || op.purged[0].Package.String() != c.pkg || op.purged[0].Kind != c.kind {
			t.Errorf("body %q purged %+v, answer %+v", c.body, op.purged, got)
		}
	}
}

func TestAPurgeThatIsNotUnderstoodPurgesNothing(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	for _, body := range []string{
		`null`, `[]`, `"x"`, `7`, `{`, `{}{}`, `{"package":null}`, `{"package":""}`, `{"package":7}`, `{"package":["a/b"]}`, `{"kind":""}`, `{"kind":"root"}`, `{"kind":"everything"}`,
		`{"Package":"a/b"}`, `{"packages":"a/b"}`, `{"package":"a/b","package":"c/d"}`, `{"package":"a"}`, `{"package":"../../etc"}`, `package=a/b`, "{\"package\":\"a/b\"} x", "\x00", `{"package":"a/b"`,
	} {
		a := s.do("POST", "/api/v1/proxy/purge", body)
		if a.StatusCode != 400 || a.code() != api.CodeValidation || !strings.HasSuffix(a.message(), ".") {
			t.Errorf("body %q: %d %s", body, a.StatusCode, a.body)
		}
	}
	if a := s.do("POST", "/api/v1/proxy/purge?package=a/b", ""); a.StatusCode != 400 {
		t.Errorf("a query parameter is passed over: %d", a.StatusCode)
	}
	if a := s.do("POST", "/api/v1/proxy/purge", `{"package":"`+strings.Repeat("a", 70000)+`"}`); a.StatusCode != 413 || a.code() != api.CodeTooLarge {
		t.Errorf("a large body: %d %s", a.StatusCode, a.body)
	}
	if a := s.do("POST", "/api/v1/proxy/purge", `{"packages":"a/b"}`); !strings.Contains(a.message(), "allowed are package, kind") {
		t.Errorf("the message %q does not say what is allowed", a.message())
	}
	// A body that breaks off.
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST /api/v1/proxy/purge HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 25\r\n\r\n ", token)
	_ = c.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 12)
	if _, err := c.Read(buf); err != nil || !strings.HasSuffix(string(buf), "400") {
		t.Errorf("a body that breaks off is answered with %q, %v", buf, err)
	}
	c.Close()
	if len(op.purged) != 0 {
		t.Errorf("%d purges were done: %+v", len(op.purged), op.purged)
	}
}

func TestFreeze(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	f := data[proxy.Freeze](t, s.do("POST", "/api/v1/proxy/freeze/Monolog/monolog",
		`{"reason":"audit läuft","at":"2026-02-01T00:00:00+01:00","expires_at":"2026-04-01T00:00:00Z","owner":"ops"}`))
	if f.Package != "monolog/monolog" || f.Reason != "audit läuft" || f.Owner != "ops" || len(f.Documents) != 2 {
		t.Errorf("answer %+v", f)
	}
	got := op.frozen[0]
	if op.names[0] != "monolog/monolog" || !got.At.Equal(time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)) || got.At.Location() != time.UTC || !got.ExpiresAt.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the operator was asked for %+v of %s", got, op.names[0])
	}
	data[proxy.Freeze](t, s.do("POST", "/api/v1/proxy/freeze/a/b", ""))
	if got := op.frozen[1]; got.At != nil || got.ExpiresAt != nil || got.Reason != "" {
		t.Errorf("a freeze without a body asks for %+v", got)
	}
	data[proxy.Freeze](t, s.do("POST", "/api/v1/proxy/freeze/%61/b", ""))
	if op.names[2] != "a/b" {
		t.Errorf("a percent-encoded name is taken for %q", op.names[2])
	}
	for _, c := range []struct{ path, body string }{
		{"a/b", `{"at":"yesterday"}`}, {"a/b", `{"at":"2026-03-02T00:00:00Z"}`}, {"a/b", `{"expires_at":"2026-03-01T12:00:00Z"}`}, {"a/b", `{"at":null}`},
		{"a/b", `{"reason":"a\u0007b"}`}, {"a/b", `{"reason":"` + strings.Repeat("x", 501) + `"}`}, {"a/b", `{"until":"2027-01-01T00:00:00Z"}`},
		{"a/b/c", ""}, {"a/b%2fc", ""}, {"..%2f../x", ""}, {"a/b%00", ""}, {"a/%252e%252e", ""}, {"a/b?at=now", ""}, {"a/b.json", ""},
	} {
		if a := s.do("POST", "/api/v1/proxy/freeze/"+c.path, c.body); a.StatusCode != 400 || a.code() != api.CodeValidation {
			t.Errorf("freeze %s %s: %d %s", c.path, c.body, a.StatusCode, a.body)
		}
	}
	if len(op.frozen) != 3 {
		t.Errorf("%d freezes were done, want 3", len(op.frozen))
	}
}

func TestUnfreezeIsIdempotent(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	if u := data[api.Unfrozen](t, s.do("POST", "/api/v1/proxy/unfreeze/A/b", "{}")); !u.Unfrozen || u.Package != "a/b" {
		t.Errorf("answer %+v", u)
	}
	op.empty = true
	if u := data[api.Unfrozen](t, s.do("POST", "/api/v1/proxy/unfreeze/a/b", "")); u.Unfrozen {
		t.Errorf("answer %+v", u)
	}
	if a := s.do("POST", "/api/v1/proxy/unfreeze/a/b", `{"reason":"x"}`); a.StatusCode != 400 {
		t.Errorf("a body nobody reads is accepted: %d", a.StatusCode)
	}
}

func TestAlertsAreFiltered(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	for query, want := range map[string][]string{
		"":                               {"one", "two", "three"},
		"?severity=warning":              {"two", "three"},
		"?acked=false":                   {"one", "three"},
		"?acked=true":                    {"two"},
		"?severity=warning&acked=false":  {"three"},
		"?severity=info":                 {},
		"?severity=critical&acked=false": {"one"},
	} {
		var got []string
		for _, a := range data[[]proxy.Alert](t, s.do("GET", "/api/v1/proxy/alerts"+query, "")) {
			got = append(got, a.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("alerts%s = %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"?severity=loud", "?severity=", "?acked=yes", "?acked=", "?severty=info", "?acked=true&acked=false", "?a=%zz", "?a;b"} {
		if a := s.do("GET", "/api/v1/proxy/alerts"+query, ""); a.StatusCode != 400 || a.code() != api.CodeValidation {
			t.Errorf("alerts%s: %d %s", query, a.StatusCode, a.body)
		}
	}
	for _, id := range []string{"a%2fb", "a.b", strings.Repeat("a", 129), "%00", "ä"} {
		if a := s.do("POST", "/api/v1/proxy/alerts/"+id+"/ack", ""); a.StatusCode != 404 || a.code() != api.CodeNotFound {
			t.Errorf("ack of %q: %d %s", id, a.StatusCode, a.body)
		}
	}
}

func TestWhatIsNotThereIsSaidInTheEnvelope(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/v1", 404, ""}, {"GET", "/api/v1/", 404, ""}, {"GET", "/api/v1/nothing", 404, ""}, {"POST", "/api/v1/proxy/freeze/a", 404, ""},
		{"GET", "/api/v1/proxy/status/", 404, ""}, {"GET", "/api/v1/proxy//status", 404, ""}, {"BREW", "/api/v1/nothing", 404, ""},
		{"GET", "/api/v1/proxy/purge", 405, "POST"}, {"DELETE", "/api/v1/proxy/status", 405, "GET, HEAD"}, {"PUT", "/api/v1/proxy/freeze/a/b", 405, "POST"},
		{"GET", "/api/v1/proxy/alerts/x/ack", 405, "POST"}, {"OPTIONS", "/api/v1/proxy/frozen", 405, "GET, HEAD"}, {"BREW", "/api/v1/proxy/frozen", 405, "GET, HEAD"}, {"POST", "/api/v1/openapi.json", 405, "GET, HEAD"},
	} {
		a := s.do(c.method, c.path, "")
		want := map[int]api.Code{404: api.CodeNotFound, 405: api.CodeMethodNotAllowed}[c.status]
		if a.StatusCode != c.status || a.code() != want || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q, %s", c.method, c.path, a.StatusCode, a.Header.Get("Allow"), a.body)
		}
	}
}

func TestWithoutAProxyTheOperationsSaySo(t *testing.T) {
	s := serve(t, options(t, nil))
	for _, o := range operations {
		if a := s.do(o.method, o.path, o.body); a.StatusCode != 403 || a.code() != api.CodeNotAvailable || !strings.Contains(a.message(), "PROXY_ENABLED") {
			t.Errorf("%s %s: %d %s", o.method, o.path, a.StatusCode, a.body)
		}
	}
}
