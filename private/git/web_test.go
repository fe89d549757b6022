package git_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stasis/private/git"
)

func TestHTTPSWithCredentialsThatLeaveNoTrace(t *testing.T) {
	log := watchedGit(t)
	o := newOrigin(t)
	o.tag("v1.0.0", o.commit("main", files{"composer.json": manifest()}))
	h := newWebHost(t, o)
	dir := t.TempDir()
	g := newGit(t, func(o *git.Options) { o.Dir, o.CAFile = dir, h.caFile })
	toLoopback(g)
	r := open(t, g, h.url(o), git.Credentials{Username: userName, Password: password})
	if changes := synced(t, r); len(changes.Refs) != 2 {
		t.Fatalf("%d references came", len(changes.Refs))
	}
	o.tag("v1.1.0", o.commit("main", files{"composer.json": manifest(), "a": "b"}))
	synced(t, r)
	if got := len(scan(t, r).Releases); got != 3 {
		t.Errorf("%d releases, want 3", got)
	}
	if h.requests.Load() != h.accepted.Load() {
		t.Errorf("%d of %d requests had no credentials", h.requests.Load()-h.accepted.Load(), h.requests.Load())
	}
	said, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(said), "ls-remote") {
		t.Fatalf("the watch saw %q, %v", said, err)
	}
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(userName + ":" + password)), "s3cret"} {
		if strings.Contains(string(said), secret) {
			t.Error("a secret stands in the arguments of git")
		}
		if holds(t, dir, secret) {
			t.Error("a secret stands on the disk")
		}
	}
}

func TestWhatAServerRefusesIsSaidInASentenceWithoutSecrets(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	h := newWebHost(t, o)
	g := newGit(t, func(o *git.Options) { o.CAFile = h.caFile })
	toLoopback(g)
	for _, c := range []struct {
		name, url string
		with      git.Credentials
		want      string
	}{
		{"no credentials", h.url(o), git.Credentials{}, "the server asks for credentials"},
		{"wrong credentials", h.url(o), git.Credentials{Username: userName, Password: "wr0ng-s3cret"}, "does not accept those it was given"},
		{"no such repository", h.url(o) + "x", git.Credentials{Username: userName, Password: password}, "there is no such repository"},
		{"no such host", "https://elsewhere.acme.test/x", git.Credentials{}, "no such host"},
	} {
		r := open(t, g, c.url, c.with)
		_, err := r.Sync(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), r.URL()) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := r.Scan(t.Context(), nil); err == nil {
			t.Errorf("%s: there is something to scan", c.name)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	here := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/acme.git/info/refs", http.StatusMovedPermanently))
	defer here.Close()
	g := newGit(t, func(o *git.Options) { o.AllowPlain, o.AllowedHosts = true, []string{"127.0.0.1"} })
	_, err := open(t, g, here.URL+"/acme.git", git.Credentials{Username: "u", Password: "p"}).Sync(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lies elsewhere") {
		t.Errorf("the error is %v", err)
	}
	if reached.Load() != 0 {
		t.Error("git followed the redirect")
	}
}

func TestSpecialAddressesAreNotConnectedTo(t *testing.T) {
	var reached atomic.Int64
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	go func() {
		for {
			conn, err := inside.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	port := portOf(inside.Addr())
	g := newGit(t, func(o *git.Options) { o.AllowPlain = true })
	for _, url := range []string{
		"http://127.0.0.1:" + port + "/x.git", "https://127.0.0.1:" + port + "/x.git", "git://127.0.0.1:" + port + "/x.git",
		"ssh://git@127.0.0.1:" + port + "/x.git", "http://localhost:" + port + "/x.git", "ssh://localhost:" + port + "/x.git",
		"http://[::1]:" + port + "/x.git", "http://[::ffff:127.0.0.1]:" + port + "/x.git", "git@localhost:x.git", "git@127.0.0.1:x.git",
		"https://169.254.169.254/latest.git", "https://[64:ff9b::a9fe:a9fe]/x.git", "https://10.0.0.1/x.git", "https://0.0.0.0/x.git",
	} {
		r, err := g.Open(url, git.Credentials{})
		if err == nil {
			_, err = r.Sync(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), "not one of the allowed hosts") {
			t.Errorf("%s: %v", url, err)
		}
	}
	// Spellings that a resolver of C takes for addresses are names here, which nobody knows.
	for _, url := range []string{"http://2130706433/x.git", "http://0x7f000001/x.git", "http://0177.0.0.1/x.git", "http://127.1/x.git"} {
		r, err := g.Open(url, git.Credentials{})
		if err == nil {
			_, err = r.Sync(t.Context())
		}
		if err == nil {
			t.Errorf("%s was reached", url)
		}
	}
	if reached.Load() != 0 {
		t.Errorf("%d connections were made", reached.Load())
	}
}

// A name service that gives a good address to whoever judges it, and a special one to git, is of no
// use: git does not ask.
func TestGitConnectsToTheAddressThatWasJudged(t *testing.T) {
	var hosts atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host)
		http.NotFound(w, r)
	}))
	defer server.Close()
	g := newGit(t, func(o *git.Options) { o.AllowPlain = true })
	asked := 0
	git.ResolveWith(g, func(_ context.Context, host, port string) ([]netip.Addr, error) {
		asked++
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	url := "http://localhost.evil.test:" + portOf(server.Listener.Addr()) + "/x.git"
	if _, err := open(t, g, url, git.Credentials{}).Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no such repository") {
		t.Errorf("the error is %v", err)
	}
	if asked != 1 || hosts.Load() != "localhost.evil.test:"+portOf(server.Listener.Addr()) {
		t.Errorf("the host was looked up %d times, and the server was asked for %v", asked, hosts.Load())
	}
}

func TestAServerThatHangsCostsNoMoreThanTheTimeAllowed(t *testing.T) {
	gone := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // whoever asked hung up
		gone <- struct{}{}
	}))
	defer server.Close()
	g := newGit(t, func(o *git.Options) {
		o.AllowPlain, o.AllowedHosts, o.Timeout = true, []string{"127.0.0.1"}, 500*time.Millisecond
	})
	_, err := open(t, g, server.URL+"/x.git", git.Credentials{}).Sync(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it took longer than is allowed (500ms)") {
		t.Errorf("the error is %v", err)
	}
	<-gone // so git-remote-http, which git had started, has ended too

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	if _, err := open(t, g, server.URL+"/y.git", git.Credentials{}).Sync(ctx); err == nil {
		t.Error("a caller who has left is served")
	}
}
