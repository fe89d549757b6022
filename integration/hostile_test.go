package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"stasis/integration/standin"
)

// hostilePaths are request targets that try to leave the tree, to be read in two
// ways, or to exhaust a parser.
func hostilePaths() []string {
	escapes := []string{
		"..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "....//", "..;/", "%252e%252e%252f", "..%c0%af", "%c0%ae%c0%ae/", "..%00/", "./", ".//", "%2F%2F..%2F", "%2f%2e%2e%2f",
		"..%u2215", "\xc0\xaf", "%ef%bc%8f..", "..%09/", "/..//../",
	}
	targets := []string{"etc/passwd", "data/facts/MANIFEST", "packages.json", "acme/a.json"}
	var out []string
	for _, prefix := range []string{"/", "/p2/", "/p2/acme/", "/dist-proxy/", "/dist-proxy/acme/a/", "/packages/", "/providers/"} {
		for i, e := range escapes {
			out = append(out, prefix+strings.Repeat(e, 3)+targets[i%len(targets)])
		}
	}
	long := strings.Repeat("a", 9000)
	return append(out,
		"/p2/acme/a.json%00", "/p2/acme%2fa.json", "/p2/acme/a.json/", "/p2/acme/a.json/..", "/p2/acme/./a.json", "/p2//acme/a.json", "//p2/acme/a.json", "/p2/acme/a.json;x=1", "/p2/acme/a%2ejson",
		"/p2/acme/%61.json", "/p2/ACME/a.json", "/p2/acme/a.JSON", "/p2/acme/a~DEV.json", "/p2/acme/a~dev~dev.json", "/p2/acme/a~.json", "/p2/acme/~dev.json", "/p2/~dev.json", "/p2/.json", "/p2/acme/.json",
		"/p2/acme/a.json?../../x", "/p2/acme/a.json#x", "/p2/acme/a .json", "/p2/acme/a\t.json", "/p2/%0d%0aX-Injected:%201/a.json", "/p2/acme/a%0a.json", "/p2/a/b%", "/p2/a/b%2", "/p2/a/b%zz.json",
		"/p2/con/a.json", "/p2/acme/nul.json", "/p2/php.json", "/p2/ext-curl.json", "/p2/"+long+".json", "/p2/"+long+"/"+long+".json", "/"+strings.Repeat("../", 2000)+"etc/passwd",
		"/dist-proxy/", "/dist-proxy/acme", "/dist-proxy/acme/a", "/dist-proxy/acme/a/1.0.0.0", "/dist-proxy/acme/a/1.0.0.0/", "/dist-proxy/acme/a/1.0.0.0/x", "/dist-proxy/acme/a/1.0.0.0/../x.zip",
		"/dist-proxy/acme/a/../../../x.zip", "/dist-proxy/acme/a/1.0.0.0/..%2f..%2fx.zip", "/dist-proxy/acme/a/1.0.0.0/"+long+".zip", "/dist-proxy/acme/a/"+long+"/x.zip", "/dist-proxy/php/a/1/x.zip",
		"/dist-proxy/acme/a/1.0.0.0/%package%.zip", "/dist-proxy/acme/a/1.0.0.0/http:%2f%2f127.0.0.1%2fx.zip", "/dist-proxy/acme/a/1.0.0.0/@127.0.0.1.zip", "/dist-proxy/acme/a/1.0.0.0/x.exe",
		"/dist-proxy/acme/a/1.0.0.0/x.zip%00.tar", "/dist-proxy/acme/a/1.0.0.0/x", "/dist-proxy/acme/a/%00/x.zip", "/dist-proxy//a/1/x.zip", "/dist-proxy/acme//1/x.zip",
		"/packages/acme/a.json/../../../x", "/packages/..%2f..%2fx.json", "/packages/acme.json", "/packages/.json", "/providers/", "/providers/.json", "/providers/%00.json", "/providers/"+long+".json",
		"/api/v1/../../etc/passwd", "/api/v1/proxy/frozen/..%2f..%2f", "/api/v1//proxy/status", "/API/V1/proxy/status", "/api/v1/proxy/status/", "/api/v1", "/metrics/../api/v1/proxy/status",
		"*", "acme", "", "http://127.0.0.1:1/packages.json", "https://example.org/", "//example.org/packages.json", "/\\example.org", "/%5c%5cexample.org", "/%2f%2fexample.org",
	)
}

// state is what a stranger must not be able to change: how much is kept.
func (d *daemon) state() string {
	d.t.Helper()
	r := d.get("/api/v1/proxy/status", "Authorization", "Bearer "+adminToken)
	if r.StatusCode != http.StatusOK {
		d.t.Fatalf("status: %d %.300s", r.StatusCode, r.body)
	}
	status := into[struct {
		Data struct {
			Cache map[string]any `json:"cache"`
		} `json:"data"`
	}](d.t, r)
	c := status.Data.Cache
	return fmt.Sprint("documents ", c["documents"], ", files ", c["files"], ", archives ", c["archives"], ", archive bytes ", c["archive_bytes"])
}

