package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// Auth is the table of credentials: for each origin (scheme, host, port), or what lies below a
// path of it, the headers that a request to it carries. Beside those for every request there are
// those of owners, such as a package source, for requests made in their name. A nil *Auth knows
// none. It is safe for concurrent use.
type Auth struct {
	base    authTable // never changed once it is in use
	ignored []string
	owned   *ownedAuth
}

// ownedAuth is what owners brought.
type ownedAuth struct {
	mu sync.RWMutex
	m  map[string]authTable // by owner; guarded by mu
}

// NewAuth returns an empty table.
func NewAuth() *Auth { return &Auth{owned: &ownedAuth{m: map[string]authTable{}}} }

// Set lets owner bring its own credentials, in the format of ParseAuthJSON. They replace what it
// brought before. Only requests that name it as their Owner carry them: what a stranger publishes
// elsewhere cannot make Stasis fetch what is the owner's.
func (a *Auth) Set(owner string, data []byte) error {
	table, _, err := parseAuth(data)
	if err != nil {
		return err
	}
	a.owned.mu.Lock()
	defer a.owned.mu.Unlock()
	a.owned.m[owner] = table
	return nil
}

// Remove forgets what owner brought.
func (a *Auth) Remove(owner string) {
	a.owned.mu.Lock()
	defer a.owned.mu.Unlock()
	delete(a.owned.m, owner)
}

// of returns what owner brought.
func (o *ownedAuth) of(owner string) authTable {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.m[owner]
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

// apply sets the headers for a request of owner to u and says whether there were any. What the
// owner brought comes before what is for all.
func (a *Auth) apply(owner string, u *url.URL, header http.Header) bool {
	if a == nil {
		return false
	}
	headers := a.owned.of(owner).lookup(u)
	if len(headers) == 0 {
		headers = a.base.lookup(u)
	}
	for _, h := range headers {
		header.Set(h.name, h.value.Reveal())
	}
	return len(headers) > 0
}

// Origins lists the origins for which there are credentials for every request, with the path
// where they are for what lies below it, in order.
func (a *Auth) Origins() []string {
	if a == nil {
		return nil
	}
	origins := make([]string, 0, len(a.base))
	for place := range a.base {
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
