package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// Auth is the table of credentials: for each origin (scheme, host, port), or what lies below a
// path of it, the headers that a request to it carries. A nil *Auth knows none. It is safe for
// concurrent use.
type Auth struct {
	held    *heldAuth
	ignored []string
}

// heldAuth is what a table is made of: what it was read from, and what owners brought since.
type heldAuth struct {
	current atomic.Pointer[authTable] // what counts; never changed once stored

	mu      sync.Mutex // guards the rest
	base    authTable
	brought map[string]authTable // by owner
}

// NewAuth returns an empty table.
func NewAuth() *Auth {
	h := &heldAuth{brought: map[string]authTable{}}
	h.settle()
	return &Auth{held: h}
}

// Set lets owner, such as a package source, bring its own credentials, in the format of
// ParseAuthJSON. They replace what it brought before, and come before those the table was read
// from. One place has one set of credentials: where another owner brought others for the very
// same key, the error says so and nothing changes.
func (a *Auth) Set(owner string, data []byte) error {
	table, _, err := parseAuth(data)
	if err != nil {
		return err
	}
	h := a.held
	h.mu.Lock()
	defer h.mu.Unlock()
	for other, theirs := range h.brought {
		for place, headers := range table {
			if held, ok := theirs[place]; ok && other != owner && !slices.EqualFunc(held, headers, authHeader.equal) {
				return fmt.Errorf("auth.json: %s already has credentials for %s, and only one set can be sent there; keys with a path, such as the URL of the repository, keep them apart", other, place)
			}
		}
	}
	h.brought[owner] = table
	h.settle()
	return nil
}

// Remove forgets what owner brought.
func (a *Auth) Remove(owner string) {
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	delete(a.held.brought, owner)
	a.held.settle()
}

// settle makes the table that counts. Whoever calls it holds mu or is alone.
func (h *heldAuth) settle() {
	current := authTable{}
	maps.Copy(current, h.base)
	for _, owner := range slices.Sorted(maps.Keys(h.brought)) {
		maps.Copy(current, h.brought[owner])
	}
	h.current.Store(&current)
}

func (a *Auth) table() authTable {
	if a == nil {
		return nil
	}
	return *a.held.current.Load()
}

// authTable holds the headers for each place.
type authTable map[authPlace][]authHeader

// authPlace is what credentials are for.
type authPlace struct {
	origin string
	path   string // clean, without a slash at its end; empty for the whole origin
}

func (p authPlace) String() string { return p.origin + (&url.URL{Path: p.path}).EscapedPath() }

type authHeader struct {
	name  string
	value Secret
}

func (h authHeader) equal(other authHeader) bool {
	return h.name == other.name && h.value.Reveal() == other.value.Reveal()
}

// set stores one header for every place that key stands for.
func (t authTable) set(key, name, scheme, value string) error {
	if value == "" {
		return errors.New("the value is empty")
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("the value holds characters that no header may have")
	}
	places, err := placesOf(key)
	if err != nil {
		return err
	}
	for _, place := range places {
		headers := slices.DeleteFunc(t[place], func(h authHeader) bool { return h.name == name })
		t[place] = append(headers, authHeader{name, NewSecret(scheme + value)})
	}
	return nil
}

// placesOf turns a key of auth.json into places.
func placesOf(key string) ([]authPlace, error) {
	text := strings.TrimSpace(key)
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := parseURL(nil, text)
	if err != nil || u.User != nil {
		return nil, errors.New("the key is not a host, host:port or URL without user information")
	}
	place := authPlace{origin: originOf(u), path: cleanPath(u)}
	for strings.HasSuffix(place.path, ".json") { // the root of a repository, and not the repository
		place.path = strings.TrimSuffix(path.Dir(place.path), "/")
	}
	places := []authPlace{place}
	switch place.String() {
	case "https://github.com:443":
		places = append(places, authPlace{origin: "https://api.github.com:443"})
	case "https://packagist.org:443":
		places = append(places, authPlace{origin: "https://repo.packagist.org:443"})
	}
	return places, nil
}

// cleanPath is the path of u as it is compared: decoded, without the dots that would lead out of
// it again.
func cleanPath(u *url.URL) string {
	return strings.TrimSuffix(path.Clean("/"+u.Path), "/")
}

// lookup returns the headers for u: those of the longest path that u lies below.
func (t authTable) lookup(u *url.URL) []authHeader {
	if len(t) == 0 {
		return nil
	}
	place := authPlace{origin: originOf(u), path: cleanPath(u)}
	for {
		if headers, ok := t[place]; ok || place.path == "" {
			return headers
		}
		place.path = place.path[:strings.LastIndexByte(place.path, '/')]
	}
}

// apply sets the headers for u and says whether there were any.
func (a *Auth) apply(u *url.URL, header http.Header) bool {
	headers := a.table().lookup(u)
	for _, h := range headers {
		header.Set(h.name, h.value.Reveal())
	}
	return len(headers) > 0
}

// Origins lists the origins for which there are credentials, with the path where they are for
// what lies below it, in order.
func (a *Auth) Origins() []string {
	table := a.table()
	origins := make([]string, 0, len(table))
	for place := range table {
		origins = append(origins, place.String())
	}
	slices.Sort(origins)
	return origins
}

// Ignored lists the sections that were present and not understood, in order.
func (a *Auth) Ignored() []string {
	if a == nil {
		return nil
	}
	return slices.Clone(a.ignored)
}

// String names the origins and nothing else.
func (a *Auth) String() string {
	return fmt.Sprintf("credentials for %s", strings.Join(a.Origins(), ", "))
}

// Format prints what String returns, for every verb.
func (a *Auth) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, a.String()) }
