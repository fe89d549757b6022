package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// registryRoutes is what packagist.org, repo.packagist.org and api.github.com
// answer, on one origin.
func (s *Server) registryRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /packages.json", s.root)
	mux.HandleFunc("GET /p2/{vendor}/{file}", s.metadata)
	mux.HandleFunc("GET /packages/list.json", s.list)
	mux.HandleFunc("GET /packages/{vendor}/{file}", s.details)
	mux.HandleFunc("GET /search.json", s.search)
	mux.HandleFunc("GET /providers/{name...}", s.providers)
	mux.HandleFunc("GET /metadata/changes.json", s.changes)
	mux.HandleFunc("GET /api/security-advisories/", s.securityAdvisories)
	mux.HandleFunc("POST /api/security-advisories/", s.securityAdvisories)
	mux.HandleFunc("GET /lists/all/summary.json", s.filterSummary)
	mux.HandleFunc("POST /downloads/", s.downloads)
	mux.HandleFunc("GET /repos/{owner}/{repo}/zipball/{ref...}", s.zipball)
	return mux
}

// archiveRoutes is what codeload.github.com and other download hosts answer.
func (s *Server) archiveRoutes() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dl/") {
			s.archive(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/"))
			return
		}
		repo, ref, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/legacy.zip/")
		s.archive(w, r, repo+"/"+ref)
	})
}

func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	st := s.rootState()
	s.mu.Unlock()
	s.serveState(w, r, st)
}

// rootState makes the root document when it is first needed, since the addresses in it are known then.
func (s *Server) rootState() *state {
	st := s.reg.files["/packages.json"]
	if st == nil {
		body := encode(Object{
			{"packages", encode([]any{})},
			{"notify-batch", encode(s.url + "/downloads/")},
			{"providers-url", encode("/p/%package%$%hash%.json")},
			{"metadata-url", encode(s.url + "/p2/%package%.json")},
			{"metadata-changes-url", encode(s.url + "/metadata/changes.json")},
			{"search", encode(s.url + "/search.json?q=%query%&type=%type%")},
			{"list", encode(s.url + "/packages/list.json")},
			{"security-advisories", encode(Object{{"metadata", encode(true)}, {"api-url", encode(s.url + "/api/security-advisories/")}})},
			{"providers-api", encode(s.url + "/providers/%package%.json")},
			{"warning", encode("Support for Composer 1 has ended. Upgrade to Composer 2.")},
			{"warning-versions", encode("<1.999")},
			{"providers", encode([]any{})},
			{"filter", encode(Object{
				{"metadata", encode(true)},
				{"lists", encode(Object{{"malware", encode(Object{{"enabled", encode(true)}})}})},
				{"summary-url", encode(s.url + "/lists/all/summary.json")},
			})},
		})
		st = &state{body: body, modified: s.now().UTC().Truncate(time.Second)}
		s.reg.files["/packages.json"] = st
	}
	return st
}

// Root is the root document as it is now.
func (s *Server) Root() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rootState().body)
}

// SetRoot replaces the root document.
func (s *Server) SetRoot(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put("/packages.json", body, s.now())
}

func (s *Server) metadata(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".json")
	s.mu.Lock()
	st := s.reg.files[r.PathValue("vendor")+"/"+name]
	s.mu.Unlock()
	if !ok || st == nil {
		http.Error(w, "<html><body>404 Not Found</body></html>", http.StatusNotFound)
		return
	}
	s.serveState(w, r, st)
}

// serveState answers as a CDN does: 304 when nothing newer is there, gzip when
// the client takes it.
func (s *Server) serveState(w http.ResponseWriter, r *http.Request, st *state) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "public, must-revalidate, max-age=2592000")
	h.Set("Last-Modified", st.modified.Format(http.TimeFormat))
	if since, err := http.ParseTime(r.Header.Get("If-Modified-Since")); err == nil && !st.modified.After(since) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := st.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		s.mu.Lock()
		if st.gz == nil {
			st.gz = Gzip(st.body)
		}
		body = st.gz
		s.mu.Unlock()
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body)
}

// zipball sends the client to the other origin, as the GitHub API does.
func (s *Server) zipball(w http.ResponseWriter, r *http.Request) {
	repo := r.PathValue("owner") + "/" + r.PathValue("repo")
	s.mu.Lock()
	_, known := s.reg.archives[repo+"/"+r.PathValue("ref")]
	s.mu.Unlock()
	if !known {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"Not Found","documentation_url":"https://docs.github.com/rest"}`))
		return
	}
	_, ref, _ := strings.Cut(r.URL.EscapedPath(), "/zipball/")
	http.Redirect(w, r, s.archiveURL+"/"+repo+"/legacy.zip/"+ref, http.StatusFound)
}

func (s *Server) archive(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	load := s.reg.archives[key]
	s.mu.Unlock()
	if load == nil {
		http.Error(w, "404: Not Found", http.StatusNotFound)
		return
	}
	body, err := load()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", "attachment")
	if s.chunked {
		_ = http.NewResponseController(w).Flush()
	} else {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	_, _ = w.Write(body)
}
