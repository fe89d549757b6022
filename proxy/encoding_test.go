package proxy_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"stasis/proxy"
)

func TestAcceptEncoding(t *testing.T) {
	for header, want := range map[string]string{
		"":                                  "identity",
		"identity":                          "identity",
		"gzip":                              "gzip",
		"x-gzip":                            "gzip",
		"GZIP":                              "gzip",
		"deflate":                           "identity",
		"gzip, deflate":                     "gzip",
		"deflate, gzip":                     "gzip",
		"deflate, gzip, br":                 "gzip",
		"deflate, gzip, br, zstd":           "zstd",
		"br":                                "br",
		"zstd":                              "zstd",
		"br;q=1, gzip;q=0.8":                "br",
		"gzip;q=0.5, br;q=0.9":              "br",
		"gzip;q=0":                          "identity",
		"gzip;q=0, *":                       "zstd",
		"*":                                 "zstd",
		"*;q=0":                             "identity",
		"*;q=0.5, gzip;q=0.9":               "gzip",
		"identity;q=1, gzip;q=0.5":          "identity",
		"identity;q=0.5, gzip;q=0.5":        "gzip",
		"identity;q=0":                      "identity", // better an answer than none
		"identity;q=0, gzip":                "gzip",
		" gzip ; q=1.0 ":                    "gzip",
		"gzip;Q=0.1,br;q=0.05":              "gzip",
		"gzip;q=2":                          "gzip",
		"gzip;q=x":                          "gzip",
		"gzip;;;":                           "gzip",
		",,,gzip,,":                         "gzip",
		"sdch, unknown;q=1":                 "identity",
		"gzip;q=0.001":                      "gzip",
		"gzip;q=NaN":                        "gzip",
		strings.Repeat("a,", 5000) + "gzip": "gzip",
	} {
		if got := proxy.Negotiate(header); got != want {
			t.Errorf("%.60q: got %s, want %s", header, got, want)
		}
	}
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"", "gzip", "*;q=0", "br;q=1, gzip;q=0.8", "deflate, gzip, br, zstd", ";;q=,="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := proxy.Negotiate(header)
		if got == "identity" {
			return
		}
		// What is chosen was named, or everything was.
		low := strings.ToLower(header)
		if !strings.Contains(low, got) && !strings.Contains(low, "*") {
			t.Errorf("%q chose %s", header, got)
		}
		if n := proxy.Negotiate(header); n != got {
			t.Errorf("%q chose %s, then %s", header, got, n)
		}
	})
}

func inflate(t *testing.T, coding string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch coding {
	case "gzip":
		return gunzip(t, body)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryCodingCarriesTheSameDocument(t *testing.T) {
	w := newRig(t)
	for range 3 {
		w.publish("1.0.0", "")
	}
	plain := w.want(lib, 200, missed)
	tags := map[string]bool{plain.header.Get("Etag"): true}
	for _, coding := range []string{"gzip", "br", "zstd"} {
		a := w.want(lib, 200, hit, "Accept-Encoding", coding)
		if got := a.header.Get("Content-Encoding"); got != coding {
			t.Errorf("Content-Encoding %q, want %s", got, coding)
		}
		if !bytes.Equal(inflate(t, coding, a.body), plain.body) {
			t.Errorf("%s carries something else", coding)
		}
		if tag := a.header.Get("Etag"); tags[tag] {
			t.Errorf("two codings share the tag %s", tag)
		} else {
			tags[tag] = true
		}
		if a.header.Get("Last-Modified") != plain.header.Get("Last-Modified") || a.header.Get("Vary") != "Accept-Encoding, Authorization, X-Stasis-Token" {
			t.Errorf("header %v", a.header)
		}
		if got := w.want(lib, 304, hit, "Accept-Encoding", coding, "If-None-Match", a.header.Get("Etag")); len(got.body) != 0 || got.header.Get("Vary") == "" {
			t.Errorf("304: %v %v", got, got.header)
		}
		// A tag is that of one coding.
		w.want(lib, 200, hit, "If-None-Match", a.header.Get("Etag"))
	}
	if got := w.ask("HEAD", lib, nil); got.status != 200 || len(got.body) != 0 || got.header.Get("Content-Length") != plain.header.Get("Content-Length") {
		t.Errorf("HEAD: %v %v", got, got.header)
	}
}
