package webhook_test

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stasis/private/webhook"
)

func example(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bodies are the providers' documented examples, without the parts about people and commits.
func TestParseReadsTheDocumentedExamples(t *testing.T) {
	for _, c := range []struct {
		example  string
		provider webhook.Provider
		header   http.Header
		concerns []string // addresses of the repository
		refs     []webhook.Ref
		ping     bool
	}{
		{"github-push", webhook.GitHub, header("X-GitHub-Event", "push"), hello, []webhook.Ref{{Name: "refs/heads/master", New: "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}}, false},
		{"github-push-tag-deleted", webhook.GitHub, header("X-GitHub-Event", "push"), hello, []webhook.Ref{{Name: "refs/tags/simple-tag", Old: "6113728f27ae82c7b1a177c8d03f9e96e0adf246", Deleted: true}}, false},
		{"github-create", webhook.GitHub, header("X-GitHub-Event", "create"), hello, []webhook.Ref{{Name: "refs/tags/simple-tag"}}, false},
		{"github-delete", webhook.GitHub, header("X-GitHub-Event", "delete"), hello, []webhook.Ref{{Name: "refs/tags/simple-tag", Deleted: true}}, false},
		{"github-release", webhook.GitHub, header("X-GitHub-Event", "release"), hello, []webhook.Ref{{Name: "refs/tags/0.0.1"}}, false},
		{"github-ping", webhook.GitHub, header("X-GitHub-Event", "ping"), []string{"https://github.com/Octocoders/Hello-World"}, nil, true},
		{"gitlab-push", webhook.GitLab, header("X-Gitlab-Event", "Push Hook"), []string{"git@example.com:mike/diaspora.git", "http://example.com/mike/diaspora"},
			[]webhook.Ref{{Name: "refs/heads/master", Old: "95790bf891e76fee5e1747ab589903a6a1f80f22", New: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"}}, false},
		{"gitlab-tag", webhook.GitLab, header("X-Gitlab-Event", "Tag Push Hook"), []string{"ssh://git@example.com/jsmith/example.git"},
			[]webhook.Ref{{Name: "refs/tags/v1.0.0", New: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"}}, false},
		{"gitlab-system", webhook.GitLab, header("X-Gitlab-Event", "System Hook"), []string{"http://example.com/jsmith/example.git"},
			[]webhook.Ref{{Name: "refs/heads/master", Old: "8205ea8d81ce0c6b90fbe8280d118cc9fdad6130", New: "4045ea7a3df38697b3730a20fb73c8bed8a3e69e"}}, false},
		{"gitea-push", webhook.Gitea, header("X-Gitea-Event", "push"), []string{"http://localhost:3000/gitea/webhooks.git", "ssh://gitea@localhost:2222/gitea/webhooks.git", "gitea@localhost:gitea/webhooks"},
			[]webhook.Ref{{Name: "refs/heads/develop", Old: "28e1879d029cb852e4844d9c718537df08844e03", New: "bffeb74224043ba2feb48d137756c8a9331c449a"}}, false},
		{"forgejo-push", webhook.Forgejo, header("X-Forgejo-Event", "push"), []string{"http://localhost:3000/forgejo/webhooks"},
			[]webhook.Ref{{Name: "refs/heads/develop", Old: "28e1879d029cb852e4844d9c718537df08844e03", New: "bffeb74224043ba2feb48d137756c8a9331c449a"}}, false},
		{"bitbucket-push", webhook.Bitbucket, header("X-Event-Key", "repo:push"), []string{"https://bitbucket.org/team_name/repo_name", "git@bitbucket.org:team_name/repo_name.git", "ssh://git@altssh.bitbucket.org:443/team_name/repo_name.git"},
			[]webhook.Ref{{Name: "refs/heads/name-of-branch", Old: "1e65c05c1d5171631d92438a13901ca7dae9618c", New: "709d658dc5b6d6afcd46049c2f332ee3f515a67d"}}, false},
		{"bitbucket-dc-push", webhook.Bitbucket, header("X-Event-Key", "repo:refs_changed"), []string{"ssh://git@bitbucketserver:7999/myproject/test-repo.git", "https://bitbucketserver/scm/MYPROJECT/test-repo.git", "https://bitbucketserver/projects/MYPROJECT/repos/test-repo/browse"},
			[]webhook.Ref{{Name: "refs/heads/master", Old: "f09c8889a2d234985734958795a31589cd91ffda", New: "22671f0349857934857983457983475ec39f196b"}}, false},
		{"bitbucket-dc-old", webhook.Bitbucket, header("X-Event-Key", "repo:refs_changed"), []string{"ssh://git@git.example:7999/proj/repository.git", "https://git.example/scm/proj/repository.git", "https://git.example/bitbucket/scm/PROJ/repository.git"},
			[]webhook.Ref{{Name: "refs/heads/master", Old: "ecddabb624f6f5ba43816f5926e580a5f680a932", New: "178864a7d521b6f5e720b386b2c2b0ef8563e0dc"}}, false},
	} {
		t.Run(c.example, func(t *testing.T) {
			p, err := webhook.Parse(c.provider, c.header, example(t, c.example))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.Refs, c.refs) || p.Ping != c.ping {
				t.Errorf("got %+v, ping %v", p.Refs, p.Ping)
			}
			for _, address := range c.concerns {
				if !p.Concerns(address) {
					t.Errorf("it does not concern %s but %q %q", address, p.Repositories, p.Path)
				}
			}
			for _, address := range []string{"https://github.com/Codertocat/Hello", "https://evil.example/mike/diaspora.git", "/srv/git/proj/repository.git", ""} {
				if p.Concerns(address) {
					t.Errorf("it concerns %q", address)
				}
			}
		})
	}
}

var hello = []string{"https://github.com/Codertocat/Hello-World.git", "git@github.com:Codertocat/Hello-World.git", "git://github.com/codertocat/hello-world", "https://x-access-token:secret@github.com/Codertocat/Hello-World",
	"ssh://git@ssh.github.com:443/Codertocat/Hello-World.git", "https://api.github.com/repos/Codertocat/Hello-World"}

func TestParseReadsForms(t *testing.T) {
	form := url.Values{"payload": {string(example(t, "github-push"))}}.Encode()
	p, err := webhook.Parse(webhook.GitHub, header("X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded"), []byte(form))
	if err != nil || !p.Concerns("https://github.com/Codertocat/Hello-World") {
		t.Errorf("got %+v, %v", p, err)
	}
	p, err = webhook.Parse(webhook.Generic, header("Content-Type", "application/x-www-form-urlencoded"), []byte(`{"repository":{"url":"https://git.example/a"}}`)) // curl -d
	if err != nil || !p.Concerns("https://git.example/a.git") {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestParseReadsWhatScriptsSend(t *testing.T) {
	for _, c := range []struct {
		body         string
		repositories string
		packages     string
	}{
		{`{"repository":{"url":"git@git.example:acme/lib.git"}}`, "git@git.example:acme/lib.git", ""},
		{`{"repository":"https://git.example/acme/lib"}`, "https://git.example/acme/lib", ""},
		{`{"composer":{"package_name":"acme/lib"}}`, "", "acme/lib"},
		{`{"composer":{"package_name":["acme/lib","acme/b"]}}`, "", "acme/lib acme/b"},
		{`{"repository":{"html_url":"https://git.example/acme/lib","id":1}}`, "https://git.example/acme/lib", ""},
		{`{"repository":{"links":{"clone":[{"href":"https://git.example/a.git","name":"http"}],"html":{"href":"https://git.example/a"}}}}`, "https://git.example/a https://git.example/a.git", ""},
		{string(example(t, "gitlab-push")), "git@example.com:mike/diaspora.git http://example.com/mike/diaspora.git", ""},
	} {
		p, err := webhook.Parse(webhook.Generic, header(), []byte(c.body))
		if err != nil || strings.Join(p.Repositories, " ") != c.repositories || strings.Join(p.Packages, " ") != c.packages {
			t.Errorf("%.60s: got %q %q, %v", c.body, p.Repositories, p.Packages, err)
		}
	}
}

func TestParseTellsTheUselessFromTheWrong(t *testing.T) {
	for _, c := range []struct {
		name     string
		provider webhook.Provider
		header   http.Header
		body     string
		ignored  bool
	}{
		{"an issue", webhook.GitHub, header("X-GitHub-Event", "issues"), string(example(t, "github-issues")), true},
		{"a note", webhook.GitLab, header("X-Gitlab-Event", "Note Hook"), `{"object_kind":"note","project":{"git_http_url":"https://git.example/a.git"}}`, true},
		{"a comment", webhook.Bitbucket, header("X-Event-Key", "pullrequest:comment_created"), `{"repository":{"full_name":"a/b"}}`, true},
		{"no event", webhook.GitHub, header(), string(example(t, "github-push")), true},
		{"nothing", webhook.Gitea, header("X-Gitea-Event", "push"), ``, false},
		{"no JSON", webhook.GitHub, header("X-GitHub-Event", "push"), `<xml>`, false},
		{"a list", webhook.GitLab, header(), `[]`, false},
		{"JSON nested deep", webhook.GitHub, header("X-GitHub-Event", "push"), strings.Repeat(`{"a":`, 100_000), false},
		{"no repository", webhook.GitHub, header("X-GitHub-Event", "push"), `{"ref":"refs/heads/main"}`, false},
		{"a repository of another type", webhook.GitHub, header("X-GitHub-Event", "push"), `{"repository":[1]}`, false},
		{"addresses that nobody has", webhook.Generic, header(), `{"repository":{"url":"https://git.example/\u0000"}}`, false},
		{"an address without end", webhook.Generic, header(), `{"repository":{"url":"https://git.example/` + strings.Repeat("a", 3000) + `"}}`, false},
		{"an empty form", webhook.GitHub, header("X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded"), `a=b`, false},
		{"nothing from a script", webhook.Generic, header(), ``, false},
	} {
		_, err := webhook.Parse(c.provider, c.header, []byte(c.body))
		if err == nil || errors.Is(err, webhook.ErrIgnored) != c.ignored {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestRefsThatMakeNoSenseMeanAllOfThem(t *testing.T) {
	for _, ref := range []string{"", "main", "refs/heads/", `refs/heads/a\nb`, "refs/heads/" + strings.Repeat("x", 2000)} {
		p, err := webhook.Parse(webhook.GitHub, header("X-GitHub-Event", "push"), []byte(`{"ref":"`+ref+`","repository":{"clone_url":"https://git.example/a.git"}}`))
		if err != nil || p.Refs != nil {
			t.Errorf("%.40q: got %+v, %v", ref, p.Refs, err)
		}
	}
}

func TestSameRepository(t *testing.T) {
	same := [][]string{
		{"https://github.com/acme/lib", "https://github.com/acme/lib.git", "https://github.com/acme/lib/", "https://github.com/acme/lib.git/", "HTTPS://GitHub.com/Acme/Lib", "http://github.com/acme/lib",
			"git@github.com:acme/lib.git", "github.com:acme/lib", "org-1234@github.com:acme/lib.git", "ssh://git@github.com/acme/lib.git", "ssh://git@github.com:22/acme/lib", "git+ssh://git@github.com/acme/lib",
			"git://github.com/acme/lib.git", "git://github.com:9418/acme/lib.git", "https://github.com:443/acme/lib", "https://user:pa%40ss@github.com/acme/lib", "ssh://git@ssh.github.com:443/acme/lib.git",
			"https://api.github.com/repos/acme/lib", "https://www.github.com/acme/lib"},
		{"https://git.example:8443/acme/lib.git", "ssh://git@git.example:2222/acme/lib.git"},
		{"https://git.example/group/sub/lib", "git@git.example:group/sub/lib.git", "git@git.example:/group/sub/lib.git"},
		{"https://git.example/scm/proj/lib.git", "https://git.example/projects/PROJ/repos/lib/browse", "ssh://git@git.example:7999/proj/lib.git", "https://git.example/bitbucket/scm/proj/lib.git"},
		{"https://git.example/users/me/repos/lib", "ssh://git@git.example:7999/~me/lib.git", "https://git.example/scm/~me/lib.git"},
		{"/srv/git/lib.git", "/srv/git/lib", "file:///srv/git/lib.git", "/srv//git/./lib/"},
		{`C:\git\lib`, "C:/git/lib.git"},
		{"https://git.example/acme/lib%2Bx", "git@git.example:acme/lib+x"},
		{"https://[::1]/acme/lib", "ssh://git@[::1]/acme/lib"},
	}
	for i, group := range same {
		for _, a := range group {
			for j, other := range same {
				for _, b := range other {
					if got := webhook.SameRepository(a, b); got != (i == j) {
						t.Errorf("%s and %s: %v", a, b, got)
					}
				}
			}
		}
	}
	for _, c := range [][2]string{
		{"", ""}, {"https://", "https://"}, {"https://github.com", "https://github.com/"}, {"https://github.com/acme/lib", "https://github.com/acme/library"},
		{"https://github.com/acme/lib", "https://github.com.evil.example/acme/lib"}, {"https://git.example:1/a", "https://git.example:2/a"},
		{"ssh://git@git.example:1/a", "ssh://git@git.example:2/a"}, {"https://github.com/acme/lib", "/acme/lib"}, {"ext::sh -c touch% /tmp/x", "ext::sh -c touch% /tmp/x"},
		{"--upload-pack=x", "--upload-pack=x"}, {"https://github.com/acme/lib", "ftp://github.com/acme/lib"}, {"/srv/git/Lib", "/srv/git/lib"},
		{"https://x/" + strings.Repeat("a", 3000), "https://x/" + strings.Repeat("a", 3000)},
	} {
		if webhook.SameRepository(c[0], c[1]) {
			t.Errorf("%.60s and %.60s are the same", c[0], c[1])
		}
	}
}

func FuzzSameRepository(f *testing.F) {
	f.Add("https://github.com/acme/lib", "git@github.com:acme/lib.git")
	f.Add("/srv/git", "file:///srv/git")
	f.Add("ssh://git@[::1]:22/a", "C:\\x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if webhook.SameRepository(a, b) != webhook.SameRepository(b, a) {
			t.Fatal("it depends on the order")
		}
		if webhook.SameRepository(a, b) && !webhook.SameRepository(a, a) {
			t.Fatal("an address that is the same as another is not the same as itself")
		}
	})
}

func FuzzParse(f *testing.F) {
	list, err := filepath.Glob("testdata/*.json")
	if err != nil || len(list) < 10 {
		f.Fatal(list, err)
	}
	events := []string{"push", "create", "delete", "release", "repo:push", "repo:refs_changed", "ping"}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for i := range webhook.Providers {
			f.Add(uint8(i), uint8(0), b)
		}
	}
	f.Fuzz(func(t *testing.T, provider, event uint8, body []byte) {
		e := events[int(event)%len(events)]
		p, err := webhook.Parse(webhook.Providers[int(provider)%len(webhook.Providers)], header("X-GitHub-Event", e, "X-Gitea-Event", e, "X-Event-Key", e), body)
		if err != nil {
			return
		}
		if len(p.Repositories)+len(p.Packages)+len(p.Path) == 0 && !p.Ping {
			t.Fatal("it is about nothing")
		}
		for _, r := range p.Refs {
			if !strings.HasPrefix(r.Name, "refs/") || strings.ContainsAny(r.Name, "\x00\n\x1b") || strings.Trim(r.Old+r.New, "0123456789abcdef") != "" {
				t.Fatalf("a ref %+v", r)
			}
		}
		for _, a := range p.Repositories {
			if strings.ContainsAny(a, "\x00\n\x1b") || len(a) > 2048 {
				t.Fatalf("an address %q", a)
			}
		}
	})
}
