package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"stasis/proxy/upstream"
)

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestCompressedDocumentsAreInflatedAndArchivesAreNot(t *testing.T) {
	document := []byte(strings.Repeat(`{"packages":{}}`, 100))
	compressed := gzipped(t, document)
	var accepted string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		accepted = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(compressed)
	})
	c := newClient(t, nil)
	for _, class := range []string{"metadata", "api", "feed", "archive"} {
		resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL, Class: class})
		if err != nil {
			t.Fatal(err)
		}
		want, encoding, length, asked := document, "", int64(-1), "gzip"
		if class == "archive" {
			want, encoding, length, asked = compressed, "gzip", int64(len(compressed)), "identity"
		}
		if resp.ContentLength != length || resp.Header.Get("Content-Encoding") != encoding || accepted != asked {
			t.Errorf("%s: length %d, encoding %q, asked for %q", class, resp.ContentLength, resp.Header.Get("Content-Encoding"), accepted)
		}
		if body, err := c.ReadAll(resp, 1<<20); err != nil || !bytes.Equal(body, want) {
			t.Errorf("%s: %d bytes, %v", class, len(body), err)
		}
	}
}

func TestAnEncodingNobodyAskedForIsAnError(t *testing.T) {
	for _, encoding := range []string{"br", "deflate", "gzip, br", "zstd"} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			_, _ = io.WriteString(w, "x")
		})
		wantKind(t, second(get(newClient(t, nil), s.URL)), upstream.ServerError)
	}
}

func TestABombIsRefusedInBoundedMemory(t *testing.T) {
	bomb := bytes.Repeat(gzipped(t, make([]byte, 1<<20)), 64) // gzip streams may follow each other
	if len(bomb) > 70<<10 {
		t.Fatalf("the bomb is %d bytes", len(bomb))
	}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	})
	c := newClient(t, nil)
	resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = c.ReadAll(resp, limit)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, upstream.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes on the wire, limit %d, allocated %d in all", len(bomb), limit, allocated)
	if allocated > 10*limit {
		t.Errorf("allocated %d bytes to refuse it", allocated)
	}
}

func TestTheLimitIsCountedToTheByte(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, framed := range []bool{false, true} {
			body := bytes.Repeat([]byte("x"), 1000)
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				out := body
				if compress {
					out = gzipped(t, body)
					w.Header().Set("Content-Encoding", "gzip")
				}
				if !framed {
					w.(http.Flusher).Flush()
				}
				_, _ = w.Write(out)
			})
			c := newClient(t, nil)
			for limit, want := range map[int64]error{999: upstream.ErrTooLarge, 1000: nil, 1001: nil, 0: upstream.ErrTooLarge} {
				resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL})
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.ReadAll(resp, limit)
				if !errors.Is(err, want) || (want == nil && !bytes.Equal(got, body)) {
					t.Errorf("compressed %v, framed %v, limit %d: %d bytes, %v", compress, framed, limit, len(got), err)
				}
			}
		}
	}
}

// raw answers every connection with the same bytes and closes it.
func raw(t *testing.T, answer string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.(*net.TCPConn).Close()
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestABodyThatEndsTooEarlyIsAnErrorAsFarAsItCanBeSeen(t *testing.T) {
	compressed := string(gzipped(t, []byte(strings.Repeat("document ", 1000))))
	cut := compressed[:len(compressed)-9]
	for _, c := range []struct {
		name     string
		answer   string
		unframed bool
		whole    bool
	}{
		{name: "less than Content-Length", answer: "Content-Length: 10\r\n\r\nshort"},
		{name: "nothing of Content-Length", answer: "Content-Length: 10\r\n\r\n"},
		{name: "chunks without an end", answer: "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"},
		{name: "half a chunk", answer: "Transfer-Encoding: chunked\r\n\r\na\r\nshort"},
		{name: "half a gzip stream, close-delimited", answer: "Content-Encoding: gzip\r\n\r\n" + cut},
		{name: "half a gzip stream that Content-Length agrees with",
			answer: fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(cut), cut)},
		{name: "no gzip stream at all, close-delimited", answer: "Content-Encoding: gzip\r\n\r\n"},
		{name: "close-delimited", answer: "\r\nwhatever", unframed: true, whole: true},
		{name: "whole gzip stream, close-delimited", answer: "Content-Encoding: gzip\r\n\r\n" + compressed, whole: true},
		{name: "Content-Length", answer: "Content-Length: 5\r\n\r\nwhole", whole: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := raw(t, "HTTP/1.1 200 OK\r\n"+c.answer)
			client := newClient(t, nil)
			resp, err := client.Do(context.Background(), upstream.Request{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			if resp.Unframed != c.unframed {
				t.Errorf("Unframed is %v", resp.Unframed)
			}
			_, err = client.ReadAll(resp, 1<<20)
			if c.whole {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want something that matches io.ErrUnexpectedEOF", err)
			}
		})
	}
}

func TestADamagedGzipStreamIsAnError(t *testing.T) {
	good := gzipped(t, []byte(strings.Repeat("document ", 1000)))
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x55
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bad)
		}))
		c := newClient(t, nil)
		_, body, err := get(c, s.URL)
		// The header has bytes that carry nothing: time, system and the like.
		if err == nil && body != strings.Repeat("document ", 1000) {
			t.Errorf("byte %d: a wrong body was taken for a good one", at)
		}
		c.CloseIdleConnections()
		s.Close()
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
		default:
			w.Header().Set("Content-Length", "1000000")
			w.Header().Set("Content-Encoding", "gzip")
		}
	})
	c := newClient(t, func(o *upstream.Options) { o.Concurrency = 1 })
	for _, r := range []upstream.Request{
		{URL: s.URL + "/304"}, {URL: s.URL + "/204"}, {URL: s.URL + "/gzip"},
		{URL: s.URL + "/head", Method: "HEAD"}, {URL: s.URL + "/304", Method: "HEAD"},
	} {
		resp, err := c.Do(context.Background(), r)
		if err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.URL, err)
		}
		if strings.HasSuffix(r.URL, "/head") && resp.ContentLength != 1000000 {
			t.Errorf("the length of a HEAD answer is %d", resp.ContentLength)
		}
		if body, err := c.ReadAll(resp, 10); err != nil || len(body) != 0 {
			t.Errorf("%s %s: %q %v", r.Method, r.URL, body, err)
		}
	}
}

func TestAnArchiveStreamsWithoutBeingHeld(t *testing.T) {
	const size = 96 << 20
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		block := make([]byte, 1<<20)
		for range size >> 20 {
			_, _ = w.Write(block)
		}
	})
	c := newClient(t, nil)
	resp, err := c.Do(context.Background(), upstream.Request{URL: s.URL, Class: upstream.ClassArchive})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, resp.Body)
	runtime.ReadMemStats(&after)
	if err != nil || n != size || resp.ContentLength != size {
		t.Errorf("%d bytes of %d, %v", n, resp.ContentLength, err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
		t.Errorf("streaming %d bytes allocated %d", size, allocated)
	}
}
