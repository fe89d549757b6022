package composer_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

const (
	sha       = "e4a1bc52ef551d52e60244bb004256d6861da7ab"
	md5Empty  = "d41d8cd98f00b204e9800998ecf8427e"
	md5ABCDEF = "8827a41122a5028b9808c7bf84b9fcf6"
)

func TestReferenceKey(t *testing.T) {
	for in, want := range map[string]string{
		sha: sha, "": "", "abc123": "abc123", "0": "0", "%reference%": "%reference%", "ABCDEF": md5ABCDEF,
	} {
		if got := composer.ReferenceKey(in); got != want {
			t.Errorf("ReferenceKey(%q) = %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"v1.0", "main", "r123", "1234 ", "abcdeg"} {
		if got := composer.ReferenceKey(in); len(got) != 32 || got == in || got == md5Empty {
			t.Errorf("ReferenceKey(%q) = %q, want an MD5", in, got)
		}
	}
}

func TestVersionKey(t *testing.T) {
	for in, want := range map[string]string{"1.0.0.0": "1.0.0.0", "dev-A_B": "dev-A_B", "dev-a&b": "dev-a&b", "dev-фича": "dev-фича"} {
		if got := composer.VersionKey(in); got != want {
			t.Errorf("VersionKey(%q) = %q, want %q", in, got, want)
		}
	}
	if got := composer.VersionKey("dev-feature/x"); len(got) != 32 || strings.Contains(got, "/") {
		t.Errorf("VersionKey of a branch with a slash = %q, want an MD5", got)
	}
}

func TestExpandTemplate(t *testing.T) {
	v := composer.Version{Pretty: "v1.0", Normalized: "1.0.0.0", Dist: &composer.Dist{Type: "zip", Reference: sha}}
	name := mustName("acme/a")
	for tmpl, want := range map[string]string{
		"https://m/%package%/%version%/r%reference%.%type%": "https://m/acme/a/1.0.0.0/r" + sha + ".zip",
		"https://m/%package%/%prettyVersion%.%type%":        "https://m/acme/a/v1.0.zip",
		"https://m/a%20b/%package%":                         "https://m/a%20b/acme/a",
		"https://m/fixed.zip":                               "https://m/fixed.zip",
		"%package%%package%":                                "acme/aacme/a",
		"%unknown%/%type":                                   "%unknown%/%type",
	} {
		if got := composer.ExpandTemplate(tmpl, name, v); got != want {
			t.Errorf("ExpandTemplate(%q) = %q, want %q", tmpl, got, want)
		}
	}
	if got := composer.ExpandTemplate("%version%/%reference%.%type%", name, composer.Version{Normalized: "1.0.0.0"}); got != "1.0.0.0/." {
		t.Errorf("without a dist the template becomes %q", got)
	}
}

// Observed with Composer: mirrors m1 (preferred), m2 (preferred) and m3 are tried as m2, m1, origin, m3.
func TestC90MirrorsAreTriedInComposersOrder(t *testing.T) {
	body := `{"packages":{"acme/a":[{"name":"acme/a","version":"v1.0","dist":{"type":"zip","reference":"` + sha + `",
		"url":"https://o/%package%/%prettyVersion%.zip","mirrors":[
			{"url":"https://m1/%package%/%version%/%reference%.%type%","preferred":true},
			{"url":"https://m2/a.zip","preferred":true},{"url":"https://m3/a.zip"},{"url":"https://m2/a.zip"},
			{"url":"https://o/acme/a/v1.0.zip","preferred":true},{"preferred":true},7]}},
		{"name":"acme/a","version":"0.9","dist":{"type":"zip","mirrors":[{"url":"https://m2/a.zip"}]}},
		{"name":"acme/a","version":"0.8"}]}}`
	doc, err := composer.ParseDocument([]byte(body), mustName("acme/a"))
	if err != nil {
		t.Fatal(err)
	}
	versions, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"https://m2/a.zip", "https://m1/acme/a/1.0.0.0/" + sha + ".zip", "https://o/acme/a/v1.0.zip", "https://m3/a.zip"}
	if got := composer.Origins(doc.Name(), versions[0]); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, v := range versions[1:] {
		if got := composer.Origins(doc.Name(), v); got != nil {
			t.Errorf("%s, which has no address of its own, is tried at %v", v.Pretty, got)
		}
	}
	ours := composer.Rewrite(doc, func(v composer.Version) (string, bool) { return composer.DistURL(base, doc.Name(), v), true })
	if dist := string(ours.Versions[0].Get("dist")); strings.Contains(dist, "m1") || !strings.Contains(dist, base) {
		t.Errorf("clients are shown %s", dist)
	}
}

// C54: PHP opens a tar or phar archive only under an extension it knows, and Composer takes that from the template.
func TestC54TarTemplatesSpellTheirExtensionOut(t *testing.T) {
	for _, c := range []struct{ typ, original, ext string }{
		{"zip", "https://api.github.com/repos/a/b/zipball/" + sha, "%type%"},
		{"zip", "https://h/x.tar.gz", "%type%"},
		{"tar", "https://h/x.tar", "tar"},
		{"tar", "https://h/x.TAR.GZ?token=1", "tar.gz"},
		{"tar", "https://h/x.tgz#top", "tgz"},
		{"tar", "https://h/x.tar.bz2", "tar.bz2"},
		{"tar", "https://h/x.tar.xz", "tar.xz"},
		{"tar", "https://h/archive?file=x.tar.gz", "tar"},
		{"tar", "https://h/archive", "tar"},
		{"phar", "https://h/tool", "phar"},
		{"gzip", "https://h/x.gz", "%type%"},
		{"xz", "https://h/x.tar.xz", "%type%"},
		{"rar", "https://h/x.rar", "%type%"},
	} {
		want := base + "/dist-proxy/%package%/%version%/%reference%." + c.ext
		for _, b := range []string{base, base + "/"} {
			if got := composer.DistTemplate(b, c.typ, c.original); got != want {
				t.Errorf("DistTemplate(%q, %q, %q) = %q, want %q", b, c.typ, c.original, got, want)
			}
		}
		if again := composer.DistTemplate(base, c.typ, want); again != want {
			t.Errorf("the template of its own result %q is %q", want, again)
		}
	}
}

// C45: whatever Composer makes of a template, and whatever stands in a concrete address, leads back to the package, the
// version and the reference.
func TestC45AddressesLeadBack(t *testing.T) {
	name := mustName("acme/a")
	for _, version := range []string{
		"1.0.0.0", "1.0.0.0-RC1", "dev-main", "dev-feature/x", "dev-A_B", "1.0.9999999.9999999-dev", "dev-a&b", "dev-фича",
		"dev-foo+1", "dev-foo#1", "dev-100%", "dev-a%20b", "dev-a;b", "20240101.120000",
	} {
		for _, ref := range []string{sha, "", "v1.0", "ABCDEF", "abc"} {
			for _, typ := range []string{"zip", "tar", "phar"} {
				v := composer.Version{Pretty: version, Normalized: version, Dist: &composer.Dist{Type: typ, URL: "https://h/x.tar.gz", Reference: ref}}
				want := composer.DistRequest{Name: name, Version: composer.VersionKey(version), Reference: composer.ReferenceKey(ref), Type: typ}
				if typ == "tar" {
					want.Type = "tar.gz"
				}
				for kind, address := range map[string]string{
					"concrete": composer.DistURL(base, name, v),
					"template": composer.ExpandTemplate(composer.VersionTemplate(base, v), name, v),
				} {
					u, err := url.Parse(address)
					if err != nil {
						t.Errorf("%s address of %q: %v", kind, version, err)
						continue
					}
					rest, ok := strings.CutPrefix(u.Path, "/sub/dist-proxy/")
					if !ok || !strings.HasPrefix(address, base) || u.Fragment != "" || u.RawQuery != "" {
						t.Errorf("%s address of %q lies elsewhere: %s", kind, version, address)
					}
					if got, err := composer.ParseDistPath(rest); err != nil || got != want {
						t.Errorf("%s address %s leads to %+v, %v, want %+v", kind, address, got, err, want)
					}
				}
			}
		}
	}
}

func TestVersionTemplateIsTheTemplateForOrdinaryVersions(t *testing.T) {
	v := composer.Version{Normalized: "dev-feature/#1", Dist: &composer.Dist{Type: "zip", URL: "https://h/x"}}
	if got, want := composer.VersionTemplate(base, v), composer.DistTemplate(base, "zip", ""); got != want {
		t.Errorf("a branch that is hashed anyway has the template %q, want %q", got, want)
	}
	v.Normalized = "dev-x#1"
	if got, want := composer.VersionTemplate(base, v), base+"/dist-proxy/%package%/dev-x%231/%reference%.%type%"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := composer.VersionTemplate(base, composer.Version{}) + composer.DistURL(base, mustName("a/b"), composer.Version{}); got != "" {
		t.Errorf("a version without archive has the address %q", got)
	}
}

func TestParseDistPath(t *testing.T) {
	for in, want := range map[string]composer.DistRequest{
		"acme/a/1.0.0.0/" + sha + ".zip":      {Version: "1.0.0.0", Reference: sha, Type: "zip"},
		"Acme/A/v1.0/abc.zip":                 {Version: "v1.0", Reference: "abc", Type: "zip"},
		"acme/a/1.0.0.0/.zip":                 {Version: "1.0.0.0", Type: "zip"},
		"acme/a/dev-feature/x/abc.tar.gz":     {Version: "dev-feature/x", Reference: "abc", Type: "tar.gz"},
		"acme/a/dev-a/b/c/d/.tgz":             {Version: "dev-a/b/c/d", Type: "tgz"},
		"acme/a/" + md5Empty + "/abc.zip":     {Version: md5Empty, Reference: "abc", Type: "zip"},
		"acme/a/dev-a b&c+d%/abc.tar":         {Version: "dev-a b&c+d%", Reference: "abc", Type: "tar"},
		"acme/a/1.0.zip/" + sha + ".phar":     {Version: "1.0.zip", Reference: sha, Type: "phar"},
		"acme/a/dev-v1.x/..y/" + sha + ".zip": {},
	} {
		got, err := composer.ParseDistPath(in)
		if want.Type == "" {
			if err == nil {
				t.Errorf("ParseDistPath(%q) = %+v, want an error", in, got)
			}
			continue
		}
		want.Name = mustName("acme/a")
		if err != nil || got != want {
			t.Errorf("ParseDistPath(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestParseDistPathRefuses(t *testing.T) {
	for _, in := range []string{
		"", "/", "acme", "acme/a", "acme/a/", "acme/a/1.0", "acme/a/1.0/", "acme/a/1.0/abc", "acme/a//abc.zip", "acme/a/abc.zip",
		"acme/a/1.0/rabc.zip", "acme/a/1.0/ABC.zip", "acme/a/1.0/ab-c.zip", "acme/a/1.0/abc.exe", "acme/a/1.0/abc.", "acme/a/1.0/abc.ZIP",
		"acme/a/1.0/abc.zip/", "acme/a/1.0/abc.zip.zip", "acme/a/../../etc/passwd.zip", "acme/a/1.0/../abc.zip", "acme/a/./abc.zip",
		"acme/a/.git/abc.zip", "../a/1.0/abc.zip", "acme/../1.0/abc.zip", "/acme/a/1.0/abc.zip", "acme/a/1\\0/abc.zip",
		"acme/a/1\x00/abc.zip", "acme/a/1\n/abc.zip", "acme/a/1\x7f/abc.zip", "acme/a/\xff/abc.zip", "php/1.0/abc.zip", "con/a/1.0/abc.zip",
		"acme/a/" + strings.Repeat("x", 256) + "/abc.zip", "acme/a/1.0/" + strings.Repeat("a", 129) + ".zip", "acme/a/1//2/abc.zip",
	} {
		if got, err := composer.ParseDistPath(in); err == nil || got != (composer.DistRequest{}) {
			t.Errorf("ParseDistPath(%q) = %+v, %v, want nothing but an error", in, got, err)
		}
	}
}

func FuzzParseDistPath(f *testing.F) {
	for _, s := range []string{
		"acme/a/1.0.0.0/" + sha + ".zip", "acme/a/dev-feature/x/.tar.gz", "Acme/A/dev-фича/abc.zip", "acme/a/../b/abc.zip", "a/b/c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := composer.ParseDistPath(s)
		if err != nil {
			return
		}
		tail := "/" + r.Version + "/" + r.Reference + "." + r.Type
		if !strings.EqualFold(s[:len(s)-len(tail)], r.Name.String()) || !strings.HasSuffix(s, tail) {
			t.Fatalf("%q was taken apart as %+v", s, r)
		}
		if composer.ReferenceKey(r.Reference) != r.Reference {
			t.Fatalf("%q holds the reference %q, which Composer never writes", s, r.Reference)
		}
		for part := range strings.SplitSeq(r.Version, "/") {
			if part == "" || part == "." || part == ".." {
				t.Fatalf("%q holds a part %q", s, part)
			}
		}
		again, err := composer.ParseDistPath(r.Name.String() + tail)
		if err != nil || again != r {
			t.Fatalf("%+v written and read is %+v, %v", r, again, err)
		}
	})
}
