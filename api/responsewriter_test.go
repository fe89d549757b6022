package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/api"
)

// through runs h behind an access log and returns the line of one request.
func through(t *testing.T, inner http.ResponseWriter, h http.HandlerFunc) line {
	t.Helper()
	var log bytes.Buffer
	api.AccessLog(h, api.AccessOptions{Lines: &log}).ServeHTTP(inner, get("/"))
	return lines(t, &log)[0]
}

// fileWriter is a ResponseWriter that looks at what it is given to read from.
type fileWriter struct {
	*httptest.ResponseRecorder
	source io.Reader
}

func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	w.source = r
	return io.Copy(w.ResponseRecorder, r)
}

func TestAFileReachesTheConnectionAsAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "archive.zip")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inner := &fileWriter{ResponseRecorder: httptest.NewRecorder()}
	l := through(t, inner, func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("the wrapper hides ReadFrom")
		}
		if _, err := w.(io.ReaderFrom).ReadFrom(f); err != nil {
			t.Error(err)
		}
	})
	if inner.source != io.Reader(f) {
		t.Errorf("the inner writer is given a %T, want the file itself", inner.source)
	}
	if l.Bytes != 100_000 || l.Status != 200 {
		t.Errorf("line %+v", l)
	}
}

func TestServeContentWorksThroughTheWrapper(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"HTTP/1.1": (*httptest.Server).Start,
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		body := strings.Repeat("0123456789", 20_000)
		var log bytes.Buffer
		srv := httptest.NewUnstartedServer(api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.zip", time.Time{}, strings.NewReader(body))
		}), api.AccessOptions{Lines: &log}))
		start(srv)
		r, _ := http.NewRequest(http.MethodGet, srv.URL+"/a.zip", nil)
		r.Header.Set("Range", "bytes=5-99994")
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		srv.Close() // waits for the handler, and with it for the line
		if err != nil || string(got) != body[5:99995] || resp.Proto != name {
			t.Errorf("%s: %d bytes, %v over %s", name, len(got), err, resp.Proto)
		}
		if l := lines(t, &log)[0]; l.Status != 206 || l.Bytes != 99_990 {
			t.Errorf("%s: line %+v", name, l)
		}
	}
}

func TestFlushAndDeadlinesReachTheConnection(t *testing.T) {
	first, second := make(chan string), make(chan struct{})
	srv := httptest.NewServer(api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("no deadline can be set: %v", err)
		}
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-second
		_, _ = io.WriteString(w, "second")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}), api.AccessOptions{}))
	defer srv.Close()
	go func() {
		resp, err := http.Get(srv.URL)
		if err != nil {
			close(first)
			return
		}
		defer resp.Body.Close()
		b := make([]byte, 5)
		_, _ = io.ReadFull(resp.Body, b)
		first <- string(b)
		rest, _ := io.ReadAll(resp.Body)
		first <- string(rest)
	}()
	if got := <-first; got != "first" {
		t.Errorf("before the end the client has %q", got)
	}
	close(second)
	if got := <-first; got != "second" {
		t.Errorf("then it gets %q", got)
	}
}

func TestAnInformationalAnswerIsNotTheStatus(t *testing.T) {
	var log bytes.Buffer
	srv := httptest.NewServer(api.AccessLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
	}), api.AccessOptions{Lines: &log}))
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	srv.Close()
	if l := lines(t, &log)[0]; l.Status != http.StatusNotFound || resp.StatusCode != http.StatusNotFound {
		t.Errorf("line %+v, answer %d", l, resp.StatusCode)
	}
}

// gone is a connection whose client has left.
type gone struct{ *httptest.ResponseRecorder }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAClientThatLeavesIsSeenInTheLog(t *testing.T) {
	l := through(t, gone{httptest.NewRecorder()}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) })
	if l.End != "client_gone" || l.Bytes != 0 {
		t.Errorf("line %+v", l)
	}
}

func TestFlushingAWriterThatCannotIsHarmless(t *testing.T) {
	through(t, struct{ http.ResponseWriter }{httptest.NewRecorder()}, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
	})
}
