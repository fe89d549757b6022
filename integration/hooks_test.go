package integration_test

import (
	"archive/zip"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const hookSecret = "a-secret-of-the-hooks-that-is-long"

var signing = "whsec_" + base64.StdEncoding.EncodeToString([]byte(hookSecret))

func hookMAC(parts ...string) []byte {
	m := hmac.New(sha256.New, []byte(hookSecret))
	m.Write([]byte(strings.Join(parts, "")))
	return m.Sum(nil)
}

// providers are the ways in which hosts of repositories say that something was pushed.
var providers = []struct {
	name, path string
	body       string // %q is the address of the repository
	headers    func(id, body string) []string
}{
	{"GitHub", "/api/webhooks/github", `{"ref":"refs/tags/x","repository":{"full_name":"acme/x","clone_url":%q}}`, func(id, body string) []string {
		return []string{"X-Hub-Signature-256", "sha256=" + hex.EncodeToString(hookMAC(body)), "X-GitHub-Delivery", id, "X-GitHub-Event", "push"}
	}},
	{"GitLab", "/api/webhooks/gitlab", `{"object_kind":"tag_push","ref":"refs/tags/x","project":{"git_http_url":%q}}`, func(id, body string) []string {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		return []string{"Webhook-Id", id, "Webhook-Timestamp", at, "Webhook-Signature", "v1," + base64.StdEncoding.EncodeToString(hookMAC(id, ".", at, ".", body)), "X-Gitlab-Event", "Tag Push Hook"}
	}},
	{"Gitea", "/api/webhooks/gitea", `{"ref":"refs/tags/x","repository":{"clone_url":%q}}`, func(id, body string) []string {
		return []string{"X-Gitea-Signature", hex.EncodeToString(hookMAC(body)), "X-Gitea-Delivery", id, "X-Gitea-Event", "push"}
	}},
	{"Forgejo", "/api/webhooks/forgejo", `{"ref":"refs/tags/x","repository":{"clone_url":%q}}`, func(id, body string) []string {
		return []string{"X-Forgejo-Signature", hex.EncodeToString(hookMAC(body)), "X-Forgejo-Delivery", id, "X-Forgejo-Event", "push"}
	}},
	{"Bitbucket", "/api/webhooks/bitbucket", `{"repository":{"slug":"x","project":{"key":"A"},"links":{"clone":[{"name":"http","href":%q}]}},"changes":[]}`, func(id, body string) []string {
		return []string{"X-Hub-Signature", "sha256=" + hex.EncodeToString(hookMAC(body)), "X-Request-Id", id, "X-Event-Key", "repo:refs_changed"}
	}},
}

// A push is installable within five seconds, whoever hosts the repository.
func TestAPushIsInstallableAtOnce(t *testing.T) {
	_, d := pair(t, append([]string{"PUBLIC_READ=true", "GITHUB_WEBHOOK_SECRET=" + hookSecret, "GITLAB_WEBHOOK_SECRET=" + signing, "GITEA_WEBHOOK_SECRET=" + hookSecret,
		"FORGEJO_WEBHOOK_SECRET=" + hookSecret, "BITBUCKET_WEBHOOK_SECRET=" + hookSecret}, withGit...)...)
	r := newRepository(t)
	r.commit("composer.json", `{"name":"acme-corp/billing"}`)
	r.git("tag", "1.0.0")
	d.addGit(r, "acme-corp/*")
	hook := d.token(map[string]any{"name": "hook", "role": "webhook"})

	installed := func(name, version string, begun time.Time) {
		t.Helper()
		for !strings.Contains(string(d.do(http.MethodGet, "/p2/acme-corp/billing.json", nil).body), `"`+version+`"`) {
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: %s is not there after five seconds", name, version)
			}
		}
		t.Logf("%s: a push was visible after %s", name, time.Since(begun).Round(time.Millisecond))
	}
	for i, p := range providers {
		version := fmt.Sprintf("1.1.%d", i)
		r.commit("src/"+version+".php", "<?php")
		r.git("tag", version)
		body := fmt.Sprintf(p.body, r.dir)
		headers := p.headers("delivery-1", body)
		if reply := d.do(http.MethodPost, p.path, []byte(body+" "), headers...); reply.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a body that was changed on the way is answered with %d %s", p.name, reply.StatusCode, reply.body)
		}
		begun := time.Now()
		if reply := d.do(http.MethodPost, p.path, []byte(body), headers...); reply.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %d %s", p.name, reply.StatusCode, reply.body)
		}
		installed(p.name, version, begun)
		if reply := d.do(http.MethodPost, p.path, []byte(body), headers...); !strings.Contains(string(reply.body), `"repeated"`) {
			t.Errorf("%s: sent again it is answered with %s", p.name, reply.body)
		}
	}

	// As Packeton's hooks and post-receive scripts do it.
	r.git("tag", "1.2.0")
	begun := time.Now()
	if reply := d.do(http.MethodPost, "/api/update-package?token=admin:"+hook, fmt.Appendf(nil, `{"repository":{"url":%q}}`, r.dir)); reply.StatusCode != http.StatusAccepted {
		t.Fatalf("Packeton: %d %s", reply.StatusCode, reply.body)
	}
	installed("Packeton", "1.2.0", begun)
	expectLocked(t, "after all pushes", client(t, d.url).locked(requiring("acme-corp/billing", "^1.0")), "acme-corp/billing 1.2.0")

	// The log outlives the program, and so does the memory of what came.
	d.restart()
	first := fmt.Sprintf(providers[0].body, r.dir)
	if reply := d.do(http.MethodPost, providers[0].path, []byte(first), providers[0].headers("delivery-1", first)...); !strings.Contains(string(reply.body), `"repeated"`) {
		t.Errorf("sent again after a restart it is answered with %s", reply.body)
	}
	type delivery struct{ ID, Provider, Result string }
	log := above[[]delivery](d, http.MethodGet, "webhooks/deliveries?result=queued", nil)
	if len(log) != len(providers)+1 || log[0].Provider != "generic" {
		t.Fatalf("the log has %+v", log)
	}
	r.git("tag", "1.3.0")
	begun = time.Now()
	above[delivery](d, http.MethodPost, "webhooks/deliveries/"+log[1].ID+"/replay", nil)
	installed("a replay", "1.3.0", begun)
}

