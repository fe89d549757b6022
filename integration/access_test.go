package integration_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The access matrix: every kind of token, on every route, about packages of
// every kind, live and dated. What is expected follows from the rules in this
// file; the routes come from the program (access_routes_test.go), so that a new
// one is asked for a rule. What readers see is in access_reading_test.go.

// need is who may use a route.
type need string

const (
	open      need = "anybody"
	admins    need = "administrators, with a bearer token"
	uploaders need = "tokens that may publish the package"
	hooks     need = "tokens that may say that the package changed"
	signed    need = "whoever signs"
	readers   need = "whoever may read"
)

// needs has the rule for the longest beginning of a path.
var needs = map[string]need{
	"/healthz": open, "/livez": open, "/readyz": open, "/version": open, "/metrics": open, "/api/v1/openapi.json": open,

	"/api/v1/":                admins,
	"/api/v1/packages/upload": uploaders, "/packages/upload/": uploaders, "/api/packages/": uploaders,

	"/api/webhooks/": signed, "/api/webhooks/generic": hooks,
	"/api/update-package": hooks, "/api/github": hooks, "/api/bitbucket": hooks, "/api/hooks/": hooks,

	"/packages.json": readers, "/p2/": readers, "/dist-proxy/": readers, "/snapshot/": readers, "/s/": readers, "/cooldown/": readers,
	"/packages/": readers, "/search.json": readers, "/providers/": readers, "/metadata/": readers, "/lists/": readers,
	"/api/security-advisories": readers, "/downloads/": readers,
}

func needOf(path string) (need, bool) {
	for end := len(path); end > 0; end-- {
		if n, ok := needs[path[:end]]; ok {
			return n, true
		}
	}
	return "", false
}

// actor is one kind of client.
type actor struct {
	name, header string

	refused  int    // 401 or 403, whatever it asks for; 0 when it is let in
	role     string // "" without a token
	blind    bool   // sees no private package
	pattern  string // of the private packages it is for; "" for all
	versions string // the only version of private packages that it sees; "" for all
	view     string // the world it is bound to, as a path; "" for none
}

func (a actor) can(role string) bool {
	above := map[string][]string{
		"admin": {"admin", "developer", "read", "webhook"}, "developer": {"developer", "read", "webhook"},
		"read": {"read"}, "webhook": {"webhook"}, "": {"read"},
	}
	return a.refused == 0 && slices.Contains(above[a.role], role)
}

// within reports whether its token is for a package.
func (a actor) within(name string) bool {
	return a.pattern == "" || strings.HasPrefix(name, strings.TrimSuffix(a.pattern, "*"))
}

// sees reports whether a package exists for a reader.
func (a actor) sees(name string) bool {
	return !strings.Contains(name, "-corp/") || !a.blind && a.within(name)
}

// expected is the status of a refusal, or 0 for somebody whom the rule lets in.
func (a actor) expected(n need, name string) int {
	wants := map[need]string{admins: "admin", uploaders: "developer", hooks: "webhook", readers: "read"}
	bearer := strings.HasPrefix(a.header, "Bearer ")
	switch {
	case n == open:
		return 0
	case n == signed, n == admins && !bearer:
		return http.StatusUnauthorized
	case a.refused != 0:
		return a.refused
	case a.role == "" && n != readers:
		return http.StatusUnauthorized
	case !a.can(wants[n]), n == uploaders && !a.within(name):
		return http.StatusForbidden
	}
	return 0
}

// kinds are the packages that clients ask about.
var kinds = struct{ own, foreign, public, unknown string }{"own-corp/lib", "foreign-corp/lib", "acme/lib", "nobody/nothing"}

// matrix is a program with packages of every kind, as of then and now, and its
// clients.
type matrix struct {
	*daemon
	actors   []actor
	then     string            // a world in which 2.0.0 of the packages does not exist
	snapshot string            // the same as a sealed one, by its id
	truths   map[string]*reply // what somebody gets who sees everything, by method and path
	several  bool              // there is a repository of several packages
	turn     int
}

