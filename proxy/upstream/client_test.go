package upstream_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"stasis/proxy/upstream"
)

// newClient returns a client that may reach servers on loopback.
func newClient(t *testing.T, change func(*upstream.Options)) *upstream.Client {
	t.Helper()
	o := upstream.Options{
		UserAgent:    "Stasis/test (+mailto:nobody@example.com)",
		Timeout:      10 * time.Second,
		AllowedHosts: []string{"127.0.0.1"},
	}
	if change != nil {
		change(&o)
	}
	c, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *upstream.Client, url string) (int, string, error) {
	t.Helper()
	resp, err := c.Do(context.Background(), upstream.Request{URL: url})
	if err != nil {
		return 0, "", err
	}
	body, err := c.ReadAll(resp, 1<<20)
	return resp.Status, string(body), err
}

func TestAnAnswerArrivesWithItsStatusHeaderAndBody(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = io.WriteString(w, r.UserAgent())
	})
	c := newClient(t, nil)
	status, body, err := get(t, c, s.URL)
	if err != nil || status != 200 || body != "Stasis/test (+mailto:nobody@example.com)" {
		t.Fatalf("got %d %q %v", status, body, err)
	}
}