func TestHostilePathsFindNothing(t *testing.T) {
	s, d := pair(t)
	made(s)
	canonical := map[string]string{}
	for _, path := range []string{"/packages.json", "/p2/acme/a.json", "/p2/acme/a~dev.json", "/packages/acme/a.json", "/healthz", "/readyz"} {
		canonical[path] = string(d.get(path).body)
	}
	_ = d.archive("acme/a", "v1.0.0")
	before := d.state()
	s.Forget()
	paths := hostilePaths()
	if len(paths) < 200 {
		t.Errorf("only %d hostile paths", len(paths))
	}
	for _, path := range paths {
		answer := d.raw("GET " + path + " HTTP/1.1\r\nHost: " + d.addr + "\r\nConnection: close\r\n\r\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		fields := strings.Fields(head)
		if len(fields) < 2 {
			t.Errorf("%.80q: no answer", path)
			continue
		}
		code, _ := strconv.Atoi(fields[1])
		switch {
		case code == 400 || code == 404 || code == 414 || code == 401 || code == 405 || code == 431:
		case code == 200:
			known := false
			for _, want := range canonical {
				known = known || body == want
			}
			if !known && !strings.Contains(path, "providers/") {
				t.Errorf("%.80q: 200 %.200q", path, body)
			}
			if strings.Contains(path, "providers/") && strings.TrimSpace(body) != `{"providers":[]}` {
				t.Errorf("%.80q: 200 %.200q", path, body)
			}
		default:
			t.Errorf("%.80q: %.300q", path, head)
		}
		if strings.Contains(body, "root:") || strings.Contains(head, "X-Injected") || strings.Contains(body, d.env["STORE_PATH"]) {
			t.Errorf("%.80q: %.300q", path, answer)
		}
	}
	if n := s.Total(); n != 0 {
		t.Errorf("upstream was asked: %v", uris(s))
	}
	if after := d.state(); after != before {
		t.Errorf("the store went from %s to %s", before, after)
	}
}

// TestHostileRequestsDoNotStopTheOthers sends what is no proper HTTP.
func TestHostileRequestsDoNotStopTheOthers(t *testing.T) {
	s, d := pair(t)
	made(s)
	want := d.get("/p2/acme/a.json").body
	for _, request := range []string{
		"\r\n\r\n", "GET", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "POST /downloads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /downloads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
		"GET /packages.json HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n", "GET /packages.json HTTP/1.1\r\nHost: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"GET /packages.json HTTP/1.1\r\nHost: evil\"><script>\r\nConnection: close\r\n\r\n", "GET /p2/acme/a.json HTTP/1.1\r\nHost: x\r\nRange: bytes=" + strings.Repeat("0-0,", 10000) + "0-0\r\nConnection: close\r\n\r\n",
		"POST /api/security-advisories/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\nConnection: close\r\n\r\n%zz=%%%%%",
	} {
		answer := d.unfinished(request)
		if strings.Contains(answer, "<script>") || strings.Contains(answer, " 500 ") {
			t.Errorf("%.60q: %.300q", request, answer)
		}
	}
	same(t, "the document afterwards", d.get("/p2/acme/a.json").body, want)
}

// TestArchivesOnlyComeFromAllowedAddresses lets documents and redirects point at
// this machine and at private networks.
func TestArchivesOnlyComeFromAllowedAddresses(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	registry := strings.TrimPrefix(s.URL(), "http://")
	d := start(t, s, "PROXY_ALLOWED_HOSTS="+registry)
	// The registry's own port is allowed, the archive host's is not.
	r := d.archive("acme/a", "v1.0.0")
	if r.StatusCode < 400 || bytes.HasPrefix(r.body, []byte("PK")) {
		t.Errorf("a redirect to another port of this machine: %d", r.StatusCode)
	}
	if n := s.Requests("*/legacy.zip/*") + s.Requests("/dl/*"); n != 0 {
		t.Errorf("the forbidden origin was asked %d times", n)
	}
	for i, host := range []string{
		strings.TrimPrefix(s.ArchiveURL(), "http://"), "[::1]:80", "10.0.0.1", "192.168.1.1:8080", "169.254.169.254", "0.0.0.0:80", "[::ffff:127.0.0.1]:80", "127.1:80", "2130706433", "0x7f.1", "localhost:80", "[fe80::1]", "100.64.0.1", "[fd00::1]",
	} {
		name := fmt.Sprintf("evil/p%d", i)
		s.SetDocument(name, fmt.Appendf(nil, `{"packages":{%q:[{"name":%q,"version":"1.0.0","version_normalized":"1.0.0.0","dist":{"type":"zip","url":"http://%s/x.zip","reference":"aaaa","shasum":""}}]}}`, name, name, host))
		if r := d.archive(name, "1.0.0"); r.StatusCode < 400 || r.StatusCode == 500 {
			t.Errorf("a dist at %s: %d %.200s", host, r.StatusCode, r.body)
		}
	}
	for _, scheme := range []string{"file:///etc/passwd", "ftp://127.0.0.1/x.zip", "gopher://127.0.0.1/x", "//127.0.0.1/x.zip", "/etc/passwd", "http://", "php://filter"} {
		name := "evil/" + fmt.Sprintf("s%d", len(scheme))
		s.SetDocument(name, fmt.Appendf(nil, `{"packages":{%q:[{"name":%q,"version":"1.0.0","version_normalized":"1.0.0.0","dist":{"type":"zip","url":%q,"reference":"aaaa","shasum":""}}]}}`, name, name, scheme))
		r := d.get("/dist-proxy/" + name + "/1.0.0.0/aaaa.zip")
		if r.StatusCode < 400 || r.StatusCode == 500 || strings.Contains(string(r.body), "root:") {
			t.Errorf("a dist at %s: %d %.200s", scheme, r.StatusCode, r.body)
		}
	}
}
