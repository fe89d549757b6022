package standin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

// oldestSince is the smallest since the real feed accepts.
const oldestSince = 15850612240000

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(encode(v))
}

func problem(w http.ResponseWriter, message string) {
	answer(w, http.StatusBadRequest, map[string]string{"status": "error", "message": message})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	out := []string{}
	s.mu.Lock()
	for _, name := range s.names() {
		if v := q.Get("vendor"); v != "" && !strings.HasPrefix(name, v+"/") {
			continue
		}
		if f := q.Get("filter"); f != "" && !Match(strings.ToLower(f), name) {
			continue
		}
		if t := q.Get("type"); t != "" && s.newest(name).Text("type") != t {
			continue
		}
		out = append(out, name)
	}
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"packageNames": out})
}

// newest is the first version of a package, tagged if there is one.
func (s *Server) newest(name string) Object {
	for _, file := range []string{name, name + "~dev"} {
		st := s.reg.files[file]
		if st == nil {
			continue
		}
		if st.first == nil {
			st.first = Object{}
			var doc struct {
				Packages map[string][]json.RawMessage `json:"packages"`
			}
			if json.Unmarshal(st.body, &doc) == nil && len(doc.Packages[name]) > 0 {
				_ = json.Unmarshal(doc.Packages[name][0], &st.first)
			}
		}
		if len(st.first) > 0 {
			return st.first
		}
	}
	return nil
}

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	query := q.Get("q") + q.Get("query")
	if query == "" {
		problem(w, "Missing search query, example: ?q=example")
		return
	}
	kind := q.Get("type")
	results := []any{}
	s.mu.Lock()
	for _, name := range s.names() {
		v := s.newest(name)
		text := strings.ToLower(name + " " + v.Text("description"))
		hit := kind == "" || kind == "%type%" || v.Text("type") == kind
		for _, word := range strings.Fields(strings.ToLower(query)) {
			hit = hit && strings.Contains(text, word)
		}
		if hit {
			results = append(results, Object{
				{"name", encode(name)}, {"description", encode(v.Text("description"))}, {"url", encode("https://packagist.org/packages/" + name)},
				{"repository", encode("https://github.com/" + name)}, {"downloads", encode(123)}, {"favers", encode(4)},
			})
		}
	}
	if len(s.providersOf(query)) > 0 {
		results = append(results, Object{
			{"name", encode(query)}, {"description", encode("")}, {"url", encode("https://packagist.org/providers/" + query)},
			{"repository", encode("")}, {"virtual", encode(true)},
		})
	}
	s.mu.Unlock()
	total := len(results)
	out := Object{{"results", encode(results[:min(15, total)])}, {"total", encode(total)}}
	if total > 15 {
		out = out.With("next", s.url+"/search.json?q="+query+"&page=2")
	}
	answer(w, http.StatusOK, out)
}

// providersOf lists the packages whose newest version provides name.
func (s *Server) providersOf(name string) []Object {
	out := []Object{}
	if !strings.Contains(name, "/") {
		return out
	}
	for _, p := range s.names() {
		if !bytes.Contains(s.reg.files[p].body, encode(name)) {
			continue
		}
		v := s.newest(p)
		var provide map[string]string
		if json.Unmarshal(v.Get("provide"), &provide) == nil && provide[name] != "" {
			out = append(out, Object{{"name", encode(p)}, {"description", encode(v.Text("description"))}, {"type", encode(v.Text("type"))}})
		}
	}
	return out
}

func (s *Server) providers(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	found := s.providersOf(strings.TrimSuffix(r.PathValue("name"), ".json"))
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"providers": found})
}

func (s *Server) details(w http.ResponseWriter, r *http.Request) {
	base, ok := strings.CutSuffix(r.PathValue("file"), ".json")
	name := r.PathValue("vendor") + "/" + base
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || s.reg.files[name] == nil {
		answer(w, http.StatusNotFound, map[string]string{"status": "error", "message": "Package not found"})
		return
	}
	versions := Object{}
	for _, dev := range []bool{true, false} {
		for _, v := range s.document(name, dev).Versions {
			versions = append(versions, Member{v.Text("version"), encode(v)})
		}
	}
	newest := s.newest(name)
	answer(w, http.StatusOK, Object{{"package", encode(Object{
		{"name", encode(name)}, {"description", encode(newest.Text("description"))}, {"time", encode("2024-01-01T00:00:00+00:00")},
		{"maintainers", encode([]any{map[string]string{"name": "somebody", "avatar_url": ""}})}, {"versions", encode(versions)},
		{"type", encode(newest.Text("type"))}, {"repository", encode("https://github.com/" + name)},
		{"downloads", encode(map[string]int{"total": 3, "monthly": 2, "daily": 1})}, {"favers", encode(4)},
	})}})
}

func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := max(s.now().UnixNano()/1e5, s.reg.stamp+1)
	s.reg.stamp = now
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if err != nil || since < oldestSince {
		answer(w, http.StatusBadRequest, Object{{"error", encode(`Invalid or missing "since" query parameter, make sure you store the timestamp at the initial point you started mirroring, then send that to begin receiving changes, e.g. ` + s.url + "/metadata/changes.json?since=" + strconv.FormatInt(now, 10))}, {"timestamp", encode(now)}})
		return
	}
	if since < s.reg.horizon {
		answer(w, http.StatusOK, Object{{"actions", encode([]Object{{{"type", encode("resync")}, {"package", encode("*")}, {"time", encode(s.now().Unix())}}})}, {"timestamp", encode(now)}})
		return
	}
	latest := map[string]action{}
	for _, a := range s.reg.feed {
		if a.stamp >= since && a.stamp < now {
			latest[a.Name] = a
		}
	}
	actions := make([]action, 0, len(latest))
	for _, a := range latest {
		actions = append(actions, a)
	}
	sort.Slice(actions, func(i, k int) bool { return actions[i].stamp < actions[k].stamp })
	answer(w, http.StatusOK, Object{{"actions", encode(actions)}, {"timestamp", encode(now)}})
}

func (s *Server) downloads(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.reg.notified = append(s.reg.notified, body)
	s.mu.Unlock()
	answer(w, http.StatusCreated, map[string]string{"status": "success"})
}

// Notified returns the bodies posted to the download counter.
func (s *Server) Notified() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]json.RawMessage(nil), s.reg.notified...)
}
