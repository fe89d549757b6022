package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/api"
	"stasis/private"
	"stasis/private/access"
	"stasis/private/audit"
	"stasis/private/hooks"
	"stasis/private/vault"
	"stasis/private/webhook"
	"stasis/proxy/composer"
	"stasis/store"
)

// sources stands in for those that a push leads to.
type sources struct {
	mu     sync.Mutex
	synced []string
}

func (*sources) Sources(context.Context) ([]private.Source, error) {
	return []private.Source{{ID: "one", URL: "https://git.example/acme/lib.git"}, {ID: "two", URL: "https://git.example/other/lib.git"}}, nil
}

func (*sources) List(context.Context, string, bool) ([]private.Package, error) {
	return []private.Package{{Name: named("acme/lib"), Source: "one"}, {Name: named("other/lib"), Source: "two"}}, nil
}

func (s *sources) Sync(id, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = append(s.synced, id)
}

func (s *sources) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := strings.Join(s.synced, " ")
	s.synced = nil
	return got
}

func named(s string) composer.Name {
	n, err := composer.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// silent is a registry to which things are published.
type silent struct{}

func (silent) Keep(context.Context, composer.Name, composer.Version, store.Digest, int64, string) error {
	return nil
}
func (silent) Changed(context.Context, composer.Name, time.Time) error { return nil }
func (silent) Revalidate(context.Context, composer.Name) error         { return nil }
func (silent) Rerouted()                                               {}
func (silent) Alert(_, _, _ string)                                    {}

const hookSecret = "It's a Secret to Everybody"

func newHooks(t testing.TB, st *store.Store, s hooks.Sources) *hooks.Hooks {
	t.Helper()
	h, err := hooks.New(hooks.Options{Store: st, Sources: s, Now: clock, Secrets: map[webhook.Provider][]string{webhook.GitHub: {hookSecret}, webhook.GitLab: {hookSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// house is a service with all its doors, and tokens for them.
type house struct {
	*service
	sources *sources
	private *private.Service
	tokens  map[string]string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := vault.ParseKeys("", "")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := vault.Open(st, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{sources: &sources{}, tokens: map[string]string{}}
	if h.private, err = private.New(private.Options{Store: st, Vault: secrets, MaxArchiveSize: 1 << 20, Now: clock}); err != nil {
		t.Fatal(err)
	}
	h.private.Start(silent{})
	t.Cleanup(func() { _, _ = h.private.Close(), st.Close() })
	doors, err := access.New(access.Options{Store: st, AdminToken: token, Private: h.private.Private, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	h.service = serve(t, api.Options{Operator: &operator{}, Access: doors, Uploads: h.private, Hooks: newHooks(t, st, h.sources), Now: clock,
		Audit: audit.New(audit.Options{Store: st, Now: clock})})
	for name, tok := range map[string]access.Token{
		"admin": {Role: access.RoleAdmin}, "developer": {Role: access.RoleDeveloper}, "read": {Role: access.RoleRead}, "webhook": {Role: access.RoleWebhook},
		"acme developer": {Role: access.RoleDeveloper, Packages: []string{"acme/*"}}, "acme webhook": {Role: access.RoleWebhook, Packages: []string{"acme/*"}},
	} {
		tok.Name = name
		_, text, err := doors.CreateToken(tok)
		if err != nil {
			t.Fatal(err)
		}
		h.tokens[name] = text
	}
	return h
}

// ask sends a request with a token of a name, or none.
func (h *house) ask(method, path, who string, body io.Reader, header ...string) answer {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+h.tokens[who])
	}
	for _, line := range header {
		k, v, _ := strings.Cut(line, ": ")
		r.Header.Set(k, v)
	}
	return h.send(r)
}

// versions are those that are published of a package.
func (h *house) versions(name string) string {
	_, all, err := h.private.Package(h.t.Context(), named(name))
	if err != nil {
		return ""
	}
	var out []string
	for _, v := range all {
		out = append(out, v.Pretty)
	}
	return strings.Join(out, " ")
}

func archive(manifest string, more ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range append([]string{"p/composer.json", manifest}, more...) {
		if len(f) > 1 && !strings.HasPrefix(f, "p/") {
			continue
		}
		out, _ := w.Create(f)
		_, _ = io.WriteString(out, manifest)
	}
	_ = w.Close()
	return b.Bytes()
}

// form is an archive in a form, behind fields.
func form(file []byte, fields ...string) (body io.Reader, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	if file != nil {
		out, _ := w.CreateFormFile("package", "lib.zip")
		_, _ = out.Write(file)
	}
	_ = w.Close()
	return &b, "Content-Type: " + w.FormDataContentType()
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestArchivesAreUploadedInEveryForm(t *testing.T) {
	h := newHouse(t)
	for i, c := range []struct{ method, path, manifestVersion string }{
		{"PUT", "/api/v1/packages/upload", "%s"},
		{"POST", "/api/v1/packages/upload?filename=lib.zip", "%s"},
		{"PUT", "/api/v1/packages/upload?version=%s", ""},
		{"PUT", "/api/v1/packages/upload/acme/lib", "%s"},
		{"POST", "/api/v1/packages/upload/Acme/Lib?version=%s", ""},
		{"PUT", "/api/v1/packages/upload/acme/lib/%s", ""},
		{"POST", "/api/v1/packages/upload/acme/lib/v%s", "%s"},
		{"PUT", "/packages/upload/acme/lib/%s", ""}, // Nexus, Packeton
		{"POST", "/packages/upload/acme/lib/%s", ""},
		{"PUT", "/packages/upload/acme/lib/%s?src-type=git&src-url=https://git.example/x&src-ref=abc", ""},
		{"PUT", "/api/packages/upload/acme/lib/%s", ""},
		{"PUT", "/api/packages/acme/composer?version=%s", ""}, // Gitea
		{"PUT", "/api/packages/acme/composer", "%s"},
	} {
		version := fmt.Sprintf("1.0.%d", i)
		manifest := `{"name":"acme/lib"}`
		if c.manifestVersion != "" {
			manifest = `{"name":"acme/lib","version":"` + version + `"}`
		}
		path := strings.ReplaceAll(c.path, "%s", version)
		for try, header := range []string{"X-None: 1", basic("anybody", h.tokens["developer"])} { // the second is no change
			who := "developer"
			if try == 1 {
				who = ""
			}
			if a := h.ask(c.method, path, who, bytes.NewReader(archive(manifest)), header); a.StatusCode != http.StatusCreated {
				t.Errorf("%s %s: %d %s", c.method, path, a.StatusCode, a.body)
			}
		}
		if got := h.versions("acme/lib"); !strings.HasPrefix(strings.TrimPrefix(got, "v"), version) {
			t.Errorf("%s %s: published are %s", c.method, path, got)
		}
	}
	body, kind := form(archive(`{"name":"acme/lib"}`), "src-type", "git", "version", "2.0")
	if a := h.ask("POST", "/packages/upload/acme/lib/2.0", "developer", body, kind); a.StatusCode != http.StatusCreated || string(bytes.TrimSpace(a.body)) != "[]" {
		t.Errorf("a form as Packeton's: %d %s", a.StatusCode, a.body)
	}
	body, kind = form(archive(`{"name":"acme/lib"}`), "version", "dev-feature/x")
	a := h.ask("POST", "/api/v1/packages/upload", "developer", body, kind)
	if u := envelope[api.Uploaded](t, a).Data; a.StatusCode != http.StatusCreated || u.Package != "acme/lib" || u.Normalized != "dev-feature/x" || u.Type != "zip" || u.Size == 0 || len(u.SHA1) != 40 || len(u.SHA256) != 64 || u.Source == "" {
		t.Errorf("a form: %d %s", a.StatusCode, a.body)
	}
	if a := h.ask("PUT", "/packages/upload/acme/lib/dev-feature/y", "developer", bytes.NewReader(archive(`{"name":"acme/lib"}`))); a.StatusCode != http.StatusCreated || !strings.Contains(h.versions("acme/lib"), "dev-feature/y") {
		t.Errorf("a branch with a slash: %d %s", a.StatusCode, a.body)
	}
	if e := h.newestEntry(); e.Action != "package.upload" || e.Subject != "acme/lib dev-feature/y" || len(e.Details["sha256"]) != 64 || e.Result != "ok" {
		t.Errorf("the audit log says %+v", e)
	}
}

func TestUploadsTakeATokenForThePackage(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		who, header, path, name string
		want                    int
	}{
		{"", "", "/api/v1/packages/upload/acme/lib/1.0", "acme/lib", 401},
		{"", basic("anybody", "wrong"), "/api/v1/packages/upload/acme/lib/1.0", "acme/lib", 401},
		{"", basic("snapshot=2026-01-01", ""), "/api/v1/packages/upload/acme/lib/1.0", "acme/lib", 401},
		{"read", "", "/api/v1/packages/upload/acme/lib/1.0", "acme/lib", 403},
		{"webhook", "", "/packages/upload/acme/lib/1.0", "acme/lib", 403},
		{"developer", "", "/api/v1/packages/upload/acme/one/1.0", "acme/one", 201},
		{"admin", "", "/api/packages/upload/acme/two/1.0", "acme/two", 201},
		{"acme developer", "", "/packages/upload/acme/three/1.0", "acme/three", 201},
		{"acme developer", "", "/packages/upload/other/lib/1.0", "other/lib", 403},
		{"acme developer", "", "/api/v1/packages/upload?version=1.0", "other/lib", 403}, // which only the archive says
		{"acme developer", "", "/api/packages/acme/composer?version=1.0", "other/lib", 403},
		{"developer", "Sec-Fetch-Site: cross-site", "/api/v1/packages/upload/acme/lib/1.0", "acme/lib", 403},
	} {
		header := []string{}
		if c.header != "" {
			header = append(header, c.header)
		}
		a := h.ask("PUT", c.path, c.who, bytes.NewReader(archive(`{"name":"`+c.name+`"}`)), header...)
		if a.StatusCode != c.want {
			t.Errorf("%s by %q %s: %d %s, want %d", c.path, c.who, c.header, a.StatusCode, a.body, c.want)
		}
		if got := h.versions(c.name); (got == "1.0") != (c.want == 201) {
			t.Errorf("%s by %q %s: published are %q", c.path, c.who, c.header, got)
		}
	}
}

func TestUploadsThatAreRefusedPublishNothing(t *testing.T) {
	h := newHouse(t)
	if a := h.ask("PUT", "/api/v1/packages/upload/acme/lib/1.0", "developer", bytes.NewReader(archive(`{"name":"acme/lib"}`))); a.StatusCode != 201 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	noFile, noFileKind := form(nil, "version", "1.1")
	two, twoKind := form(archive(`{"name":"acme/lib"}`), "version", "1.1")
	long, longKind := form(archive(`{"name":"acme/lib"}`), "version", strings.Repeat("1", 5000))
	many := make([]string, 100)
	for i := range many {
		many[i] = "a"
	}
	fields, fieldsKind := form(archive(`{"name":"acme/lib"}`), many...)
	for _, c := range []struct {
		name, path string
		body       io.Reader
		header     string
		status     int
		why        string
	}{
		{"another version under the same number", "/api/v1/packages/upload/acme/lib/1.0", bytes.NewReader(archive(`{"name":"acme/lib","description":"changed"}`)), "", 409, "exists with other content"},
		{"a lying name", "/api/v1/packages/upload/acme/lib/1.1", bytes.NewReader(archive(`{"name":"acme/other"}`)), "", 400, "says that it is acme/other"},
		{"a lying version", "/packages/upload/acme/lib/1.1", bytes.NewReader(archive(`{"name":"acme/lib","version":"1.2"}`)), "", 400, "says that it is version 1.2"},
		{"no version", "/api/v1/packages/upload/acme/lib", bytes.NewReader(archive(`{"name":"acme/lib"}`)), "", 400, "no version"},
		{"two versions", "/api/v1/packages/upload/acme/lib/1.1", two, twoKind, 0, ""},
		{"no body", "/api/v1/packages/upload/acme/lib/1.1", nil, "", 400, "neither a zip"},
		{"a text", "/api/v1/packages/upload/acme/lib/1.1", strings.NewReader("hello"), "", 400, "neither a zip"},
		{"a form without a file", "/api/v1/packages/upload/acme/lib", noFile, noFileKind, 400, "has no file"},
		{"a form with a long field", "/api/v1/packages/upload/acme/lib", long, longKind, 400, "too long"},
		{"a form with many fields", "/api/v1/packages/upload/acme/lib", fields, fieldsKind, 400, "more than 32"},
		{"a form that is none", "/api/v1/packages/upload/acme/lib", strings.NewReader("x"), "Content-Type: multipart/form-data; boundary=x", 400, "form"},
		{"a name that is none", "/api/v1/packages/upload/acme/-", bytes.NewReader(archive(`{}`)), "", 400, "not a package name"},
		{"an archive that is too large", "/api/v1/packages/upload/acme/lib/1.1", io.LimitReader(zeros{}, 2<<20), "", 413, "PROXY_MAX_ARCHIVE_SIZE"},
		{"a source that is not there", "/api/v1/packages/upload/acme/lib/1.1?source=none", bytes.NewReader(archive(`{"name":"acme/lib"}`)), "", 404, ""},
		{"a parameter that nobody reads", "/api/v1/packages/upload/acme/lib/1.1?overwrite=true", bytes.NewReader(archive(`{"name":"acme/lib"}`)), "", 400, "not known here"},
	} {
		if c.status == 0 {
			continue
		}
		header := []string{}
		if c.header != "" {
			header = append(header, c.header)
		}
		a := h.ask("PUT", c.path, "developer", c.body, header...)
		if a.StatusCode != c.status || !strings.Contains(a.message(), c.why) {
			t.Errorf("%s: %d %s", c.name, a.StatusCode, a.body)
		}
		if got := h.versions("acme/lib"); got != "1.0" {
			t.Fatalf("%s: published are %s", c.name, got)
		}
	}
	if a := h.ask("PUT", "/api/v1/packages/upload/acme/lib/1.2", "developer", two, twoKind); a.StatusCode != 400 || !strings.Contains(a.message(), "two versions") {
		t.Errorf("two versions: %d %s", a.StatusCode, a.body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func hub(body, secret, id string) []string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return []string{"X-Hub-Signature-256: sha256=" + hex.EncodeToString(m.Sum(nil)), "X-GitHub-Delivery: " + id, "X-GitHub-Event: push", "Content-Type: application/json"}
}

const pushed = `{"ref":"refs/tags/v1.0","repository":{"clone_url":"https://github.example/acme/lib.git","ssh_url":"git@git.example:acme/lib.git"}}`

func TestSignedDeliveriesHaveSourcesRead(t *testing.T) {
	h := newHouse(t)
	a := h.ask("POST", "/api/webhooks/github", "", strings.NewReader(pushed), hub(pushed, hookSecret, "1")...)
	first := envelope[hooks.Delivery](t, a).Data
	if a.StatusCode != http.StatusAccepted || first.Result != hooks.Queued || h.sources.taken() != "one" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	a = h.ask("POST", "/api/webhooks/github", "", strings.NewReader(pushed), hub(pushed, hookSecret, "1")...)
	if d := envelope[hooks.Delivery](t, a).Data; a.StatusCode != http.StatusOK || d.Result != hooks.Repeated || d.ID != first.ID || h.sources.taken() != "" {
		t.Errorf("repeated: %d %s", a.StatusCode, a.body)
	}
	other := strings.ReplaceAll(pushed, "acme/lib", "acme/unknown")
	a = h.ask("POST", "/api/webhooks/github", "", strings.NewReader(other), hub(other, hookSecret, "2")...)
	if a.StatusCode != http.StatusOK || envelope[hooks.Delivery](t, a).Data.Result != hooks.Unmatched {
		t.Errorf("of an unknown repository: %d %s", a.StatusCode, a.body)
	}
	all := data[[]hooks.Delivery](t, h.do("GET", "/api/v1/webhooks/deliveries", ""))
	if len(all) != 2 || len(data[[]hooks.Delivery](t, h.do("GET", "/api/v1/webhooks/deliveries?source=one&provider=github&result=queued&limit=1", ""))) != 1 {
		t.Errorf("the log is %+v", all)
	}
	if d := data[hooks.Delivery](t, h.do("GET", "/api/v1/webhooks/deliveries/"+first.ID, "")); d.Delivery != "1" || d.By != "signature" {
		t.Errorf("the delivery is %+v", d)
	}
	if d := data[hooks.Delivery](t, h.do("POST", "/api/v1/webhooks/deliveries/"+first.ID+"/replay", "")); d.Replays != first.ID || d.By != "admin" || h.sources.taken() != "one" {
		t.Errorf("replayed as %+v", d)
	}
	if e := h.newestEntry(); e.Action != "webhook.replay" || e.Subject != first.ID {
		t.Errorf("the audit log says %+v", e)
	}
	for path, want := range map[string]int{"/api/v1/webhooks/deliveries/none": 404, "/api/v1/webhooks/deliveries?result=lost": 400, "/api/v1/webhooks/deliveries?provider=svn": 400, "/api/v1/webhooks/deliveries?limit=0": 400} {
		if a := h.do("GET", path, ""); a.StatusCode != want {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := h.do("POST", "/api/v1/webhooks/deliveries/none/replay", ""); a.StatusCode != 404 {
		t.Errorf("replayed what never came: %d %s", a.StatusCode, a.body)
	}
}

func TestDeliveriesThatAreNotVerifiedDoNothing(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name, path string
		header     []string
		body       string
		want       int
	}{
		{"no signature", "/api/webhooks/github", []string{"X-GitHub-Delivery: 1", "X-GitHub-Event: push"}, pushed, 401},
		{"another secret", "/api/webhooks/github", hub(pushed, "another", "1"), pushed, 401},
		{"another body", "/api/webhooks/github", hub(pushed, hookSecret, "1"), pushed + " ", 401},
		{"no id", "/api/webhooks/github", hub(pushed, hookSecret, ""), pushed, 401},
		{"the wrong door", "/api/webhooks/gitlab", hub(pushed, hookSecret, "1"), pushed, 401},
		{"an administrator's token", "/api/webhooks/github", []string{"Authorization: Bearer " + token, "X-GitHub-Event: push"}, pushed, 401},
		{"a door without a secret", "/api/webhooks/gitea", hub(pushed, hookSecret, "1"), pushed, 403},
		{"a door that is not there", "/api/webhooks/svn", hub(pushed, hookSecret, "1"), pushed, 404},
		{"a body that cannot be read", "/api/webhooks/github", hub("<xml>", hookSecret, "1"), "<xml>", 400},
		{"a body that is too large", "/api/webhooks/github", hub("", hookSecret, "1"), strings.Repeat(" ", 26<<20), 413},
	} {
		if a := h.ask("POST", c.path, "", strings.NewReader(c.body), c.header...); a.StatusCode != c.want || a.message() == "" || strings.Contains(a.message(), hookSecret) {
			t.Errorf("%s: %d %s", c.name, a.StatusCode, a.body)
		}
	}
	if got := h.sources.taken(); got != "" {
		t.Errorf("read were %s", got)
	}
	refused := data[[]hooks.Delivery](t, h.do("GET", "/api/v1/webhooks/deliveries?result=refused", ""))
	if len(refused) != 8 || refused[0].Reason == "" {
		t.Errorf("of the refused ones, the log has %+v", refused)
	}
}

// Who guesses secrets is slowed, and does not slow installs behind the same address.
func TestGuessesOfSecretsAreSlowed(t *testing.T) {
	h := newHouse(t)
	last := 0
	for i := range 30 {
		last = h.ask("POST", "/api/webhooks/gitlab", "", strings.NewReader(`{}`), fmt.Sprintf("X-Gitlab-Token: guess%d", i)).StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last of 30 guesses is answered with %d", last)
	}
	if a := h.ask("POST", "/api/webhooks/gitlab", "", strings.NewReader(`{}`), "X-Gitlab-Token: "+hookSecret); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the right one behind them: %d", a.StatusCode)
	}
	if a := h.ask("POST", "/api/update-package?composer_package_name=acme/lib", "webhook", nil); a.StatusCode != http.StatusAccepted {
		t.Errorf("a token from there: %d %s", a.StatusCode, a.body)
	}
}

func TestHooksOfPacketonAndScriptsWork(t *testing.T) {
	h := newHouse(t)
	generic := `{"repository":{"url":"https://git.example/acme/lib"}}`
	for _, c := range []struct {
		method, path, body, who, header string
		status                          int
		read                            string
	}{
		{"POST", "/api/update-package?token=admin:%s", generic, "", "", 202, "one"},
		{"POST", "/api/update-package?token=%s", generic, "", "", 202, "one"},
		{"POST", "/api/update-package?username=admin&apiToken=%s", generic, "", "", 202, "one"},
		{"POST", "/api/update-package", generic, "webhook", "", 202, "one"},
		{"POST", "/api/update-package", generic, "", "X-Stasis-Token: %s", 202, "one"},
		{"POST", "/api/update-package", generic, "", "basic", 202, "one"},
		{"GET", "/api/update-package?token=admin:%s&composer_package_name=acme/lib,other/lib", "", "", "", 202, "one two"},
		{"POST", "/api/update-package?token=%s", `{"composer":{"package_name":["acme/lib"]}}`, "", "", 202, "one"},
		{"POST", "/api/update-package/acme/lib?token=%s", "", "", "", 202, "one"},
		{"GET", "/api/update-package/acme/lib?token=%s", "", "", "", 202, "one"},
		{"POST", "/api/github?token=admin:%s", `{"repository":{"url":"https://git.example/acme/lib","html_url":"https://git.example/acme/lib"},"ref":"refs/heads/main"}`, "", "X-GitHub-Event: push", 202, "one"},
		{"POST", "/api/github?token=admin:%s", `{"zen":"x","hook":{}}`, "", "X-GitHub-Event: ping", 200, ""},
		{"POST", "/api/bitbucket?token=admin:%s", `{"repository":{"full_name":"acme/lib","links":{"html":{"href":"https://git.example/acme/lib"}}},"push":{"changes":[]}}`, "", "X-Event-Key: repo:push", 202, "one"},
		{"POST", "/api/hooks/gitlab/7?token=%s", `{"object_kind":"push","ref":"refs/heads/main","project":{"git_http_url":"https://git.example/acme/lib.git"}}`, "", "X-Gitlab-Event: Push Hook", 202, "one"},
		{"POST", "/api/webhooks/generic", generic, "developer", "", 202, "one"},
		{"POST", "/api/webhooks/generic", generic, "acme webhook", "", 202, "one"},
		{"POST", "/api/webhooks/generic?composer_package_name=other/lib", "", "acme webhook", "", 200, ""},
		{"POST", "/api/webhooks/generic", `{"repository":"https://git.example/nobody"}`, "webhook", "", 200, ""},

		{"POST", "/api/update-package", generic, "", "", 401, ""},
		{"POST", "/api/update-package?token=admin:wrong", generic, "", "", 401, ""},
		{"POST", "/api/webhooks/generic", generic, "read", "", 403, ""},
		{"POST", "/api/webhooks/generic", `{"zen":"x"}`, "webhook", "", 400, ""},
		{"POST", "/api/webhooks/generic", "", "webhook", "", 400, ""},
		{"GET", "/api/update-package?composer_package_name=../x", "", "webhook", "", 400, ""},
		{"GET", "/api/update-package?composer_package_name=" + strings.Repeat("a/b,", 200), "", "webhook", "", 400, ""},
		{"POST", "/api/update-package?token=%s", generic, "", "Sec-Fetch-Site: cross-site", 403, ""},
	} {
		header := []string{}
		switch c.header {
		case "":
		case "basic":
			header = append(header, basic("token", h.tokens["webhook"]))
		default:
			header = append(header, strings.ReplaceAll(c.header, "%s", h.tokens["webhook"]))
		}
		a := h.ask(c.method, strings.ReplaceAll(c.path, "%s", h.tokens["webhook"]), c.who, strings.NewReader(c.body), header...)
		if got := h.sources.taken(); a.StatusCode != c.status || got != c.read {
			t.Errorf("%s %s by %q %s: %d %s, read were %q", c.method, c.path, c.who, c.header, a.StatusCode, a.body, got)
		}
		if strings.Contains(h.log.String(), h.tokens["webhook"]) {
			t.Fatalf("%s %s: the token is in the log", c.method, c.path)
		}
	}
	if all := data[[]hooks.Delivery](t, h.do("GET", "/api/v1/webhooks/deliveries?result=queued", "")); strings.Contains(fmt.Sprint(all), h.tokens["webhook"]) || all[0].By == "" {
		t.Errorf("the deliveries are %+v", all)
	}
}
