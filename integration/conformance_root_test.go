package integration_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"stasis/integration/standin"
)

func TestC01RootIsADatedJSONObject(t *testing.T) {
	_, d := pair(t)
	r := d.get("/packages.json")
	if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		t.Errorf("got %d %s, want 200 application/json", r.StatusCode, r.Header.Get("Content-Type"))
	}
	if _, err := http.ParseTime(r.Header.Get("Last-Modified")); err != nil {
		t.Errorf("Last-Modified %q is no HTTP date", r.Header.Get("Last-Modified"))
	}
	into[map[string]any](t, r)
}

// links collects every string below v that is a URL or a path.
func links(v any, out map[string]string, at string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			links(x, out, at+"/"+k)
		}
	case []any:
		for _, x := range v {
			links(x, out, at+"/-")
		}
	case string:
		if strings.Contains(v, "://") || strings.HasPrefix(v, "/") {
			out[at] = v
		}
	}
}

func TestC02EveryLinkInTheRootIsOurs(t *testing.T) {
	for _, mode := range []string{"rewrite", "mirror"} {
		s, d := pair(t, "PROXY_DIST_MODE="+mode)
		body := d.get("/packages.json").body
		found := map[string]string{}
		var root any
		if err := json.Unmarshal(body, &root); err != nil {
			t.Fatal(err)
		}
		links(root, found, "")
		for key, link := range found {
			if !d.ours(link) {
				t.Errorf("%s: %s leads to %s", mode, key, link)
			}
		}
		if len(found) < 7 {
			t.Errorf("%s: only %d links are advertised: %v", mode, len(found), found)
		}
		if text := string(body); strings.Contains(text, s.URL()) || strings.Contains(text, "packagist.org") {
			t.Errorf("%s: the root names upstream: %s", mode, text)
		}
	}
}

func TestC03MetadataURLIsATemplateOfThePackageAlone(t *testing.T) {
	_, d := pair(t)
	link := d.root().Text("metadata-url")
	if strings.Count(link, "%package%") != 1 || strings.Contains(link, "%hash%") {
		t.Errorf("metadata-url is %q", link)
	}
}

func TestC04AdvisoriesURLIsAbsolute(t *testing.T) {
	_, d := pair(t)
	if link := object(t, d.root(), "security-advisories").Text("api-url"); !d.ours(link) {
		t.Errorf("api-url is %q", link)
	}
}

func TestC05AdvisoriesAreAnnouncedWithTheirURLOrNotAtAll(t *testing.T) {
	s, d := pair(t)
	if object(t, d.root(), "security-advisories").Text("api-url") == "" {
		t.Error("security-advisories comes without api-url")
	}
	// An upstream that knows no advisories leads to a root that does not either,
	// or to one that answers them itself.
	s.SetRoot([]byte(`{"packages":[],"metadata-url":"/p2/%package%.json"}`))
	other := start(t, s)
	if raw := other.root().Get("security-advisories"); raw != nil {
		if object(t, other.root(), "security-advisories").Text("api-url") == "" {
			t.Errorf("security-advisories comes without api-url: %s", raw)
		}
	}
	if other.root().Text("metadata-url") == "" {
		t.Error("a root-relative metadata-url upstream leaves ours empty")
	}
}

func TestC06FilterIsAnnouncedInTheFormClientsRead(t *testing.T) {
	s, d := pair(t)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	s.Flag("malware", "acme/a", "1.0.0")
	var filter struct {
		Metadata bool
		Lists    map[string]struct{ Enabled bool }
		Summary  string `json:"summary-url"`
	}
	if err := json.Unmarshal(d.root().Get("filter"), &filter); err != nil {
		t.Fatal(err)
	}
	if !filter.Metadata || !filter.Lists["malware"].Enabled {
		t.Errorf("filter is %s", d.root().Get("filter"))
	}
	r := d.get(filter.Summary)
	if r.StatusCode != 200 || !strings.Contains(string(r.body), "acme/a") {
		t.Errorf("the summary is not served: %d %s", r.StatusCode, r.body)
	}
	if !strings.Contains(string(d.get("/p2/acme/a.json").body), `"filter":{"malware"`) {
		t.Error("the document lacks its filter entries")
	}
}

func TestC07MirrorsAreAbsoluteAndWithoutUserInfo(t *testing.T) {
	_, d := pair(t, "PROXY_DIST_MODE=mirror")
	var mirrors []struct {
		DistURL   string `json:"dist-url"`
		Preferred bool
	}
	if err := json.Unmarshal(d.root().Get("mirrors"), &mirrors); err != nil || len(mirrors) != 1 {
		t.Fatalf("mirrors is %s", d.root().Get("mirrors"))
	}
	if m := mirrors[0]; !d.ours(m.DistURL) || strings.Contains(m.DistURL, "@") || !m.Preferred {
		t.Errorf("the mirror is %+v", m)
	}
	// Credentials in the URL a client uses must not come back in the document.
	r := d.get("/packages.json", "Authorization", "Basic dXNlcjpzZWNyZXQ=")
	if strings.Contains(string(r.body), "@") || strings.Contains(string(r.body), "secret") {
		t.Error("the root repeats the client's credentials")
	}
}

func TestC08NoInlinePackagesWithoutUID(t *testing.T) {
	s, d := pair(t)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	if got := string(d.root().Get("packages")); got != "[]" && got != "{}" {
		t.Errorf("packages is %s, want it empty", got)
	}
}

func TestC09NoClosedListOfPackages(t *testing.T) {
	_, d := pair(t)
	for _, key := range []string{"available-packages", "available-package-patterns"} {
		if raw := d.root().Get(key); raw != nil {
			t.Errorf("%s is %s, though any name can be served", key, raw)
		}
	}
}

