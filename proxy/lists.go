package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"stasis/proxy/composer"
)

// maxQuestion bounds the query of a question that is passed on, so that keys
// stay small.
const maxQuestion = 1024

// serveList answers GET /packages/list.json, with Packagist's filters.
func (p *Proxy) serveList(w http.ResponseWriter, r *http.Request) {
	ep := p.endpointsFor(r.Context())
	q, err := passOn(ep.list, listKey, r.URL.Query(), "vendor", "type", "filter", "fields[]", "fields")
	if err != nil {
		p.fail(w, r, err)
		return
	}
	q.ttl = p.o.MetadataTTL
	q.check = hasKey("packageNames", "packages")
	filters := r.URL.Query()
	q.body = func(body []byte, _ variant) ([]byte, error) { return p.withOurs(body, filters) }
	q.seen = seenNames
	if !p.o.Enabled || ep.list == "" {
		q.fallback = func() ([]byte, bool) {
			body, err := p.withOurs(nil, filters)
			return body, err == nil
		}
		p.serveAnswer(w, r, q)
		return
	}
	if q.key != listKey && filters.Get("type") == "" && !filters.Has("fields[]") && !filters.Has("fields") {
		q.fallback = func() ([]byte, bool) { return p.filterList(filters) }
	}
	p.serveAnswer(w, r, q)
}

// filterList answers a filtered list from the complete one.
func (p *Proxy) filterList(filters url.Values) ([]byte, bool) {
	k, err := p.answerFor(listKey)
	if err != nil || !k.known() {
		return nil, false
	}
	var list struct {
		PackageNames []string `json:"packageNames"`
	}
	if json.Unmarshal(k.body, &list) != nil {
		return nil, false
	}
	names := matching(list.PackageNames, filters.Get("vendor"), filters.Get("filter"))
	body, err := json.Marshal(map[string]any{"packageNames": names})
	if err == nil {
		body, err = p.withOurs(body, filters)
	}
	return body, err == nil
}

// matching picks the names of a vendor that match a pattern, in which * stands
// for anything; either may be empty (protocol 5.3).
func matching(names []string, vendor, filter string) []string {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.ToLower(filter)), `\*`, ".*")
	match, err := regexp.Compile("^" + pattern + "$")
	if err != nil {
		return []string{}
	}
	out := []string{}
	for _, n := range names {
		v, _, _ := strings.Cut(n, "/")
		if (vendor == "" || strings.EqualFold(vendor, v)) && (filter == "" || match.MatchString(n)) {
			out = append(out, n)
		}
	}
	return out
}

// serveSearch answers GET /search.json.
func (p *Proxy) serveSearch(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	if in.Get("q") == "" && in.Get("query") != "" {
		in.Set("q", in.Get("query"))
	}
	if strings.TrimSpace(in.Get("q")) == "" && !in.Has("tags") && !in.Has("tags[]") && in.Get("type") == "" {
		refuse(w, r, http.StatusBadRequest, "Missing search query, example: ?q=example", 0)
		return
	}
	if in.Get("type") == "%type%" {
		in.Del("type")
	}
	target := p.endpointsFor(r.Context()).search
	if u, err := url.Parse(target); err == nil && target != "" {
		// Take the placeholders' parameters out; the others are the registry's own.
		own := u.Query()
		for k, v := range own {
			if len(v) == 1 && (v[0] == "%query%" || v[0] == "%type%") {
				own.Del(k)
			}
		}
		u.RawQuery = own.Encode()
		target = u.String()
	}
	q, err := passOn(target, "search", in, "q", "type", "tags[]", "tags", "per_page", "page")
	if err != nil {
		p.fail(w, r, err)
		return
	}
	q.ttl = searchTTL
	q.check = hasKey("results")
	q.body = func(body []byte, v variant) ([]byte, error) {
		return p.withOurResults(composer.RewriteSearchNext(body, v.base), in, v.base)
	}
	q.seen = seenIn("results")
	q.fallback = func() ([]byte, bool) {
		v, err := p.variant(r)
		if err != nil || p.o.Enabled && target != "" {
			return nil, false
		}
		body, err := p.withOurResults(nil, in, v.base)
		return body, err == nil
	}
	p.serveAnswer(w, r, q)
}

