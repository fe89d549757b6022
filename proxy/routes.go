package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Register mounts what Composer asks for. This is the only file of the package
// that knows echo: handlers get the plain writer and request, since echo's own
// response hides what sendfile needs.
func (p *Proxy) Register(e *echo.Echo) {
	// Nothing is answered before the gate has said who may read.
	add := func(methods []string, path string, h func(w http.ResponseWriter, r *http.Request, rest string)) {
		prefix, _ := strings.CutSuffix(path, "*")
		e.Match(methods, path, func(c echo.Context) error {
			w := c.Response().Writer
			if r := p.admit(w, c.Request()); r != nil {
				h(w, r, strings.TrimPrefix(r.URL.Path, prefix))
			}
			return nil
		})
	}
	get := func(path string, h func(w http.ResponseWriter, r *http.Request, rest string)) {
		add([]string{http.MethodGet, http.MethodHead}, path, h)
	}
	plain := func(h http.HandlerFunc) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, r *http.Request, _ string) { h(w, r) }
	}
	// What there is of the live registry only is not for who is bound to a world.
	free := func(path string, h func(w http.ResponseWriter, r *http.Request, rest string)) {
		get(path, func(w http.ResponseWriter, r *http.Request, rest string) {
			if reader := p.readerOf(r); reader.World() != "" {
				in, err := p.boundWorld(reader)
				p.serveWorld(w, r, in, err, r.URL.Path[1:])
				return
			}
			h(w, r, rest)
		})
	}
	named := func(h func(http.ResponseWriter, *http.Request, string)) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, r *http.Request, rest string) {
			name, ok := strings.CutSuffix(rest, ".json")
			if !ok {
				notFound(w, r)
				return
			}
			h(w, r, name)
		}
	}
	get("/packages.json", func(w http.ResponseWriter, r *http.Request, _ string) { p.serveChosen(w, r, "packages.json") })
	get("/p2/*", func(w http.ResponseWriter, r *http.Request, _ string) { p.serveChosen(w, r, r.URL.Path[1:]) })
	get("/snapshot/*", func(w http.ResponseWriter, r *http.Request, rest string) {
		when, rest, _ := strings.Cut(rest, "/")
		in, err := p.worldAt(when)
		p.enterWorld(w, r, in, err, rest)
	})
	get("/s/*", func(w http.ResponseWriter, r *http.Request, rest string) {
		id, rest, _ := strings.Cut(rest, "/")
		in, err := p.worldAt("@" + id)
		p.enterWorld(w, r, in, err, rest)
	})
	get("/cooldown/*", func(w http.ResponseWriter, r *http.Request, rest string) {
		age, rest, _ := strings.Cut(rest, "/")
		in, err := cooldownWorld(age)
		p.enterWorld(w, r, in, err, rest)
	})
	get("/dist-proxy/*", p.serveDist)
	free("/packages/list.json", plain(p.serveList))
	free("/packages/*", named(p.servePackage))
	free("/search.json", plain(p.serveSearch))
	free("/providers/*", named(p.serveProviders))
	free("/metadata/changes.json", plain(p.serveChanges))
	get("/lists/all/summary.json", plain(p.serveSummary))
	for _, path := range []string{"/api/security-advisories/", "/api/security-advisories"} {
		add([]string{http.MethodGet, http.MethodHead, http.MethodPost}, path, plain(p.serveAdvisories))
	}
	add([]string{http.MethodPost}, "/downloads/", plain(p.serveNotify))
	e.RouteNotFound("/*", func(c echo.Context) error {
		notFound(c.Response().Writer, c.Request())
		return nil
	})
}

func notFound(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, http.StatusNotFound, "there is nothing at this address; the repository's root is packages.json", 0)
}

// Canonical refuses paths that two readers could understand differently, and
// takes off the path of the external URL where a reverse proxy left it on. It
// wraps everything that routes by path. Below the given beginnings of paths, an
// escaped slash belongs to a name, such as that of a branch.
func Canonical(base string, next http.Handler, slashes ...string) http.Handler {
	prefix := ""
	if u, err := url.Parse(base); err == nil {
		prefix = strings.TrimRight(u.Path, "/")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if prefix != "" {
			if rest, ok := strings.CutPrefix(r.URL.Path, prefix); ok && strings.HasPrefix(rest, "/") {
				u := *r.URL
				u.Path, u.RawPath = rest, strings.TrimPrefix(r.URL.RawPath, prefix)
				r2 := *r
				r2.URL = &u
				r = &r2
			}
		}
		if !canonical(r.URL, slashes) {
			refuse(w, r, http.StatusBadRequest, "this path is not written in its canonical form", 0)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// canonical reports whether a path has one reading: no empty, "." or ".."
// segments, no control characters or backslashes, and no escaped slash where
// those mean nothing.
func canonical(u *url.URL, slashes []string) bool {
	path := u.Path
	if path == "" || path[0] != '/' || u.Host != "" {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
		if path[i] != '/' {
			continue
		}
		rest := path[i+1:]
		if strings.HasPrefix(rest, "/") || rest == "." || rest == ".." || strings.HasPrefix(rest, "./") || strings.HasPrefix(rest, "../") {
			return false
		}
	}
	if u.RawPath != "" {
		raw := strings.ToLower(u.RawPath)
		named := slices.ContainsFunc(slashes, func(prefix string) bool { return strings.HasPrefix(raw, prefix) })
		return (named || !strings.Contains(raw, "%2f")) && !strings.Contains(raw, "%5c") && !strings.Contains(raw, "%00")
	}
	return true
}
