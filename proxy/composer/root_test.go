package composer_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

// The root of packagist.org as its site generates it.
const packagist = `{"packages":[],
 "notify-batch":"https://packagist.org/downloads/",
 "providers-url":"/p/%package%$%hash%.json",
 "metadata-url":"https://repo.packagist.org/p2/%package%.json",
 "metadata-changes-url":"https://packagist.org/metadata/changes.json",
 "search":"https://packagist.org/search.json?q=%query%&type=%type%",
 "list":"https://packagist.org/packages/list.json",
 "security-advisories":{"metadata":true,"api-url":"https://packagist.org/api/security-advisories/"},
 "providers-api":"https://packagist.org/providers/%package%.json",
 "warning":"Composer 1 is no longer served, see https://blog.packagist.com/","warning-versions":"<1.999",
 "providers":[],
 "filter":{"metadata":true,"lists":{"malware":{"enabled":true}},
           "summary-url":"https://repo.packagist.org/lists/all/summary.json"}}`

func root(t testing.TB, body string) *composer.Root {
	t.Helper()
	r, err := composer.ParseRoot([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r
}

func TestParseRootFindsTheAddresses(t *testing.T) {
	r := root(t, packagist)
	for key, pair := range map[string][2]string{
		"metadata":   {r.MetadataURL, "https://repo.packagist.org/p2/%package%.json"},
		"list":       {r.ListURL, "https://packagist.org/packages/list.json"},
		"search":     {r.SearchURL, "https://packagist.org/search.json?q=%query%&type=%type%"},
		"providers":  {r.ProvidersURL, "https://packagist.org/providers/%package%.json"},
		"changes":    {r.MetadataChangesURL, "https://packagist.org/metadata/changes.json"},
		"notify":     {r.NotifyURL, "https://packagist.org/downloads/"},
		"advisories": {r.AdvisoriesURL, "https://packagist.org/api/security-advisories/"},
		"summary":    {r.FilterSummaryURL, "https://repo.packagist.org/lists/all/summary.json"},
		"filter api": {r.FilterURL, ""},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %q, want %q", key, pair[0], pair[1])
		}
	}
	if !r.AdvisoriesMetadata || !r.FilterMetadata {
		t.Error("it is overlooked that documents carry advisories and filter entries")
	}
}

func TestParseRootToleratesOtherTypes(t *testing.T) {
	r := root(t, `{"metadata-url":7,"list":null,"search":["x"],"security-advisories":[],"filter":"x","mirrors":{"dist-url":"x"},
		"available-packages":["a/b",1,null,"c/d"],"available-package-patterns":"x/*","packages":7}`)
	if r.MetadataURL+r.ListURL+r.SearchURL+r.AdvisoriesURL+r.FilterSummaryURL != "" || r.Mirrors != nil || r.AvailablePatterns != nil ||
		!slices.Equal(r.AvailablePackages, []string{"a/b", "c/d"}) {
		t.Errorf("got %+v", r)
	}
	r = root(t, `{"mirrors":[{"dist-url":"https://m/%package%","preferred":true},{"git-url":"x"},7,{"dist-url":"/n"}]}`)
	if want := []composer.Mirror{{DistURL: "https://m/%package%", Preferred: true}, {DistURL: "/n"}}; !slices.Equal(r.Mirrors, want) {
		t.Errorf("got the mirrors %+v", r.Mirrors)
	}
	for _, in := range []string{"", "[]", "null", "<html>", "{", `"x"`, "\xef\xbb\xbf{}"} {
		if _, err := composer.ParseRoot([]byte(in)); err == nil || !strings.HasPrefix(err.Error(), "repository root: ") {
			t.Errorf("%q: got the error %v", in, err)
		}
	}
}

func TestRootURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://h":                    "https://h/packages.json",
		"https://h/":                   "https://h/packages.json",
		"https://h/sub//":              "https://h/sub/packages.json",
		"https://h/x/repo.json?k=1":    "https://h/x/repo.json?k=1",
		"https://h/packages.json":      "https://h/packages.json",
		"https://host.json.example/x/": "https://host.json.example/x/packages.json",
	} {
		if got := composer.RootURL(in); got != want {
			t.Errorf("RootURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ repository, value, want string }{
		{"https://h/sub/", "/p2/%package%.json", "https://h/p2/%package%.json"},
		{"https://h:8443/x/repo.json?k=/1", "/p2/%package%.json", "https://h:8443/p2/%package%.json"},
		{"https://u:p@h/sub", "/list", "https://u:p@h/list"},
		{"https://h?x=/y", "/list", "https://h/list"},
		{"https://h/sub", "https://other/p2/%package%.json", "https://other/p2/%package%.json"},
		{"https://h/sub", "//other/p2", "https://h//other/p2"},
		{"https://h/sub/", "p2/%package%.json", "https://h/sub/p2/%package%.json"},
		{"https://h/sub/packages.json?x#y", "p2/%package%.json", "https://h/sub/p2/%package%.json"},
		{"https://h.json", "p2", "https://h.json/p2"},
		{"https://h", "", ""},
	} {
		if got := composer.Resolve(c.repository, c.value); got != c.want {
			t.Errorf("Resolve(%q, %q) = %q, want %q", c.repository, c.value, got, c.want)
		}
	}
}

func TestPackagistRootIsRewritten(t *testing.T) {
	got := string(root(t, packagist).Rewrite("https://p.example/x/", composer.RootOptions{}))
	want := `{"packages":[],"notify-batch":"https://p.example/x/downloads/","metadata-url":"https://p.example/x/p2/%package%.json",` +
		`"metadata-changes-url":"https://p.example/x/metadata/changes.json","search":"https://p.example/x/search.json?q=%query%&type=%type%",` +
		`"list":"https://p.example/x/packages/list.json","security-advisories":{"metadata":true,"api-url":"https://p.example/x/api/security-advisories/"},` +
		`"providers-api":"https://p.example/x/providers/%package%.json","warning":"Composer 1 is no longer served, see https://blog.packagist.com/",` +
		`"warning-versions":"<1.999","filter":{"metadata":true,"lists":{"malware":{"enabled":true}},"summary-url":"https://p.example/x/lists/all/summary.json"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// rewritten parses our root for the original in.
func rewritten(t testing.TB, in string, o composer.RootOptions) *composer.Root {
	t.Helper()
	return root(t, string(root(t, in).Rewrite(base, o)))
}

// C2, C3, C4, C7, C10, C13: every address is absolute and below the base, whatever the original says.
func TestC02EveryAddressIsOurs(t *testing.T) {
	for name, in := range map[string]string{
		"packagist":      packagist,
		"the default":    string(composer.DefaultRoot().Rewrite("https://elsewhere", composer.RootOptions{Mirror: true})),
		"root-relative":  `{"metadata-url":"/p/%package%.json","list":"/l","search":"/s","providers-api":"/v","notify-batch":"/n","security-advisories":{"api-url":"/a"}}`,
		"legacy trap":    `{"metadata-url":"/p/%package%.json","list":"https://packagist.org/packages/list.json"}`,
		"everything old": `{"packages":{"a/b":{"1":{"dist":{"url":"https://up/x"}}}},"providers-url":"/p/%package%$%hash%.json","providers-lazy-url":"/p/%package%.json","provider-includes":{"p/x$%hash%.json":{"sha256":"0"}},"providers":{"a/b":{"sha256":"0"}},"includes":{"https://up/all.json":{"sha1":"0"}},"notify":"https://up/%package%","mirrors":[{"dist-url":"https://up/%package%","preferred":true}]}`,
		"unknown ones":   `{"docs":"https://up/docs","path":"/x","proto":"//up/x","nested":{"a":[{"b":"HTTPS://up"}]},"git":"ssh://git@up/x","security-advisories":{"api-url":"https://up","docs":"https://up/d"},"filter":{"metadata":true,"lists":{"malware":{"enabled":true}},"api-url":"https://up/f","summary-url":"https://up/s"}}`,
	} {
		for _, mirror := range []bool{false, true} {
			body := root(t, in).Rewrite(base, composer.RootOptions{Mirror: mirror})
			if rest := strings.ReplaceAll(string(body), base+"/", ""); strings.Contains(strings.ReplaceAll(rest, "https://blog.packagist.com/", ""), "//") || strings.Contains(rest, `"/`) {
				t.Errorf("%s: a foreign address in %s", name, body)
			}
			r := root(t, string(body))
			if r.MetadataURL != base+"/p2/%package%.json" {
				t.Errorf("%s: metadata-url is %q", name, r.MetadataURL)
			}
			if (len(r.Mirrors) == 1) != mirror || mirror && r.Mirrors[0] != (composer.Mirror{DistURL: base + "/dist-proxy/%package%/%version%/%reference%.%type%", Preferred: true}) {
				t.Errorf("%s: the mirrors are %v", name, r.Mirrors)
			}
			if string(r.Members.Get("packages")) != "[]" {
				t.Errorf("%s: packages are %s", name, r.Members.Get("packages"))
			}
		}
	}
}

