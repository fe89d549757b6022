package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"stasis/config"
)

// steadyServer serves body in the ways net/http writes: at once, and from a file. ended tells how each answer ended.
func steadyServer(t *testing.T, body []byte, stall time.Duration, secure *tls.Config) (addr string, ended <-chan error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		file, err := os.Open(name)
		if err != nil {
			ends <- err
			return
		}
		defer file.Close()
		switch r.URL.Path {
		case "/file":
			c := &erring{ResponseWriter: w}
			http.ServeContent(c, r, "", time.Time{}, file)
			err = c.err
		case "/reader":
			_, err = io.Copy(w, io.MultiReader(bytes.NewReader(body)))
		default:
			_, err = w.Write(body)
		}
		ends <- err
	})}
	go func() {
		l := net.Listener(steadyListener{listener, stall})
		if secure != nil {
			l = tls.NewListener(l, secure)
		}
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() { _ = srv.Close() })
	return listener.Addr().String(), ends
}

// erring remembers the error of the copy that http.ServeContent does.
type erring struct {
	http.ResponseWriter
	err error
}

func (e *erring) ReadFrom(r io.Reader) (int64, error) {
	n, err := e.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	if err != nil {
		e.err = err
	}
	return n, err
}

func noisy(n int) []byte {
	body := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(body)
	return body
}

// ask sends a request over a connection whose buffer is small, so that the pace of the client is soon that of the server.
func ask(t *testing.T, addr, path string, secure bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAClientThatTakesNothingIsCutOff(t *testing.T) {
	addr, ended := steadyServer(t, noisy(32<<20), 50*time.Millisecond, nil)
	for _, path := range []string{"/write", "/reader", "/file"} {
		ask(t, addr, path, false)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: ended with %v", path, err)
		}
	}
}

// TestASlowClientGetsEverything takes several times the stall time for an answer, and never that long for nothing.
func TestASlowClientGetsEverything(t *testing.T) {
	const stall = 1500 * time.Millisecond
	body := noisy(48 << 20)
	dir := t.TempDir()
	files := config.Server{TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem")}
	writeCertificate(t, files, 1)
	cert, err := tls.LoadX509KeyPair(files.TLSCertFile, files.TLSKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		secure *tls.Config
	}{{"/write", nil}, {"/reader", nil}, {"/file", nil}, {"/write", &tls.Config{Certificates: []tls.Certificate{cert}}}} {
		t.Run(fmt.Sprintf("%s, TLS %t", c.path[1:], c.secure != nil), func(t *testing.T) {
			t.Parallel()
			addr, ended := steadyServer(t, body, stall, c.secure)
			conn := ask(t, addr, c.path, c.secure != nil)
			var got bytes.Buffer
			began := time.Now()
			pause := time.NewTicker(stall / 10)
			defer pause.Stop()
			for {
				if _, err := io.CopyN(&got, conn, int64(len(body)/40)); err != nil {
					break
				}
				<-pause.C
			}
			if err := <-ended; err != nil {
				t.Errorf("ended with %v after %v", err, time.Since(began))
			}
			if _, sent, ok := bytes.Cut(got.Bytes(), []byte("\r\n\r\n")); !ok || !bytes.Equal(sent, body) {
				t.Errorf("got %d bytes, or others", len(sent))
			}
			if took := time.Since(began); took < 3*stall {
				t.Errorf("the client was not slow: %v", took)
			}
		})
	}
}

func BenchmarkSteadyWrite(b *testing.B) {
	for name, wrap := range map[string]func(*net.TCPConn) io.Writer{
		"plain":  func(c *net.TCPConn) io.Writer { return c },
		"steady": func(c *net.TCPConn) io.Writer { return &steadyConn{TCPConn: c, stall: stallTimeout} },
	} {
		b.Run(name, func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			go func() {
				if c, err := listener.Accept(); err == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			}()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			w, body := wrap(conn.(*net.TCPConn)), make([]byte, 512)
			for b.Loop() {
				if _, err := w.Write(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