// upload is a zip as a CI job makes it, with one root folder.
func upload(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create("build/" + files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What CI jobs sent to Packeton or Nexus they send to Stasis, and Composer installs it.
func TestUploadedArchivesAreInstalled(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		_, d := pair(t)
		ci := d.token(map[string]any{"name": "ci", "role": "developer", "packages": []string{"acme-corp/*"}})
		body := upload(t, "composer.json", `{"name":"acme-corp/tool","bin":["bin/tool"],"autoload":{"psr-4":{"Tool\\":"src/"}}}`,
			"src/Tool.php", "<?php\nnamespace Tool;\nclass Tool {}\n", "bin/tool", "#!/usr/bin/env php\n<?php echo 1;\n", "README.md", "# Tool")
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ci:"+ci))
		for path, want := range map[string]int{
			"/packages/upload/acme-corp/tool/1.0.0": 201, "/api/packages/upload/acme-corp/tool/1.1.0": 201, "/api/v1/packages/upload/acme-corp/tool/1.2.0": 201,
			"/packages/upload/other-corp/tool/1.0.0": 403, "/packages/upload/acme-corp/another/1.0.0": 400,
		} {
			if reply := d.do(http.MethodPut, path, body, "Authorization", basic); reply.StatusCode != want {
				t.Errorf("%s: %d %s", path, reply.StatusCode, reply.body)
			}
		}
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("package", "tool.zip")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(body)
		_ = w.Close()
		if reply := d.do(http.MethodPost, "/packages/upload/acme-corp/tool/1.3.0", form.Bytes(), "Authorization", basic, "Content-Type", w.FormDataContentType()); reply.StatusCode != 201 {
			t.Errorf("a form: %d %s", reply.StatusCode, reply.body)
		}
		if reply := d.do(http.MethodPut, "/packages/upload/acme-corp/tool/1.3.0", upload(t, "composer.json", `{"name":"acme-corp/tool"}`), "Authorization", basic); reply.StatusCode != 409 {
			t.Errorf("other content under the same version: %d %s", reply.StatusCode, reply.body)
		}
		c := clientOf(t, command, d.url)
		c.authorize(d, d.token(map[string]any{"name": "reader", "role": "read"}))
		dir := c.locked(requiring("acme-corp/tool", "^1.0"))
		expectLocked(t, "uploaded", dir, "acme-corp/tool 1.3.0")
		if _, err := os.Stat(filepath.Join(dir, "vendor/acme-corp/tool/src/Tool.php")); err != nil {
			t.Error(err)
		}
		if readme := above[struct{ Readme string }](d, http.MethodGet, "packages/acme-corp/tool/readme", nil); !strings.Contains(readme.Readme, "# Tool") {
			t.Errorf("the readme is %+v", readme)
		}
	})
}
