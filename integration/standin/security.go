package standin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Advise publishes a security advisory: the full form on the API, the short
// one in the package's document. The id doubles as its title.
func (s *Server) Advise(name, id, affected string, optional map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	advisory := Object{
		{"advisoryId", encode(id)}, {"packageName", encode(name)}, {"remoteId", encode("GHSA-" + id)}, {"title", encode(id)},
		{"link", encode("https://example.org/" + id)}, {"cve", encode("CVE-2024-0001")}, {"affectedVersions", encode(affected)},
		{"source", encode("GitHub")}, {"reportedAt", encode(s.now().UTC().Format("2006-01-02 15:04:05"))},
		{"composerRepository", encode("https://packagist.org")}, {"severity", encode("high")},
		{"sources", encode([]map[string]string{{"name": "GitHub", "remoteId": "GHSA-" + id}})},
	}
	for _, key := range sortedKeys(optional) {
		advisory = advisory.With(key, optional[key])
	}
	s.reg.advisories[name] = append(s.reg.advisories[name], advisory)
	s.edit(name, false, func(d *Document) { d.Top = d.Top.With("security-advisories", s.short(name)) })
}

// short lists a package's advisories the way p2 documents carry them.
func (s *Server) short(name string) []Object {
	out := []Object{}
	for _, a := range s.reg.advisories[name] {
		out = append(out, Object{{"advisoryId", a.Get("advisoryId")}, {"affectedVersions", a.Get("affectedVersions")}})
	}
	return out
}

// Flag puts versions of a package on a filter list such as "malware".
func (s *Server) Flag(list, name, constraint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reg.filter[list] == nil {
		s.reg.filter[list] = map[string][]Object{}
	}
	s.reg.filter[list][name] = append(s.reg.filter[list][name], Object{
		{"constraint", encode(constraint)}, {"url", encode("https://example.org/malware/" + name)}, {"reason", encode("malware")},
		{"id", encode("PKFE-" + strings.ReplaceAll(name, "/", "-"))}, {"source", encode("aikido")},
	})
	s.edit(name, false, func(d *Document) {
		lists := Object{}
		for _, l := range sortedKeys(s.reg.filter) {
			if entries := s.reg.filter[l][name]; len(entries) > 0 {
				lists = append(lists, Member{l, encode(entries)})
			}
		}
		d.Top = d.Top.With("filter", lists)
	})
	summary := Object{}
	for _, l := range sortedKeys(s.reg.filter) {
		of := Object{}
		for _, p := range sortedKeys(s.reg.filter[l]) {
			var parts []string
			for _, e := range s.reg.filter[l][p] {
				parts = append(parts, e.Text("constraint"))
			}
			of = append(of, Member{p, encode(strings.Join(parts, "|"))})
		}
		summary = append(summary, Member{l, encode(of)})
	}
	s.put("/lists/all/summary.json", encode(Object{{"filter", encode(summary)}}), s.now())
}

func (s *Server) filterSummary(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.reg.files["/lists/all/summary.json"] == nil {
		s.put("/lists/all/summary.json", []byte(`{"filter":{"malware":{}}}`), s.now())
	}
	st := s.reg.files["/lists/all/summary.json"]
	s.mu.Unlock()
	s.serveState(w, r, st)
}

var packagesKey = regexp.MustCompile(`^packages\[\d*\]$`)

func (s *Server) securityAdvisories(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		problem(w, "The request is malformed")
		return
	}
	names := requested(r.Form)
	updated := r.Form.Get("updatedSince")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Form.Has("packages"):
		problem(w, `The "packages" parameter must be a list`)
		return
	case len(names) > 0 && updated != "":
		problem(w, "Passing both updatedSince and packages is not allowed")
		return
	case len(names) == 0 && updated == "":
		problem(w, `Missing array of package names as the "packages" parameter`)
		return
	case updated != "":
		since, err := strconv.ParseInt(updated, 10, 64)
		if err != nil || since < 0 || since > s.now().Unix()+60 {
			problem(w, "Invalid updatedSince parameter")
			return
		}
		s.answerUpdated(w, time.Unix(since, 0))
		return
	}
	found := Object{}
	for _, name := range names {
		if s.reg.files[name] != nil {
			list := s.reg.advisories[name]
			if list == nil {
				list = []Object{}
			}
			found = found.With(name, list)
		}
	}
	s.answerAdvisories(w, found)
}

func (s *Server) answerUpdated(w http.ResponseWriter, since time.Time) {
	found := Object{}
	for _, name := range sortedKeys(s.reg.advisories) {
		var list []Object
		for _, a := range s.reg.advisories[name] {
			if at, err := time.Parse("2006-01-02 15:04:05", a.Text("reportedAt")); err == nil && !at.Before(since) {
				list = append(list, a)
			}
		}
		if len(list) > 0 {
			found = append(found, Member{name, encode(list)})
		}
	}
	s.answerAdvisories(w, found)
}

func (s *Server) answerAdvisories(w http.ResponseWriter, found Object) {
	var value any = found
	if len(found) == 0 {
		value = []any{} // PHP's empty array, as Packagist sends it
	}
	answer(w, http.StatusOK, map[string]any{"advisories": value})
}

// requested reads packages[], packages[0], … and package URLs.
func requested(form url.Values) []string {
	var out []string
	for _, key := range sortedKeys(form) {
		if packagesKey.MatchString(key) {
			for _, name := range form[key] {
				out = append(out, strings.ToLower(strings.TrimPrefix(name, "pkg:composer/")))
			}
		}
	}
	return out
}

// loadAdvisories takes the answer of the real API as the truth.
func (s *Server) loadAdvisories(body []byte) error {
	var in struct {
		Advisories map[string][]Object `json:"advisories"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	for name, list := range in.Advisories {
		s.reg.advisories[name] = list
	}
	return nil
}
