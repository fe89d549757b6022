package satis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stasis/private/artifact"
	"stasis/private/satis"
	"stasis/proxy/composer"
)

// The example of Satis' own documentation, with repositories of every kind.
const whole = `{
  "name": "acme/satis", "description": "A descriptive line of text goes here.", "homepage": "http://packages.example.org",
  "repositories": [
    {"type": "vcs", "url": "https://git.example/acme/one"},
    {"type": "git", "url": "git@git.example:acme/two.git"},
    {"type": "github", "url": "https://github.com/acme/three.git", "only": ["acme/three", "Acme/tool-*"]},
    {"type": "gitlab", "url": "https://gitlab.example/acme/four.git"},
    {"type": "composer", "url": "https://packagist.org"},
    {"type": "composer", "url": "https://repo.vendor.example/", "options": {"http": {"header": ["Authorization: Bearer b34r3r"]}}},
    {"type": "artifact", "url": "path/to/zips/"},
    {"type": "package", "package": {"name": "smarty/smarty", "version": "3.1.7", "dist": {"url": "https://www.smarty.net/files/Smarty-3.1.7.zip", "type": "zip"}}},
    {"type": "path", "url": "../packages/*"},
    {"type": "svn", "url": "https://svn.example/repo"},
    {"type": "vcs", "url": "svn://svn.example/repo"},
    {"type": "vcs", "url": "https://alice:w0rd@private.example/acme/five.git"},
    {"type": "vcs", "url": "https://git.example:8443/acme/one", "name": "acme/six", "no-api": true}
  ],
  "repositories-dep": [{"type": "composer", "url": "https://deps.example"}],
  "require-all": true, "require-dependencies": true, "require-dev-dependencies": true,
  "archive": {"directory": "dist", "format": "tar", "skip-dev": true, "prefix-url": "https://amazing.cdn.example.org", "whitelist": ["company/package1"], "checksum": true},
  "abandoned": {"acme/old": true, "acme/older": "acme/new", "acme/kept": false, "acme/odd": "see the wiki"},
  "blacklist": {"acme/bad": "1.2.3"}, "minimum-stability": "stable", "notify-batch": "https://example.com/endpoint",
  "providers": true, "output-dir": "output", "output-html": true, "twig-template": "views/index.html.twig", "strip-hosts": [], "unheard-of": 1,
  "config": {"http-basic": {"gitlab.example": {"username": "bob", "password": "s3cr3t"}}, "github-oauth": {"github.com": "ght0k3n"}, "bitbucket-oauth": {"bitbucket.org": {"consumer-key": "k", "consumer-secret": "c0nsumer"}}, "process-timeout": 600}
}`

func describe(s satis.Source) string {
	text := s.Name + ": " + s.Type + " " + s.URL + s.Folder
	if len(s.Packages) > 0 {
		text += " only " + strings.Join(s.Packages, " ")
	}
	if s.Credentials != nil {
		text += " as " + s.Credentials.Username + "/" + s.Credentials.Password
	}
	return text
}

func TestParseReadsEveryKindOfRepository(t *testing.T) {
	got, err := satis.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, s := range got.Sources {
		sources = append(sources, describe(s))
	}
	want := []string{
		"git.example/acme/one: git https://git.example/acme/one",
		"git.example/acme/two: git git@git.example:acme/two.git",
		"github.com/acme/three: git https://github.com/acme/three.git only acme/three acme/tool-* as x-access-token/ght0k3n",
		"gitlab.example/acme/four: git https://gitlab.example/acme/four.git as bob/s3cr3t",
		"repo.vendor.example: composer https://repo.vendor.example/ as /b34r3r",
		"path/to/zips: artifact path/to/zips/",
		"package: package ",
		"private.example/acme/five: git https://private.example/acme/five.git as alice/w0rd",
		"acme/six: git https://git.example:8443/acme/one",
	}
	if !slices.Equal(sources, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(sources, "\n"), strings.Join(want, "\n"))
	}
	if d, err := artifact.ParsePackages(got.Sources[6].Definitions); err != nil || len(d.Versions) != 1 {
		t.Errorf("the inline package became %s: %v", got.Sources[6].Definitions, err)
	}
	if a := fmt.Sprint(got.Abandoned); a != "map[acme/odd: acme/old: acme/older:acme/new]" {
		t.Errorf("abandoned are %s", a)
	}
}

