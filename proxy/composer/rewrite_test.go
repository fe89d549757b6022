package composer_test

import (
	"bytes"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

// checkRewritten rewrites doc and compares, version by expanded version, that only addresses of archives changed, that
// they changed to what url says, and that doing it again changes nothing.
func checkRewritten(t *testing.T, doc *composer.Document, url func(v composer.Version) string) *composer.Document {
	t.Helper()
	before := string(doc.Encode())
	rewrite := func(d *composer.Document) *composer.Document {
		return composer.Rewrite(d, func(v composer.Version) (string, bool) { return url(v), true })
	}
	got := rewrite(doc)
	if after := string(doc.Encode()); after != before {
		t.Fatalf("rewriting changed its argument from %s to %s", before, after)
	}
	if once, twice := string(got.Encode()), string(rewrite(got).Encode()); once != twice {
		t.Fatalf("rewritten once:\n%s\ntwice:\n%s", once, twice)
	}
	old, now := doc.Expanded(), got.Expanded()
	if len(old) != len(now) {
		t.Fatalf("%d versions became %d", len(old), len(now))
	}
	versions, err := doc.Index()
	if err != nil {
		return got // rewriting is more tolerant than summarising
	}
	for i := range old {
		if len(old[i]) != len(now[i]) {
			t.Fatalf("version %d had %d keys and has %d", i, len(old[i]), len(now[i]))
		}
		for j, m := range old[i] {
			after := now[i][j]
			if after.Key != m.Key {
				t.Fatalf("version %d: key %q stands where %q was", i, after.Key, m.Key)
			}
			if bytes.Equal(after.Value, m.Value) {
				continue
			}
			if m.Key != "dist" {
				t.Fatalf("version %d: %s became %s", i, m.Value, after.Value)
			}
			was, is := object(t, string(m.Value)), object(t, string(after.Value))
			if got, want := is.Text("url"), url(versions[i]); got != want {
				t.Fatalf("version %d has the address %s, want %s", i, got, want)
			}
			if was, is := text(t, was.Without("url")), text(t, is.Without("url")); was != is {
				t.Fatalf("version %d: besides its address the dist %s became %s", i, was, is)
			}
		}
	}
	return got
}

// C20 and C24: the registry's own documents change in the addresses of their archives and nowhere else.
func TestC20RealDocumentsAreRewrittenInPlace(t *testing.T) {
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		doc, err := composer.ParseDocument(body, file.Name)
		if err != nil {
			t.Fatal(err)
		}
		for kind, url := range map[string]func(v composer.Version) string{
			"template": func(v composer.Version) string { return composer.VersionTemplate(base, v) },
			"concrete": func(v composer.Version) string { return composer.DistURL(base, file.Name, v) },
		} {
			out := checkRewritten(t, doc, url).Encode()
			if bytes.Contains(out, []byte("api.github.com")) {
				t.Errorf("%s, %s: an address of the origin is left", file, kind)
			}
		}
	})
}

func TestRewriteLeavesTheRestOfTheTextAlone(t *testing.T) {
	const in = `{"minified":"composer/2.0","a":1,"packages":{"acme/a":[{"name":"acme/a","version":"2.0","dist":{"x":{"url":"https://inner"},"type":"zip","url":"https:\/\/h\/2.zip","shasum":"","n":1.50},"y":"https://h/2.zip"},{"version":"1.0"},{"version":"0.9","dist":{"url":"https://h/0.9.tar.gz","type":"tar"}}]},"b":[]}`
	const want = `{"minified":"composer/2.0","a":1,"packages":{"acme/a":[{"name":"acme/a","version":"2.0","dist":{"x":{"url":"https://inner"},"type":"zip","url":"https://p/dist-proxy/%package%/%version%/%reference%.%type%","shasum":"","n":1.50},"y":"https://h/2.zip"},{"version":"1.0"},{"version":"0.9","dist":{"url":"https://p/dist-proxy/%package%/%version%/%reference%.tar.gz","type":"tar"}}]},"b":[]}`
	got := composer.Rewrite(parse(t, in), func(v composer.Version) (string, bool) { return composer.VersionTemplate("https://p", v), true })
	if string(got.Encode()) != want {
		t.Errorf("got  %s\nwant %s", got.Encode(), want)
	}
}