// ask sends a request from an address of its own, as slowing those who guess is
// not what is tested here.
func (m *matrix) ask(a actor, method, path string, body []byte, header ...string) *reply {
	m.t.Helper()
	m.turn++
	from := fmt.Sprintf("10.%d.%d.%d", m.turn>>16&255, m.turn>>8&255, m.turn&255)
	header = append(header, "X-Forwarded-For", from)
	if name, value, custom := strings.Cut(a.header, ": "); custom {
		header = append(header, name, value)
	} else if a.header != "" {
		header = append(header, "Authorization", a.header)
	}
	return m.do(method, path, body, header...)
}

func bearer(token string) string { return "Bearer " + token }
func basic(token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("token:"+token))
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	s, d := pair(t, append([]string{"TRUSTED_PROXIES=127.0.0.1", "GITHUB_WEBHOOK_SECRET=" + hookSecret}, append(withGit, revalidating...)...)...)
	m := &matrix{daemon: d}
	shortly := time.Now().Add(time.Second)
	expired := d.token(map[string]any{"name": "expired", "role": "read", "expires_at": shortly})

	provide := map[string]string{"acme/virtual": "1.0"}
	s.Publish(releaseOf(kinds.public, "1.0.0", provide))
	for _, name := range []string{kinds.own, kinds.foreign} {
		m.upload(name, "1.0.0")
	}
	instant := d.observe(kinds.public, kinds.public+"~dev")
	then, err := time.Parse(time.RFC3339, instant)
	if err != nil {
		t.Fatal(err)
	}
	m.then = "/snapshot/" + then.Format("20060102T150405Z")
	m.snapshot = "/s/" + m.seal("release", "now")
	s.Publish(releaseOf(kinds.public, "2.0.0", provide))
	d.observe(kinds.public)
	for _, name := range []string{kinds.own, kinds.foreign} {
		m.upload(name, "2.0.0")
	}
	for _, name := range []string{kinds.public, kinds.own, kinds.foreign} { // young releases are some seconds old now
		eventually(t, name+" is older than a second", func() bool {
			return strings.Contains(string(d.get("/cooldown/1s/p2/"+name+".json", "Authorization", bearer(adminToken)).body), `"2.0.0"`)
		})
	}

	token := func(role string, more map[string]any) string {
		body := map[string]any{"name": "matrix", "role": role}
		for k, v := range more {
			body[k] = v
		}
		return d.token(body)
	}
	owned := func(change, path string, body any) string {
		id := above[sourceAnswer](d, http.MethodPost, "customers", map[string]any{
			"name": change, "packages": []map[string]string{{"package": "own-corp/*"}},
		}).ID
		token := token("read", map[string]any{"owner": id})
		if path != "" {
			above[any](d, http.MethodPost, "customers/"+id+"/"+path, body)
		}
		return token
	}
	revoked := above[struct {
		Plain string `json:"plain_token"`
		Token sourceAnswer
	}](d, http.MethodPost, "tokens", map[string]any{"name": "revoked", "role": "read"})
	above[any](d, http.MethodDelete, "tokens/"+revoked.Token.ID, nil)
	own := map[string]any{"packages": []string{"own-corp/*"}}

	m.actors = []actor{
		{name: "wrong token", header: bearer("stasis-guessed"), refused: 401},
		{name: "wrong token in a header of its own", header: "X-Stasis-Token: stasis-guessed", refused: 401},
		{name: "broken header", header: "Digest x", refused: 401},
		{name: "administrator of the configuration", header: bearer(adminToken), role: "admin"},
		{name: "administrator, as Basic", header: basic(adminToken), role: "admin"},
		{name: "admin", header: bearer(token("admin", nil)), role: "admin"},
		{name: "developer", header: basic(token("developer", nil)), role: "developer"},
		{name: "developer, in a header of its own", header: "X-Stasis-Token: " + token("developer", nil), role: "developer"},
		{name: "developer of own packages", header: bearer(token("developer", own)), role: "developer", pattern: "own-corp/*"},
		{name: "read", header: basic(token("read", nil)), role: "read"},
		{name: "read, in a header of its own", header: "X-Stasis-Token: " + token("read", nil), role: "read"},
		{name: "webhook", header: bearer(token("webhook", nil)), role: "webhook"},
		{name: "webhook of own packages", header: basic(token("webhook", own)), role: "webhook", pattern: "own-corp/*"},
		{name: "read own packages", header: basic(token("read", own)), role: "read", pattern: "own-corp/*"},
		{name: "read ^1", header: bearer(token("read", map[string]any{"versions": "^1"})), role: "read", versions: "1.0.0"},
		{name: "bound to an instant", header: basic(token("read", map[string]any{"view": m.then[1:]})), role: "read", view: m.then},
		{name: "bound to a snapshot", header: bearer(token("read", map[string]any{"view": "snapshot/release"})), role: "read", view: "/snapshot/release"},
		{name: "expired", header: basic(expired), refused: 401},
		{name: "revoked", header: bearer(revoked.Plain), refused: 401},
		{name: "of an owner", header: basic(owned("active", "", nil)), role: "read", pattern: "own-corp/*"},
		{name: "of a suspended owner", header: basic(owned("suspended", "suspend", map[string]string{"reason": "unpaid"})), refused: 403},
		{name: "of a frozen owner", header: basic(owned("frozen", "freeze", map[string]string{"at": instant})), role: "read", pattern: "own-corp/*", view: m.then},
	}
	eventually(t, "the token has expired", func() bool { return time.Now().After(shortly) })
	return m
}