func TestC10BelowAPrefixEverythingIsAskedBelowThePrefix(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	d := prepare(t, s)
	var outside []string
	target, _ := url.Parse(d.url)
	back := http.StripPrefix("/composer", httputil.NewSingleHostReverseProxy(target))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/composer/") {
			outside = append(outside, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		back.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d.set("BASE_URL=" + front.URL + "/composer")
	d.start()
	found := map[string]string{}
	r := d.get(front.URL + "/composer/packages.json")
	links(into[any](t, r), found, "")
	for key, link := range found {
		if !strings.HasPrefix(link, front.URL+"/composer/") {
			t.Errorf("%s leads to %s", key, link)
		}
	}
	c := client(t, front.URL+"/composer/")
	c.run(project(t, requiring("acme/a", "^1.0")), "update", "--no-progress")
	if len(outside) > 0 {
		t.Errorf("the client asked outside of the prefix: %v", outside)
	}
}

func TestC11RootIsRevalidatedByItsDate(t *testing.T) {
	_, d := pair(t)
	first := d.get("/packages.json")
	modified := first.Header.Get("Last-Modified")
	if r := d.get("/packages.json", "If-Modified-Since", modified); r.StatusCode != 304 || len(r.body) != 0 {
		t.Errorf("with the current date: %d and %d bytes, want 304 and none", r.StatusCode, len(r.body))
	}
	if r := d.get("/packages.json"); r.StatusCode != 200 || r.Header.Get("Last-Modified") != modified {
		t.Errorf("without a date: %d dated %q, want 200 dated %q", r.StatusCode, r.Header.Get("Last-Modified"), modified)
	}
	if r := d.get("/packages.json", "If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"); r.StatusCode != 200 {
		t.Errorf("with an old date: %d, want 200", r.StatusCode)
	}
}

func TestC12AConfigurationThatChangesTheRootChangesItsDate(t *testing.T) {
	_, d := pair(t)
	before := d.get("/packages.json")
	d.restart()
	if r := d.get("/packages.json"); r.Header.Get("Last-Modified") != before.Header.Get("Last-Modified") {
		t.Errorf("a restart alone moves Last-Modified from %q to %q", before.Header.Get("Last-Modified"), r.Header.Get("Last-Modified"))
	}
	d.restart("PROXY_DIST_MODE=mirror")
	after := d.get("/packages.json", "If-Modified-Since", before.Header.Get("Last-Modified"))
	if after.StatusCode != 200 || after.Header.Get("Last-Modified") == before.Header.Get("Last-Modified") {
		t.Errorf("after the change: %d dated %q, the same as before", after.StatusCode, after.Header.Get("Last-Modified"))
	}
	d.restart("PROXY_DIST_MODE=rewrite")
	back := d.get("/packages.json", "If-Modified-Since", after.Header.Get("Last-Modified"))
	if back.StatusCode != 200 {
		t.Errorf("changed back: %d to a client that holds the changed root, want 200", back.StatusCode)
	}
}

func TestC13TheLegacyPairIsNeverSent(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	s.SetRoot([]byte(`{"packages":[],"metadata-url":"/p/%package%.json","list":"https://packagist.org/packages/list.json"}`))
	d := start(t, s)
	root := d.root()
	if root.Text("metadata-url") == "/p/%package%.json" || root.Text("list") == "https://packagist.org/packages/list.json" {
		t.Errorf("the root is %s", d.get("/packages.json").body)
	}
}

func TestC14MessagesKeepTheirVersionConstraints(t *testing.T) {
	s, d := pair(t)
	root := d.root()
	if text, versions := root.Text("warning"), root.Text("warning-versions"); (text != "") != (versions != "") || versions != "" && versions != "<1.999" {
		t.Errorf("warning %q is limited to %q, upstream limits it to <1.999", text, versions)
	}
	s.SetRoot([]byte(`{"packages":[],"metadata-url":"/p2/%package%.json","warnings":[{"message":"to everybody"},{"message":"to some","versions":"<2.0"}],"infos":[{"message":"unlimited"}]}`))
	other := start(t, s)
	for _, key := range []string{"warnings", "infos"} {
		raw := other.root().Get(key)
		if raw == nil {
			continue
		}
		var list []struct{ Message, Versions string }
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Errorf("%s is %s", key, raw)
		}
		for _, m := range list {
			if m.Versions == "" {
				t.Errorf("%s carries a message without versions, which ends every client: %s", key, raw)
			}
		}
	}
}

func TestC15TheRootOutlivesUpstream(t *testing.T) {
	s, d := pair(t, revalidating...)
	want := d.get("/packages.json")
	s.Down()
	if r := d.get("/packages.json"); r.StatusCode != 200 || string(r.body) != string(want.body) {
		t.Errorf("with upstream dead: %d %s", r.StatusCode, r.body)
	}
	d.restart()
	if r := d.get("/packages.json"); r.StatusCode != 200 || string(r.body) != string(want.body) {
		t.Errorf("with upstream dead, after a restart: %d %s", r.StatusCode, r.body)
	}
	if r := d.get("/packages.json", "If-Modified-Since", want.Header.Get("Last-Modified")); r.StatusCode != 304 {
		t.Errorf("with upstream dead, conditionally: %d, want 304", r.StatusCode)
	}
}

func TestC16QueriesAndTrailingSlashesDoNotMatter(t *testing.T) {
	s, d := pair(t)
	made(s)
	want := d.get("/packages.json").body
	same(t, "packages.json?x=1", d.get("/packages.json?x=1").body, want)
	same(t, "p2 with a query", d.get("/p2/acme/a.json?x=1").body, d.get("/p2/acme/a.json").body)
	c := client(t, d.url+"/")
	c.run(project(t, requiring("acme/b", "^1.0")), "update", "--no-progress")
}
