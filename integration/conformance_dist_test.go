package integration_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"stasis/integration/standin"
)

func TestC44EveryDistOfferedCanBeDownloaded(t *testing.T) {
	s, d := pair(t)
	made(s)
	downloaded := 0
	for _, name := range names(s) {
		for _, file := range []string{name, name + "~dev"} {
			for _, v := range d.document(file).Versions {
				if raw := v.Get("dist"); raw == nil || string(raw) == "null" {
					continue
				}
				r := d.archive(name, v.Text("version"))
				if r.StatusCode != 200 || r.err != nil || len(r.body) == 0 {
					t.Errorf("%s %s: %d with %d bytes, %v: %.200s", name, v.Text("version"), r.StatusCode, len(r.body), r.err, r.body)
				}
				downloaded++
			}
		}
	}
	if downloaded < 20 {
		t.Errorf("only %d archives were offered", downloaded)
	}
}

func TestC45EveryFormOfVersionAndReferenceFindsItsArchive(t *testing.T) {
	for _, mode := range []string{"rewrite", "mirror"} {
		s, d := pair(t, "PROXY_DIST_MODE="+mode)
		published := odd(s)
		template := ""
		if mode == "mirror" {
			var mirrors []map[string]any
			if err := json.Unmarshal(d.root().Get("mirrors"), &mirrors); err != nil || len(mirrors) == 0 {
				t.Fatalf("no mirrors: %s", d.root().Get("mirrors"))
			}
			template = mirrors[0]["dist-url"].(string)
		}
		for pretty, want := range published {
			link := ""
			if mode == "rewrite" {
				link = d.distURL("acme/odd", pretty)
			} else {
				file := "acme/odd"
				if n := standin.Normalize(pretty); strings.HasPrefix(n, "dev-") || strings.HasSuffix(n, "-dev") {
					file += "~dev"
				}
				v := version(t, d.document(file), pretty)
				dist := object(t, v, "dist")
				if d.ours(dist.Text("url")) {
					t.Errorf("mirror mode rewrites the dist of %s to %s", pretty, dist.Text("url"))
				}
				link = expand(template, "acme/odd", v, dist.Text("reference"), dist.Text("type"))
			}
			r := d.get(link)
			if r.StatusCode != 200 {
				t.Errorf("%s: %s at %s: %d %.200s", mode, pretty, link, r.StatusCode, r.body)
				continue
			}
			same(t, mode+": "+pretty, r.body, want.Archive)
		}
	}
}

func TestC46ArchivesAreTheOriginsBytes(t *testing.T) {
	s, d := pair(t)
	published := odd(s)
	for pretty, want := range published {
		for range 2 { // cold, then from the store
			same(t, pretty, d.archive("acme/odd", pretty).body, want.Archive)
		}
	}
	dist := object(t, version(t, d.document("acme/odd"), "1.8.0"), "dist")
	sum := sha1.Sum(published["1.8.0"].Archive)
	if got := dist.Text("shasum"); got != "" && got != hex.EncodeToString(sum[:]) {
		t.Errorf("shasum is %s, the archive's is %x", got, sum)
	}
	// An archive that upstream's own checksum contradicts is never handed out.
	p := s.Publish(standin.Release{Name: "acme/liar", Version: "1.0.0", Shasum: true})
	s.SetArchive("acme/liar", p.Reference, standin.Zip(map[string]string{"acme-liar/other.txt": "other content"}))
	if r := d.archive("acme/liar", "1.0.0"); r.StatusCode == 200 && r.err == nil {
		t.Errorf("an archive with another checksum was delivered as complete (%d bytes)", len(r.body))
	}
}

func TestC47ArchivesAreNotEncodedAgain(t *testing.T) {
	s, d := pair(t)
	want := odd(s)["v1.0.0"]
	link := d.distURL("acme/odd", "v1.0.0")
	for range 2 {
		r := d.get(link, "Accept-Encoding", "deflate, gzip, br, zstd")
		if enc := r.Header.Get("Content-Encoding"); enc != "" {
			t.Errorf("the archive is sent as %q", enc)
		}
		same(t, "the archive", r.body, want.Archive)
	}
}

