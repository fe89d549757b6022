package upstream_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"stasis/proxy/upstream"
)

const planted = "tok3n-PLANTED"

// TestCredentialsNeverLeaveTheirOrigin sends every kind of credential to an origin that
// redirects, and looks for it where the redirect leads.
func TestCredentialsNeverLeaveTheirOrigin(t *testing.T) {
	const host = "origin.test"
	custom := func(name string) string {
		return fmt.Sprintf(`{"custom-headers": {%q: ["%s: %s"]}}`, host, name, planted)
	}
	kinds := map[string]struct {
		auth   string
		user   string
		header http.Header
		never  bool // not even the first origin sees it
		late   bool // brought to the table after the client was made
		below  bool // for what lies below /first only
	}{
		"http-basic":          {auth: fmt.Sprintf(`{"http-basic": {%q: {"username": "u", "password": %q}}}`, host, planted)},
		"bearer":              {auth: fmt.Sprintf(`{"bearer": {%q: %q}}`, host, planted)},
		"github-oauth":        {auth: fmt.Sprintf(`{"github-oauth": {%q: %q}}`, host, planted)},
		"gitlab-oauth":        {auth: fmt.Sprintf(`{"gitlab-oauth": {%q: {"token": %q}}}`, host, planted)},
		"gitlab-token":        {auth: fmt.Sprintf(`{"gitlab-token": {%q: %q}}`, host, planted)},
		"JOB-TOKEN":           {auth: custom("JOB-TOKEN")},
		"X-JFrog-Art-Api":     {auth: custom("X-JFrog-Art-Api")},
		"X-Api-Key":           {auth: custom("X-Api-Key")},
		"Cookie":              {auth: custom("Cookie")},
		"Proxy-Authorization": {auth: custom("Proxy-Authorization")},
		"brought by a source": {auth: fmt.Sprintf(`{"bearer": {%q: %q}}`, host, planted), late: true},
		"brought for a path":  {auth: fmt.Sprintf(`{"http-basic": {"https://%s/first": {"username": "u", "password": %q}}}`, host, planted), late: true, below: true},
		"user information":    {user: "u:" + planted + "@"},
		"caller's header":     {header: http.Header{"Authorization": {"Bearer " + planted}, "Cookie": {planted}}, never: true},
	}
	targets := map[string]struct {
		location string
		same     bool
	}{
		"same origin":                {location: "https://origin.test/second", same: true},
		"same origin, port spelled":  {location: "https://origin.test:443/second", same: true},
		"same origin, relative":      {location: "/second", same: true},
		"other port":                 {location: "https://origin.test:8443/second"},
		"other host":                 {location: "https://elsewhere.test/second"},
		"other host, no scheme":      {location: "//elsewhere.test/second"},
		"host below the origin":      {location: "https://sub.origin.test/second"},
		"downgrade to an allowed":    {location: "http://origin.test/second"},
		"credentials in the address": {location: "https://u:" + planted + "@elsewhere.test/second"},
	}
	for kindName, kind := range kinds {
		for targetName, target := range targets {
			t.Run(kindName+", "+targetName, func(t *testing.T) {
				var first, second int
				var reached bool
				w := newWorld(t, true, func(w http.ResponseWriter, r *http.Request) {
					seen := 0
					for _, values := range r.Header {
						for _, v := range values {
							if strings.Contains(decoded(v), planted) {
								seen++
							}
						}
					}
					if r.URL.Path == "/first" {
						first += seen
						w.Header().Set("Location", target.location)
						w.WriteHeader(http.StatusFound)
						return
					}
					reached = true
					second += seen
				})
				var logs bytes.Buffer
				auth := upstream.NewAuth()
				if !kind.late {
					var err error
					if auth, err = upstream.ParseAuthJSON([]byte(kind.auth)); err != nil {
						t.Fatal(err)
					}
				}
				c := newClient(t, func(o *upstream.Options) {
					w.options(o)
					o.AllowedHosts = []string{host}
					o.Auth = auth
					o.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				if kind.late {
					if err := c.Auth().Set("source", []byte(kind.auth)); err != nil {
						t.Fatal(err)
					}
				}
				resp, err := c.Do(t.Context(), upstream.Request{
					URL: "https://" + kind.user + host + "/first", Header: kind.header, Class: upstream.ClassArchive, Owner: "source",
				})
				if err != nil || !reached {
					t.Fatalf("the redirect was not followed: %v", err)
				}
				_ = resp.Body.Close()
				if strings.Contains(resp.URL, planted) {
					t.Errorf("the final URL is %s", resp.URL)
				}
				if (first == 0) != kind.never {
					t.Errorf("the first origin saw the secret %d times", first)
				}
				if want := target.same && !kind.never && !kind.below; (second > 0) != want {
					t.Errorf("the second saw the secret %d times", second)
				}
				if strings.Contains(decoded(logs.String()), planted) {
					t.Errorf("the log holds the secret: %s", logs.String())
				}
			})
		}
	}
}

// decoded undoes basic authentication.
func decoded(s string) string {
	if encoded, ok := strings.CutPrefix(s, "Basic "); ok {
		if b, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			return string(b)
		}
	}
	return s
}

func TestErrorsAndLogsHoldNoSecrets(t *testing.T) {
	w := newWorld(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			w.Header().Set("Location", "ftp://u:"+planted+"@elsewhere.test/?token="+planted)
			w.WriteHeader(http.StatusFound)
		case "/unparsable":
			w.Header().Set("Location", "https://elsewhere.test/%zz?token="+planted)
			w.WriteHeader(http.StatusFound)
		case "/downgrade":
			w.Header().Set("Location", "http://elsewhere.test/?token="+planted)
			w.WriteHeader(http.StatusFound)
		case "/loop":
			w.Header().Set("Location", "/loop?token="+planted)
			w.WriteHeader(http.StatusFound)
		case "/break":
			panic(http.ErrAbortHandler)
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var out bytes.Buffer
	auth, err := upstream.ParseAuthJSON([]byte(`{"http-basic": {"origin.test": {"username": "u", "password": "` + planted + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, func(o *upstream.Options) {
		w.options(o)
		o.Auth, o.BreakerFailures = auth, 2
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Logger.Info("configuration", "options", *o, "auth", auth)
	})
	for _, url := range []string{
		"https://origin.test/redirect", "https://origin.test/unparsable", "https://origin.test/downgrade",
		"https://origin.test/loop", "https://origin.test/break", "https://origin.test/short", "https://origin.test/",
		"https://other.test/%zz", "ftp://other.test/", "https://bad host/", "https://10.0.0.1/", "https://unknown.invalid/",
	} {
		url = strings.Replace(url, "://", "://u:"+planted+"@", 1) + "?token=" + planted
		_, _, err := get(c, url)
		if err == nil {
			t.Errorf("%s was answered", url)
		}
		_, _ = fmt.Fprintf(&out, "%v\n%+v\n%q\n", err, err, fmt.Sprint(err))
	}
	_, _ = fmt.Fprintf(&out, "%v %+v %#v %s", c.Hosts(), c, auth, auth)
	for _, form := range []string{planted, base64.StdEncoding.EncodeToString([]byte("u:" + planted))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a secret can be read:\n%s", out.String())
		}
	}
}

func TestRedirectsThatAreFollowedAndThoseThatAreNot(t *testing.T) {
	for _, c := range []struct {
		name     string
		from     string
		location string
		allowed  string
		kind     upstream.Kind // zero when followed
	}{
		{name: "absolute", from: "https://a.test/x", location: "https://b.test/end"},
		{name: "relative path", from: "https://a.test/x", location: "end"},
		{name: "upper-case scheme", from: "https://a.test/x", location: "HTTPS://b.test/end"},
		{name: "http to https", from: "http://a.test/x", location: "https://b.test/end"},
		{name: "http to http", from: "http://a.test/x", location: "http://b.test/end"},
		{name: "https to http", from: "https://a.test/x", location: "http://b.test/end", kind: upstream.Insecure},
		{name: "https to http on itself", from: "https://a.test/x", location: "http://a.test/end", kind: upstream.Insecure},
		{name: "https to http on an allowed host", from: "https://a.test/x", location: "http://b.test/end", allowed: "b.test"},
		{name: "https to http on another port", from: "https://a.test/x", location: "http://b.test:81/end", allowed: "b.test:80", kind: upstream.Insecure},
		{name: "ftp", from: "https://a.test/x", location: "ftp://b.test/end", kind: upstream.BadRedirect},
		{name: "file", from: "https://a.test/x", location: "file:///etc/passwd", kind: upstream.BadRedirect},
		{name: "javascript", from: "https://a.test/x", location: "javascript:alert(1)", kind: upstream.BadRedirect},
		{name: "no location", from: "https://a.test/x", kind: upstream.BadRedirect},
		{name: "no host", from: "https://a.test/x", location: "https:///end", kind: upstream.BadRedirect},
		{name: "private address", from: "https://a.test/x", location: "https://10.0.0.1/end", kind: upstream.Blocked},
		{name: "private address, allowed", from: "http://a.test/x", location: "http://10.0.0.1/end", allowed: "10.0.0.0/8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, true, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/x" {
					if c.location != "" {
						w.Header().Set("Location", c.location)
					}
					w.WriteHeader(http.StatusFound)
				}
			})
			client := newClient(t, func(o *upstream.Options) {
				w.options(o)
				if c.allowed != "" {
					o.AllowedHosts = []string{c.allowed}
				}
			})
			resp, err := client.Do(context.Background(), upstream.Request{URL: c.from})
			if c.kind != 0 {
				wantKind(t, err, c.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if !strings.HasSuffix(resp.URL, "/end") {
				t.Errorf("ended at %s", resp.URL)
			}
		})
	}
}

func TestTenRedirectsAreFollowedAndNotOneMore(t *testing.T) {
	asked := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if n, _ := strconv.Atoi(r.URL.Path[1:]); n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusMovedPermanently)
		}
	})
	c := newClient(t, nil)
	if status, _, err := get(c, s.URL+"/10"); err != nil || status != 200 {
		t.Errorf("ten redirects: %d %v", status, err)
	}
	asked = 0
	wantKind(t, second(get(c, s.URL+"/11")), upstream.TooManyRedirects)
	if asked != 11 {
		t.Errorf("asked %d times, want 11: too many redirects are not retried", asked)
	}
}