// upload publishes a version of a private package.
func (m *matrix) upload(name, version string) {
	m.t.Helper()
	body := upload(m.t, "composer.json", fmt.Sprintf(`{"name":%q,"version":%q}`, name, version), "README.md", "# Read me")
	if r := m.do(http.MethodPut, "/api/v1/packages/upload", body, "Authorization", bearer(adminToken)); r.StatusCode != http.StatusCreated {
		m.t.Fatalf("upload %s %s: %d %s", name, version, r.StatusCode, r.body)
	}
}

// seal makes a snapshot and returns its id.
func (m *matrix) seal(name, from string) (id string) {
	m.t.Helper()
	asked[any](m.daemon, http.MethodPost, "snapshots", map[string]string{"name": name, "from": from})
	eventually(m.t, "the snapshot is sealed", func() bool {
		s := asked[struct{ ID, State string }](m.daemon, http.MethodGet, "snapshots/"+name, nil)
		id = s.ID
		return s.State == "sealed"
	})
	return id
}

// anonymous is who has no token.
func anonymous(publicRead string) actor {
	a := actor{name: "no token, PUBLIC_READ=" + publicRead}
	switch publicRead {
	case "false":
		a.refused = http.StatusUnauthorized
	case "public-only":
		a.blind = true
	}
	return a
}

func TestAccessMatrix(t *testing.T) {
	m := newMatrix(t)
	everybody := append(slices.Clone(m.actors), anonymous("public-only"))
	m.reading(t, everybody)
	m.managing(t, everybody)
	for _, policy := range []string{"false", "true"} {
		m.restart("PUBLIC_READ=" + policy)
		some := []actor{anonymous(policy)}
		for _, a := range m.actors {
			if slices.Contains([]string{"wrong token", "read own packages", "webhook"}, a.name) {
				some = append(some, a)
			}
		}
		m.reading(t, some)
	}
}

// refusedWell reports whether a refusal says what a client needs to know, and
// nothing else.
func refusedWell(r *reply, path string, n need) error {
	challenge := r.Header.Get("WWW-Authenticate")
	want := map[need]string{admins: "Bearer ", signed: "Signature "}[n]
	if want == "" {
		want = "Basic "
	}
	switch {
	case r.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(challenge, want):
		return fmt.Errorf("the challenge is %q, want %s", challenge, want)
	case r.StatusCode != http.StatusUnauthorized && challenge != "":
		return fmt.Errorf("with %d comes the challenge %q", r.StatusCode, challenge)
	case r.Header.Get("Cache-Control") != "no-store":
		return fmt.Errorf("a refusal may be kept: %q", r.Header.Get("Cache-Control"))
	case strings.Contains(string(r.body), "-corp/") && !strings.Contains(path, "-corp/"):
		return fmt.Errorf("a refusal names a package: %s", r.body)
	}
	return nil
}
