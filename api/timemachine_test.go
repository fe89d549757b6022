package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stasis/api"
	"stasis/proxy"
	"stasis/proxy/policy"
)

// last is what the operator was asked last; it is forgotten then.
func (o *operator) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.asked) == 0 {
		return ""
	}
	last := o.asked[len(o.asked)-1]
	o.asked = nil
	return last
}

func TestWhatTheTimeMachineIsAsked(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	const none = `{Rest: Archives: Advisories: Private:}, by "": ""`
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "snapshots", "", `snapshot "" of 0001-01-01T00:00:00Z with 0 locks [], ` + none},
		{"POST", "snapshots", `{"from":"now"}`, `snapshot "" of 0001-01-01T00:00:00Z with 0 locks [], ` + none},
		{"POST", "snapshots", `{"name":"march","from":"2026-02-01","note":"n","by":"ops"}`,
			`snapshot "march" of 2026-02-01T23:59:59Z with 0 locks [], {Rest: Archives: Advisories: Private:}, by "ops": "n"`},
		{"POST", "snapshots", `{"from":"2026-02-01T02:00:00+02:00","locks":[{"packages":[]}, "{}"],"world":"closed","archives":"eager","advisories":"off","private":"live"}`,
			`snapshot "" of 2026-02-01T00:00:00Z with 2 locks ["{\"packages\":[]}" "{}"], {Rest:closed Archives:eager Advisories:off Private:live}, by "": ""`},
		{"DELETE", "snapshots/march", "", "delete march"},
		{"POST", "snapshots/import?name=april&by=ops", "bundle", `import "bundle" as "april" by "ops"`},
		{"PUT", "channels/prod", `{"snapshot":"@0a1b2c3d","note":"go","by":"ops"}`, `set prod to @0a1b2c3d by "ops": "go"`},
		{"POST", "channels/prod/rollback", `{"note":"oh"}`, `roll prod back by "": "oh"`},
		{"DELETE", "channels/prod", "", "delete channel prod"},
		{"GET", "diff?from=2026-01-01&to=now", "", "diff 2026-01-01 now []"},
		{"GET", "diff?from=a&to=b&package=A/b,c/d", "", "diff a b [a/b c/d]"},
		{"POST", "diff?from=a&to=b", `{"packages":[{"name":"a/b","version":"1.0"}],"packages-dev":[{"name":"x/y","version":"dev-main"}]}`, "diff a b [a/b x/y]"},
		{"GET", "packages/A/b/explain?version=v1&at=cooldown%3D7d", "", `explain a/b v1 at "cooldown=7d"`},
		{"POST", "history/import-lock?at=2026-01-01T01:00:00%2B01:00", `{"packages":[]}`, `import lock {"packages":[]} at 2026-01-01T00:00:00Z`},
		{"POST", "freezes", `{"pattern":"acme/*","reason":"r"}`, "freeze acme/*: r"},
		{"DELETE", "freezes?pattern=Acme/*", "", "unfreeze acme/*"},
		{"GET", "holds?all=true", "", "holds, all true"},
		{"GET", "blocks", "", "blocks, all false"},
		{"POST", "waivers", `{"package":"a/b","versions":"1.0","reference":"r","reason":"read it","owner":"ops","expires_at":"2026-04-01T02:00:00+02:00"}`, "add waiver|a/b|1.0|r|read it|ops|2026-04-01T00:00:00Z"},
		{"POST", "blocks", `{"package":"a/*","reason":"bad"}`, "add block|a/*|||bad||0001-01-01T00:00:00Z"},
		{"DELETE", "exemptions/7?by=ops", "", `lift exemption 7 by "ops"`},
	} {
		a := s.do(c.method, "/api/v1/proxy/"+c.path, c.body)
		if got := op.last(); a.StatusCode != 200 || got != c.want {
			t.Errorf("%s %s %s: %d, asked\n%s, want\n%s", c.method, c.path, c.body, a.StatusCode, got, c.want)
		}
	}
}

