package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"stasis/config"
)

var discard = slog.New(slog.DiscardHandler)

func testConfig(t *testing.T) config.Config {
	t.Helper()
	c := config.Default()
	c.Server.Host, c.Server.Port = "127.0.0.1", 0
	c.Store.Path = t.TempDir()
	c.Proxy.PackagistURL = "http://127.0.0.1:1"
	c.Proxy.FeedInterval = 0
	return c
}

// running is a Stasis inside this process.
type running struct {
	addr    net.Addr
	signals chan os.Signal
	ended   chan error
}

func serveForTest(t *testing.T, c config.Config, logger *slog.Logger) running {
	t.Helper()
	r := running{signals: make(chan os.Signal, 2), ended: make(chan error, 1)}
	ready := make(chan net.Addr, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(r.ended)
		r.ended <- serveUntil(ctx, r.signals, c, logger, io.Discard, ready)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.ended // a test that wants to know has asked
	})
	addr, listening := <-ready
	if !listening {
		t.Fatal(<-r.ended)
	}
	r.addr = addr
	return r
}

func TestServeAnswersUntilTheSignal(t *testing.T) {
	r := serveForTest(t, testConfig(t), discard)
	resp, err := http.Get("http://" + r.addr.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz answered %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	r.signals <- syscall.SIGTERM
	if err := <-r.ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
	if _, err := net.Dial("tcp", r.addr.String()); err == nil {
		t.Error("the port is still open")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, testConfig(t), discard, io.Discard, ready) }()
	<-ready
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

func TestPortInUseIsASentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := testConfig(t)
	c.Server.Port = taken.Addr().(*net.TCPAddr).Port
	err = serve(t.Context(), c, discard, io.Discard, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "stasis cannot listen on "+taken.Addr().String()+" (HOST and PORT): ") {
		t.Errorf("got %v", err)
	}
}

func TestTLSBringsHTTP2AndTheCertificateIsReloadedOnSIGHUP(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(t)
	c.Server.TLSCertFile, c.Server.TLSKeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, c.Server, 1)
	lines := make(logLines, 16)
	r := serveForTest(t, c, slog.New(slog.NewTextHandler(lines, nil)))
	lines.await(t, "listening")

	serial := func(roots *x509.Certificate) int64 {
		t.Helper()
		pool := x509.NewCertPool()
		pool.AddCert(roots)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + r.addr.String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("the answer came by %s", resp.Proto)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(first); got != 1 {
		t.Errorf("serial %d", got)
	}

	second := writeCertificate(t, c.Server, 2)
	r.signals <- syscall.SIGHUP
	lines.await(t, "certificate reloaded")
	if got := serial(second); got != 2 {
		t.Errorf("after SIGHUP: serial %d", got)
	}

	if err := os.WriteFile(c.Server.TLSCertFile, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	lines.await(t, "the certificate in use stays")
	if got := serial(second); got != 2 {
		t.Errorf("after SIGHUP with a broken file: serial %d", got)
	}
}

func TestH2CIsSpokenWhenAskedFor(t *testing.T) {
	c := testConfig(t)
	c.Server.H2C = true
	r := serveForTest(t, c, discard)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + r.addr.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("the answer came by %s", resp.Proto)
	}
}

// slowServer serves one handler that says when it has begun and waits to be released.
func slowServer(t *testing.T) (srv *http.Server, url string, began, release chan struct{}) {
	t.Helper()
	began, release = make(chan struct{}), make(chan struct{})
	srv = newServer(config.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		close(began)
		select {
		case <-release:
			_, _ = io.WriteString(w, "whole")
		case <-r.Context().Done():
		}
	}), discard)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close() })
	return srv, "http://" + listener.Addr().String(), began, release
}

func TestRequestsInFlightFinishBeforeTheShutdown(t *testing.T) {
	srv, url, began, release := slowServer(t)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-began
	drained := make(chan struct{})
	go func() {
		drain(srv, time.Hour, nil, discard)
		close(drained)
	}()
	close(release)
	body, err := io.ReadAll(resp.Body)
	if string(body) != "whole" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	<-drained
}

func TestASecondSignalCutsRequestsOff(t *testing.T) {
	srv, url, began, _ := slowServer(t)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-began
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGHUP // is none to stop
	signals <- syscall.SIGINT
	drain(srv, time.Hour, signals, discard)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the client was told that the answer is whole")
	}
}

func TestTheShutdownTimeoutCutsRequestsOff(t *testing.T) {
	srv, url, began, _ := slowServer(t)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-began
	drain(srv, time.Millisecond, nil, discard)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the client was told that the answer is whole")
	}
}

// A body has to arrive within its time; when it has, the answer may take as long as it takes.
func TestBodyTimeDoesNotLimitTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodyErr, afterwards error
		srv := newServer(config.Server{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, bodyErr = io.ReadAll(r.Body)
			if bodyErr == nil {
				<-time.After(10 * bodyTimeout)
				afterwards = r.Context().Err()
			}
		}), discard)
		client, server := net.Pipe()
		listener := &oneConn{conn: server, closed: make(chan struct{})}
		go func() { _ = srv.Serve(listener) }()
		defer srv.Close()

		answers := bufio.NewReader(client)
		ask := func(body string) {
			t.Helper()
			if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"+body); err != nil {
				t.Fatal(err)
			}
			if resp, err := http.ReadResponse(answers, nil); err != nil {
				t.Fatal(err)
			} else {
				resp.Body.Close()
			}
		}
		ask("full")
		if bodyErr != nil || afterwards != nil {
			t.Errorf("a whole body: %v, and the request afterwards: %v", bodyErr, afterwards)
		}
		ask("hal")
		if bodyErr == nil {
			t.Error("a body that never ends was waited for without end")
		}
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func TestServiceManagerIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	newNotifier([]string{"A=b", "NOTIFY_SOCKET=" + socket}).tell("READY=1")
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if string(buf[:n]) != "READY=1" || err != nil {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	newNotifier(nil).tell("READY=1")
	notifier{"/nowhere"}.tell("READY=1")
}

// logLines hands on each log line.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func (l logLines) await(t *testing.T, text string) {
	t.Helper()
	for line := range l {
		if strings.Contains(line, text) {
			return
		}
	}
}

// writeCertificate makes a certificate for 127.0.0.1 and puts it where the settings say.
func writeCertificate(t *testing.T, c config.Server, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "stasis test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.TLSCertFile, "CERTIFICATE", der)
	writePEM(t, c.TLSKeyFile, "PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
