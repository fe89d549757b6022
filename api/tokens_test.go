package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stasis/api"
	"stasis/private/access"
)

// accessOperations is every operation on tokens and customers, with ids that exist in no store.
var accessOperations = []struct{ method, path, body string }{
	{"GET", "/api/v1/tokens", ""},
	{"POST", "/api/v1/tokens", `{"name":"ci"}`},
	{"GET", "/api/v1/tokens/abcdefgh", ""},
	{"DELETE", "/api/v1/tokens/abcdefgh", ""},
	{"POST", "/api/v1/tokens/abcdefgh/rotate", ""},
	{"GET", "/api/v1/customers", ""},
	{"POST", "/api/v1/customers", `{"name":"Example Inc."}`},
	{"GET", "/api/v1/customers/by-external/crm-7", ""},
	{"GET", "/api/v1/customers/cust_1", ""},
	{"PATCH", "/api/v1/customers/cust_1", `{"name":"x"}`},
	{"DELETE", "/api/v1/customers/cust_1", ""},
	{"POST", "/api/v1/customers/cust_1/suspend", `{"reason":"x"}`},
	{"POST", "/api/v1/customers/cust_1/reactivate", ""},
	{"POST", "/api/v1/customers/cust_1/freeze", ""},
	{"POST", "/api/v1/customers/cust_1/unfreeze", ""},
	{"GET", "/api/v1/customers/cust_1/packages", ""},
	{"PUT", "/api/v1/customers/cust_1/packages", `{"packages":[]}`},
	{"POST", "/api/v1/customers/cust_1/packages", `{"package":"acme/*"}`},
	{"DELETE", "/api/v1/customers/cust_1/packages/acme/lib", ""},
	{"GET", "/api/v1/customers/cust_1/tokens", ""},
	{"POST", "/api/v1/customers/cust_1/tokens", `{"name":"ci"}`},
	{"GET", "/api/v1/customers/cust_1/tokens/abcdefgh", ""},
	{"DELETE", "/api/v1/customers/cust_1/tokens/abcdefgh", ""},
	{"POST", "/api/v1/customers/cust_1/tokens/abcdefgh/rotate", ""},
	{"GET", "/api/v1/webhooks/deliveries", ""},
	{"GET", "/api/v1/webhooks/deliveries/x", ""},
	{"POST", "/api/v1/webhooks/deliveries/x/replay", ""},
	{"GET", "/api/v1/audit", ""},
	{"GET", "/api/v1/audit/verify", ""},
}

// Deny by default: whatever is registered below /api/v1 is for administrators, but for the description itself.
func TestEveryRouteOfTheManagementAPIIsForAdministratorsOnly(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	others := map[string]int{"": 401, "Bearer wrong": 401}
	for _, role := range []string{"developer", "read", "webhook"} {
		issued := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens", `{"name":"x","role":"`+role+`"}`))
		others["Bearer "+issued.PlainToken] = 403
	}
	admin := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens", `{"name":"x","role":"admin"}`))
	routes := 0
	for _, r := range s.echo.Routes() {
		if !strings.HasPrefix(r.Path, "/api/v1") || r.Path == "/api/v1/openapi.json" || r.Method == "echo_route_not_found" ||
			strings.HasPrefix(r.Path, "/api/v1/packages/upload") { // which developers may, see TestUploadsTakeATokenForThePackage
			continue
		}
		routes++
		path := r.Path
		for _, parameter := range []string{":vendor", ":package", ":id", ":ref", ":name", ":token", ":customer", ":external"} {
			path = strings.ReplaceAll(path, parameter, "x")
		}
		for authorization, want := range others {
			if authorization == "Bearer wrong" && routes > 5 { // or it would be slowed
				continue
			}
			a := s.do(r.Method, path, "", "Authorization: "+authorization)
			if a.StatusCode != want {
				t.Errorf("%s %s with %.10q: %d %s, want %d", r.Method, path, authorization, a.StatusCode, a.body, want)
			}
		}
		if a := s.do(r.Method, path, "", "Authorization: Bearer "+admin.PlainToken); a.StatusCode == 401 || a.StatusCode == 403 {
			t.Errorf("%s %s with a token of the role admin: %d %s", r.Method, path, a.StatusCode, a.body)
		}
	}
	if routes < 60 {
		t.Errorf("only %d routes were looked at", routes)
	}
}

