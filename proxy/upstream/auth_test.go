package upstream_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"stasis/proxy/upstream"
)

const composerAuth = `{
	"bitbucket-oauth": {"bitbucket.org": {"consumer-key": "k", "consumer-secret": "s"}},
	"github-oauth": {"github.com": "gh_secret"},
	"gitlab-oauth": {"gitlab.com": {"expires-at": 1, "refresh-token": "r", "token": "glo_secret"}, "gitlab.test": "glo2_secret"},
	"gitlab-token": {"git.test": "glt_secret", "deploy.test": {"username": "gitlab+deploy-token-1", "token": "gld_secret"}},
	"http-basic": {"satis.test": {"username": "user", "password": "basic_secret"}, "packagist.org": {"username": "u", "password": "p_secret"}},
	"bearer": {"bearer.test:8443": "bearer_secret"},
	"custom-headers": {"custom.test": ["X-JFrog-Art-Api: jf_secret", "x-second:  two_secret "]}
}`

func TestCredentialsOfComposersAuthFileReachTheirOrigins(t *testing.T) {
	auth, err := upstream.ParseAuthJSON([]byte(composerAuth))
	if err != nil {
		t.Fatal(err)
	}
	if got := auth.Ignored(); !slices.Equal(got, []string{"bitbucket-oauth"}) {
		t.Errorf("ignored sections: %v", got)
	}
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	var got http.Header
	w := newWorld(t, true, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c := newClient(t, func(o *upstream.Options) { w.options(o); o.Auth = auth })
	for url, want := range map[string]map[string]string{
		"https://github.com/":             {"Authorization": "token gh_secret"},
		"https://api.github.com/repos":    {"Authorization": "token gh_secret"},
		"https://codeload.github.com/":    {},
		"https://raw.github.com/":         {},
		"http://api.github.com/":          {},
		"https://api.github.com:8443/":    {},
		"https://GitHub.com:443/":         {"Authorization": "token gh_secret"},
		"https://gitlab.test/":            {"Authorization": "Bearer glo2_secret"},
		"https://git.test/":               {"Private-Token": "glt_secret"},
		"https://deploy.test/":            {"Authorization": basic("gitlab+deploy-token-1:gld_secret")},
		"https://satis.test/":             {"Authorization": basic("user:basic_secret")},
		"https://x:y@satis.test/":         {"Authorization": basic("user:basic_secret")},
		"https://x:y@other.test/":         {"Authorization": basic("x:y")},
		"http://satis.test/":              {},
		"https://bearer.test/":            {},
		"https://bearer.test:8443/":       {"Authorization": "Bearer bearer_secret"},
		"https://custom.test/":            {"X-Jfrog-Art-Api": "jf_secret", "X-Second": "two_secret"},
		"https://satis.test.evil.test/":   {},
		"https://unknown.test/satis.test": {},
	} {
		got = nil
		if _, _, err := get(c, url); err != nil && !strings.Contains(url, "evil") {
			t.Errorf("%s: %v", url, err)
		}
		for name := range got {
			if _, ok := want[name]; !ok && name != "User-Agent" && name != "Accept-Encoding" {
				t.Errorf("%s: %s was sent", url, name)
			}
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", url, name, got.Get(name), value)
			}
		}
	}
}

