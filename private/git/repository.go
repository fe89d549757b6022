package git

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"
)

// Repository is one repository and its mirror. It is safe for concurrent use; what changes the
// mirror is done one after the other.
type Repository struct {
	git         *Git
	at          address
	credentials Credentials
	dir         string
	lock        *semaphore.Weighted
}

// Open checks an address and its credentials. It connects to nobody; addresses that are spelled
// differently and mean the same share a mirror.
func (g *Git) Open(url string, c Credentials) (*Repository, error) {
	at, err := parseAddress(url)
	if err != nil {
		return nil, err
	}
	switch {
	case at.scheme == "file" && !g.o.AllowLocal:
		return nil, errors.New("repositories on this machine's disk are not allowed")
	case (at.scheme == "http" || at.scheme == "git") && !g.o.AllowPlain:
		return nil, fmt.Errorf("%s is not allowed, because anybody on the way could change what it brings; use https or ssh", at.scheme)
	}
	if c, err = checkCredentials(at, c); err != nil {
		return nil, err
	}
	dir := g.mirrorOf(at)
	return &Repository{git: g, at: at, credentials: c, dir: dir, lock: g.lock(dir)}, nil
}

// mirrorOf is the folder of a repository's mirror.
func (g *Git) mirrorOf(at address) string {
	sum := sha256.Sum256([]byte(at.String()))
	return filepath.Join(g.o.Dir, hex.EncodeToString(sum[:16])+".git")
}

// URL is the address in its usual form. It holds no secret.
func (r *Repository) URL() string { return r.at.String() }

// mirrored returns an error matching fs.ErrNotExist while there is no mirror.
func (r *Repository) mirrored() error {
	if _, err := os.Stat(r.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s was not fetched yet: %w", r.at, fs.ErrNotExist)
		}
		return err
	}
	return nil
}

// checkCredentials refuses those that the address cannot use, and those that will never work.
func checkCredentials(at address, c Credentials) (Credentials, error) {
	web := at.scheme == "https" || at.scheme == "http"
	switch {
	case (c.Username != "" || c.Password != "") && !web:
		return c, errors.New("a user and a password are of use for https only; for ssh give a key")
	case (len(c.SSHKey) > 0 || len(c.KnownHosts) > 0) && at.scheme != "ssh":
		return c, errors.New("an ssh key is of use for ssh only; for https give a user and a password or token")
	case unprinting.MatchString(c.Username+c.Password) || strings.Contains(c.Username, ":"):
		return c, errors.New("the user or the password holds characters that cannot be sent")
	case c.Username != "" && c.Password == "":
		return c, errors.New("the password or token is missing")
	case c.Password != "" && c.Username == "":
		c.Username = "token"
	}
	if bytes.IndexByte(c.KnownHosts, 0) >= 0 {
		return c, errors.New("the known hosts are not text")
	}
	if len(c.SSHKey) == 0 {
		return c, nil
	}
	// Keys come out of forms and environment variables, where their line ends suffer.
	c.SSHKey = append(bytes.TrimSpace(bytes.ReplaceAll(c.SSHKey, []byte("\r\n"), []byte("\n"))), '\n')
	var locked *ssh.PassphraseMissingError
	if _, err := ssh.ParseRawPrivateKey(c.SSHKey); errors.As(err, &locked) {
		return c, errors.New("the ssh key is locked with a passphrase; give one without (ssh-keygen -p)")
	} else if err != nil {
		return c, errors.New("the ssh key cannot be read; give the private key as OpenSSH writes it, with its first and last line")
	}
	return c, nil
}

// basic is the value of an Authorization header.
func (c Credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// secrets are what must not be seen in a message.
func (c Credentials) secrets() []string {
	if c.Password == "" {
		return nil
	}
	return []string{c.basic()[len("Basic "):], c.Password}
}