func TestC48ABrokenTransferIsNeverACompleteAnswer(t *testing.T) {
	s, d := pair(t)
	for i, how := range []standin.Ending{standin.Short, standin.Chunk, standin.Reset, standin.Unknown} {
		for j, part := range []int{0, 1, 30, 50_000, 99_999} {
			name := fmt.Sprintf("acme/cut%d-%d", i, j)
			p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 100_000})
			link := d.distURL(name, "1.0.0")
			rule := s.Fault("/"+name+"/legacy.zip/*", standin.CutAt(part, how))
			r, err := d.try(http.MethodGet, link, nil)
			if err == nil && r.err == nil && r.StatusCode == 200 {
				t.Errorf("cut at %d (way %d): the client got a complete answer of %d bytes", part, how, len(r.body))
			}
			rule.Remove()
			again := d.get(link)
			if again.StatusCode != 200 || again.err != nil || !bytes.Equal(again.body, p.Archive) {
				t.Errorf("after the cut at %d (way %d): %d with %d bytes, %v", part, how, again.StatusCode, len(again.body), again.err)
			}
		}
	}
}

func TestC49PagesAreNotArchives(t *testing.T) {
	s, d := pair(t)
	for name, fault := range map[string]standin.Fault{
		"a page": standin.HTML(), "json": standin.Body("application/json", `{"message":"Not really"}`), "nothing": standin.Empty(),
		"a zip without a central directory": standin.NoCentralDirectory(), "a page called a zip": standin.Body("application/zip", "<html>"+strings.Repeat("x", 4096)),
		"the tar of something": standin.Body("application/zip", string(standin.Tar(map[string]string{"a/b": "c"}))),
	} {
		pkg := "acme/" + strings.ReplaceAll(name, " ", "-")
		p := s.Publish(standin.Release{Name: pkg, Version: "1.0.0"})
		link := d.distURL(pkg, "1.0.0")
		rule := s.Fault("/"+pkg+"/legacy.zip/*", fault)
		for range 2 {
			r, err := d.try(http.MethodGet, link, nil)
			whole := err == nil && r.err == nil
			if whole && r.StatusCode != 502 && r.StatusCode != 504 {
				t.Errorf("%s in place of an archive: %d with %d bytes, want 502 or 504", name, r.StatusCode, len(r.body))
			}
		}
		rule.Remove()
		eventually(t, "the origin is asked again", func() bool {
			r := d.get(link)
			return r.StatusCode == 200 && bytes.Equal(r.body, p.Archive)
		})
	}
}

func TestC50AVanishedOriginIsAbsenceUnlessKept(t *testing.T) {
	s, d := pair(t)
	published := odd(s)
	kept := d.distURL("acme/odd", "v1.0.0")
	same(t, "before", d.get(kept).body, published["v1.0.0"].Archive)
	lost := d.distURL("acme/odd", "1.8.0")
	for _, code := range []int{404, 410} {
		s.Fault("/repos/*", standin.Status(code))
		s.Fault("*/legacy.zip/*", standin.Status(code))
		if r := d.get(kept); r.StatusCode != 200 || !bytes.Equal(r.body, published["v1.0.0"].Archive) {
			t.Errorf("origin %d, kept here: %d", code, r.StatusCode)
		}
		if r := d.get(lost); r.StatusCode != 404 {
			t.Errorf("origin %d, not kept: %d, want 404", code, r.StatusCode)
		}
		s.Heal()
	}
}

func TestC51RefusalsOfTheOriginAreNotTheClients(t *testing.T) {
	s, d := pair(t)
	odd(s)
	link := d.distURL("acme/odd", "v1.0.0")
	for _, code := range []int{401, 403, 429} {
		for _, at := range []string{"/repos/*", "*/legacy.zip/*"} {
			s.Fault(at, standin.Status(code, "WWW-Authenticate", "Basic", "X-RateLimit-Remaining", "0", "Retry-After", "1"))
			r := d.get(link)
			if r.StatusCode != 404 && r.StatusCode != 502 && r.StatusCode != 503 || r.Header.Get("Location") != "" || r.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("origin %d at %s: %d %v", code, at, r.StatusCode, r.Header)
			}
			s.Heal()
		}
	}
}

