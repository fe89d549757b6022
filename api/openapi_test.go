package api_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"stasis/api"
)

func TestEveryRouteIsDescribedAndEveryDescriptionHasARoute(t *testing.T) {
	e := echo.New()
	api.Register(e, api.Options{Gatherer: api.NewRegistry("x")})
	params := regexp.MustCompile(`:(\w+)`)
	var registered, described, head []string
	for _, r := range e.Routes() {
		key := r.Method + " " + params.ReplaceAllString(r.Path, "{$1}")
		switch r.Method {
		case echo.RouteNotFound:
		case http.MethodHead:
			head = append(head, strings.Replace(key, "HEAD", "GET", 1))
		default:
			registered = append(registered, key)
		}
	}
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, k := range registered {
		if !slices.Contains(described, k) {
			t.Errorf("%s is registered and not described", k)
		}
		if strings.HasPrefix(k, "GET") && !slices.Contains(head, k) {
			t.Errorf("%s does not answer HEAD", k)
		}
	}
	for _, k := range described {
		if !slices.Contains(registered, k) {
			t.Errorf("%s is described and not registered", k)
		}
	}
}

func TestTheDocumentNamesEveryErrorCode(t *testing.T) {
	enum := document(t).Components.Schemas["Error"].Value.Properties["error"].Value.Properties["code"].Value.Enum
	for _, c := range []api.Code{api.CodeValidation, api.CodeUnauthorized, api.CodeForbidden, api.CodeNotAvailable, api.CodeNotFound, api.CodeMethodNotAllowed,
		api.CodeConflict, api.CodeTooLarge, api.CodeRateLimited, api.CodeInternal, api.CodeUpstream, api.CodeUnavailable, api.CodeTimeout, api.CodeNoSpace} {
		if !slices.Contains(enum, any(string(c))) {
			t.Errorf("the code %s is not described", c)
		}
	}
}

func TestTheDocumentNeedsNoToken(t *testing.T) {
	s := serve(t, api.Options{Operator: &operator{}})
	a := s.do(http.MethodGet, "/api/v1/openapi.json", "", "Authorization: ")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, type %q", a.StatusCode, a.Header.Get("Content-Type"))
	}
}
