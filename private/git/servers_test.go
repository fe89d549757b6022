package git_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"stasis/private/git"
)

// hostName is a host that no name service knows: who connects to it nevertheless was given its
// address.
const hostName = "git.acme.test"

// toLoopback answers for hostName alone.
func toLoopback(g *git.Git) {
	git.ResolveWith(g, func(_ context.Context, host, _ string) ([]netip.Addr, error) {
		if host != hostName {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
}

// webHost serves the folder of an origin by git's own http-backend, to those who have a password.
type webHost struct {
	*httptest.Server
	caFile   string
	requests atomic.Int64
	accepted atomic.Int64 // requests with the right password
}

const (
	userName = "ci"
	password = "s3cret-T0ken:ü"
)

func newWebHost(t testing.TB, o *origin) *webHost {
	t.Helper()
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(o.dir), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Stderr: io.Discard,
	}
	h := &webHost{}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		if name, pass, ok := r.BasicAuth(); !ok || name != userName || pass != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		h.accepted.Add(1)
		backend.ServeHTTP(w, r)
	}))
	cert, file := certificate(t)
	h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	h.caFile = file
	return h
}

// url is the address of the repository by the host's name.
func (h *webHost) url(o *origin) string {
	return "https://" + net.JoinHostPort(hostName, portOf(h.Listener.Addr())) + "/" + filepath.Base(o.dir)
}

func portOf(a net.Addr) string { return strconv.Itoa(a.(*net.TCPAddr).Port) }

// certificate vouches for hostName, by itself.
func certificate(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostName}, DNSNames: []string{hostName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// perConnection runs a program for every connection to a port of its own, as inetd does, until the
// test ends.
func perConnection(t testing.TB, program string, args ...string) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				return
			}
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Stdin, cmd.Stdout = file, file
			running.Add(1)
			go func() {
				defer running.Done()
				defer file.Close()
				_ = cmd.Run() // what it thinks of its client is seen there
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		cancel()
		running.Wait()
	})
	return portOf(listener.Addr())
}

// sshHost is a real sshd with a host key of its own, which lets one user key in.
type sshHost struct {
	port, user string
	key        []byte // of the user who may come in
	hostLine   string // for known_hosts
}

func newSSHHost(t testing.TB) *sshHost {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not in everybody's PATH
	}
	if _, err := os.Stat(sshd); err != nil {
		t.Fatal("these tests need sshd: install openssh-server")
	}
	if os.Geteuid() == 0 {
		// Where sshd locks itself in before anybody is known to it. Its package makes it at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &sshHost{user: me.Username}
	hostKey, hostPublic := keyPair(t)
	userKey, userPublic := keyPair(t)
	h.key = userKey
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	config := write("config", []byte(strings.Join([]string{
		"HostKey " + write("host_key", hostKey),
		"AuthorizedKeysFile " + write("authorized_keys", ssh.MarshalAuthorizedKey(userPublic)),
		"StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PidFile none", "LogLevel ERROR", "AllowUsers " + h.user, "",
	}, "\n")))
	h.port = perConnection(t, sshd, "-i", "-e", "-f", config)
	h.hostLine = "[" + hostName + "]:" + h.port + " " + string(ssh.MarshalAuthorizedKey(hostPublic))
	return h
}

func (h *sshHost) url(o *origin) string {
	return "ssh://" + h.user + "@" + net.JoinHostPort(hostName, h.port) + o.dir
}

func keyPair(t testing.TB) (private []byte, public ssh.PublicKey) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if public, err = ssh.NewPublicKey(pub); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), public
}

// watchedGit puts a git into the PATH that writes down its arguments before it is git, and returns
// where. Options.Dir and the folder for temporary files are searched by leaves.
func watchedGit(t testing.TB) (log string) {
	t.Helper()
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" >>'" + log + "'\nexec '" + real + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return log
}

// holds reports whether any file below a folder holds a text.
func holds(t testing.TB, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
