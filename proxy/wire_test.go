package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wire is one kept connection that asks the same thing again and again, with a
// client that costs next to nothing.
type wire struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
}

func newWire(tb testing.TB, base string, headers []string) *wire {
	tb.Helper()
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	var b strings.Builder
	b.WriteString("GET " + lib + " HTTP/1.1\r\nHost: stasis.test\r\nUser-Agent: Composer/2.8.1\r\n")
	for i := 0; i+1 < len(headers); i += 2 {
		b.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	b.WriteString("\r\n")
	return &wire{conn, bufio.NewReaderSize(conn, 64<<10), []byte(b.String())}
}

func (w *wire) get(tb testing.TB) {
	if _, err := w.conn.Write(w.request); err != nil {
		tb.Fatal(err)
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		tb.Fatal(err)
	}
}
