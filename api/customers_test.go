package api_test

import (
	"fmt"
	"strings"
	"testing"

	"stasis/api"
	"stasis/private/access"
)

func TestACustomerFromItsMakingToItsEnd(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	const base = "/api/v1/customers"
	made := data[access.Owner](t, s.do("POST", base, `{"name":"Example Inc.","email":"dev@example.com","external_id":"crm/7","packages":[{"package":"acme/*","constraint":"^1"}]}`))
	path := base + "/" + made.ID
	if made.Status != access.Active || !strings.HasPrefix(made.ID, "cust_") || !made.CreatedAt.Equal(noon) || len(made.Packages) != 1 {
		t.Errorf("made %+v", made)
	}
	if got := data[access.Owner](t, s.do("GET", base+"/by-external/crm%2F7", "")); got.ID != made.ID {
		t.Errorf("by its external id: %+v", got)
	}
	if a := s.do("POST", base, `{"name":"Other","external_id":"crm/7"}`); a.StatusCode != 409 {
		t.Errorf("an external id twice: %d %s", a.StatusCode, a.body)
	}
	if got := data[access.Owner](t, s.do("PATCH", path, `{"name":"Example Ltd."}`)); got.Name != "Example Ltd." || got.Email != "dev@example.com" || got.ExternalID != "crm/7" {
		t.Errorf("renamed %+v", got)
	}

	issued := data[api.IssuedToken](t, s.do("POST", path+"/tokens", `{"name":"ci"}`))
	token := path + "/tokens/" + issued.Token.ID
	if issued.Token.Owner != made.ID || issued.Token.Role != access.RoleRead {
		t.Errorf("token %+v", issued.Token)
	}
	other := data[access.Owner](t, s.do("POST", base, `{"name":"Other"}`))
	for _, method := range []string{"GET", "DELETE"} {
		if a := s.do(method, base+"/"+other.ID+"/tokens/"+issued.Token.ID, ""); a.StatusCode != 404 {
			t.Errorf("%s of another customer's token: %d %s", method, a.StatusCode, a.body)
		}
	}
	if got := data[[]access.Token](t, s.do("GET", path+"/tokens", "")); len(got) != 1 || got[0].ID != issued.Token.ID {
		t.Errorf("tokens %+v", got)
	}
	if got := data[[]access.Token](t, s.do("GET", base+"/"+other.ID+"/tokens", "")); len(got) != 0 {
		t.Errorf("tokens of the other %+v", got)
	}
	if got := data[access.Token](t, s.do("GET", token, "")); got.ID != issued.Token.ID {
		t.Errorf("token %+v", got)
	}
	if got := data[api.IssuedToken](t, s.do("POST", token+"/rotate", "")); got.PlainToken == issued.PlainToken {
		t.Error("a rotated token has the old text")
	}

	grants := func(method, path, body, want string) {
		t.Helper()
		if got := fmt.Sprint(data[[]access.Grant](t, s.do(method, path, body))); got != want {
			t.Errorf("%s %s %s: %s, want %s", method, path, body, got, want)
		}
	}
	grants("GET", path+"/packages", "", "[{acme/* ^1}]")
	grants("POST", path+"/packages", `{"package":"acme/lib"}`, "[{acme/* ^1} {acme/lib }]")
	grants("POST", path+"/packages", `{"package":"Acme/*","constraint":"^2"}`, "[{acme/* ^2} {acme/lib }]")
	grants("DELETE", path+"/packages/acme/*", "", "[{acme/lib }]")
	grants("PUT", path+"/packages", `{"packages":[{"package":"x/y"}]}`, "[{x/y }]")
	grants("PUT", path+"/packages", `{"packages":[]}`, "[]")
	if a := s.do("DELETE", path+"/packages/acme/lib", ""); a.StatusCode != 404 {
		t.Errorf("a grant that is not there: %d %s", a.StatusCode, a.body)
	}

	if got := data[access.Owner](t, s.do("POST", path+"/suspend", `{"reason":"Not paid."}`)); got.Status != access.Suspended || got.Reason != "Not paid." {
		t.Errorf("suspended %+v", got)
	}
	if got := data[[]access.Owner](t, s.do("GET", base+"?status=suspended", "")); len(got) != 1 || got[0].ID != made.ID {
		t.Errorf("suspended are %+v", got)
	}
	if got := data[access.Owner](t, s.do("POST", path+"/reactivate", "")); got.Status != access.Active {
		t.Errorf("reactivated %+v", got)
	}
	if got := data[access.Owner](t, s.do("POST", path+"/freeze", "")); !got.FrozenAt.Equal(noon) {
		t.Errorf("frozen %+v", got)
	}
	if got := data[access.Owner](t, s.do("POST", path+"/freeze", `{"at":"2026-01-01T00:00:00Z","versions":[{"package":"Acme/Lib","version":"1.2.3"}]}`)); got.FrozenAt.Year() != 2026 || got.FrozenVersions["acme/lib"] != "1.2.3" {
		t.Errorf("frozen %+v", got)
	}
	if got := data[access.Owner](t, s.do("POST", path+"/unfreeze", "")); !got.FrozenAt.IsZero() || len(got.FrozenVersions) != 0 {
		t.Errorf("unfrozen %+v", got)
	}

	for _, c := range []struct{ method, path, body string }{
		{"POST", base, ""}, {"POST", base, `{"name":""}`}, {"POST", base, `{"name":"x","packages":[{"package":"a/b/c"}]}`}, {"POST", base, `{"name":"x","packages":[{"pkg":"a/b"}]}`},
		{"POST", base, `{"name":"x","id":"me"}`}, {"PATCH", path, `{"status":"active"}`}, {"PATCH", path, `{"name":null}`}, {"POST", path + "/freeze", `{"at":"now"}`},
		{"POST", path + "/freeze", `{"at":"2999-01-01T00:00:00Z"}`}, {"POST", path + "/freeze", `{"versions":[]}`}, {"POST", path + "/freeze", `{"versions":[{"package":"x"}]}`},
		{"PUT", path + "/packages", `{}`}, {"PUT", path + "/packages", `{"packages":null}`}, {"POST", path + "/packages", `{"constraint":"^1"}`},
		{"POST", path + "/suspend", `{"why":"x"}`}, {"POST", path + "/reactivate", `{"x":1}`}, {"GET", base + "?status=dead", ""}, {"GET", path + "/tokens?owner=x", ""},
		{"POST", path + "/tokens", `{"name":"x","owner":"cust_1"}`},
	} {
		if a := s.do(c.method, c.path, c.body); a.StatusCode != 400 || a.code() != api.CodeValidation {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.StatusCode, a.body)
		}
	}

	if got := data[api.DeletedCustomer](t, s.do("DELETE", path, "")); got.ID != made.ID || got.RevokedTokens != 1 {
		t.Errorf("deleted %+v", got)
	}
	for _, o := range accessOperations {
		if !strings.Contains(o.path, "cust_1") && !strings.Contains(o.path, "crm-7") {
			continue
		}
		if a := s.do(o.method, o.path, o.body); a.StatusCode != 404 || a.code() != api.CodeNotFound {
			t.Errorf("%s %s of nobody: %d %s", o.method, o.path, a.StatusCode, a.body)
		}
	}
}
