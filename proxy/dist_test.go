package proxy_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
)

// repacked is an archive of the same tree in other bytes.
func repacked(t testing.TB, body []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store, Modified: time.Unix(1.7e9, 0)})
		if err == nil {
			_, err = io.Copy(e, r)
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

func TestRangesAndConditions(t *testing.T) {
	for _, from := range []string{"badger", "files", "memory"} {
		t.Run(from, func(t *testing.T) {
			w := newRig(t, func(s *settings) {
				if from != "memory" {
					s.store.Archives, s.proxy.HotSize = from, -1
				}
			})
			r := w.big(700 << 10)
			w.want(bigDocument, 200, missed)
			if a, err := w.download(bigPath(r)); err != nil || !bytes.Equal(a.body, r.Archive) {
				t.Fatalf("%v, %v", a, err)
			}
			whole, err := w.download(bigPath(r))
			if err != nil || whole.cache() != hit || !bytes.Equal(whole.body, r.Archive) {
				t.Fatalf("%v, %v", whole, err)
			}
			tag := whole.header.Get("Etag")
			if whole.header.Get("Accept-Ranges") != "bytes" || !strings.Contains(whole.header.Get("Cache-Control"), "immutable") || whole.header.Get("Content-Type") != "application/zip" {
				t.Errorf("header %v", whole.header)
			}
			for _, c := range []struct {
				name   string
				header []string
				status int
				body   []byte
			}{
				{"the beginning", []string{"Range", "bytes=0-99"}, 206, r.Archive[:100]},
				{"from the middle of a chunk", []string{"Range", "bytes=300000-600000"}, 206, r.Archive[300000:600001]},
				{"the end", []string{"Range", "bytes=-22"}, 206, r.Archive[len(r.Archive)-22:]},
				{"beyond the end", []string{"Range", "bytes=99999999-"}, 416, nil},
				{"nonsense", []string{"Range", "bytes=z"}, 416, nil},
				{"another unit", []string{"Range", "pages=1-2"}, 416, nil},
				{"If-Range with its tag", []string{"Range", "bytes=5-9", "If-Range", tag}, 206, r.Archive[5:10]},
				{"If-Range with another tag", []string{"Range", "bytes=5-9", "If-Range", `"x"`}, 200, r.Archive},
				{"If-None-Match", []string{"If-None-Match", tag}, 304, nil},
				{"If-None-Match with a list", []string{"If-None-Match", `"x", ` + tag}, 304, nil},
				{"If-None-Match with another", []string{"If-None-Match", `"x"`}, 200, r.Archive},
				{"If-Match with another", []string{"If-Match", `"x"`}, 412, nil},
			} {
				a, err := w.download(bigPath(r), c.header...)
				if err != nil || a.status != c.status || c.body != nil && !bytes.Equal(a.body, c.body) {
					t.Errorf("%s: got %d with %d bytes, want %d with %d: %v", c.name, a.status, len(a.body), c.status, len(c.body), err)
				}
			}
			resp, err := w.srv.Client().Head(w.srv.URL + bigPath(r))
			if err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(len(r.Archive)) || resp.Header.Get("Etag") != tag {
				t.Errorf("HEAD: %v %v", resp, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			w.asked(bigArchive, 1)
		})
	}
}

func TestHeadOfAColdArchive(t *testing.T) {
	w := newRig(t)
	r := w.big(700 << 10)
	w.want(bigDocument, 200, missed)
	resp, err := w.srv.Client().Head(w.srv.URL + bigPath(r))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(r.Archive)) {
		t.Errorf("HEAD: %v", resp)
	}
}

func TestArchivesAreFoundByEveryFormOfTheirAddress(t *testing.T) {
	w := newRig(t)
	r := w.release(standin.Release{Name: "acme/lib", Version: "v1.2-beta"})
	w.want(lib, 200, missed)
	for _, version := range []string{"1.2.0.0-beta", "v1.2-beta", "4a6a1a2b3c4d5e6f708192a3b4c5d6e7", "9.9.9.9"} {
		a, err := w.download(distPath(version, r.Reference, "zip"))
		if err != nil || a.status != 200 || !bytes.Equal(a.body, r.Archive) {
			t.Errorf("version %q: %v, %v", version, a, err)
		}
	}
	w.asked(libArchive, 1)
	for _, path := range []string{
		distPath("1.2.0.0-beta", strings.Repeat("0", 40), "tar"), "/dist-proxy/acme/lib/1.0.0.0", "/dist-proxy/acme", "/dist-proxy/acme/lib/1.0.0.0/x.exe",
		"/dist-proxy/acme/none/1.0.0.0/" + r.Reference + ".zip",
	} {
		if a := w.get(path); a.status != 404 {
			t.Errorf("%s: %v", path, a)
		}
	}
}

func TestAPinnedCommitIsFetchedFromWhereItsBranchIs(t *testing.T) {
	w := newRig(t)
	w.release(standin.Release{Name: "acme/lib", Version: "dev-main", Default: true})
	pinned := w.up.AddCommit(standin.Release{Name: "acme/lib", Version: "dev-main", Normalized: "dev-main", Reference: strings.Repeat("ab", 20), Salt: "older"})
	w.want("/p2/acme/lib~dev.json", 200, missed)
	a, err := w.download(distPath("dev-main", pinned.Reference, "zip"))
	if err != nil || a.status != 200 || !bytes.Equal(a.body, pinned.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
	// A commit that nobody has is a 404, and no reason to ask for ever.
	if a, err := w.download(distPath("dev-main", strings.Repeat("cd", 20), "zip")); err != nil || a.status != 404 {
		t.Errorf("got %v, %v", a, err)
	}
}

// Another repository's archives have mirrors and placeholders in their addresses.
func TestArchivesAreFetchedFromMirrorsInOrder(t *testing.T) {
	w := newRig(t)
	pinned := w.up.AddCommit(standin.Release{Name: "acme/lib", Version: "dev-main", Normalized: "dev-main", Reference: strings.Repeat("ab", 20)})
	dist := func(reference string) map[string]any {
		return map[string]any{
			"type": "zip", "url": w.up.URL() + "/repos/%package%/zipball/%reference%", "reference": reference, "shasum": "",
			"mirrors": []map[string]any{
				{"url": w.up.URL() + "/first/%reference%.%type%", "preferred": true},
				{"url": w.up.URL() + "/last/%version%", "preferred": false},
				{"url": w.up.URL() + "/second/%package%/%prettyVersion%", "preferred": true},
			},
		}
	}
	ref := strings.Repeat("12", 20)
	made := w.release(standin.Release{Name: "acme/lib", Version: "dev-main", Reference: ref, Extra: map[string]any{"dist": dist(ref)}})
	if doc := w.want("/p2/acme/lib~dev.json", 200, missed); bytes.Contains(doc.body, []byte("/first/")) || bytes.Contains(doc.body, []byte(hostOf(w.up.URL()))) {
		t.Errorf("clients are led to the mirrors: %s", doc.body)
	}
	if a, err := w.download(distPath("dev-main", ref, "zip")); err != nil || a.status != 200 || !bytes.Equal(a.body, made.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
	w.asked("/second/acme/lib/dev-main", 1)
	w.asked("/first/"+ref+".zip", 1)
	w.asked("/last/**", 0)
	// The mirrors are tried for a pinned commit where their address tells them which.
	if a, err := w.download(distPath("dev-main", pinned.Reference, "zip")); err != nil || a.status != 200 || !bytes.Equal(a.body, pinned.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
	w.asked("/first/"+pinned.Reference+".zip", 1)
	w.asked("/second/acme/lib/dev-main", 1)
}

func TestALockedReferenceStaysDownloadable(t *testing.T) {
	w := newRig(t)
	old := w.publish("1.0.0", "first")
	w.want(lib, 200, missed)
	w.Advance(24 * time.Hour)
	w.publish("1.0.0", "second") // the tag was moved
	w.want(lib, 200, renewed)
	if len(w.alerted(proxy.AlertRetagged)) != 1 {
		t.Error("nobody was alerted of the moved tag")
	}
	w.Advance(24 * time.Hour)
	w.up.Delete("acme/lib")
	w.want(lib, 404, "")
	a, err := w.download(distPath("1.0.0.0", old.Reference, "zip"))
	if err != nil || a.status != 200 || !bytes.Equal(a.body, old.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestReferencesThatAreNoCommits(t *testing.T) {
	w := newRig(t)
	one := w.release(standin.Release{Name: "acme/lib", Version: "1.0.0", NoReference: true})
	two := w.release(standin.Release{Name: "acme/lib", Version: "2.0.0", NoReference: true})
	tag := w.release(standin.Release{Name: "acme/lib", Version: "3.0.0", Reference: "release/3.0", Dist: "direct"})
	doc := w.want(lib, 200, missed)
	if bytes.Contains(doc.body, []byte(w.up.ArchiveURL())) {
		t.Errorf("an archive is offered from elsewhere: %s", doc.body)
	}
	for v, r := range map[string]standin.Published{"1.0.0.0": one, "2.0.0.0": two} {
		a, err := w.download(distPath(v, "", "zip"))
		if err != nil || a.status != 200 || !bytes.Equal(a.body, r.Archive) {
			t.Errorf("%s without a reference: %v, %v", v, a, err)
		}
	}
	// Composer puts the MD5 of a reference that is no hex into the address.
	for _, ref := range []string{md5Hex("release/3.0"), "release/3.0"} {
		if a, err := w.download(distPath("3.0.0.0", ref, "zip")); ref != "release/3.0" && (err != nil || a.status != 200 || !bytes.Equal(a.body, tag.Archive)) {
			t.Errorf("reference %q: %v, %v", ref, a, err)
		}
	}
}

func TestTarArchives(t *testing.T) {
	w := newRig(t)
	plain := w.release(standin.Release{Name: "acme/lib", Version: "1.0.0", Dist: "tar"})
	gz := w.release(standin.Release{Name: "acme/lib", Version: "2.0.0", Dist: "tar.gz"})
	w.want(lib, 200, missed)
	for _, c := range []struct {
		version, ext string
		r            standin.Published
	}{{"1.0.0.0", "tar", plain}, {"2.0.0.0", "tar.gz", gz}, {"2.0.0.0", "tgz", gz}, {"2.0.0.0", "tar", gz}} {
		a, err := w.download(distPath(c.version, c.r.Reference, c.ext))
		if err != nil || a.status != 200 || !bytes.Equal(a.body, c.r.Archive) {
			t.Errorf("%s: %v, %v", c.ext, a, err)
		}
	}
	if a := w.get(distPath("1.0.0.0", plain.Reference, "zip")); a.status != 404 {
		t.Errorf("a tar as a zip: %v", a)
	}
}

func TestDistAddressesInDocuments(t *testing.T) {
	w := newRig(t)
	r := w.publish("1.0.0", "")
	url := func(headers ...string) string {
		var doc struct {
			Packages map[string][]struct {
				Dist struct{ URL, Reference string }
			}
		}
		if err := json.Unmarshal(w.want(lib, 200, "", headers...).body, &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Packages["acme/lib"][0].Dist.URL
	}
	if got := url(); got != "http://stasis.test/dist-proxy/%package%/%version%/%reference%.%type%" {
		t.Errorf("got %s", got)
	}
	// Composer 2.0 does not expand placeholders.
	if got := url("User-Agent", "Composer/2.0.14 (Linux)"); got != "http://stasis.test"+distPath("1.0.0.0", r.Reference, "zip") {
		t.Errorf("for Composer 2.0: got %s", got)
	}
	m := newRig(t, func(s *settings) { s.proxy.Mirror = true })
	m.publish("1.0.0", "")
	if body := m.want(lib, 200, missed).body; !bytes.Contains(body, []byte(m.up.URL()+"/repos/acme/lib/zipball/")) {
		t.Errorf("as a mirror: %s", body)
	}
	if body := m.want("/packages.json", 200, "").body; !bytes.Contains(body, []byte(`"mirrors"`)) {
		t.Errorf("as a mirror: %s", body)
	}
}

func TestOriginFailures(t *testing.T) {
	for fault, c := range map[string]struct {
		f      standin.Fault
		status int
	}{
		"404": {standin.Status(404), 404}, "410": {standin.Status(410), 404}, "401": {standin.Status(401), 503}, "403": {standin.Status(403), 503},
		"429": {standin.Status(429, "Retry-After", "30"), 503}, "500": {standin.Status(500), 502}, "418": {standin.Status(418), 502},
	} {
		w := newRig(t)
		r := w.publish("1.0.0", "")
		w.want(lib, 200, missed)
		w.up.Fault("/repos/*", c.f)
		a := w.get(distPath("1.0.0.0", r.Reference, "zip"))
		if a.status != c.status || c.status != 404 && a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %v, want %d", fault, a, c.status)
		}
	}
	w := newRig(t)
	r := w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.up.Down()
	if a := w.get(distPath("1.0.0.0", r.Reference, "zip")); a.status < 502 || a.status > 504 {
		t.Errorf("down: got %v", a)
	}
	if a := w.get("/dist-proxy/acme/never/1.0.0.0/" + r.Reference + ".zip"); a.status < 502 || a.status > 504 {
		t.Errorf("down, and never seen: got %v", a)
	}
}

func TestArchivesServeWithUpstreamDead(t *testing.T) {
	w := newRig(t)
	r := w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	if _, err := w.download(distPath("1.0.0.0", r.Reference, "zip")); err != nil {
		t.Fatal(err)
	}
	w.up.Down()
	w.Advance(1000 * time.Hour)
	w.want(lib, http.StatusOK, stale)
	if a, err := w.download(distPath("1.0.0.0", r.Reference, "zip")); err != nil || a.cache() != hit || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
}

// TestMovableReferencesAreCheckedAgain: an archive whose reference is no commit
// is asked for again behind the answer, and what was handed out stays.
func TestMovableReferencesAreCheckedAgain(t *testing.T) {
	w := newRig(t)
	r := w.release(standin.Release{Name: "acme/lib", Version: "1.0.0", NoReference: true})
	w.want(lib, 200, missed)
	path := distPath("1.0.0.0", "", "zip")
	serve := func(cache string) {
		t.Helper()
		if a, err := w.download(path); err != nil || a.cache() != cache || !bytes.Equal(a.body, r.Archive) {
			t.Errorf("%v, %v", a, err)
		}
	}
	const origin = "/dl/*"
	serve(hit) // small: it was there before the first byte was sent
	serve(hit)
	w.asked(origin, 1)
	for i, body := range [][]byte{repacked(t, r.Archive), standin.Zip(map[string]string{"x/evil.php": "<?php"}), nil} {
		w.Advance(25 * time.Hour)
		var rule *standin.Rule
		if body != nil {
			rule = w.up.Fault(origin, standin.Body("application/zip", string(body)))
		} else {
			rule = w.up.Fault(origin, standin.Status(404))
		}
		serve(hit)
		w.await(origin, i+2)
		for range 3 {
			serve(hit)
		}
		if body != nil {
			w.asked(origin, i+2)
		}
		rule.Remove()
	}
	if n := len(w.alerted(proxy.AlertDigestChanged)); n != 1 {
		t.Errorf("%d alerts of changed content, want 1", n)
	}
}