// What the original does not have is not made up, and what cannot be served is left out.
func TestFeaturesAreOfferedOnlyWhenTheOriginalHasThem(t *testing.T) {
	if got, want := string(root(t, `{}`).Rewrite(base, composer.RootOptions{})), `{"packages":[],"metadata-url":"`+base+`/p2/%package%.json"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := rewritten(t, `{"list":"","search":null,"filter":{"metadata":true,"lists":{}}}`, composer.RootOptions{}); got.ListURL != "" || got.Members.Has("search") || got.FilterSummaryURL != "" || !got.FilterMetadata {
		t.Errorf("got %+v", got)
	}
	for _, key := range []string{"search", "list", "providers-api", "notify-batch", "metadata-changes-url", "security-advisories", "filter"} {
		if !rewritten(t, packagist, composer.RootOptions{}).Members.Has(key) {
			t.Errorf("%s is missing", key)
		}
		if rewritten(t, packagist, composer.RootOptions{Omit: []string{key}}).Members.Has(key) {
			t.Errorf("%s is offered although it is to be left out", key)
		}
	}
}

// C5: without an api-url, Composer 2.7 and later refuse the whole root.
func TestC05AdvisoriesAlwaysHaveAnAddress(t *testing.T) {
	r := rewritten(t, `{"security-advisories":{"metadata":true,"query-all":true}}`, composer.RootOptions{})
	if r.AdvisoriesURL != base+"/api/security-advisories/" || !r.AdvisoriesMetadata || !strings.Contains(string(r.Members.Get("security-advisories")), `"query-all":true`) {
		t.Errorf("got %s", r.Members.Get("security-advisories"))
	}
	for _, in := range []string{`{"security-advisories":{"metadata":false}}`, `{"security-advisories":[]}`, `{"security-advisories":null}`} {
		if r := rewritten(t, in, composer.RootOptions{}); r.Members.Has("security-advisories") {
			t.Errorf("%s became %s", in, r.Members.Get("security-advisories"))
		}
	}
}

// C6: Composer ignores or refuses a filter in any other form.
func TestC06FilterIsOfferedInTheFormThatClientsRead(t *testing.T) {
	for _, in := range []string{
		`{"filter":{"metadata":false,"lists":{"malware":{"enabled":true}}}}`, `{"filter":{"lists":{"malware":{"enabled":true}}}}`,
		`{"filter":{"metadata":true,"lists":["malware"]}}`, `{"filter":{"metadata":true}}`, `{"filter":false}`,
	} {
		if r := rewritten(t, in, composer.RootOptions{}); r.Members.Has("filter") {
			t.Errorf("%s became %s", in, r.Members.Get("filter"))
		}
	}
}

// C8, C9: inline packages are asked for one by one, and a closed list of names is passed on only on request.
func TestC09AvailablePackages(t *testing.T) {
	const in = `{"available-packages":["a/b"],"available-package-patterns":["x/*"]}`
	if r := rewritten(t, in, composer.RootOptions{}); r.AvailablePackages != nil || r.AvailablePatterns != nil {
		t.Errorf("got %v and %v", r.AvailablePackages, r.AvailablePatterns)
	}
	if r := rewritten(t, in, composer.RootOptions{Available: true}); len(r.AvailablePackages) != 1 || len(r.AvailablePatterns) != 1 {
		t.Errorf("got %v and %v", r.AvailablePackages, r.AvailablePatterns)
	}
	if r := rewritten(t, `{"available-packages":[]}`, composer.RootOptions{Available: true}); r.Members.Has("available-packages") {
		t.Error("an empty list, which clients take for none, is passed on")
	}
}

// C14: messages pass with their version constraints or not at all.
func TestC14MessagesKeepTheirConstraints(t *testing.T) {
	for in, want := range map[string]string{
		`{"warning":"w","warning-versions":"<2","info":"i","info-versions":">2"}`:                    `"warning":"w","warning-versions":"<2","info":"i","info-versions":">2",`,
		`{"warning":"w","info":"i","info-versions":null}`:                                            ``,
		`{"warning-versions":"<2","info-versions":">2"}`:                                             ``,
		`{"warnings":[{"message":"a"},{"message":"b","versions":"<2"},7],"infos":[{"message":"c"}]}`: `"warnings":[{"message":"b","versions":"<2"}],`,
		`{"infos":[{"message":"a","versions":"*","x":1}]}`:                                           `"infos":[{"message":"a","versions":"*","x":1}],`,
		`{"infos":"x","warnings":{"message":"a","versions":"*"}}`:                                    ``,
	} {
		got := string(root(t, in).Rewrite(base, composer.RootOptions{}))
		if want := `{"packages":[],` + want + `"metadata-url":"` + base + `/p2/%package%.json"}`; got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
	o := composer.RootOptions{Infos: []composer.Message{{Text: `our "own"`}}, Warnings: []composer.Message{{Text: "w", Versions: "<2.2"}}}
	r := rewritten(t, `{"infos":[{"message":"a","versions":"<3"}]}`, o)
	if got := string(r.Members.Get("infos")); got != `[{"message":"a","versions":"<3"},{"message":"our \"own\"","versions":"*"}]` {
		t.Errorf("infos: %s", got)
	}
	if got := string(r.Members.Get("warnings")); got != `[{"message":"w","versions":"<2.2"}]` {
		t.Errorf("warnings: %s", got)
	}
}

func TestUnknownKeysSurvive(t *testing.T) {
	r := rewritten(t, `{"tuf":{"threshold":1.0,"keys":["a/b",{}]},"x":"text","y":12345678901234567890,"z":null,"note":"see https://up","options":[]}`, composer.RootOptions{})
	for key, want := range map[string]string{
		"tuf": `{"threshold":1.0,"keys":["a/b",{}]}`, "x": `"text"`, "y": `12345678901234567890`, "z": `null`, "note": `"see https://up"`, "options": `[]`,
	} {
		if got := string(r.Members.Get(key)); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

func TestDefaultRootOffersTheUsual(t *testing.T) {
	r := composer.DefaultRoot()
	if composer.Resolve("https://up.example/x", r.MetadataURL) != "https://up.example/p2/%package%.json" || r.SearchURL == "" || r.ListURL == "" || r.ProvidersURL == "" ||
		r.MetadataChangesURL == "" || r.NotifyURL == "" || r.AdvisoriesURL == "" || r.FilterSummaryURL == "" {
		t.Errorf("got %+v", r)
	}
}

func TestRewriteSearchNext(t *testing.T) {
	for in, want := range map[string]string{
		`{"results":[{"url":"https://packagist.org/x"}],"total":2,"next":"https:\/\/packagist.org\/search.json?q=a+b&page=2"}`: `{"results":[{"url":"https://packagist.org/x"}],"total":2,"next":"` + base + `/search.json?q=a+b&page=2"}`,
		`{"results":[],"total":0}`: `{"results":[],"total":0}`,
		`{ "next" : null }`:        `{ "next" : null }`,
		`<html>`:                   `<html>`,
	} {
		if got := string(composer.RewriteSearchNext([]byte(in), base+"/")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzParseRoot(f *testing.F) {
	f.Add([]byte(packagist))
	f.Add([]byte(`{"warnings":[{"message":"a","versions":"*"}],"mirrors":[{"dist-url":"x"}],"available-packages":["a/b"],"x":{"y":["//h"]}}`))
	f.Add([]byte("\f{}"))
	f.Add([]byte("{\"\\u0000\":\"\xff\",\"a\":[[[{}]]],\"a\":1e9}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := composer.ParseRoot(body)
		if err != nil {
			// The only valid objects that are refused nest too deep or hold half a surrogate pair.
			if body = bytes.Trim(body, " \t\r\n"); len(body) > 0 && body[0] == '{' && json.Valid(body) && len(body) < 500 && !strings.Contains(string(body), `\u`) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is not JSON", body)
		}
		o := composer.RootOptions{Mirror: true, Available: true, Infos: []composer.Message{{Text: "x"}}}
		once := r.Rewrite(base, o)
		ours, err := composer.ParseRoot(once)
		if err != nil || !json.Valid(once) {
			t.Fatalf("%q became %q: %v", body, once, err)
		}
		for _, address := range []string{ours.MetadataURL, ours.ListURL, ours.SearchURL, ours.ProvidersURL, ours.MetadataChangesURL, ours.NotifyURL, ours.AdvisoriesURL, ours.FilterSummaryURL} {
			if address != "" && !strings.HasPrefix(address, base+"/") {
				t.Fatalf("%q: the address %q is not ours", body, address)
			}
		}
		if ours.MetadataURL == "" || len(ours.Mirrors) != 1 {
			t.Fatalf("%q became %q", body, once)
		}
		o.Infos = nil
		once = r.Rewrite(base, o)
		if twice := root(t, string(once)).Rewrite(base, o); string(twice) != string(once) {
			t.Fatalf("rewritten once %q, twice %q", once, twice)
		}
	})
}
