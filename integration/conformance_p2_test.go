package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

func TestC17KnownPackagesHaveBothDocuments(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, name := range names(s) {
		for _, file := range []string{name, name + "~dev"} {
			r := d.get("/p2/" + file + ".json")
			var doc struct {
				Packages map[string]json.RawMessage `json:"packages"`
			}
			if err := json.Unmarshal(r.body, &doc); r.StatusCode != 200 || err != nil {
				t.Errorf("%s: %d %.100s", file, r.StatusCode, r.body)
				continue
			}
			if list, ok := doc.Packages[name]; !ok || len(doc.Packages) != 1 || list[0] != '[' {
				t.Errorf("%s: packages holds %.100s", file, list)
			}
		}
	}
}

func TestC18AnEscapedTildeIsATilde(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, path := range []string{"/p2/acme/a%7Edev.json", "/p2/acme/a%7edev.json"} {
		r := d.get(path)
		same(t, path, r.body, d.get("/p2/acme/a~dev.json").body)
	}
}

func TestC19DevVersionsAreInTheDevDocumentAndOnlyThere(t *testing.T) {
	s, d := pair(t)
	made(s)
	stable := map[string]bool{}
	for _, name := range names(s) {
		for _, v := range d.document(name).Versions {
			stable[v.Text("version")] = true
			if n := v.Text("version_normalized"); strings.HasPrefix(n, "dev-") || strings.HasSuffix(n, "-dev") {
				t.Errorf("%s.json holds %s", name, n)
			}
		}
		for _, v := range d.document(name + "~dev").Versions {
			if n := v.Text("version_normalized"); !strings.HasPrefix(n, "dev-") && !strings.HasSuffix(n, "-dev") {
				t.Errorf("%s~dev.json holds %s", name, n)
			}
		}
	}
	for _, v := range []string{"2.0.0-RC1", "2.0.0-beta2"} {
		if !stable[v] {
			t.Errorf("%s is not in the document of tagged versions", v)
		}
	}
}

// withoutDistURL drops the one value the program is documented to rewrite.
func withoutDistURL(t testing.TB, list []standin.Object) []standin.Object {
	t.Helper()
	out := make([]standin.Object, len(list))
	for i, v := range list {
		out[i] = v
		if raw := v.Get("dist"); raw != nil && string(raw) != "null" {
			out[i] = v.With("dist", object(t, v, "dist").With("url", ""))
		}
	}
	return out
}

// sameVersions compares the documents of U and P, version by version and key by key.
func sameVersions(t testing.TB, s *standin.Server, d *daemon, file string) {
	t.Helper()
	body, _ := s.Document(file)
	want, err := standin.ParseDocument(body, strings.TrimSuffix(file, "~dev"))
	if err != nil {
		t.Fatal(err)
	}
	got := d.document(file)
	g, w := withoutDistURL(t, got.Versions), withoutDistURL(t, want.Versions)
	if len(g) != len(w) {
		t.Errorf("%s: %d versions, upstream has %d", file, len(g), len(w))
		return
	}
	for i := range g {
		gb, _ := g[i].MarshalJSON()
		wb, _ := w[i].MarshalJSON()
		if !bytes.Equal(gb, wb) {
			t.Errorf("%s: version %d differs:\ngot  %s\nwant %s", file, i, gb, wb)
			return
		}
	}
	if string(got.Top.Get("minified")) != string(want.Top.Get("minified")) {
		t.Errorf("%s: minified is %s, upstream says %s", file, got.Top.Get("minified"), want.Top.Get("minified"))
	}
}

func TestC20EveryVersionIsUpstreamsToTheKeyOrder(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, name := range names(s) {
		sameVersions(t, s, d, name)
		sameVersions(t, s, d, name+"~dev")
	}
}

// TestC20RealDocuments compares every document of the real slice; short runs
// look at every eighth package.
func TestC20RealDocuments(t *testing.T) {
	s, _ := slice(t)
	d := start(t, s)
	for i, name := range names(s) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		sameVersions(t, s, d, name)
		sameVersions(t, s, d, name+"~dev")
	}
}

