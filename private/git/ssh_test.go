package git_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"stasis/private/git"
)

func TestSSHWithAKey(t *testing.T) {
	log := watchedGit(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	o := newOrigin(t)
	o.tag("v1.0.0", o.commit("main", files{"composer.json": manifest()}))
	h := newSSHHost(t)
	dir := t.TempDir()
	g := newGit(t, func(o *git.Options) { o.Dir = dir })
	toLoopback(g)
	windows := strings.ReplaceAll(string(h.key), "\n", "\r\n") // as a form in a browser sends it
	r := open(t, g, h.url(o), git.Credentials{SSHKey: []byte(strings.TrimSpace(windows)), KnownHosts: []byte(h.hostLine)})
	synced(t, r)
	o.tag("v1.1.0", o.commit("main", files{"composer.json": manifest(), "a": "b"}))
	if changes := synced(t, r); len(changes.Refs) != 2 {
		t.Errorf("the second sync brought %v", changes)
	}
	if got := len(scan(t, r).Releases); got != 3 {
		t.Errorf("%d releases, want 3", got)
	}
	secret := strings.Split(string(h.key), "\n")[2]
	said, err := os.ReadFile(log)
	if err != nil || strings.Contains(string(said), secret) {
		t.Errorf("the watch saw %q, %v", said, err)
	}
	if holds(t, dir, secret) || holds(t, temp, secret) {
		t.Error("the key is still on the disk")
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "stasis-ssh-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestSSHWithAnAgent(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	h := newSSHHost(t)
	raw, err := ssh.ParseRawPrivateKey(h.key)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(ring, conn) // until the client leaves
			}()
		}
	}()
	g := newGit(t, func(o *git.Options) { o.SSHAgent = socket })
	toLoopback(g)
	synced(t, open(t, g, h.url(o), git.Credentials{KnownHosts: []byte(h.hostLine)}))
}

func TestAHostKeyIsRememberedAndNoOtherIsBelieved(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	h, other := newSSHHost(t), newSSHHost(t)
	dir := t.TempDir()
	g := newGit(t, func(o *git.Options) { o.Dir = dir })
	toLoopback(g)
	r := open(t, g, h.url(o), git.Credentials{SSHKey: h.key})
	synced(t, r)
	hosts, err := os.ReadFile(filepath.Join(dir, "known_hosts"))
	if err != nil || !strings.Contains(string(hosts), strings.TrimSpace(h.hostLine)) {
		t.Fatalf("remembered is %q, %v", hosts, err)
	}
	synced(t, r)

	// Somebody else answers in its place.
	swapped := strings.ReplaceAll(string(hosts), strings.Fields(h.hostLine)[2], strings.Fields(other.hostLine)[2])
	if err := os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(swapped), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "host key is not the one that is known") {
		t.Errorf("a changed host key: %v", err)
	}
}

func TestWhatAnSSHServerRefusesIsSaidInASentence(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	h, other := newSSHHost(t), newSSHHost(t)
	g := newGit(t)
	toLoopback(g)
	strange := hostName + " " + strings.Join(strings.Fields(other.hostLine)[1:], " ")
	for _, c := range []struct {
		name, url string
		with      git.Credentials
		want      string
	}{
		{"a key that is not let in", h.url(o), git.Credentials{SSHKey: other.key, KnownHosts: []byte(h.hostLine)}, "the server does not accept the ssh key"},
		{"no key", h.url(o), git.Credentials{KnownHosts: []byte(h.hostLine)}, "the server does not accept the ssh key"},
		{"an unknown host", h.url(o), git.Credentials{SSHKey: h.key, KnownHosts: []byte(strange)}, "the server's host key is not among the known hosts"},
		{"another host's key", h.url(o), git.Credentials{SSHKey: h.key, KnownHosts: []byte(strings.Replace(other.hostLine, other.port, h.port, 1))}, "host key is not the one that is known"},
		{"no such repository", h.url(o) + "x", git.Credentials{SSHKey: h.key, KnownHosts: []byte(h.hostLine)}, "there is no git repository at that address"},
	} {
		_, err := open(t, g, c.url, c.with).Sync(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCredentialsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	g := newGit(t, func(o *git.Options) { o.AllowPlain = true })
	key, _ := keyPair(t)
	for _, c := range []struct {
		url  string
		with git.Credentials
		want string
	}{
		{"https://acme.test/x", git.Credentials{SSHKey: key}, "of use for ssh only"},
		{"ssh://git@acme.test/x", git.Credentials{Username: "u", Password: "p"}, "of use for https only"},
		{"git://acme.test/x", git.Credentials{Password: "p"}, "of use for https only"},
		{"https://acme.test/x", git.Credentials{Username: "u"}, "the password or token is missing"},
		{"https://acme.test/x", git.Credentials{Username: "u:v", Password: "p"}, "cannot be sent"},
		{"https://acme.test/x", git.Credentials{Username: "u", Password: "p\r\nX: y"}, "cannot be sent"},
		{"ssh://git@acme.test/x", git.Credentials{SSHKey: []byte("ssh-ed25519 AAAA")}, "the ssh key cannot be read"},
		{"ssh://git@acme.test/x", git.Credentials{SSHKey: []byte(lockedKey)}, "locked with a passphrase"},
	} {
		if _, err := g.Open(c.url, c.with); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
}

// lockedKey was made by ssh-keygen for this test and opens nothing.
const lockedKey = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDh52SCi6
JTmkz9+U+2Y8wiAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIIUq/yDEKylkOAxF
YnsJyh+VxAbEab0UzSCTr/b7etbhAAAAkGsmCvSwwWWUW5Var89U8zhjZ/7qTE6+UXjqSI
d85FlWfryOJjqk2k7a/dTfEDuDBGyQvowBuLrjtJlYmFV7Ul7PCeNmjTZSPJ6VyKcAGMiv
2sG+mPQAo2R/aVOKDUg/T96CHt33LC6wl5zCZnv76oaKyCALlH8tM938ayxpAGX44moJWb
9jPE0NlpA/aD5l4A==
-----END OPENSSH PRIVATE KEY-----
`

func TestGitProtocol(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", files{"composer.json": manifest()})
	port := perConnection(t, "git", "-c", "safe.directory=*", "daemon", "--inetd", "--export-all", "--base-path="+filepath.Dir(o.dir))
	url := "git://" + net.JoinHostPort(hostName, port) + "/" + filepath.Base(o.dir)
	if _, err := newGit(t).Open(url, git.Credentials{}); err == nil || !strings.Contains(err.Error(), "git is not allowed") {
		t.Errorf("unencrypted, without leave: %v", err)
	}
	g := newGit(t, func(o *git.Options) { o.AllowPlain = true })
	toLoopback(g)
	r := open(t, g, url, git.Credentials{})
	synced(t, r)
	if got := len(scan(t, r).Releases); got != 1 {
		t.Errorf("%d releases, want 1", got)
	}
}