func TestRequestsThatAreNotUnderstoodDoNothing(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	for _, c := range []struct{ method, path, body string }{
		{"POST", "snapshots", `{"from":""}`}, {"POST", "snapshots", `{"from":"yesterday"}`}, {"POST", "snapshots", `{"from":"2026-03-02"}`}, {"POST", "snapshots", `{"from":"2026-01-01T00:00:00"}`},
		{"POST", "snapshots", `{"from":"2026-01-01,strict"}`}, {"POST", "snapshots", `{"locks":[]}`}, {"POST", "snapshots", `{"locks":{}}`}, {"POST", "snapshots", `{"locks":null}`}, {"POST", "snapshots", `{"locks":[7]}`},
		{"POST", "snapshots", `{"lock":{}}`}, {"POST", "snapshots", `{"name":""}`}, {"POST", "snapshots", `{"name":7}`}, {"POST", "snapshots", `{"note":"a\u0000b"}`}, {"POST", "snapshots?name=x", ""},
		{"POST", "snapshots/import?name=", "x"}, {"POST", "snapshots/import?by=%07", "x"}, {"POST", "snapshots/one/verify", `{"deep":"yes"}`},
		{"POST", "snapshots/one/verify?wait=", ""}, {"POST", "snapshots/one/verify?wait=no", ""}, {"GET", "diff?from=a&to=b&wait=maybe", ""}, {"GET", "jobs/j1?wait=false", ""},
		{"PUT", "channels/prod", ""}, {"PUT", "channels/prod", `{"snapshot":""}`}, {"PUT", "channels/prod", `{"snapshot":"x","force":"yes"}`},
		{"GET", "diff", ""}, {"GET", "diff?from=a", ""}, {"GET", "diff?from=a&to=", ""}, {"GET", "diff?from=a&to=b&package=", ""}, {"GET", "diff?from=a&to=b&packages=a/b", ""},
		{"POST", "diff?from=a&to=b", ""}, {"POST", "diff?from=a&to=b", "{}"}, {"POST", "diff?from=a&to=b", `{"packages":[]}`}, {"POST", "diff?from=a&to=b", `{"packages":[{"name":"a"}]}`},
		{"GET", "packages/a/b/explain", ""}, {"GET", "packages/a/b.json/history", ""}, {"GET", "packages/a/b/history?at=now", ""},
		{"POST", "history/import-lock", `{"packages":[]}`}, {"POST", "history/import-lock?at=2026-01-01", `{"packages":[]}`}, {"POST", "history/import-lock?at=2026-01-01T00:00:00Z", " "},
		{"POST", "freezes", ""}, {"POST", "freezes", `{"pattern":"a/*","at":"2026-04-01T00:00:00Z"}`}, {"DELETE", "freezes", ""}, {"DELETE", "freezes?pattern=", ""},
		{"GET", "blocks?all=1", ""}, {"POST", "blocks", `{"package":""}`}, {"POST", "blocks", `{"package":"a/b","reason":"x","versions":""}`}, {"POST", "blocks", `{"package":"a/b","reason":"x","reference":null}`},
		{"POST", "blocks", `{"package":"a/b","reason":"x","expires_at":"2026-01-01T00:00:00Z"}`}, {"POST", "blocks", `{"package":"a/b","reason":"x","version":"1"}`}, {"DELETE", "blocks/1?by=", ""}, {"DELETE", "blocks/1", `{"by":"x"}`},
	} {
		a := s.do(c.method, "/api/v1/proxy/"+c.path, c.body)
		if a.StatusCode != 400 || a.code() != api.CodeValidation || !strings.HasSuffix(a.message(), ".") {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.StatusCode, a.body)
		}
	}
	if got := op.last(); got != "" {
		t.Errorf("the operator was asked %s", got)
	}
}