func TestC21MinifiedIsSaidWhenItIsSo(t *testing.T) {
	s, d := pair(t)
	made(s)
	if got := string(d.document("acme/a").Top.Get("minified")); got != `"composer/2.0"` {
		t.Errorf("minified is %s", got)
	}
	s.SetDocument("acme/plain", []byte(`{"packages":{"acme/plain":[{"name":"acme/plain","version":"1.0.0","version_normalized":"1.0.0.0","bin":["x"]},{"name":"acme/plain","version":"0.9.0","version_normalized":"0.9.0.0"}]}}`))
	s.SetDocument("acme/plain~dev", []byte(`{"packages":{"acme/plain":[]}}`))
	doc := d.document("acme/plain")
	if doc.Top.Get("minified") != nil {
		t.Errorf("a full list is called minified: %s", doc.Top.Get("minified"))
	}
	if doc.Versions[1].Get("bin") != nil {
		t.Error("a key of one full version reached the next")
	}
}

func TestC22MinifyingSurvivesTheProxy(t *testing.T) {
	s, d := pair(t)
	s.SetDocument("a/b", []byte(`{"packages":{"a/b":[{"name":"a/b","version":"2.0","version_normalized":"2.0.0.0","require":{"php":">=8"},"bin":["x"],"dist":{"type":"zip","url":"https://example.org/2.zip","reference":"aa","shasum":""}},{"version":"1.0","version_normalized":"1.0.0.0","bin":"__unset"},{"version":"0.9","version_normalized":"0.9.0.0","bin":["x"],"require":"__unset"}]},"minified":"composer/2.0"}`))
	got := d.document("a/b").Versions
	if len(got) != 3 || got[1].Get("bin") != nil || string(got[1].Get("require")) != `{"php":">=8"}` || string(got[2].Get("bin")) != `["x"]` || got[2].Get("require") != nil {
		t.Errorf("expanded to %s", got)
	}
	again := standin.Expand(standin.Minify(got))
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(again)
	same(t, "minified and expanded again", b, a)
}

func TestC23EveryVersionIsComplete(t *testing.T) {
	s, d := pair(t)
	made(s)
	s.SetDocument("acme/old~dev", []byte(`{"packages":{"acme/old":[{"name":"acme/old","version":"dev-master","version_normalized":"9999999-dev","source":{"type":"git","url":"https://github.com/acme/old.git","reference":"aa"}},{"version":"dev-other","version_normalized":"dev-other"}]},"minified":"composer/2.0"}`))
	s.SetDocument("acme/old", []byte(`{"packages":{"acme/old":[{"name":"acme/old","version":"v1.0"}]}}`))
	for _, name := range names(s) {
		for _, file := range []string{name, name + "~dev"} {
			for _, v := range d.document(file).Versions {
				if v.Text("name") == "" || v.Text("version") == "" || v.Text("version_normalized") == "" || v.Text("version_normalized") == "9999999-dev" {
					t.Errorf("%s: name %q, version %q, version_normalized %q", file, v.Text("name"), v.Text("version"), v.Text("version_normalized"))
				}
			}
		}
	}
}

func TestC24DistsAndSourcesAreUsable(t *testing.T) {
	s, d := pair(t)
	made(s)
	dists := 0
	for _, name := range names(s) {
		for _, file := range []string{name, name + "~dev"} {
			for _, v := range d.document(file).Versions {
				if raw := v.Get("dist"); raw != nil && string(raw) != "null" {
					dist := object(t, v, "dist")
					dists++
					if dist.Text("type") == "" || !d.ours(dist.Text("url")) {
						t.Errorf("%s %s: dist is %s", file, v.Text("version"), raw)
					}
				}
				if raw := v.Get("source"); raw != nil {
					source := object(t, v, "source")
					if source.Text("type") == "" || source.Text("url") == "" || source.Get("reference") == nil {
						t.Errorf("%s %s: source is %s", file, v.Text("version"), raw)
					}
				}
			}
		}
	}
	if dists == 0 {
		t.Error("no version has a dist")
	}
	if v := version(t, d.document("acme/source-only"), "1.0.0"); string(v.Get("dist")) != "null" {
		t.Errorf("dist null became %s", v.Get("dist"))
	}
}

