package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"stasis/api"
	"stasis/proxy"
)

// registered is a route of the program.
type registered struct{ method, path string }

func (r registered) String() string { return r.method + " " + r.path }

// routesOf lists the routes that the program registers.
func routesOf(t *testing.T) (list []registered) {
	t.Helper()
	e := echo.New()
	api.Register(e, api.Options{Gatherer: api.NewRegistry("x")})
	new(proxy.Proxy).Register(e)
	for _, r := range e.Routes() {
		if r.Method != echo.RouteNotFound {
			list = append(list, registered{r.Method, r.Path})
		}
	}
	slices.SortFunc(list, func(a, b registered) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	if len(list) < 200 {
		t.Fatalf("the program has %d routes only", len(list))
	}
	return list
}

// act is a request that an administrator's token makes succeed.
type act struct {
	path, query string
	body        any
	raw         []byte
}

// subject makes what a path parameter of a route names, new for each route, so
// that a refused request would have changed something.
func (m *matrix) subject(route registered, param string, made map[string]string) string {
	m.t.Helper()
	m.turn++
	fresh := fmt.Sprintf("m%d", m.turn)
	switch param {
	case "vendor":
		return "own-corp"
	case "package":
		if strings.Contains(route.path, "/customers/") {
			return "*" // what is granted
		}
		if strings.Contains(route.path, "/monorepo") {
			return m.monorepo()
		}
		m.upload("own-corp/"+fresh, "1.0.0")
		return fresh
	case "version":
		if strings.Contains(route.path, "upload") {
			return "3.0.0"
		}
		return "1.0.0"
	case "source":
		return above[sourceAnswer](m.daemon, http.MethodPost, "sources", definitions(fresh)).ID
	case "token":
		body := map[string]any{"name": fresh, "role": "read"}
		if made["customer"] != "" {
			body["owner"] = made["customer"]
		}
		return above[struct{ Token sourceAnswer }](m.daemon, http.MethodPost, "tokens", body).Token.ID
	case "customer", "external":
		id := above[sourceAnswer](m.daemon, http.MethodPost, "customers", map[string]any{
			"name": fresh, "external_id": "external-" + fresh, "packages": []map[string]string{{"package": "own-corp/*"}},
		}).ID
		if param == "external" {
			return "external-" + fresh
		}
		return id
	case "ref":
		m.seal(fresh, "now")
		return fresh
	case "name":
		for _, snapshot := range []string{"release", "other"} {
			above[any](m.daemon, http.MethodPut, "proxy/channels/"+fresh, map[string]string{"snapshot": snapshot})
		}
		return fresh
	case "provider":
		return "github"
	case "owner":
		return "own-corp"
	case "alias":
		return "gitea"
	case "id":
		return m.id(route, fresh)
	}
	m.t.Errorf("the matrix does not know what %s of %s is", param, route)
	return ""
}

// monorepo makes a repository of several packages, once, and returns one of
// them.
func (m *matrix) monorepo() string {
	m.t.Helper()
	if !m.several {
		m.several = true
		r := newRepository(m.t)
		r.commit("packages/a/composer.json", `{"name":"own-corp/mono-a"}`, "packages/b/composer.json", `{"name":"own-corp/mono-b"}`)
		src := above[sourceAnswer](m.daemon, http.MethodPost, "sources", map[string]any{
			"type": "git", "url": r.dir, "packages": []string{"own-corp/mono-*"}, "paths": []string{"packages/*"},
		})
		above[runAnswer](m.daemon, http.MethodPost, "sources/"+src.ID+"/sync", nil)
		if list := above[[]struct{ Name string }](m.daemon, http.MethodGet, "packages/own-corp/mono-a/monorepo/children", nil); len(list) != 2 {
			m.t.Errorf("the packages of the repository are %v", list)
		}
	}
	return "mono-a"
}

// definitions is a source of one package.
func definitions(name string) map[string]any {
	return map[string]any{"type": "package", "name": name, "packages": []string{"defined-corp/*"}, "interval": 0, "definitions": map[string]any{
		"name": "defined-corp/" + name, "version": "1.0.0", "type": "metapackage",
	}}
}

func (m *matrix) id(route registered, fresh string) string {
	m.t.Helper()
	switch segment := strings.Split(route.path, "/"); {
	case strings.Contains(route.path, "/jobs/"):
		return above[sourceAnswer](m.daemon, http.MethodGet, "proxy/diff?from=release&to=other&wait=false", nil).ID
	case strings.Contains(route.path, "/deliveries/"):
		r := m.do(http.MethodPost, "/api/webhooks/generic?composer_package_name="+kinds.own, nil, "Authorization", bearer(adminToken))
		return into[struct{ Data sourceAnswer }](m.t, r).Data.ID
	case strings.Contains(route.path, "/alerts/"):
		for _, a := range asked[[]sourceAnswer](m.daemon, http.MethodGet, "alerts", nil) {
			return a.ID
		}
		m.t.Fatal("there is no alert")
	case slices.Contains([]string{"blocks", "waivers", "exemptions", "holds"}, segment[len(segment)-2]):
		return above[sourceAnswer](m.daemon, http.MethodPost, "proxy/"+segment[len(segment)-2], ruleOf(segment[len(segment)-2])).ID
	}
	return "1"
}

// ruleOf is a rule about a package that nothing else here is about.
func ruleOf(kind string) map[string]string {
	out := map[string]string{"package": "acme/rule", "reason": "matrix", "owner": "matrix", "expires_at": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	switch kind {
	case "blocks", "holds":
		out["versions"] = "^1"
	case "waivers":
		out["versions"], out["reference"] = "1.0.0", strings.Repeat("a", 40)
	}
	return out
}

// acts say how a route that changes something is asked so that it does: what
// is done first, and the body.
var acts = map[string]struct {
	first []string // further routes below the same path, without it
	query string
	body  any
}{
	"POST /api/v1/customers":                                       {body: map[string]any{"name": "new"}},
	"PATCH /api/v1/customers/:customer":                            {body: map[string]any{"name": "changed"}},
	"DELETE /api/v1/customers/:customer":                           {},
	"POST /api/v1/customers/:customer/freeze":                      {},
	"POST /api/v1/customers/:customer/unfreeze":                    {first: []string{"freeze"}},
	"POST /api/v1/customers/:customer/suspend":                     {},
	"POST /api/v1/customers/:customer/reactivate":                  {first: []string{"suspend"}},
	"POST /api/v1/customers/:customer/packages":                    {body: map[string]string{"package": "foreign-corp/*"}},
	"PUT /api/v1/customers/:customer/packages":                     {body: map[string]any{"packages": []any{}}},
	"DELETE /api/v1/customers/:customer/packages/:vendor/:package": {},
	"POST /api/v1/customers/:customer/tokens":                      {body: map[string]any{"name": "new", "role": "read"}},
	"DELETE /api/v1/customers/:customer/tokens/:token":             {},
	"POST /api/v1/customers/:customer/tokens/:token/rotate":        {},
	"POST /api/v1/tokens":                                          {body: map[string]any{"name": "new", "role": "admin"}},
	"DELETE /api/v1/tokens/:token":                                 {},
	"POST /api/v1/tokens/:token/rotate":                            {},

	"POST /api/v1/packages":                                     {body: map[string]any{"name": "own-corp/added", "repository_url": "https://127.0.0.1:1/added.git"}},
	"DELETE /api/v1/packages/:vendor/:package":                  {},
	"POST /api/v1/packages/:vendor/:package/abandon":            {body: map[string]string{"replacement": "acme/lib"}},
	"POST /api/v1/packages/:vendor/:package/deprecate/:version": {},
	"POST /api/v1/packages/:vendor/:package/release":            {first: []string{"DELETE"}},
	"POST /api/v1/packages/:vendor/:package/restore":            {first: []string{"DELETE"}},
	"POST /api/v1/packages/:vendor/:package/sync":               {},
	"POST /api/v1/packages/:vendor/:package/monorepo/sync":      {},
	"POST /api/v1/packages/:vendor/:package/validate":           {},
	"POST /api/v1/packages/:vendor/:package/yank/:version":      {},
	"POST /api/v1/packages/:vendor/:package/unyank/:version":    {first: []string{"yank/1.0.0"}},

	"POST /api/v1/sources":              {body: definitions("added-source")},
	"PATCH /api/v1/sources/:source":     {body: map[string]any{"priority": 7}},
	"DELETE /api/v1/sources/:source":    {},
	"POST /api/v1/sources/:source/sync": {},

	"POST /api/v1/webhooks/deliveries/:id/replay": {},

	"POST /api/v1/proxy/alerts/:id/ack":            {},
	"POST /api/v1/proxy/purge":                     {body: map[string]string{"kind": "archives"}},
	"POST /api/v1/proxy/freeze/:vendor/:package":   {},
	"POST /api/v1/proxy/unfreeze/:vendor/:package": {first: []string{"/api/v1/proxy/freeze/"}},
	"POST /api/v1/proxy/freezes":                   {body: map[string]string{"pattern": "acme/*"}},
	"DELETE /api/v1/proxy/freezes":                 {query: "?pattern=acme/*"},
	"POST /api/v1/proxy/snapshots":                 {body: map[string]string{"name": "made-by-matrix", "from": "now"}},
	"POST /api/v1/proxy/snapshots/import":          {},
	"DELETE /api/v1/proxy/snapshots/:ref":          {},
	"POST /api/v1/proxy/snapshots/:ref/verify":     {},
	"PUT /api/v1/proxy/channels/:name":             {body: map[string]string{"snapshot": "release"}},
	"DELETE /api/v1/proxy/channels/:name":          {},
	"POST /api/v1/proxy/channels/:name/rollback":   {},
	"POST /api/v1/proxy/diff":                      {query: "?from=release&to=other", body: oldLock},
	"POST /api/v1/proxy/history/import-lock":       {query: "?at=2024-06-01T00:00:00Z", body: oldLock},
	"POST /api/v1/proxy/blocks":                    {body: ruleOf("blocks")},
	"DELETE /api/v1/proxy/blocks/:id":              {},
	"POST /api/v1/proxy/waivers":                   {body: ruleOf("waivers")},
	"DELETE /api/v1/proxy/waivers/:id":             {},
	"POST /api/v1/proxy/exemptions":                {body: ruleOf("exemptions")},
	"DELETE /api/v1/proxy/exemptions/:id":          {},
	"POST /api/v1/proxy/holds":                     {body: ruleOf("holds")},
	"DELETE /api/v1/proxy/holds/:id":               {},
}

// oldLock is a lock file from before recording began.
var oldLock = map[string]any{"packages": []any{map[string]any{
	"name": kinds.public, "version": "0.9.0", "time": "2024-01-01T00:00:00+00:00",
	"dist": map[string]string{"type": "zip", "url": "https://dist.example.org/lib.zip", "reference": strings.Repeat("a", 40)},
}}}

// changesNothing are the routes with a method of change that look at something,
// or do what is done already.
var changesNothing = []string{"/validate", "/verify", "/diff", "/sync", "/purge", "/replay"}

var parameter = regexp.MustCompile(`:\w+`)

// prepare makes the request for a route that would succeed.
func (m *matrix) prepare(route registered) (act, bool) {
	m.t.Helper()
	made := map[string]string{}
	out := act{path: parameter.ReplaceAllStringFunc(route.path, func(p string) string {
		made[p[1:]] = m.subject(route, p[1:], made)
		return url.PathEscape(made[p[1:]])
	})}
	need, _ := needOf(route.path)
	switch {
	case need == uploaders:
		m.turn++
		name := fmt.Sprintf("own-corp/up%d", m.turn)
		if made["package"] != "" {
			name = "own-corp/" + made["package"]
		}
		out.raw = upload(m.t, "composer.json", fmt.Sprintf(`{"name":%q,"version":"3.0.0"}`, name))
		return out, true
	case need == hooks:
		if !strings.Contains(route.path, ":package") {
			out.query = "?composer_package_name=" + kinds.own
		}
		return out, true
	case route.method == http.MethodGet || route.method == http.MethodHead:
		out.query = gets[route.path]
		return out, true
	case need == signed:
		return out, true
	}
	how, known := acts[route.String()]
	out.query, out.body = how.query, how.body
	for _, step := range how.first {
		base := "/" + strings.Join(strings.Split(out.path, "/")[1:6], "/")
		method := http.MethodPost
		switch {
		case step == "DELETE":
			method = http.MethodDelete
			base = strings.TrimSuffix(out.path, out.path[strings.LastIndex(out.path, "/"):])
		case strings.HasPrefix(step, "/"):
			base = step + made["vendor"] + "/" + made["package"]
		case strings.Contains(out.path, "/customers/"):
			base = "/api/v1/customers/" + made["customer"] + "/" + step
		default:
			base += "/" + step
		}
		if r := m.do(method, base, nil, "Authorization", bearer(adminToken)); r.StatusCode/100 != 2 {
			m.t.Fatalf("%s %s: %d %s", method, base, r.StatusCode, r.body)
		}
	}
	if route.path == "/api/v1/proxy/snapshots/import" {
		m.seal("exported", "now")
		out.raw = m.do(http.MethodGet, "/api/v1/proxy/snapshots/exported/export", nil, "Authorization", bearer(adminToken)).body
		out.query = "?name=imported"
	}
	return out, known
}

// gets are the queries that reading the management API takes.
var gets = map[string]string{
	"/api/v1/proxy/diff":                              "?from=release&to=other",
	"/api/v1/proxy/packages/:vendor/:package/explain": "?version=1.0.0",
}
