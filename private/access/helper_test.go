package access_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private/access"
	"stasis/proxy/composer"
	"stasis/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ticker is a clock that tests move.
type ticker struct {
	mu sync.Mutex
	t  time.Time
}

func (c *ticker) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *ticker) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// desk is an Access on a store of its own.
type desk struct {
	t testing.TB
	*access.Access
	clock *ticker
	store *store.Store
	o     access.Options
}

func open(t testing.TB, o access.Options) *desk {
	t.Helper()
	path := t.TempDir()
	st, err := store.Open(context.Background(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	d := &desk{t: t, clock: &ticker{t: noon}, store: st}
	o.Store, o.Now = st, d.clock.now
	if o.Private == nil {
		o.Private = func(n composer.Name) bool { return n.Vendor() == "acme" }
	}
	d.o = o
	d.reopen()
	return d
}

// reopen is what a restart does to the Access.
func (d *desk) reopen() {
	d.t.Helper()
	a, err := access.New(d.o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Access = a
}

// token makes one and returns its id and text.
func (d *desk) token(t access.Token) (id, text string) {
	d.t.Helper()
	if t.Name == "" {
		t.Name = "test"
	}
	if t.Role == "" {
		t.Role = access.RoleRead
	}
	made, text, err := d.CreateToken(t)
	if err != nil {
		d.t.Fatal(err)
	}
	return made.ID, text
}

func (d *desk) owner(o access.Owner) access.Owner {
	d.t.Helper()
	if o.Name == "" {
		o.Name = "Example Inc."
	}
	made, err := d.CreateOwner(o)
	if err != nil {
		d.t.Fatal(err)
	}
	return made
}

// admit sends a request with the Authorization header from an address.
func (d *desk) admit(authorization string, from ...string) (*access.Reader, error) {
	d.t.Helper()
	return d.Admit(request(authorization, from...))
}

// reader is who is let in with a token.
func (d *desk) reader(text string) *access.Reader {
	d.t.Helper()
	r, err := d.admit("Bearer " + text)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// denied expects a refusal with a status and a reason.
func (d *desk) denied(status int, reason, authorization string, from ...string) *access.Denied {
	d.t.Helper()
	_, err := d.admit(authorization, from...)
	var denied *access.Denied
	if !errors.As(err, &denied) {
		d.t.Fatalf("%q is let in or fails otherwise: %v", authorization, err)
	}
	if denied.Status != status || denied.Reason != reason {
		d.t.Fatalf("%q is refused with %d %s (%s), want %d %s", authorization, denied.Status, denied.Reason, denied.Message, status, reason)
	}
	if !strings.HasSuffix(denied.Message, ".") && reason != "suspended" {
		d.t.Errorf("no sentence: %q", denied.Message)
	}
	return denied
}

func request(authorization string, from ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/packages.json", nil)
	r.RemoteAddr = "198.51.100.7:4711"
	if len(from) > 0 {
		r.RemoteAddr = from[0]
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func name(t testing.TB, s string) composer.Name {
	t.Helper()
	n, err := composer.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
