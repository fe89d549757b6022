package integration_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// managing lets actors try everything but reading. First those who may not:
// they are refused as the rules say, and nothing has changed when all of them
// have tried. Then an administrator does the very same, which changes
// something: so it was not the request that was at fault.
func (m *matrix) managing(t *testing.T, actors []actor) {
	m.seal("other", "now")
	above[any](m.daemon, http.MethodPost, "proxy/freezes", map[string]string{"pattern": "acme/*"})
	failing := above[sourceAnswer](m.daemon, http.MethodPost, "sources", map[string]any{
		"type": "git", "url": "/nowhere", "packages": []string{"failing-corp/*"}, "name": "failing", "interval": 0,
	}).ID
	_ = m.do(http.MethodPost, "/api/v1/sources/"+failing+"/sync", nil, "Authorization", bearer(adminToken))

	type try struct {
		act
		route registered
		need  need
	}
	var tries []try
	for _, route := range routesOf(t) {
		n, ok := needOf(route.path)
		if !ok {
			t.Errorf("the matrix has no rule for %s", route)
			continue
		}
		if n == readers {
			continue
		}
		a, known := m.prepare(route)
		if !known {
			t.Errorf("the matrix does not know how to ask for %s", route)
		}
		tries = append(tries, try{a, route, n})
	}
	send := func(a actor, tr try, path string) *reply {
		body := tr.raw
		if tr.body != nil {
			var err error
			if body, err = json.Marshal(tr.body); err != nil {
				t.Fatal(err)
			}
		}
		kind := "application/json"
		if tr.raw != nil {
			kind = "application/octet-stream"
		}
		return m.ask(a, tr.route.method, path+tr.query, body, "Content-Type", kind)
	}

	before := m.state(t)
	for _, a := range actors {
		for _, tr := range tries {
			paths := []string{tr.path}
			about := strings.Index(tr.path, "/own-corp/")
			// An administrator's route refuses before it looks at the package: two actors show that.
			all := tr.need != admins || tr.route.method != http.MethodHead && (a.name == "developer" || a.name == "read own packages")
			if all && about >= 0 && strings.Contains(tr.route.path, ":package") {
				rest := strings.SplitN(tr.path[about+1:], "/", 3)
				for _, name := range []string{kinds.foreign, kinds.public, kinds.unknown} {
					paths = append(paths, tr.path[:about+1]+strings.Join(append([]string{name}, rest[2:]...), "/"))
				}
			}
			for i, path := range paths {
				name := [...]string{kinds.own, kinds.foreign, kinds.public, kinds.unknown}[i]
				want := a.expected(tr.need, name)
				if want == 0 && tr.need != open {
					continue
				}
				r := send(a, tr, path)
				switch {
				case tr.need == open && r.StatusCode != http.StatusOK:
					t.Errorf("%s, %s %s: %d, want 200 whoever asks", a.name, tr.route.method, path, r.StatusCode)
				case tr.need != open && r.StatusCode != want:
					t.Errorf("%s, %s %s: %d, want %d\n%.300s", a.name, tr.route.method, path, r.StatusCode, want, r.body)
				case tr.need != open:
					if err := refusedWell(r, path, tr.need); err != nil {
						t.Errorf("%s, %s %s: %v", a.name, tr.route.method, path, err)
					}
				}
			}
		}
		if after := m.state(t); !equal(t, after, before) {
			t.Fatalf("%s changed something although it was refused", a.name)
		}
	}

	for _, tr := range tries {
		if tr.need == signed || tr.need == open {
			continue
		}
		if strings.Contains(tr.path, "/jobs/") {
			tr.act, _ = m.prepare(tr.route) // few are remembered
		}
		r := send(actor{header: bearer(adminToken)}, tr, tr.path)
		if r.StatusCode/100 != 2 && r.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("the administrator, %s %s: %d, want success\n%.300s", tr.route.method, tr.path, r.StatusCode, r.body)
		}
		quiet := slices.ContainsFunc(changesNothing, func(end string) bool { return strings.Contains(tr.route.path, end) })
		if tr.need == hooks || quiet || tr.route.method == http.MethodGet || tr.route.method == http.MethodHead {
			continue
		}
		after := m.state(t)
		if bytes.Equal(after["all"], before["all"]) {
			t.Errorf("the administrator changed nothing with %s %s, so that refusing it proves nothing", tr.route.method, tr.path)
		}
		before = after
	}
}

// asides are what the management API says beside what was changed by hand.
var asides = []string{"/api/v1/openapi.json", "/api/v1/audit", "/api/v1/proxy/status", "/api/v1/proxy/stats", "/api/v1/proxy/backup", "/api/v1/proxy/instants"}

var lastUse = regexp.MustCompile(`,"last_used_(at|from)":"[^"]*"`)

// state is everything that the management API lists, by path, and together.
func (m *matrix) state(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, route := range routesOf(t) {
		aside := slices.ContainsFunc(asides, func(path string) bool { return strings.HasPrefix(route.path, path) })
		if n, _ := needOf(route.path); n != admins || route.method != http.MethodGet || strings.Contains(route.path, ":") || aside {
			continue
		}
		query := gets[route.path]
		switch route.path {
		case "/api/v1/webhooks/deliveries":
			query = "?result=queued" // refused ones are noted
		case "/api/v1/packages", "/api/v1/tokens", "/api/v1/customers":
			query = "?per_page=500"
			if route.path == "/api/v1/packages" {
				query += "&deleted=true"
			}
		}
		r := m.do(http.MethodGet, route.path+query, nil, "Authorization", bearer(adminToken))
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", route.path, r.StatusCode, r.body)
		}
		out[route.path] = lastUse.ReplaceAll(r.body, nil)
		out["all"] = append(out["all"], out[route.path]...)
	}
	r := m.do(http.MethodGet, "/api/v1/proxy/packages/"+kinds.public+"/explain?version=0.9.0&at=2024-06-02", nil, "Authorization", bearer(adminToken))
	out["all"] = append(out["all"], r.body...)
	return out
}

func equal(t *testing.T, got, want map[string][]byte) bool {
	t.Helper()
	for path := range want {
		if path != "all" && !bytes.Equal(got[path], want[path]) {
			t.Errorf("%s is\n%.2000s\nand was\n%.2000s", path, got[path], want[path])
		}
	}
	return bytes.Equal(got["all"], want["all"])
}
