package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"stasis/integration/load"
	"stasis/integration/standin"
)

// item is a body that the program holds, with what a client must get for it.
type item struct {
	path     string
	modified string // of a document
	digest   string
	size     int
}

// shelf is a set of packages that the program holds documents and archives of.
type shelf struct {
	d                   *daemon
	documents, archives []item
	bodies              [][]byte // of the archives
}

// stock publishes n packages with archives of a size, and lets the program fetch and keep them. Every body is compared
// with what the stand-in has.
func stock(t testing.TB, s *standin.Server, d *daemon, n int, size int64) *shelf {
	t.Helper()
	sh := &shelf{d: d}
	for i := range n {
		name := fmt.Sprintf("shelf/p%d", i)
		p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: size, Description: standin.Noise(name, 2000+i%7*4000)})
		r := d.get("/p2/"+name+".json", "Accept-Encoding", "gzip")
		body, err := r.decoded()
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("%s: %d %v", name, r.StatusCode, err)
		}
		if truth, _ := s.Document(name); essence(t, body, name) != essence(t, truth, name) {
			t.Fatalf("%s is not the stand-in's document:\n%s\n%s", name, body, truth)
		}
		sh.documents = append(sh.documents, item{"/p2/" + name + ".json", r.Header.Get("Last-Modified"), digest(r.body), len(r.body)})
		link := "/dist-proxy/" + name + "/1.0.0.0/" + p.Reference + ".zip"
		if r := d.get(link); r.StatusCode != 200 || !bytes.Equal(r.body, p.Archive) {
			t.Fatalf("%s: %d, %d bytes, want %d", link, r.StatusCode, len(r.body), len(p.Archive))
		}
		sh.bodies = append(sh.bodies, p.Archive)
		sh.archives = append(sh.archives, item{link, "", digest(p.Archive), len(p.Archive)})
	}
	return sh
}

// essence is a document without the addresses of its archives, which the program rewrites.
func essence(t testing.TB, body []byte, name string) string {
	t.Helper()
	doc, err := standin.ParseDocument(body, name)
	if err != nil {
		t.Fatalf("%s: %v\n%.300s", name, err, body)
	}
	var out bytes.Buffer
	for _, v := range withoutDistURL(t, doc.Versions) {
		line, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	return out.String()
}

// request asks for one item and compares what comes.
func (sh *shelf) request(it item, conditional bool) load.Request {
	h := http.Header{"User-Agent": {"Composer/2.5.5 (Linux; 6.1; PHP 8.2.0; cURL 7.88.1)"}, "Accept-Encoding": {"gzip"}}
	if conditional {
		h.Set("If-Modified-Since", it.modified)
	}
	return load.Request{URL: sh.d.url + it.path, Header: h, Check: func(r *http.Response) error {
		if conditional {
			if r.StatusCode != http.StatusNotModified {
				return fmt.Errorf("%d, want 304", r.StatusCode)
			}
			return nil
		}
		return it.check(r)
	}}
}

func (it item) check(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 300))
		return fmt.Errorf("%d %s", r.StatusCode, body)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != it.digest {
		return fmt.Errorf("%d bytes (sha256 %.12s), want %d (%.12s)", n, got, it.size, it.digest)
	}
	return nil
}

// mixed sends at a fixed rate what Composer's runs send: four of five requests are conditional and answered by 304, most of
// the others are documents, and every twentieth is an archive.
func (sh *shelf) mixed(t testing.TB, rate int, length time.Duration) *load.Result {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256, MaxIdleConns: 256}
	defer transport.CloseIdleConnections()
	drawn := rand.New(rand.NewPCG(7, uint64(rate)))
	return load.Run(t.Context(), load.Plan{Rate: rate, For: length, Transport: transport, Next: func(int) load.Request {
		doc := sh.documents[drawn.IntN(len(sh.documents))]
		switch k := drawn.IntN(20); {
		case k == 0:
			return sh.request(sh.archives[drawn.IntN(len(sh.archives))], false)
		case k < 4:
			return sh.request(doc, false)
		}
		return sh.request(doc, true)
	}})
}