func TestBundlesAndManifestsAreNotInTheEnvelope(t *testing.T) {
	op := &operator{}
	s := serve(t, options(t, op))
	if a := s.do("GET", "/api/v1/proxy/snapshots/one/manifest", ""); string(a.body) != `{"format":1}` || a.ContentLength != 12 {
		t.Errorf("manifest: %d %s", a.StatusCode, a.body)
	}
	a := s.do("GET", "/api/v1/proxy/snapshots/one/export", "")
	if a.StatusCode != 200 || string(a.body) != "a bundle of one" || a.Header.Get("Content-Type") != "application/octet-stream" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("export: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	if h := s.do("HEAD", "/api/v1/proxy/snapshots/one/export", ""); h.StatusCode != 200 || len(h.body) != 0 {
		t.Errorf("HEAD: %d", h.StatusCode)
	}
	op.err = told{conflict: true}
	if a := s.do("GET", "/api/v1/proxy/snapshots/one/export", ""); a.StatusCode != 409 || a.code() != api.CodeConflict {
		t.Errorf("export of what is not sealed: %d %s", a.StatusCode, a.body)
	}

	op.err, op.breaks = nil, errors.New("a document is lost")
	r := httptest.NewRequest("GET", "/api/v1/proxy/snapshots/one/export", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	func() {
		defer func() {
			if problem := recover(); problem != http.ErrAbortHandler { //nolint:errorlint // the panic that net/http knows
				t.Errorf("a bundle that breaks off ends with %v and not with a broken connection", problem)
			}
		}()
		s.echo.ServeHTTP(httptest.NewRecorder(), r)
	}()
	if !strings.Contains(s.log.String(), "a document is lost") {
		t.Errorf("the log does not say why: %s", s.log)
	}
}

func TestLargeBodies(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	lock := `{"packages":[],"filler":"` + strings.Repeat("x", 1<<20) + `"}`
	if a := s.do("POST", "/api/v1/proxy/history/import-lock?at=2026-01-01T00:00:00Z", lock); a.StatusCode != 200 {
		t.Errorf("a lock file of a megabyte: %d %.200s", a.StatusCode, a.body)
	}
	if a := s.do("POST", "/api/v1/proxy/snapshots", `{"locks":[`+lock+`]}`); a.StatusCode != 200 {
		t.Errorf("a snapshot of it: %d %.200s", a.StatusCode, a.body)
	}
	if a := s.do("POST", "/api/v1/proxy/snapshots/import", strings.Repeat("x", 1<<20)); a.StatusCode != 200 {
		t.Errorf("a bundle: %d %.200s", a.StatusCode, a.body)
	}
	if a := s.do("POST", "/api/v1/proxy/blocks", `{"reason":"`+strings.Repeat("x", 1<<20)+`"}`); a.StatusCode != 413 {
		t.Errorf("a block with a story: %d %.200s", a.StatusCode, a.body)
	}
}

func TestTheKindsOfRulesAreApart(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	for path, kind := range map[string]policy.Kind{"blocks": policy.Block, "waivers": policy.Waiver, "exemptions": policy.Exemption, "holds": policy.Hold} {
		got := data[[]policy.Rule](t, s.do("GET", "/api/v1/proxy/"+path, ""))
		if len(got) != 1 || got[0].Kind != kind {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestAJobThatFailedSaysWhyAndHidesTheRest(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	j := data[api.Job](t, s.do("GET", "/api/v1/proxy/jobs/failed", ""))
	if j.State != proxy.JobFailed || j.Problem == nil || j.Problem.Code != api.CodeInternal || strings.Contains(j.Problem.Message, "/var/lib") {
		t.Errorf("the job is %+v, its problem %+v", j, j.Problem)
	}
	if !strings.Contains(s.log.String(), "/var/lib/stasis") {
		t.Errorf("the log does not say what happened: %s", s.log)
	}
	if a := s.do("GET", "/api/v1/proxy/jobs/a%20b", ""); a.StatusCode != 404 {
		t.Errorf("an id that cannot be: %d", a.StatusCode)
	}
}