func TestAKeyThatSaysHTTPIsForPlainHTTP(t *testing.T) {
	auth, err := upstream.ParseAuthJSON([]byte(`{"bearer": {"http://satis.test:8080": "b_secret"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got string
	w := newWorld(t, false, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") })
	c := newClient(t, func(o *upstream.Options) { w.options(o); o.Auth = auth })
	for url, want := range map[string]string{
		"http://satis.test:8080/": "Bearer b_secret", "http://satis.test/": "", "https://satis.test:8443/": "",
	} {
		if _, _, err := get(c, url); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", url, got, err, want)
		}
	}
}

func TestTheLastKindOfAuthorizationCounts(t *testing.T) {
	auth, err := upstream.ParseAuthJSON([]byte(`{"bearer": {"a.test": "bearer"}, "github-oauth": {"a.test": "token"},
		"http-basic": {"a.test": {"username": "u", "password": "p"}}, "gitlab-token": {"a.test": "private"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got http.Header
	w := newWorld(t, false, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c := newClient(t, func(o *upstream.Options) { w.options(o); o.Auth = auth })
	if _, _, err := get(c, "https://a.test/"); err != nil {
		t.Fatal(err)
	}
	if got.Get("Authorization") != "Bearer bearer" || got.Get("Private-Token") != "private" {
		t.Errorf("got %v", got)
	}
}

func TestAuthFilesThatAreEmpty(t *testing.T) {
	for _, text := range []string{"", " \n", "{}", "[]", " [ ] ", `{"http-basic": {}}`, `{"http-basic": []}`, `{"github-oauth": null}`} {
		auth, err := upstream.ParseAuthJSON([]byte(text))
		if err != nil || len(auth.Origins()) != 0 {
			t.Errorf("%q: %v %v", text, auth.Origins(), err)
		}
	}
}

func TestAuthFilesThatAreWrongAreRefusedWithoutRepeatingSecrets(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":              `{"bearer": {"a.test": "s3cret"`,
		"a list":                `["s3cret"]`,
		"token is a number":     `{"bearer": {"a.test": 12345678}}`,
		"basic is a string":     `{"http-basic": {"a.test": "u:s3cret"}}`,
		"basic is empty":        `{"http-basic": {"a.test": {}}}`,
		"empty token":           `{"github-oauth": {"github.com": ""}}`,
		"line break":            `{"bearer": {"a.test": "s3cret\r\nX: y"}}`,
		"gitlab list":           `{"gitlab-token": {"a.test": ["s3cret"]}}`,
		"gitlab without token":  `{"gitlab-token": {"a.test": {"username": "s3cret"}}}`,
		"header without colon":  `{"custom-headers": {"a.test": ["s3cret"]}}`,
		"header without name":   `{"custom-headers": {"a.test": [": s3cret"]}}`,
		"header without value":  `{"custom-headers": {"a.test": ["X-Key:"]}}`,
		"header that frames":    `{"custom-headers": {"a.test": ["Transfer-Encoding: s3cret"]}}`,
		"header for a host":     `{"custom-headers": {"a.test": ["host: s3cret"]}}`,
		"key with a user":       `{"bearer": {"u:s3cret@a.test": "x"}}`,
		"key that is no host":   `{"bearer": {"": "s3cret"}}`,
		"key of another scheme": `{"bearer": {"ssh://a.test": "s3cret"}}`,
		"key with a bad port":   `{"bearer": {"a.test:99999": "s3cret"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := upstream.ParseAuthJSON([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "12345678") {
				t.Errorf("the error repeats the secret: %v", err)
			}
			if !strings.HasPrefix(err.Error(), "auth.json") {
				t.Errorf("the error does not say where: %v", err)
			}
		})
	}
}

func TestASecretHidesItselfHoweverItIsPrinted(t *testing.T) {
	secret := upstream.NewSecret(planted)
	if secret.Reveal() != planted || secret.IsZero() || !(upstream.Secret{}).IsZero() {
		t.Error("the secret is lost")
	}
	auth, err := upstream.ParseAuthJSON([]byte(`{"bearer": {"a.test": "` + planted + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Public  upstream.Secret
		private upstream.Secret
		auth    *upstream.Auth
		Auth    *upstream.Auth
	}
	h := holder{secret, secret, auth, auth}
	var out strings.Builder
	for _, v := range []any{secret, &secret, h, &h, []upstream.Secret{secret}, auth, *auth, []*upstream.Auth{auth}, map[string]any{"a": secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(encoded)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
	}
	for _, form := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret can be read: %s", out.String())
		}
	}
}

func TestCredentialsForAPathAreForWhatLiesBelow(t *testing.T) {
	auth, err := upstream.ParseAuthJSON([]byte(`{"bearer": {"a.test": "whole", "a.test/acme": "acme",
		"https://a.test/acme/inner/packages.json": "inner", "b.test/only/": "only"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(auth.Origins()), "[https://a.test:443 https://a.test:443/acme https://a.test:443/acme/inner https://b.test:443/only]"; got != want {
		t.Errorf("the table is for %s, want %s", got, want)
	}
	var got string
	w := newWorld(t, true, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") })
	c := newClient(t, func(o *upstream.Options) { w.options(o); o.Auth = auth })
	for url, want := range map[string]string{
		"https://a.test/":                      "Bearer whole",
		"https://a.test/acmeother/x":           "Bearer whole",
		"https://a.test/acme":                  "Bearer acme",
		"https://a.test/acme/x?y":              "Bearer acme",
		"https://a.test/acme/innermost":        "Bearer acme",
		"https://a.test/acme/inner/dist/x.zip": "Bearer inner",
		"https://a.test/acme/inner/../x":       "Bearer acme",
		"https://a.test/acme/%2e%2e/other":     "Bearer whole",
		"http://a.test/acme/x":                 "",
		"https://b.test/":                      "",
		"https://b.test/only/p2/x.json":        "Bearer only",
		"https://b.test/only/../secret":        "",
	} {
		got = "nothing arrived"
		if _, _, err := get(c, url); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", url, got, err, want)
		}
	}
}

func TestSourcesBringTheirOwnCredentials(t *testing.T) {
	auth, err := upstream.ParseAuthJSON([]byte(`{"bearer": {"a.test": "ours"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := http.Header{}
	w := newWorld(t, true, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c := newClient(t, func(o *upstream.Options) { w.options(o); o.Auth = auth })
	set := func(owner, text string) {
		t.Helper()
		if err := c.Auth().Set(owner, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(owner, url, want string) {
		t.Helper()
		if _, _, err := fetch(c, upstream.Request{URL: url, Owner: owner}); err != nil {
			t.Fatal(err)
		}
		if got := got.Get("Authorization") + got.Get("Private-Token") + got.Get("X-Key"); got != want {
			t.Errorf("%s was sent %q in the name of %q, want %q", url, got, owner, want)
		}
	}
	set("one", `{"http-basic": {"a.test": {"username": "u", "password": "p"}}, "gitlab-token": {"git.test": "glt"}}`)
	set("two", `{"custom-headers": {"b.test/two": ["X-Key: k"]}, "bearer": {"git.test": "other"}}`)
	want("one", "https://a.test/", "Basic "+base64.StdEncoding.EncodeToString([]byte("u:p")))
	want("one", "https://git.test/", "glt")
	want("two", "https://git.test/", "Bearer other")
	want("two", "https://a.test/", "Bearer ours")
	want("two", "https://b.test/two/x", "k")
	want("two", "https://b.test/one/x", "")
	want("one", "https://b.test/two/x", "")
	for _, stranger := range []string{"", "three"} { // and nobody else
		want(stranger, "https://git.test/", "")
		want(stranger, "https://b.test/two/x", "")
		want(stranger, "https://a.test/", "Bearer ours")
	}

	set("one", `{"bearer": {"git.test": "new"}}`) // replaces all of it
	want("one", "https://a.test/", "Bearer ours")
	want("one", "https://git.test/", "Bearer new")
	if err := c.Auth().Set("one", []byte(`{"bearer": 1}`)); err == nil {
		t.Error("credentials that cannot be read were taken")
	}
	want("one", "https://git.test/", "Bearer new")
	c.Auth().Remove("one")
	c.Auth().Remove("nobody")
	want("one", "https://git.test/", "")
	want("two", "https://git.test/", "Bearer other")
}

func TestCredentialsChangeWhileRequestsAreMade(t *testing.T) {
	w := newWorld(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	})
	c := newClient(t, w.options)
	var g sync.WaitGroup
	for owner := range 4 {
		g.Go(func() {
			origin := fmt.Sprintf("o%d.test", owner)
			for i := range 20 {
				want := fmt.Sprint("Bearer ", i)
				if err := c.Auth().Set(origin, fmt.Appendf(nil, `{"bearer": {%q: "%d"}}`, origin, i)); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					c.Auth().Remove(origin)
					want = ""
				}
				if _, body, err := fetch(c, upstream.Request{URL: "https://" + origin + "/", Owner: origin}); err != nil || body != want {
					t.Errorf("%s was sent %q, want %q: %v", origin, body, want, err)
				}
			}
		})
	}
	g.Wait()
}

func FuzzParseAuthJSON(f *testing.F) {
	f.Add([]byte(composerAuth))
	f.Add([]byte(`{"bearer": {"http://a.test:8080/path": "x"}}`))
	f.Add([]byte(`{"bearer": {"a.test/%3fx/../y/a.json": "x"}}`))
	f.Add([]byte(`{"http-basic": {"[::1]:80": {"username": "", "password": "p"}}}`))
	f.Add([]byte(`{"custom-headers": {"é.test": ["A: b", "a: c"]}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		auth, err := upstream.ParseAuthJSON(data)
		if err != nil {
			if auth != nil {
				t.Error("an error came with a table")
			}
			return
		}
		for _, origin := range auth.Origins() {
			again, err := upstream.ParseAuthJSON(fmt.Appendf(nil, `{"bearer": {%q: "x"}}`, origin))
			if err != nil || !slices.Contains(again.Origins(), origin) {
				t.Errorf("the origin %q does not name itself: %v", origin, err)
			}
		}
	})
}
