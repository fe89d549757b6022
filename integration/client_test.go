package integration_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"stasis/integration/standin"
)

// wire sends requests as they are: nothing is decoded, followed or remembered.
var wire = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, TLSClientConfig: trusting()}

// trusting accepts the certificates the tests make for themselves.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// reply is an answer read to its end; err tells that the body broke off.
type reply struct {
	*http.Response
	body []byte
	err  error
}

// request sends a GET with header pairs (name, value, …).
func (d *daemon) get(path string, header ...string) *reply {
	d.t.Helper()
	return d.do(http.MethodGet, path, nil, header...)
}

func (d *daemon) do(method, path string, body []byte, header ...string) *reply {
	d.t.Helper()
	r, err := d.try(method, path, body, header...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// try is do without the promise of an answer; it may run in any goroutine.
func (d *daemon) try(method, path string, body []byte, header ...string) (*reply, error) {
	if !strings.HasPrefix(path, "http") {
		path = d.probe() + path
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Composer/2.5.5 (Linux; 6.1; PHP 8.2.0; cURL 7.88.1)")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := wire.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &reply{Response: resp}
	r.body, r.err = io.ReadAll(resp.Body)
	return r, nil
}

// crowd sends the same GET n times at once. It returns when every request is on
// its way; the channel then gives each reply or error.
func (d *daemon) crowd(n int, path string) <-chan crowded {
	d.t.Helper()
	out := make(chan crowded, n)
	var sent sync.WaitGroup
	sent.Add(n)
	for range n {
		go func() {
			var once sync.Once
			gone := func() { once.Do(sent.Done) }
			defer gone()
			var first time.Time
			ctx := httptrace.WithClientTrace(d.t.Context(), &httptrace.ClientTrace{
				WroteRequest:         func(httptrace.WroteRequestInfo) { gone() },
				GotFirstResponseByte: func() { first = time.Now() },
			})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.probe()+strings.TrimPrefix(path, d.probe()), nil)
			if err != nil {
				out <- crowded{err: err}
				return
			}
			resp, err := wire.RoundTrip(req)
			if err != nil {
				out <- crowded{err: err}
				return
			}
			defer resp.Body.Close()
			sum := sha256.New()
			size, err := io.Copy(sum, resp.Body)
			out <- crowded{status: resp.StatusCode, size: size, digest: hex.EncodeToString(sum.Sum(nil)), first: first, err: err}
		}()
	}
	sent.Wait()
	return out
}

// crowded is what one client of a crowd got.
type crowded struct {
	status int
	size   int64
	digest string
	first  time.Time // when its first byte came
	err    error
}

// decoded undoes the Content-Encoding.
func (r *reply) decoded() ([]byte, error) {
	var in io.Reader
	var err error
	switch enc := r.Header.Get("Content-Encoding"); enc {
	case "", "identity":
		return r.body, nil
	case "gzip":
		in, err = gzip.NewReader(bytes.NewReader(r.body))
	case "deflate":
		in, err = zlib.NewReader(bytes.NewReader(r.body))
	case "br":
		in = brotli.NewReader(bytes.NewReader(r.body))
	case "zstd":
		in, err = zstd.NewReader(bytes.NewReader(r.body))
	default:
		return nil, errors.New("unknown Content-Encoding " + enc)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(in)
}

// root fetches packages.json taken apart.
func (d *daemon) root() standin.Object {
	d.t.Helper()
	r := d.get("/packages.json")
	var root standin.Object
	if r.StatusCode != http.StatusOK {
		d.t.Fatalf("packages.json answers %d: %s", r.StatusCode, r.body)
	}
	if err := json.Unmarshal(r.body, &root); err != nil {
		d.t.Fatalf("packages.json is no JSON object: %v\n%s", err, r.body)
	}
	return root
}

// document fetches a p2 file ("v/n" or "v/n~dev") taken apart.
func (d *daemon) document(file string) *standin.Document {
	d.t.Helper()
	r := d.get("/p2/" + file + ".json")
	if r.StatusCode != http.StatusOK {
		d.t.Fatalf("/p2/%s.json answers %d: %s", file, r.StatusCode, r.body)
	}
	doc, err := standin.ParseDocument(r.body, strings.TrimSuffix(file, "~dev"))
	if err != nil {
		d.t.Fatal(err)
	}
	return doc
}

// version finds a version in a document by its pretty name.
func version(t testing.TB, doc *standin.Document, pretty string) standin.Object {
	t.Helper()
	for _, v := range doc.Versions {
		if v.Text("version") == pretty {
			return v
		}
	}
	t.Fatalf("the document of %s has no version %s", doc.Name, pretty)
	return nil
}

// object reads a nested object of a version, such as its dist.
func object(t testing.TB, v standin.Object, key string) standin.Object {
	t.Helper()
	var o standin.Object
	if err := json.Unmarshal(v.Get(key), &o); err != nil {
		t.Fatalf("%s of %s is %s: %v", key, v.Text("version"), v.Get(key), err)
	}
	return o
}

// into decodes a JSON answer.
func into[T any](t testing.TB, r *reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("the answer %d is not the JSON expected: %v\n%.500s", r.StatusCode, err, r.body)
	}
	return v
}