func TestNothingIsDroppedInSilence(t *testing.T) {
	got, err := satis.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]bool{}
	for _, n := range got.Notes {
		lost[n.Key] = lost[n.Key] || n.Lost
		if !strings.HasSuffix(n.Text, ".") || strings.Contains(n.Text, "%!") {
			t.Errorf("%s: %q is no sentence", n.Key, n.Text)
		}
		for _, secret := range []string{"s3cr3t", "ght0k3n", "b34r3r", "w0rd", "c0nsumer"} {
			if strings.Contains(n.Text+n.Key, secret) {
				t.Errorf("%s: %q holds a secret", n.Key, n.Text)
			}
		}
	}
	for key, want := range map[string]bool{
		"repositories[8]": true, "repositories[9]": true, "repositories[10]": true, "repositories[4]": false, "repositories[6]": false,
		"repositories-dep[0]": true, "blacklist.acme/bad": true, "minimum-stability": true, "notify-batch": true, "archive": false, "archive.format": true,
		"archive.skip-dev": false, "archive.whitelist": false, "config.bitbucket-oauth.bitbucket.org": true, "config.process-timeout": false, "abandoned.acme/odd": true,
		"unheard-of": false, "providers": false, "require-dependencies": false, "homepage": false,
	} {
		if got, ok := lost[key]; !ok || got != want {
			t.Errorf("%s: noted %v, lost %v", key, ok, got)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", *got.Sources[3].Credentials, got.Sources[3].Credentials, got.Sources[3].Credentials); strings.Contains(s, "s3cr3t") {
		t.Errorf("credentials show as %s", s)
	}
}