func TestATokenIsMadeShownRotatedAndRevoked(t *testing.T) {
	o := options(t, &operator{})
	o.BaseURL = "https://packages.example.com"
	s := serve(t, o)
	issued := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens",
		`{"name":"ci","role":"developer","packages":["acme"],"versions":"^1","view":"snapshot/prod","expires_at":"2027-01-01T00:00:00Z"}`))
	tok := issued.Token
	if tok.Name != "ci" || tok.Role != access.RoleDeveloper || fmt.Sprint(tok.Packages) != "[acme/*]" || tok.Versions != "^1" || tok.View != "snapshot/prod" ||
		!tok.ExpiresAt.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) || !tok.CreatedAt.Equal(noon) {
		t.Errorf("token %+v", tok)
	}
	if auth := issued.ComposerAuth; auth.Username != "token" || auth.Password != issued.PlainToken || auth.RepositoryURL != "https://packages.example.com" {
		t.Errorf("composer_auth %+v", auth)
	}
	if a := s.do("GET", "/api/v1/tokens/"+tok.ID, ""); strings.Contains(string(a.body), issued.PlainToken) || data[access.Token](t, a).Name != "ci" {
		t.Errorf("shown again: %s", a.body)
	}
	rotated := data[api.IssuedToken](t, s.do("POST", "/api/v1/tokens/"+tok.ID+"/rotate", ""))
	if rotated.PlainToken == issued.PlainToken || rotated.Token.ID != tok.ID {
		t.Errorf("rotated %+v", rotated.Token)
	}
	if r := data[access.Token](t, s.do("DELETE", "/api/v1/tokens/"+tok.ID, "")); !r.RevokedAt.Equal(noon) {
		t.Errorf("revoked %+v", r)
	}
	if a := s.do("POST", "/api/v1/tokens/"+tok.ID+"/rotate", ""); a.StatusCode != 409 || a.code() != api.CodeConflict {
		t.Errorf("rotating a revoked token: %d %s", a.StatusCode, a.body)
	}
	for _, body := range []string{"", "{}", `{"name":"x","role":"god"}`, `{"name":"x","packages":"acme/*"}`, `{"name":"x","packages":[null]}`, `{"name":"x","packages":["a/b/c"]}`,
		`{"name":"x","versions":"^^"}`, `{"name":"x","view":"x"}`, `{"name":"x","expires_at":"tomorrow"}`, `{"name":"x","expires_at":"2020-01-01T00:00:00Z"}`,
		`{"name":"x","role":"admin","packages":["acme/*"]}`, `{"name":"x","scope":"read"}`, `{"name":1}`} {
		if a := s.do("POST", "/api/v1/tokens", body); a.StatusCode != 400 || a.code() != api.CodeValidation {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
	}
	if a := s.do("POST", "/api/v1/tokens", `{"name":"x","owner":"cust_1"}`); a.StatusCode != 404 {
		t.Errorf("a token for nobody: %d %s", a.StatusCode, a.body)
	}
}

func TestListsComeInPages(t *testing.T) {
	s := serve(t, options(t, &operator{}))
	for i := range 5 {
		s.do("POST", "/api/v1/tokens", fmt.Sprintf(`{"name":"token %d"}`, i))
	}
	for query, want := range map[string]struct {
		items int
		p     api.Pagination
	}{
		"":                    {5, api.Pagination{Page: 1, PerPage: 20, Total: 5, TotalPages: 1}},
		"?per_page=2":         {2, api.Pagination{Page: 1, PerPage: 2, Total: 5, TotalPages: 3}},
		"?per_page=2&page=3":  {1, api.Pagination{Page: 3, PerPage: 2, Total: 5, TotalPages: 3}},
		"?per_page=2&page=99": {0, api.Pagination{Page: 99, PerPage: 2, Total: 5, TotalPages: 3}},
	} {
		a := s.do("GET", "/api/v1/tokens"+query, "")
		e := envelope[[]access.Token](t, a)
		if len(e.Data) != want.items || e.Pagination == nil || *e.Pagination != want.p {
			t.Errorf("%q: %s", query, a.body)
		}
	}
	for _, query := range []string{"?page=0", "?page=x", "?per_page=501", "?per_page=-1", "?pages=1", "?page=1&page=2", "?page=99999999999"} {
		if a := s.do("GET", "/api/v1/tokens"+query, ""); a.StatusCode != 400 {
			t.Errorf("%s: %d %s", query, a.StatusCode, a.body)
		}
	}
	if a := s.do("GET", "/api/v1/tokens?owner=cust_1", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("the tokens of nobody: %d %s", a.StatusCode, a.body)
	}
}
