package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"stasis/proxy"
)

// hostilePaths is what strangers send: request targets as they stand on the
// wire.
func hostilePaths() (list []string) {
	list = []string{
		"/p2/../d/x.json", "/p2/acme/../../etc/passwd", "/p2//b.json", "//p2/acme/lib.json", "/p2/acme//lib.json", "/./p2/acme/lib.json", "/p2/./acme/lib.json",
		"/p2/acme/lib.json/", "/p2/acme/lib.json/..", "/p2/..", "/..", "/.", "//", "/p2/acme/lib.json/.", "/p2/acme\\lib.json", "/p2/a\\..\\b.json",
		"/p2/..%2f..%2fetc/passwd", "/p2/acme%2flib.json", "/p2/acme%2Flib.json", "/p2/acme%5clib.json", "/p2/%2e%2e/x.json", "/p2/%2E%2E/%2e%2e/etc/passwd",
		"/p2/acme/lib%00.json", "/p2/acme/lib.json%00", "/p2/acme/lib%0a.json", "/p2/acme/lib%0d%0aX: y.json", "/p2/acme/%7f.json", "/p2/%252e%252e/x.json",
		"/%2F%2F..%2F..%2Fetc/passwd", "/%2F%2F..%2F", "/p2/acme/lib;x.json", "/p2/acme/lib.json;x=1", "/p2/ACME/LIB.json", "/p2/acme/lib", "/p2/acme", "/p2/", "/p2",
		"/p2/acme/lib.JSON", "/p2/acme/lib~DEV.json", "/p2/acme/lib~dev~dev.json", "/p2/acme/lib~.json", "/p2/acme/~dev.json", "/p2/-/-.json", "/p2/acme/lib/x.json",
		"/p2/php.json", "/p2/php/php.json", "/p2/ext-json.json", "/p2/con/aux.json", "/p2/acme/nul.json", "/p2/%C3%A9/x.json", "/p2/acme/%E2%80%AE.json",
		"/p2/" + strings.Repeat("a", 300) + "/b.json", "/p2/acme/" + strings.Repeat("b", 4000) + ".json", "/p2/acme/lib.json?x=../../y", "/p2/acme/lib.json#x",
		"/dist-proxy/../p2/acme/lib.json", "/dist-proxy/acme/lib/../../x.zip", "/dist-proxy/acme/lib/1.0.0.0/..zip", "/dist-proxy/acme/lib/1.0.0.0/%2e%2e%2fx.zip",
		"/dist-proxy/acme/lib//x.zip", "/dist-proxy/acme/lib/1.0.0.0/x.php", "/dist-proxy/acme/lib/1.0.0.0/x", "/dist-proxy/", "/dist-proxy", "/dist-proxy/acme/lib/1/2/3/4/5/x.zip",
		"/dist-proxy/acme/lib/%00/x.zip", "/packages/../x.json", "/packages/acme/../../x.json", "/packages/acme.json", "/providers/../x.json", "/providers/a%2fb.json",
		"/providers/%00.json", "/providers/acme/x?.json", "/packages.json/", "/packages.json/x", "/PACKAGES.JSON", "/search.json/../x", "/api/security-advisories/../x",
		"/metadata/../packages.json", "/lists/all/../summary.json", "/.env", "/.git/config", "/etc/passwd", "/proc/self/environ", "/facts/MANIFEST", "/archives/000001.vlog",
	}
	for _, dots := range []string{"..", "%2e%2e", "%2e.", ".%2e", "%252e%252e", "..%00", "..;", "..%2f", "..%5c", "%c0%ae%c0%ae", "....", "..%u2215"} {
		for _, prefix := range []string{"/p2/", "/dist-proxy/", "/packages/", "/providers/", "/", "/api/", "/p2/acme/", "/dist-proxy/acme/lib/"} {
			list = append(list, prefix+dots+"/"+dots+"/etc/passwd", prefix+dots+"/x.json")
		}
	}
	return list
}

// TestHostilePaths sends each path over a plain connection: the answer is the
// canonical one, or 400 or 404, and nothing is asked or kept for it.
func TestHostilePaths(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	want := w.want(lib, 200, missed)
	w.want("/packages.json", 200, "")
	list := hostilePaths()
	if len(list) < 200 {
		t.Fatalf("only %d paths", len(list))
	}
	asked, addr := w.up.Total(), strings.TrimPrefix(w.srv.URL, "http://")
	for _, p := range append(list, "http://evil.example"+lib, "*", "evil.example:80") {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: stasis.test\r\nConnection: close\r\n\r\n", p)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.80s: %v", p, err)
			conn.Close()
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		conn.Close()
		switch resp.StatusCode {
		case 400, 404:
		case 200:
			if string(body) != string(want.body) {
				t.Errorf("%.80s: 200 %.100s", p, body)
			}
		default:
			t.Errorf("%.80s: %d %.100s", p, resp.StatusCode, body)
		}
	}
	// Names that are possible, however odd, may be asked about; nothing else.
	for _, r := range w.up.Records("*")[asked:] {
		if strings.Contains(r.URI, "..") || strings.Contains(r.URI, "%") || strings.Contains(r.URI, "//") {
			t.Errorf("upstream was asked for %s", r.URI)
		}
	}
	st, err := w.p.Status(t.Context())
	if err != nil || st.Cache.Documents != 1 || st.Cache.Archives != 0 {
		t.Errorf("the store holds %+v, %v", st.Cache, err)
	}
}

func TestThePathOfTheExternalURLIsTakenOff(t *testing.T) {
	var got string
	h := proxy.Canonical("https://example.org/composer/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Path }))
	for path, want := range map[string]string{
		"/composer/packages.json": "/packages.json", "/packages.json": "/packages.json", "/composerx/p": "/composerx/p",
		"/composer": "/composer", "/composer/": "/", "/composer/p2/a/b%7Edev.json": "/p2/a/b~dev.json",
	} {
		got = ""
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		if got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, p := range hostilePaths() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: "GET", URL: u, Header: http.Header{}, Host: "stasis.test"}
		rec := httptest.NewRecorder()
		proxy.Canonical("", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p := r.URL.Path
			for part := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
				if part == "." || part == ".." {
					t.Errorf("%q got through as %q", target, p)
				}
			}
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.ContainsAny(p, "\\\x00\r\n\x7f") {
				t.Errorf("%q got through as %q", target, p)
			}
			// Decoded or not, the path has the same segments.
			if strings.Count(r.URL.EscapedPath(), "/") != strings.Count(p, "/") {
				t.Errorf("%q has two readings: %q and %q", target, r.URL.EscapedPath(), p)
			}
		})).ServeHTTP(rec, r)
		if rec.Code != 200 && rec.Code != 400 {
			t.Errorf("%q: %d", target, rec.Code)
		}
	})
}