func TestRewriteGivesInheritedDistsTheirOwnAddress(t *testing.T) {
	const in = `{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"2.0","dist":{"type":"zip","url":"https://h/x"}},{"version":"1.0"},{"bin":["x"]},{"version":"0.9","dist":"__unset"},{"version":"0.8"},{"version":"0.7","dist":{"type":"zip","url":"https://h/x"}}]}}`
	const want = `{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"2.0","dist":{"type":"zip","url":"u:2.0"}},{"version":"1.0","dist":{"type":"zip","url":"u:1.0"}},{"bin":["x"]},{"version":"0.9","dist":"__unset"},{"version":"0.8"},{"version":"0.7","dist":{"type":"zip","url":"u:0.7"}}]}}`
	got := composer.Rewrite(parse(t, in), func(v composer.Version) (string, bool) { return "u:" + v.Pretty, true })
	if string(got.Encode()) != want {
		t.Errorf("got  %s\nwant %s", got.Encode(), want)
	}
}

// When distURL declines for one version only, the versions around it keep what they have.
func TestRewriteWhereItIsAllowed(t *testing.T) {
	const in = `{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"3","dist":{"url":"https://h/x"}},{"version":"2"},{"version":"1"}]}}`
	const want = `{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"3","dist":{"url":"u"}},{"version":"2","dist":{"url":"https://h/x"}},{"version":"1","dist":{"url":"u"}}]}}`
	got := composer.Rewrite(parse(t, in), func(v composer.Version) (string, bool) { return "u", v.Pretty != "2" })
	if string(got.Encode()) != want {
		t.Errorf("got  %s\nwant %s", got.Encode(), want)
	}
}

// C24: what has no archive on the network keeps its dist, null included.
func TestC24RewriteLeavesLocalAndMissingArchivesAlone(t *testing.T) {
	for name, dist := range map[string]string{
		"null":             `,"dist":null`,
		"none":             ``,
		"a metapackage":    `,"type":"metapackage"`,
		"a path":           `,"dist":{"type":"path","url":"https://h/x"}`,
		"a file":           `,"dist":{"type":"file","url":"https://h/x"}`,
		"a file address":   `,"dist":{"type":"zip","url":"file:///x.zip"}`,
		"a relative path":  `,"dist":{"type":"zip","url":"/d/a.zip"}`,
		"no address":       `,"dist":{"type":"zip"}`,
		"null for address": `,"dist":{"type":"zip","url":null}`,
		"a text":           `,"dist":"https://h/x"`,
		"a list":           `,"dist":[]`,
	} {
		in := `{"packages":{"acme/a":[{"name":"acme/a","version":"1"` + dist + `}]}}`
		got := composer.Rewrite(parse(t, in), func(composer.Version) (string, bool) { return "https://p/x", true })
		if string(got.Encode()) != in {
			t.Errorf("%s: %s became %s", name, in, got.Encode())
		}
	}
}

func TestRewriteTakesTheAddressThatCounts(t *testing.T) {
	const in = `{"packages":{"acme/a":[{"name":"acme/a","version":"1","dist":{"url":"https://first","type":"zip","u\u0072l":"https://last"}}]}}`
	var seen []string
	got := composer.Rewrite(parse(t, in), func(v composer.Version) (string, bool) {
		seen = append(seen, v.Dist.URL)
		return "https://p/\"x\"", true
	})
	want := strings.Replace(in, `"https://last"`, `"https://p/\"x\""`, 1)
	if string(got.Encode()) != want || len(seen) != 1 || seen[0] != "https://last" {
		t.Errorf("seen %q, got %s", seen, got.Encode())
	}
}

func TestRewriteShowsTheWholeVersion(t *testing.T) {
	const in = `{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"dev-x","default-branch":true,"dist":{"type":"zip","url":"https://h/x","reference":"aa"}},{"version":"x-dev","default-branch":"__unset"}]}}`
	var got []composer.Version
	composer.Rewrite(parse(t, in), func(v composer.Version) (string, bool) {
		got = append(got, v)
		return "", false
	})
	if len(got) != 2 || got[0].Normalized != "dev-x" || !got[0].DefaultBranch || got[1].Pretty != "x-dev" || got[1].Normalized != "" ||
		got[1].DefaultBranch || got[1].Dist.Reference != "aa" {
		t.Errorf("got %+v", got)
	}
}
