package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stasis/api"
	"stasis/private/access"
	"stasis/private/audit"
	"stasis/store"
)

// newestEntry is the last entry of the audit log; the zero one when there is none.
func (s *service) newestEntry() audit.Entry {
	s.t.Helper()
	p := data[api.AuditPage](s.t, s.do("GET", "/api/v1/audit?limit=1", ""))
	if len(p.Entries) == 0 {
		return audit.Entry{}
	}
	return p.Entries[0]
}

func TestEveryChangeIsInTheAuditLogAndNothingElseIs(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	for _, o := range append(append([]struct{ method, path, body string }{}, operations...), accessOperations...) {
		before := s.newestEntry()
		a := s.do(o.method, o.path, o.body, "X-Request-Id: ")
		after := s.newestEntry()
		reads := o.method == "GET" && !strings.Contains(o.path, "/backup") || strings.Contains(o.path, "/diff") || strings.Contains(o.path, "/verify")
		if reads {
			if after.ID != before.ID {
				t.Errorf("%s %s is taken for a change: %+v", o.method, o.path, after)
			}
			continue
		}
		want := "ok"
		if a.code() != "" {
			want = string(a.code())
		}
		if after.ID != before.ID+1 || after.Actor != "admin" || after.From != "127.0.0.1" || after.Action == "" || after.Result != want ||
			after.RequestID != a.Header.Get("X-Request-Id") || after.RequestID == "" || !after.At.Equal(noon) {
			t.Errorf("%s %s: %+v", o.method, o.path, after)
		}
	}
	if v := data[audit.Verdict](t, s.do("GET", "/api/v1/audit/verify", "")); !v.Whole || v.Entries == 0 {
		t.Errorf("verdict %+v", v)
	}
}

func TestAnEntrySaysWhatWasDoneToWhatAndByWhom(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	s.do("POST", "/api/v1/proxy/blocks", `{"package":"a/b","versions":"^1.0","reason":"x","owner":"eve\u202e"}`)
	if e := s.newestEntry(); e.Action != "block.add" || e.Subject != "a/b ^1.0" || e.Details["by"] != "eve\ufffd" {
		t.Errorf("entry %+v", e)
	}
	s.do("POST", "/api/v1/proxy/freeze/acme/lib", "")
	if e := s.newestEntry(); e.Action != "package.freeze" || e.Subject != "acme/lib" {
		t.Errorf("entry %+v", e)
	}
	issued := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens", `{"name":"ops","role":"admin"}`))
	if e := s.newestEntry(); e.Action != "token.create" || e.Subject != issued.Token.ID || e.Details["role"] != "admin" || e.Details["name"] != "ops" {
		t.Errorf("entry %+v", e)
	}
	s.do("POST", "/api/v1/proxy/purge", `{"kind":"nonsense"}`, "Authorization: Bearer "+issued.PlainToken)
	if e := s.newestEntry(); e.Actor != issued.Token.ID || e.Action != "cache.purge" || e.Result != "VALIDATION_ERROR" {
		t.Errorf("entry %+v", e)
	}
	// No entry has a token in it.
	all := s.do("GET", "/api/v1/audit?limit=1000", "")
	if strings.Contains(string(all.body), issued.PlainToken) || strings.Contains(string(all.body), token) {
		t.Errorf("the audit log gives a token away: %s", all.body)
	}
}

func TestTheAuditLogIsFilteredAndPaged(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	first := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens", `{"name":"one"}`)).Token.ID
	for range 3 {
		s.do("POST", "/api/v1/proxy/purge", "")
	}
	s.do("DELETE", "/api/v1/tokens/"+first, "")
	for query, want := range map[string]string{
		"":                               "[5 4 3 2 1] 0",
		"?action=token":                  "[5 1] 0",
		"?action=token.create":           "[1] 0",
		"?subject=" + first:              "[5 1] 0",
		"?actor=admin&limit=2":           "[5 4] 4",
		"?limit=2&before=4":              "[3 2] 2",
		"?result=FORBIDDEN":              "[] 0",
		"?since=2026-03-01T12:00:00Z":    "[5 4 3 2 1] 0",
		"?until=2026-03-01T12:00:00Z":    "[] 0",
		"?since=2026-03-01T13:00:00Z":    "[] 0",
		"?actor=nobody&action=x&limit=1": "[] 0",
	} {
		p := data[api.AuditPage](t, s.do("GET", "/api/v1/audit"+query, ""))
		ids := []uint64{}
		for _, e := range p.Entries {
			ids = append(ids, e.ID)
		}
		if got := fmt.Sprint(ids, p.Next); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"?since=yesterday", "?until=", "?limit=0", "?limit=1001", "?before=x", "?who=x"} {
		if a := s.do("GET", "/api/v1/audit"+query, ""); a.StatusCode != 400 {
			t.Errorf("%s: %d %s", query, a.StatusCode, a.body)
		}
	}
}

func TestTriesByOthersAreInTheAuditLogButCannotFillIt(t *testing.T) {
	c := &ticker{t: noon}
	o := api.Options{Operator: &operator{}, Now: c.now}
	o.Access, o.Audit = admins(t, access.Options{AdminToken: token, Now: c.now})
	s := serve(t, o)
	reader := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens", `{"name":"x"}`))
	s.do("POST", "/api/v1/proxy/purge", "", "Authorization: Bearer "+reader.PlainToken)
	if e := s.newestEntry(); e.Actor != reader.Token.ID || e.Action != "cache.purge" || e.Result != "FORBIDDEN" || e.From != "127.0.0.1" {
		t.Errorf("entry %+v", e)
	}
	for range 200 {
		s.do("POST", "/api/v1/proxy/purge", "", "Authorization: ")
		s.do("GET", "/api/v1/proxy/status", "", "Authorization: ") // looking is no change
	}
	if e := s.newestEntry(); e.ID != 3 || e.Actor != "" || e.Result != "UNAUTHORIZED" {
		t.Errorf("entry %+v", e)
	}
	c.advance(time.Minute)
	s.do("POST", "/api/v1/proxy/purge", "", "Authorization: ")
	if e := s.newestEntry(); e.ID != 4 || e.Details["omitted_before"] != "199" {
		t.Errorf("entry %+v", e)
	}
}

// TestNothingIsDoneThatCannotBeWrittenDown fills the disk so far that the audit log has no room: changes are refused before
// they are made, and the one that makes room is not.
func TestNothingIsDoneThatCannotBeWrittenDown(t *testing.T) {
	free := int64(1 << 40)
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir(), MinFreeSpace: 1 << 30, FreeSpace: func(string) (int64, error) { return free, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	a, err := access.New(access.Options{Store: st, AdminToken: token})
	if err != nil {
		t.Fatal(err)
	}
	op := &operator{}
	s := serve(t, api.Options{Operator: op, Access: a, Audit: audit.New(audit.Options{Store: st})})
	free = 1 << 20
	for range 2 {
		if a := s.do("POST", "/api/v1/proxy/freeze/a/b", ""); a.StatusCode != 507 || a.code() != api.CodeNoSpace || len(op.frozen) > 0 {
			t.Errorf("a freeze: %d %s, made: %v", a.StatusCode, a.body, op.frozen)
		}
	}
	if s.do("POST", "/api/v1/proxy/purge", ""); len(op.purged) != 1 {
		t.Error("nothing can be purged on a full disk")
	}
	free = 1<<30 - 1 // below the floor, and within the spare room
	if a := s.do("POST", "/api/v1/proxy/purge", ""); a.StatusCode != 200 {
		t.Errorf("a purge just below the floor: %d %s", a.StatusCode, a.body)
	}
}