func TestRequiredPackages(t *testing.T) {
	parse := func(body string) satis.Import {
		t.Helper()
		got, err := satis.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one := parse(`{"repositories":[{"type":"composer","url":"https://repo.example"}],"require":{"acme/a":"*","Acme/B":"^2.0","not a name":"*"}}`)
	if got := describe(one.Sources[0]); got != "repo.example: composer https://repo.example only acme/a acme/b" {
		t.Errorf("a single source is %s", got)
	}
	var keys []string
	for _, n := range one.Notes {
		keys = append(keys, n.Key)
	}
	if !slices.Equal(keys, []string{"require.Acme/B", "require.not a name"}) {
		t.Errorf("noted are %q", keys)
	}
	two := parse(`{"repositories":{"a":{"type":"vcs","url":"https://git.example/a"},"packagist.org":false,"1":{"type":"vcs","url":"https://git.example/a"},"2":{"packagist":false}},"require":{"acme/a":"*"}}`)
	if len(two.Sources) != 2 || two.Sources[0].Packages != nil || two.Sources[0].Name != "a" || two.Sources[1].Name != "git.example/a" || len(two.Notes) != 1 || two.Notes[0].Key != "require" || !two.Notes[0].Lost {
		t.Errorf("two sources are %+v with %+v", two.Sources, two.Notes)
	}
	all := parse(`{"repositories":[{"type":"vcs","url":"https://git.example/a"}],"require":{"acme/a":"^1"},"require-all":true}`)
	if all.Sources[0].Packages != nil || len(all.Notes) != 0 {
		t.Errorf("require-all gives %+v with %+v", all.Sources, all.Notes)
	}
}

func TestAddressesLoseTheirSecrets(t *testing.T) {
	for address, want := range map[string]string{
		"https://alice@bitbucket.org/acme/a.git":                "https://bitbucket.org/acme/a.git",
		"https://ghp_0123456789@github.com/acme/a.git":          "https://github.com/acme/a.git as x-access-token/ghp_0123456789",
		"https://alice:p%40ss@git.example/a":                    "https://git.example/a as alice/p@ss",
		"ssh://git@git.example:2222/a.git":                      "ssh://git@git.example:2222/a.git",
		"ssh://git:hunter2@git.example/a.git":                   "ssh://git@git.example/a.git",
		"/srv/git/a.git":                                        "/srv/git/a.git",
		"https://alice:%zz@git.example/a":                       "",
		"https://" + strings.Repeat("a1", 20) + "@github.com/a": "https://github.com/a as x-access-token/" + strings.Repeat("a1", 20),
	} {
		got, err := satis.Parse([]byte(`{"repositories":[{"type":"git","url":"` + address + `"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		if len(got.Sources) > 0 {
			_, text, _ = strings.Cut(describe(got.Sources[0]), "git ")
		}
		if text != want {
			t.Errorf("%s became %q, want %q", address, text, want)
		}
		for _, n := range got.Notes {
			if strings.Contains(n.Text, "hunter2") || strings.Contains(n.Text, "%zz") {
				t.Errorf("a note holds a secret: %s", n.Text)
			}
		}
	}
}

func TestWhatIsNoConfigurationIsRefused(t *testing.T) {
	for _, body := range []string{``, `[]`, `{}`, `{"require":{}}`, `{"repositories":"x"}`, `{"repositories":[`, "\ufeff{}", strings.Repeat("[", 100_000)} {
		if got, err := satis.Parse([]byte(body)); err == nil {
			t.Errorf("%.20q became %+v", body, got)
		}
	}
}

func TestParseList(t *testing.T) {
	got, err := satis.ParseList([]byte("# ours\r\nhttps://git.example/acme/a.git\r\n\n  git@git.example:acme/b.git  acme/b acme/b-*   # two of them\nhttps://bob:s3cr3t@git.example/acme/c\n" +
		"https://git.example/acme/a.git\n/srv/git/d.git\n--upload-pack=touch\next::sh -c id\nftp://git.example/e\nnonsense\nhttps://git.example\nssh://git@git.example/f#main\n"))
	if err != nil {
		t.Fatal(err)
	}
	var sources, notes []string
	for _, s := range got.Sources {
		sources = append(sources, describe(s))
	}
	for _, n := range got.Notes {
		notes = append(notes, fmt.Sprint(n.Key, n.Lost))
	}
	if want := []string{
		"git.example/acme/a: git https://git.example/acme/a.git",
		"git.example/acme/b: git git@git.example:acme/b.git only acme/b acme/b-*",
		"git.example/acme/c: git https://git.example/acme/c as bob/s3cr3t",
		"srv/git/d: git /srv/git/d.git",
		"git.example/f#main: git ssh://git@git.example/f#main",
	}; !slices.Equal(sources, want) {
		t.Errorf("got\n%s", strings.Join(sources, "\n"))
	}
	if want := []string{"line 6false", "line 8true", "line 9true", "line 10true", "line 11true", "line 12true"}; !slices.Equal(notes, want) {
		t.Errorf("noted are %q", notes)
	}
}

// Whatever is read, sources have what their type needs and names of their own, and no secret is left in an address.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"repositories":{"a":{"type":"vcs","url":"https://a:b@c/d"}},"require":{"a/b":"1"},"config":{"gitlab-token":{"c":{"username":"x","token":"y"}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := satis.Parse(body)
		if err != nil {
			return
		}
		check(t, got)
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("https://a:b@c/d a/b\n# x\ngit@c:d\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := satis.ParseList(body); err == nil {
			check(t, got)
		}
	})
}

func check(t *testing.T, got satis.Import) {
	names := map[string]bool{}
	for _, s := range got.Sources {
		if s.Name == "" || names[s.Name] {
			t.Fatalf("the name %q is empty or taken", s.Name)
		}
		names[s.Name] = true
		var o composer.Object
		switch s.Type {
		case "git", "composer":
			if s.URL == "" {
				t.Fatalf("%+v has no address", s)
			}
		case "artifact":
			if s.Folder == "" {
				t.Fatalf("%+v has no folder", s)
			}
		case "package":
			if err := o.UnmarshalJSON(s.Definitions); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("%+v has no type", s)
		}
		if _, rest, ok := strings.Cut(s.URL, "://"); ok {
			host, _, _ := strings.Cut(rest, "/")
			if user, _, ok := strings.Cut(host, "@"); ok && strings.Contains(user, ":") {
				t.Fatalf("%s holds a password", s.URL)
			}
		}
	}
}
