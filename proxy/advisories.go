package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/upstream"
	"stasis/store"
)

// advisory is what upstream said about the advisories of one package.
type advisory struct {
	Checked time.Time `json:"checked"`
	// Known is false when upstream does not know the package.
	Known bool `json:"known"`
	// List has upstream's entries, verbatim.
	List []json.RawMessage `json:"list,omitempty"`
}

var advisories = store.Table[advisory]{Family: store.FamilyAdvisory, Name: "advisory"}

const (
	advisoryTTL     = 15 * time.Minute // live enough for an audit, cheap enough for every run
	advisoryBody    = 1 << 20          // bytes of a request: some 20,000 names
	advisoryNames   = 10000            // names in one request
	advisoryBatch   = 500              // names asked upstream at once
	advisoryTimeout = 8 * time.Second  // Composer gives up after 10
)

// serveAdvisories answers GET and POST /api/security-advisories/ (protocol
// 5.6): only requested names, each known one present, and the last known data
// when upstream is down.
func (p *Proxy) serveAdvisories(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, advisoryBody)
	if err := r.ParseForm(); err != nil {
		refuse(w, r, http.StatusBadRequest, "the request body is not a form, or is longer than 1 MiB: "+err.Error(), 0)
		return
	}
	names, given, err := advisoryNamesOf(r.Form)
	since := r.Form.Get("updatedSince")
	switch {
	case err != nil:
		refuse(w, r, http.StatusBadRequest, err.Error(), 0)
		return
	case since != "" && given:
		refuse(w, r, http.StatusBadRequest, "packages and updatedSince cannot be combined; use one of them", 0)
		return
	case since != "":
		p.serveAdvisoriesSince(w, r, since)
		return
	case !given:
		refuse(w, r, http.StatusBadRequest, "Missing array of package names as the 'packages' parameter", 0)
		return
	}
	reader := p.readerOf(r)
	names = slices.DeleteFunc(names, func(n composer.Name) bool { return !reader.Sees(n) })
	list, cache, err := p.advisoriesFor(r.Context(), names)
	if err != nil {
		p.stats.count(KindAPI, failed, 0, "")
		p.fail(w, r, err)
		return
	}
	body, err := json.Marshal(map[string]any{"advisories": list})
	if err != nil {
		p.fail(w, r, fmt.Errorf("encode advisories: %w", err))
		return
	}
	p.writeJSON(w, r, body, cache)
}

// advisoryNamesOf reads packages[], packages[0], … and purls.
func advisoryNamesOf(form url.Values) (names []composer.Name, given bool, err error) {
	seen := map[composer.Name]bool{}
	for key, values := range form {
		if key != "packages" && !strings.HasPrefix(key, "packages[") {
			continue
		}
		given = true
		if key == "packages" {
			return nil, true, errors.New("packages must be a list: packages[]=vendor/name")
		}
		for _, v := range values {
			v = strings.TrimPrefix(v, "pkg:composer/")
			n, err := composer.ParseName(v)
			if err != nil || seen[n] {
				continue // unknown to every registry
			}
			seen[n] = true
			names = append(names, n)
		}
	}
	if len(names) > advisoryNames {
		return nil, true, fmt.Errorf("more than %d packages in one request; ask in parts", advisoryNames)
	}
	sort.Slice(names, func(i, j int) bool { return names[i].String() < names[j].String() })
	return names, given, nil
}

// advisoriesFor collects what is known about names, asking upstream for those
// whose data is old.
func (p *Proxy) advisoriesFor(ctx context.Context, names []composer.Name) (map[string][]json.RawMessage, []string, error) {
	kept, err := p.keptAdvisories(names)
	if err != nil {
		return nil, nil, err
	}
	var ask []string
	unknown := 0
	for _, n := range names {
		if p.o.Sources.Reserved(n) || !p.o.Enabled {
			continue
		}
		if k := kept[n.String()]; ageOf(k.Checked, p.now()) >= min(advisoryTTL, p.o.MetadataTTL) {
			ask = append(ask, n.String())
			if k.Checked.IsZero() {
				unknown++
			}
		}
	}
	cache := cacheHit
	if len(ask) > 0 {
		cache = cacheMiss
		wait, cancel := context.WithTimeout(ctx, advisoryTimeout)
		defer cancel()
		fresh, err := p.askAdvisories(wait, ask)
		for name, a := range fresh {
			kept[name] = a
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if unknown == len(names) {
				// Nothing is known about any of them: silence would read as "clean".
				return nil, nil, fmt.Errorf("ask for advisories: %w", err)
			}
			cache = cacheStale
		}
	}
	out := map[string][]json.RawMessage{}
	for _, n := range names {
		if k := kept[n.String()]; k.Known {
			out[n.String()] = k.List
			if k.List == nil {
				out[n.String()] = []json.RawMessage{}
			}
		}
	}
	return out, cache, nil
}

func (p *Proxy) keptAdvisories(names []composer.Name) (map[string]advisory, error) {
	kept := make(map[string]advisory, len(names))
	err := p.store.View(func(tx *store.Tx) error {
		for _, n := range names {
			a, err := advisories.Get(tx, n.String())
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt) {
				continue
			}
			if err != nil {
				return err
			}
			kept[n.String()] = a
		}
		return nil
	})
	return kept, err
}