func TestC25OneUnreadableVersionDoesNotReachClients(t *testing.T) {
	s, d := pair(t)
	s.SetDocument("acme/a", []byte(`{"packages":{"acme/a":[{"name":"acme/a","version":"1.0.0","version_normalized":"1.0.0.0"},{"name":"acme/a","version":"not a version"}]}}`))
	// Upstream's own document is all or nothing: either the version is left out
	// or the document is refused as a whole. One that was good before stays.
	if r := d.get("/p2/acme/a.json"); strings.Contains(string(r.body), `"version":"not a version"`) || r.StatusCode == 404 {
		t.Errorf("a version that no client can read, and that ends every command, is served: %d %.300s", r.StatusCode, r.body)
	}
	s.Publish(standin.Release{Name: "acme/b", Version: "1.0.0"})
	d.restart(revalidating...)
	good := d.get("/p2/acme/b.json").body
	s.SetDocument("acme/b", []byte(`{"packages":{"acme/b":[{"name":"acme/b","version":"not a version"}]}}`))
	if r := d.get("/p2/acme/b.json"); r.StatusCode != 200 || strings.Contains(string(r.body), "not a version") || len(r.body) > len(good) {
		t.Errorf("after a good document: %d %.300s", r.StatusCode, r.body)
	}
}

func TestC26UnknownNamesAreShortAndQuick(t *testing.T) {
	s, d := pair(t)
	if r := d.get("/p2/acme/nothing.json"); r.StatusCode != 404 {
		t.Errorf("an unknown package answers %d, want 404", r.StatusCode)
	}
	asked := s.Total()
	best := time.Hour
	for range 20 {
		began := time.Now()
		r := d.get("/p2/acme/nothing.json")
		best = min(best, time.Since(began))
		if r.StatusCode != 404 || len(r.body) > 512 || strings.Contains(string(r.body), "<html") {
			t.Errorf("known to be unknown: %d with %d bytes: %.200s", r.StatusCode, len(r.body), r.body)
		}
	}
	if best > 50*time.Millisecond {
		t.Errorf("the negative cache takes %s", best)
	}
	if n := s.Total() - asked; n != 0 {
		t.Errorf("upstream was asked %d times for a name known to be unknown", n)
	}
}

// troubles are the ways in which an upstream fails, as rules for a path.
func troubles(s *standin.Server, file string) map[string]func(pattern string) {
	put := func(f standin.Fault) func(string) { return func(pattern string) { s.Fault(pattern, f) } }
	return map[string]func(string){
		"refused":              func(string) { s.Down() },
		"silent":               func(p string) { s.Hang(p) },
		"500":                  put(standin.Status(500)),
		"502":                  put(standin.Status(502)),
		"503":                  put(standin.Status(503, "Retry-After", "1")),
		"429":                  put(standin.Status(429, "Retry-After", "31536000")),
		"a sign-in page":       put(standin.HTML()),
		"garbage":              put(standin.Garbage()),
		"empty":                put(standin.Empty()),
		"an empty object":      put(standin.Body("application/json", "{}")),
		"another package":      put(s.OtherPackage(file)),
		"cut short":            put(standin.CutAt(20, standin.Short)),
		"without a last chunk": put(standin.CutAt(20, standin.Chunk)),
		"reset":                put(standin.CutAt(20, standin.Reset)),
		"cut without a sign":   put(standin.CutAt(20, standin.Unknown)),
		"304 without a reason": put(standin.When(func(r *http.Request) bool { return r.Header.Get("If-Modified-Since") == "" }, standin.Unconditional304())),
		"a gzip bomb":          put(standin.GzipBomb(256 << 20)),
	}
}