// providable is what a package can say that it provides: a package name, or
// that of an extension.
var providable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)

// serveProviders answers GET /providers/{name}.json. Composer 2.0 to 2.3 take
// a 404 for an error, so an unknown name has an empty list (C66).
func (p *Proxy) serveProviders(w http.ResponseWriter, r *http.Request, name string) {
	if len(name) > 255 || !providable.MatchString(name) || strings.Contains(name, "..") {
		refuse(w, r, http.StatusBadRequest, "this is not a package name", 0)
		return
	}
	q := question{key: "providers?" + strings.ToLower(name), ttl: p.o.MetadataTTL, check: hasKey("providers"), seen: seenIn("providers")}
	if tmpl := p.endpointsFor(r.Context()).providers; tmpl != "" {
		q.url = strings.ReplaceAll(tmpl, "%package%", strings.ToLower(name))
	}
	q.fallback = func() ([]byte, bool) { return []byte(`{"providers":[]}`), true }
	if n, err := composer.ParseName(name); err == nil && p.o.Sources.Reserved(n) {
		q.url = ""
	}
	p.serveAnswer(w, r, q)
}

// servePackage answers GET /packages/{vendor}/{name}.json.
func (p *Proxy) servePackage(w http.ResponseWriter, r *http.Request, name string) {
	n, err := composer.ParseName(name)
	if err != nil {
		refuse(w, r, http.StatusNotFound, "Package not found", 0)
		return
	}
	q := question{key: "package?" + n.String(), ttl: p.o.MetadataTTL, check: hasKey("package")}
	tmpl := p.endpointsFor(r.Context()).packages
	if tmpl == "" || p.o.Sources.Reserved(n) || !p.readerOf(r).Sees(n) {
		p.fail(w, r, q.unanswered())
		return
	}
	q.url = strings.ReplaceAll(tmpl, "%package%", n.String())
	p.serveAnswer(w, r, q)
}

// serveSummary answers GET /lists/all/summary.json, the filter summary.
func (p *Proxy) serveSummary(w http.ResponseWriter, r *http.Request) {
	p.serveAnswer(w, r, p.summaryQuestion(p.endpointsFor(r.Context()).summary))
}

func (p *Proxy) summaryQuestion(url string) question {
	return question{
		key: summaryKey, url: url, ttl: searchTTL, check: hasKey("filter"),
		body: p.summaryBody, fallback: func() ([]byte, bool) {
			body, err := p.summaryBody(nil, variant{})
			return body, err == nil && p.endpoints.Load().summary == ""
		},
	}
}

// passOn makes the question for an upstream URL with the allowed parameters of
// a client's query, in canonical order.
func passOn(target, key string, in url.Values, allowed ...string) (question, error) {
	q := question{key: key, url: target}
	out := url.Values{}
	for _, k := range allowed {
		for _, v := range in[k] {
			if v != "" {
				out.Add(k, v)
			}
		}
	}
	query := out.Encode()
	if len(query) > maxQuestion {
		return q, &invalid{fmt.Sprintf("the query is longer than %d bytes; shorten it", maxQuestion)}
	}
	if query == "" {
		return q, nil
	}
	q.key += "?" + query
	if target != "" {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		q.url = target + sep + query
	}
	return q, nil
}

// hasKey checks that a body is a JSON object with at least one of the keys.
func hasKey(keys ...string) func([]byte) error {
	return func(body []byte) error {
		var top map[string]json.RawMessage
		if err := json.Unmarshal(body, &top); err != nil {
			return fmt.Errorf("not a JSON object: %w", err)
		}
		for _, k := range keys {
			if _, ok := top[k]; ok {
				return nil
			}
		}
		return errors.New("it has no " + strings.Join(keys, " or "))
	}
}