func TestWhatBecomesOfMethodsAndBodiesInRedirects(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		where  string
		want   string // method and body at the end; empty for a refusal
	}{
		{"GET", 302, "http://b.test/end", "GET "},
		{"HEAD", 303, "http://b.test/end", "HEAD "},
		{"POST", 301, "http://b.test/end", "GET "},
		{"POST", 302, "http://b.test/end", "GET "},
		{"POST", 303, "http://b.test/end", "GET "},
		{"POST", 307, "/end", "POST body"},
		{"POST", 308, "/end", "POST body"},
		{"POST", 307, "http://b.test/end", ""},
		{"POST", 308, "http://a.test:81/end", ""},
	} {
		t.Run(fmt.Sprint(c.method, c.status, c.where), func(t *testing.T) {
			var got string
			w := newWorld(t, false, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.URL.Path == "/end" {
					got = r.Method + " " + string(body)
					return
				}
				w.Header().Set("Location", c.where)
				w.WriteHeader(c.status)
			})
			request := upstream.Request{Method: c.method, URL: "http://a.test/x", Class: upstream.ClassAPI}
			if c.method == "POST" {
				request.Body = []byte("body")
			}
			_, _, err := fetch(newClient(t, w.options), request)
			if c.want == "" {
				wantKind(t, err, upstream.BadRedirect)
			} else if err != nil {
				t.Error(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