// hasty gives up on upstream soon, so that a silent one does not hold the tests.
var hasty = append([]string{"PROXY_UPSTREAM_TIMEOUT=1"}, revalidating...)

func TestC27TroubleUpstreamIsAnsweredFromTheCopy(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	for name, cause := range troubles(s, "acme/b") {
		if name == "304 without a reason" {
			continue // a conditional request gives upstream every reason
		}
		t.Run(name, func(t *testing.T) {
			d := start(t, s, hasty...)
			want := d.get("/p2/acme/a.json")
			if want.StatusCode != 200 {
				t.Fatalf("before the trouble: %d %s", want.StatusCode, want.body)
			}
			t.Cleanup(func() { s.Heal(); _ = s.Up() })
			cause("/p2/*")
			r := d.get("/p2/acme/a.json")
			if r.StatusCode != 200 || !bytes.Equal(r.body, want.body) || r.Header.Get("Last-Modified") != want.Header.Get("Last-Modified") {
				t.Errorf("got %d %.200s", r.StatusCode, r.body)
			}
			if r := d.get("/p2/acme/a.json", "If-Modified-Since", want.Header.Get("Last-Modified")); r.StatusCode != 304 {
				t.Errorf("conditionally: %d, want 304", r.StatusCode)
			}
			s.Heal()
			_ = s.Up()
		})
	}
}

func TestC28TroubleUpstreamIsNeverAbsence(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	for name, cause := range troubles(s, "acme/b") {
		t.Run(name, func(t *testing.T) {
			d := start(t, s, hasty...)
			t.Cleanup(func() { s.Heal(); _ = s.Up() })
			cause("/p2/*")
			for range 2 { // the second time the program may know already
				r := d.get("/p2/acme/a.json")
				if r.StatusCode != 502 && r.StatusCode != 503 && r.StatusCode != 504 {
					t.Errorf("got %d %.200s, want 502, 503 or 504", r.StatusCode, r.body)
				}
				for _, internal := range []string{"dial tcp", "goroutine", d.env["STORE_PATH"]} {
					if text := string(r.body); strings.Contains(text, internal) {
						t.Errorf("the reason shows internals: %s", text)
					}
				}
			}
			s.Heal()
			if err := s.Up(); err != nil {
				t.Fatal(err)
			}
			d.restart() // forgets that upstream was in trouble
			if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
				t.Errorf("after the trouble: %d %.200s", r.StatusCode, r.body)
			}
		})
	}
}

func TestC29ADeletedPackageIsGone(t *testing.T) {
	s, d := pair(t, revalidating...)
	made(s)
	if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
		t.Fatalf("before: %d", r.StatusCode)
	}
	s.Delete("acme/a")
	eventually(t, "the deletion is confirmed", func() bool { return d.get("/p2/acme/a.json").StatusCode == 404 })
	s.Recover("acme/a")
	eventually(t, "the package is back", func() bool { return d.get("/p2/acme/a.json").StatusCode == 200 })
}

func TestC30RefusedCredentialsUpstreamAreOurProblem(t *testing.T) {
	for _, code := range []int{401, 403} {
		s, d := pair(t, hasty...)
		made(s)
		want := d.get("/p2/acme/b.json")
		s.Fault("/p2/*", standin.Status(code, "WWW-Authenticate", "Basic"))
		if r := d.get("/p2/acme/a.json"); r.StatusCode < 500 || r.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("upstream %d without a copy: %d, want 5xx", code, r.StatusCode)
		}
		if r := d.get("/p2/acme/b.json"); r.StatusCode != 200 || !bytes.Equal(r.body, want.body) {
			t.Errorf("upstream %d with a copy: %d, want the copy", code, r.StatusCode)
		}
	}
}