func TestC52ClientsAreNotSentElsewhere(t *testing.T) {
	const secret = "planted-github-token"
	s := standin.Start(t, standin.Options{})
	published := odd(s)
	d := start(t, s, fmt.Sprintf(`PROXY_AUTH_JSON={"http-basic":{%q:{"username":"someone","password":%q}}}`, s.URL(), secret))
	r := d.archive("acme/odd", "v1.0.0")
	if r.StatusCode != 200 {
		t.Fatalf("%d %.200s", r.StatusCode, r.body)
	}
	same(t, "the archive behind a redirect", r.body, published["v1.0.0"].Archive)
	seen := false
	for _, rec := range s.Records("*") {
		if _, password, ok := (&http.Request{Header: rec.Header}).BasicAuth(); ok && password == secret {
			seen = true
			if "http://"+rec.Host != s.URL() {
				t.Errorf("the credentials reached %s%s", rec.Host, rec.URI)
			}
		}
	}
	if !seen {
		t.Error("the configured credentials were not used at their own origin")
	}
	for _, rec := range s.Records("*/legacy.zip/*") {
		if rec.Header.Get("Authorization") != "" {
			t.Errorf("another origin was sent Authorization: %s", rec.URI)
		}
	}
	if strings.Contains(d.log.String(), secret) || strings.Contains(d.log.String(), "c29tZW9uZTpwbGFudGVk") {
		t.Error("the log repeats the credentials")
	}
}

func TestC53APinnedCommitIsThatCommitOrNothing(t *testing.T) {
	s, d := pair(t)
	main := s.Publish(standin.Release{Name: "acme/a", Version: "dev-main", Default: true})
	const pin = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	pinned := s.AddCommit(standin.Release{Name: "acme/a", Version: "dev-main", Reference: pin, Salt: "pinned"})
	v := version(t, d.document("acme/a~dev"), "dev-main")
	template := object(t, v, "dist").Text("url")
	link := expand(template, "acme/a", v, pin, "zip")
	if !strings.Contains(link, pin) {
		t.Fatalf("the template %s leaves the pinned commit out", template)
	}
	r := d.get(link)
	if r.StatusCode == 200 && bytes.Equal(r.body, main.Archive) {
		t.Error("the branch's archive was delivered for another commit")
	}
	if r.StatusCode != 200 {
		t.Errorf("the pinned commit answers %d %.200s", r.StatusCode, r.body)
	} else {
		same(t, "the pinned commit", r.body, pinned.Archive)
	}
	missing := expand(template, "acme/a", v, strings.Repeat("c", 40), "zip")
	if r := d.get(missing); r.StatusCode != 404 {
		t.Errorf("a commit that exists nowhere: %d, want 404", r.StatusCode)
	}
}

func TestC54TarDistsShowTheirKindInTheURL(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, c := range []struct {
		version  string
		suffixes []string
	}{{"1.0.0", []string{".tar"}}, {"1.1.0", []string{".tar.gz", ".tgz"}}} {
		path := d.distURL("acme/tarred", c.version)
		ok := false
		for _, suffix := range c.suffixes {
			ok = ok || strings.HasSuffix(path, suffix)
		}
		if !ok {
			t.Errorf("the dist of %s is at %s, without %v", c.version, path, c.suffixes)
		}
	}
}

func TestC55TheFirstBytesDoNotWaitForTheLast(t *testing.T) {
	s, d := pair(t)
	p := s.Publish(standin.Release{Name: "acme/large", Version: "1.0.0", Size: 4 << 20})
	link := d.distURL("acme/large", "1.0.0")
	gate := s.HoldAfter("*/legacy.zip/*", 2<<20)
	open := func() (*http.Response, []byte) {
		req, _ := http.NewRequestWithContext(within(t), http.MethodGet, link, nil)
		resp, err := wire.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1<<20)
		if _, err := io.ReadFull(resp.Body, first); err != nil || !bytes.Equal(first, p.Archive[:len(first)]) {
			t.Fatalf("the first megabyte does not come while the origin stands still: %v", err)
		}
		return resp, first
	}
	one, first := open()
	defer one.Body.Close()
	two, _ := open() // a client that joins later reads along
	defer two.Body.Close()
	gate.Open()
	for i, resp := range []*http.Response{one, two} {
		rest, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		same(t, fmt.Sprintf("client %d", i), append(bytes.Clone(first), rest...), p.Archive)
	}
	if n := s.Requests("*/legacy.zip/*"); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestC56OneDownloadForManyClients(t *testing.T) {
	if testing.Short() {
		t.Skip("200 clients of a 50 MB archive are left out of short runs")
	}
	s, d := pair(t)
	p := s.Publish(standin.Release{Name: "acme/huge", Version: "1.0.0", Size: 50 << 20})
	link := d.distURL("acme/huge", "1.0.0")
	gate := s.HoldAfter("*/legacy.zip/*", 1<<20)
	const n = 200
	replies := d.crowd(n, link)
	if err := gate.Wait(within(t), 1); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	want := digest(p.Archive)
	for range n {
		if r := <-replies; r.err != nil || r.status != 200 || r.digest != want {
			t.Errorf("a client got %d, %d bytes, %v", r.status, r.size, r.err)
			break
		}
	}
	if got := s.Requests("*/legacy.zip/*"); got != 1 {
		t.Errorf("%d clients caused %d downloads, want 1", n, got)
	}
	if kb := d.peakMemory(); kb > 0 {
		t.Logf("peak memory with %d clients of a 50 MB archive: %d MiB", n, kb>>10)
		if kb > 400<<10 {
			t.Errorf("memory reached %d MiB", kb>>10)
		}
	}
}