// askAdvisories asks upstream in batches, all clients with the same question
// at once, and keeps the answers. It returns what it got, with an error when
// that is not everything.
func (p *Proxy) askAdvisories(ctx context.Context, names []string) (map[string]advisory, error) {
	got := map[string]advisory{}
	for len(names) > 0 {
		batch := names[:min(advisoryBatch, len(names))]
		names = names[len(batch):]
		key := "advisories " + store.SumDigest([]byte(strings.Join(batch, "\n"))).String()
		ch := p.flights.DoChan(key, func() (any, error) { return p.fetchAdvisories(batch) })
		select {
		case res := <-ch:
			if res.Err != nil {
				return got, res.Err
			}
			for name, a := range res.Val.(map[string]advisory) {
				got[name] = a
			}
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
	return got, nil
}

func (p *Proxy) fetchAdvisories(names []string) (map[string]advisory, error) {
	ctx, cancel := p.detached(p.o.UpstreamTimeout)
	defer cancel()
	if !p.running.begin() {
		return nil, errClosing
	}
	defer p.running.end()
	if kept, ok := p.freshAdvisories(names); ok {
		return kept, nil // somebody else's question was answered in the meantime
	}
	target := p.endpointsFor(ctx).advisories
	if target == "" {
		return nil, &unavailable{message: "the registry offers no advisories"}
	}
	form := url.Values{}
	for i, n := range names {
		form.Set(fmt.Sprintf("packages[%d]", i), n)
	}
	asked := p.now().UTC()
	resp, err := p.up.Do(ctx, upstream.Request{
		Method: http.MethodPost, URL: target, Class: "api",
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   []byte(form.Encode()),
	})
	if err != nil {
		p.upstreamFailed("security advisories", err)
		return nil, err
	}
	defer resp.Body.Close()
	if resp.Status != http.StatusOK {
		return nil, &badUpstream{"security advisories", fmt.Errorf("status %d", resp.Status)}
	}
	body, err := p.up.ReadAll(resp, p.o.MaxDocumentSize)
	if err != nil {
		return nil, &badUpstream{"security advisories", err}
	}
	p.stats.fetched(KindAPI, int64(len(body)))
	answer, err := parseAdvisories(body)
	if err != nil {
		return nil, &badUpstream{"security advisories", err}
	}
	out := make(map[string]advisory, len(names))
	for _, n := range names {
		list, known := answer[n]
		out[n] = advisory{Checked: asked, Known: known, List: list}
	}
	err = p.store.Update(func(tx *store.Tx) error {
		for n, a := range out {
			if err := advisories.Put(tx, a, n); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrNoSpace) {
		err = nil // served without being kept
	}
	return out, err
}

// freshAdvisories returns what is kept about names when all of it is fresh.
func (p *Proxy) freshAdvisories(names []string) (map[string]advisory, bool) {
	out := make(map[string]advisory, len(names))
	err := p.store.View(func(tx *store.Tx) error {
		for _, n := range names {
			a, err := advisories.Get(tx, n)
			if err != nil {
				return err
			}
			if ageOf(a.Checked, p.now()) >= min(advisoryTTL, p.o.MetadataTTL) {
				return fs.ErrNotExist
			}
			out[n] = a
		}
		return nil
	})
	return out, err == nil
}

// parseAdvisories reads {"advisories": {name: [entry…]}}; an empty object may
// come as a list.
func parseAdvisories(body []byte) (map[string][]json.RawMessage, error) {
	var top struct {
		Advisories json.RawMessage `json:"advisories"`
	}
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, err
	}
	if len(top.Advisories) == 0 {
		return nil, errors.New("it has no advisories key")
	}
	if top.Advisories[0] == '[' {
		return map[string][]json.RawMessage{}, nil
	}
	byName := map[string]json.RawMessage{}
	if err := json.Unmarshal(top.Advisories, &byName); err != nil {
		return nil, err
	}
	out := make(map[string][]json.RawMessage, len(byName))
	for name, raw := range byName {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			// PHP turns a list with holes into an object.
			var keyed map[string]json.RawMessage
			if err := json.Unmarshal(raw, &keyed); err != nil {
				return nil, fmt.Errorf("the entries of %s: %w", name, err)
			}
			for _, e := range keyed {
				list = append(list, e)
			}
		}
		out[strings.ToLower(name)] = list
	}
	return out, nil
}

// serveAdvisoriesSince passes updatedSince on; the last answer to the same
// question is kept.
func (p *Proxy) serveAdvisoriesSince(w http.ResponseWriter, r *http.Request, since string) {
	n, err := strconv.ParseInt(since, 10, 64)
	if err != nil || n < 0 || n > p.now().Unix()+60 {
		refuse(w, r, http.StatusBadRequest, "updatedSince must be a Unix time in seconds that is not in the future", 0)
		return
	}
	q, err := passOn(p.endpointsFor(r.Context()).advisories, "advisories", url.Values{"updatedSince": {since}}, "updatedSince")
	if err != nil {
		p.fail(w, r, err)
		return
	}
	q.ttl, q.check = time.Minute, hasKey("advisories")
	p.serveAnswer(w, r, q)
}

// writeJSON writes an answer that was made for this request alone.
func (p *Proxy) writeJSON(w http.ResponseWriter, r *http.Request, body []byte, cache []string) {
	h := w.Header()
	h["Content-Type"] = headerJSON
	h["Cache-Control"] = headerNoStore
	h["Cache-Status"] = cache
	if e := negotiate(r.Header.Get("Accept-Encoding")); e != identity && len(body) > 1<<10 {
		body = encode(e, body)
		h["Content-Encoding"] = []string{encodingNames[e]}
	}
	h["Vary"] = headerVary
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusOK)
	sent := 0
	if r.Method != http.MethodHead {
		sent, _ = w.Write(body)
	}
	p.stats.count(KindAPI, outcomeOf(cache), int64(sent), "")
}