func TestC31OneDateForOneContent(t *testing.T) {
	s, d := pair(t, revalidating...)
	bodies := map[string]string{} // by Last-Modified
	dates := map[string]string{}  // by body
	note := func(what string) {
		t.Helper()
		r := d.get("/p2/acme/a.json")
		date := r.Header.Get("Last-Modified")
		if r.StatusCode != 200 || date == "" {
			t.Errorf("%s: %d dated %q", what, r.StatusCode, date)
		}
		if old, ok := bodies[date]; ok && old != string(r.body) {
			t.Errorf("%s: two contents are dated %s", what, date)
		}
		if old, ok := dates[string(r.body)]; ok && old != date {
			t.Errorf("%s: one content is dated %s and %s", what, old, date)
		}
		bodies[date], dates[string(r.body)] = string(r.body), date
	}
	for i, change := range []func(){
		func() { s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"}) },
		func() {},
		func() { s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"}) },
		func() { s.Abandon("acme/a", "") },
		func() { d.restart() },
		func() { d.restart("PROXY_DIST_MODE=mirror") },
		func() { s.Publish(standin.Release{Name: "acme/a", Version: "1.2.0"}) },
	} {
		change()
		note(fmt.Sprintf("change %d", i))
	}
}

func TestC32OddDatesGetTheWholeDocument(t *testing.T) {
	s, d := pair(t)
	made(s)
	want := d.get("/p2/acme/a.json").body
	for _, date := range []string{"Mon, 01 Jan 2001 00:00:00 GMT", "yesterday", "2024-01-01T00:00:00Z", "0", "Monday, 01-Jan-01 00:00:00 GMT", "\"etag\"", strings.Repeat("x", 500), "Fri, 31 Dec 9999 23:59:59 GMT"} {
		if r := d.get("/p2/acme/a.json", "If-Modified-Since", date); r.StatusCode != 200 || !bytes.Equal(r.body, want) {
			t.Errorf("If-Modified-Since %.40q: %d, want 200", date, r.StatusCode)
		}
	}
}

func TestC33AfterARollbackClientsAreNotPinned(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	old := d.get("/p2/acme/a.json")
	s.Publish(standin.Release{Name: "acme/a", Version: "6.6.6"})
	bad := d.get("/p2/acme/a.json")
	if bytes.Equal(old.body, bad.body) {
		t.Fatal("the new version does not show")
	}
	// Upstream takes the version back and says so with a newer date …
	s.DeleteVersion("acme/a", "6.6.6")
	r := d.get("/p2/acme/a.json", "If-Modified-Since", bad.Header.Get("Last-Modified"))
	if r.StatusCode != 200 || !bytes.Equal(r.body, old.body) {
		t.Errorf("after the version was taken back: %d %.200s", r.StatusCode, r.body)
	}
	if r.Header.Get("Last-Modified") == bad.Header.Get("Last-Modified") {
		t.Error("the older content has the date of the newer")
	}
}

func TestC34AdvisoriesInDocumentsAreKept(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	if got := string(d.document("acme/a").Top.Get("security-advisories")); got != "[]" {
		t.Errorf("an empty list became %q", got)
	}
	s.Advise("acme/a", "PKSA-1", ">=1.0,<1.1", nil)
	if got, want := string(d.document("acme/a").Top.Get("security-advisories")), `[{"advisoryId":"PKSA-1","affectedVersions":">=1.0,<1.1"}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.SetDocument("acme/none", []byte(`{"packages":{"acme/none":[]},"minified":"composer/2.0","x-other":{"kept":1}}`))
	top := d.document("acme/none").Top
	if top.Get("security-advisories") != nil || string(top.Get("x-other")) != `{"kept":1}` {
		t.Errorf("the top level became %s", top)
	}
}

func TestC35FilterEntriesInDocumentsAreKept(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	s.Flag("malware", "acme/a", "1.0.0")
	body, _ := s.Document("acme/a")
	want, _ := standin.ParseDocument(body, "acme/a")
	same(t, "filter", d.document("acme/a").Top.Get("filter"), want.Top.Get("filter"))
}

func TestC36CapitalsInThePath(t *testing.T) {
	s, d := pair(t)
	made(s)
	want := d.get("/p2/acme/a.json").body
	for _, path := range []string{"/p2/ACME/A.json", "/p2/Acme/a.json"} {
		r := d.get(path)
		if r.StatusCode != 404 && !bytes.Equal(r.body, want) {
			t.Errorf("%s: %d %.200s, want 404 or the lower-case document", path, r.StatusCode, r.body)
		}
	}
}

func TestC37ImpossibleNamesNeverReachUpstream(t *testing.T) {
	s, d := pair(t)
	made(s)
	_ = d.get("/packages.json")
	s.Forget()
	for _, path := range []string{
		"/p2/php.json", "/p2/ext-json.json", "/p2/ext-json/x/y.json", "/p2/con/x.json", "/p2/a/nul.json", "/p2/a/b.json.json", "/p2/..%2f..%2fetc%2fpasswd.json",
		"/p2/a/..%2fb.json", "/p2/a/b%00.json", "/p2/a//b.json", "/p2/a/b~dev~dev.json", "/p2/-a/b.json", "/p2/a/b-.json", "/p2/a_/b.json", "/p2/lib-icu/x~.json",
		"/p2/a/.json", "/p2//.json", "/p2/", "/p2/a/b", "/p2/a/b.JSON.txt", "/p2/composer-plugin-api.json", "/p2/__root__.json", "/p2/%FF/a.json", "/p2/a b/c.json",
		"/p2/" + strings.Repeat("a", 5000) + "/b.json",
	} {
		r := d.get(strings.ReplaceAll(path, " ", "%20"))
		if r.StatusCode != 404 && r.StatusCode != 400 && r.StatusCode != 414 {
			t.Errorf("%.60s: %d, want 404 or 400", path, r.StatusCode)
		}
	}
	if n := s.Total(); n != 0 {
		t.Errorf("upstream was asked: %v", uris(s))
	}
}

func TestC38EveryEncodingCarriesTheSameDocument(t *testing.T) {
	s, d := pair(t)
	made(s)
	for i := range 60 { // large enough that compressing pays
		s.Publish(standin.Release{Name: "acme/large", Version: fmt.Sprintf("1.%d.0", i), Description: strings.Repeat("long ", i)})
	}
	for _, file := range []string{"/p2/acme/large.json", "/packages.json"} {
		plain := d.get(file, "Accept-Encoding", "identity")
		for _, accept := range []string{"gzip", "br", "zstd", "deflate, gzip, br, zstd", "identity", "", "gzip;q=0", "*;q=0, identity", "br;q=0.5, gzip;q=1", "x-unknown", "gzip, deflate"} {
			r := d.get(file, "Accept-Encoding", accept)
			body, err := r.decoded()
			if err != nil || r.StatusCode != 200 {
				t.Errorf("%s accepting %q: %d, %v", file, accept, r.StatusCode, err)
				continue
			}
			enc := r.Header.Get("Content-Encoding")
			same(t, file+" accepting "+accept, body, plain.body)
			if enc != "" && (!strings.Contains(accept, enc) || strings.Contains(accept, enc+";q=0,") || accept == "gzip;q=0") {
				t.Errorf("%s: %q was answered with %q", file, accept, enc)
			}
			if r.Header.Get("Last-Modified") != plain.Header.Get("Last-Modified") {
				t.Errorf("%s accepting %q is dated %q, in plain %q", file, accept, r.Header.Get("Last-Modified"), plain.Header.Get("Last-Modified"))
			}
			if !strings.Contains(strings.Join(r.Header.Values("Vary"), ","), "Accept-Encoding") {
				t.Errorf("%s accepting %q: Vary is %q", file, accept, r.Header.Values("Vary"))
			}
			if tag := r.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") && enc != "" && tag == plain.Header.Get("ETag") {
				t.Errorf("%s: the strong ETag %s names two different representations", file, tag)
			}
		}
		for _, accept := range []string{"gzip", "br", "zstd"} {
			if enc := d.get(file, "Accept-Encoding", accept).Header.Get("Content-Encoding"); enc != accept && file != "/packages.json" {
				t.Errorf("%s accepting %s is sent as %q", file, accept, enc)
			}
		}
	}
}