func TestC57PartsOfArchivesAreTheRightParts(t *testing.T) {
	s, d := pair(t)
	p := s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Size: 100_000})
	link := d.distURL("acme/a", "1.0.0")
	size := len(p.Archive)
	same(t, "the whole, cold", d.get(link).body, p.Archive)
	full := d.get(link)
	same(t, "the whole", full.body, p.Archive)
	for _, c := range []struct {
		header   string
		from, to int
	}{{"bytes=0-99", 0, 100}, {"bytes=1000-", 1000, size}, {"bytes=-10", size - 10, size}, {fmt.Sprintf("bytes=%d-%d", size-5, size+100), size - 5, size}, {"bytes=70000-70000", 70000, 70001}} {
		r := d.get(link, "Range", c.header)
		switch r.StatusCode {
		case 200:
			same(t, c.header, r.body, p.Archive)
		case 206:
			same(t, c.header, r.body, p.Archive[c.from:c.to])
			if got, want := r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, size); got != want {
				t.Errorf("%s: Content-Range %q, want %q", c.header, got, want)
			}
		default:
			t.Errorf("%s: %d", c.header, r.StatusCode)
		}
	}
	if r := d.get(link, "Range", fmt.Sprintf("bytes=%d-", size+1)); r.StatusCode != 416 && r.StatusCode != 200 {
		t.Errorf("a range past the end: %d", r.StatusCode)
	}
	if r := d.get(link, "Range", "bytes=0-9", "If-Range", `"another"`); r.StatusCode != 200 || !bytes.Equal(r.body, p.Archive) {
		t.Errorf("If-Range with another tag: %d with %d bytes, want the whole", r.StatusCode, len(r.body))
	}
	tag := full.Header.Get("ETag")
	if tag == "" {
		t.Fatal("archives have no ETag")
	}
	if r := d.get(link, "Range", "bytes=0-9", "If-Range", tag); r.StatusCode != 206 || !bytes.Equal(r.body, p.Archive[:10]) {
		t.Errorf("If-Range with the tag: %d with %d bytes, want 206 with 10", r.StatusCode, len(r.body))
	}
	if r := d.get(link, "If-None-Match", tag); r.StatusCode != 304 {
		t.Errorf("If-None-Match with the tag: %d, want 304", r.StatusCode)
	}
	// A range of an archive that nobody has asked for yet.
	cold := s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0", Size: 100_000})
	d.restart(revalidating...)
	r := d.get(d.distURL("acme/a", "1.1.0"), "Range", "bytes=10-19")
	if !(r.StatusCode == 206 && bytes.Equal(r.body, cold.Archive[10:20])) && !(r.StatusCode == 200 && bytes.Equal(r.body, cold.Archive)) {
		t.Errorf("a range of a cold archive: %d with %d bytes", r.StatusCode, len(r.body))
	}
}

func TestC62NothingInternalReachesDocuments(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	made(s)
	const secret = "planted-secret-token"
	d := start(t, s, fmt.Sprintf(`PROXY_AUTH_JSON={"bearer":{%q:%q}}`, s.URL(), secret))
	for _, path := range []string{"/packages.json", "/p2/acme/a.json", "/p2/acme/odd~dev.json", "/p2/acme/tarred.json", "/p2/acme/unknown.json", "/packages/list.json"} {
		body := string(d.get(path).body)
		for _, bad := range []string{secret, s.URL(), s.ArchiveURL()} {
			if strings.Contains(body, bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
	}
}
