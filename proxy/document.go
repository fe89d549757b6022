package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/origin"
	"stasis/proxy/upstream"
	"stasis/store"
)

// serveDocument answers GET /p2/{file}.json. file is the part between.
func (p *Proxy) serveDocument(w http.ResponseWriter, r *http.Request, file string) {
	v, err := p.variant(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	reader := p.readerOf(r)
	e := p.hot.get(file)
	if e != nil {
		// The hot path: known, fresh and rendered.
		if v, err = v.audience(reader, e.pkg); err != nil {
			p.hide(w, r, world{}, e.pkg)
			return
		}
		if p.verdict(e) == serve && p.answer(w, r, e, v, cacheHit) {
			return
		}
	}
	f, err := composer.ParseFile(file)
	if err != nil {
		refuse(w, r, http.StatusNotFound, "there is no package with this name: "+err.Error(), 0)
		return
	}
	if v, err = v.audience(reader, f.Name); err != nil {
		p.hide(w, r, world{}, f.Name)
		return
	}
	if file != f.String() {
		p.serveDocument(w, r, f.String())
		return
	}
	if fz := p.heldByView(f); fz != nil {
		p.serveView(w, r, world{kind: dated, at: fz.At}, file)
		return
	}
	e, cache, err := p.current(r.Context(), f, e)
	if err != nil {
		p.stats.count(KindMetadata, failed, 0, f.Name.String())
		p.fail(w, r, err)
		return
	}
	if cache[0] == cacheStale[0] {
		w.Header().Set("Warning", warningStale)
	}
	if p.answer(w, r, e, v, cache) {
		return
	}
	render := func() (*rendition, error) { return p.renderDocument(f, e, v) }
	if err := p.renderOnce(r.Context(), e, v, render); err != nil {
		p.fail(w, r, err)
		return
	}
	if !p.answer(w, r, e, v, cache) {
		p.fail(w, r, fmt.Errorf("render %s: the rendition was lost", f))
	}
}

// answer writes what is ready in e for v; false when nothing is.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request, e *entry, v variant, cache []string) bool {
	st := e.state.Load()
	name := e.name()
	if !st.Present() {
		p.stats.count(KindMetadata, negative, 0, name)
		unheardOf(w, r, name)
		return true
	}
	rd := e.rendition(v, p.now)
	if rd == nil {
		return false
	}
	p.stats.count(KindMetadata, outcomeOf(cache), p.respond(w, r, e, rd, cache), name)
	return true
}

// unheardOf is what is said of a package that does not exist, or not for its
// reader.
func unheardOf(w http.ResponseWriter, r *http.Request, name string) {
	w.Header()["Cache-Status"] = cacheNegative
	refuse(w, r, http.StatusNotFound, name+" was not found", 0)
}

// current returns the entry of f, refreshed as its age demands.
func (p *Proxy) current(ctx context.Context, f composer.File, e *entry) (*entry, []string, error) {
	if e == nil || e.freeze != nil {
		var err error
		if e, err = p.lookup(f); err != nil {
			return nil, nil, fmt.Errorf("look up %s: %w", f, err)
		}
	}
	seen := e.state.Load().Checked
	switch p.verdict(e) {
	case serve:
		return e, cacheHit, nil
	case serveAndRefresh:
		p.refreshBehind(f, seen)
		return e, cacheStale, nil
	case refreshFirst:
		if !p.slow.wait(p.now()) {
			p.refreshBehind(f, seen)
			return e, cacheStale, nil
		}
		wait, cancel := context.WithTimeout(ctx, p.o.RevalidateWait)
		defer cancel()
		fresh, err := p.refresh(wait, f, history.Demand, seen)
		if ctx.Err() != nil && err != nil {
			return nil, nil, ctx.Err()
		}
		p.slow.was(err != nil && wait.Err() != nil, p.now())
		if err == nil {
			return p.entryOf(f, fresh), cacheRefresh, nil
		}
		return e, cacheStale, nil
	}
	fresh, err := p.refresh(ctx, f, history.Demand, seen)
	if err != nil {
		return nil, nil, err
	}
	return p.entryOf(f, fresh), cacheMiss, nil
}

// lookup makes the entry of f from what is recorded. A held package has the
// state it is held at.
func (p *Proxy) lookup(f composer.File) (*entry, error) {
	if e := p.heldEntry(f); e != nil {
		return e, nil
	}
	st, err := p.history.State(f)
	if err != nil {
		return nil, err
	}
	if p.foreign(f.Name, st) || !p.o.Enabled && st.Source == "" {
		st = history.State{}
	}
	return newFileEntry(f, st), nil
}

// heldEntry makes the entry of a package's file at what a freeze of its own
// holds, or nil.
func (p *Proxy) heldEntry(f composer.File) *entry {
	freeze := p.activeFreeze(f.Name, p.now())
	if freeze == nil {
		return nil
	}
	st, ok := freeze.state(f)
	if !ok {
		return nil
	}
	e := newFileEntry(f, st)
	e.freeze = freeze
	return e
}

// verdict says what to do with a request for e.
func (p *Proxy) verdict(e *entry) verdict {
	now := p.now()
	if e.freeze != nil {
		if e.freeze.active(now) {
			return serve
		}
		return fetchFirst
	}
	return p.o.judge(e.state.Load(), now)
}

// entryOf returns the hot entry of f, or a new one for the given state. What
// was just seen may be the reason to hold the package, which then counts.
func (p *Proxy) entryOf(f composer.File, st history.State) *entry {
	if e := p.heldEntry(f); e != nil {
		return e
	}
	if e := p.hot.get(f.String()); e != nil && e.state.Load().Seq == st.Seq {
		return e
	}
	return newFileEntry(f, st)
}

// observed lets the memory know what was recorded.
func (p *Proxy) observed(f composer.File, c history.Change) {
	key := f.String()
	if c.New {
		p.hot.remove(key)
		p.touched(f.Name)
		p.changed(f, c.State)
		return
	}
	if e := p.hot.get(key); e != nil && e.freeze == nil {
		e.state.Store(&c.State)
	}
}

// refreshBehind revalidates f without anybody waiting.
func (p *Proxy) refreshBehind(f composer.File, seen time.Time) {
	p.flights.DoChan("fetch "+f.String(), func() (any, error) { return p.fetch(f, history.Poll, seen) })
}

// refresh asks upstream about f, together with everybody else who wants that.
// When ctx ends the fetch goes on. seen is when, as far as the caller saw,
// upstream was last asked: if that has happened again since, the caller only
// missed the end of somebody else's fetch and upstream is not asked twice.
func (p *Proxy) refresh(ctx context.Context, f composer.File, via history.Via, seen time.Time) (history.State, error) {
	ch := p.flights.DoChan("fetch "+f.String(), func() (any, error) { return p.fetch(f, via, seen) })
	select {
	case res := <-ch:
		if res.Err != nil {
			return history.State{}, res.Err
		}
		return res.Val.(history.State), nil
	case <-ctx.Done():
		return history.State{}, ctx.Err()
	}
}

// fetch asks upstream about f and records the answer. It runs once per file at
// a time.
func (p *Proxy) fetch(f composer.File, via history.Via, seen time.Time) (history.State, error) {
	ctx, cancel := p.detached(p.o.UpstreamTimeout)
	defer cancel()
	if !p.running.begin() {
		return history.State{}, errClosing
	}
	defer p.running.end()
	prev, err := p.history.State(f)
	if err != nil || prev.Checked.After(seen) && !p.foreign(f.Name, prev) {
		return prev, err
	}
	obs, err := p.observe(ctx, f, prev)
	if err != nil {
		return prev, err
	}
	obs.Via = via
	change, err := p.history.Observe(f, obs)
	if errors.Is(err, store.ErrNoSpace) && obs.Body != nil {
		return p.unkept(f, prev, obs), nil
	}
	if err != nil {
		return prev, err
	}
	p.stats.fetched(KindMetadata, int64(len(obs.Body)))
	p.retagged(f, prev, change)
	p.observed(f, change)
	return change.State, nil
}

// askRegistry asks the proxied registry about f.
func (p *Proxy) askRegistry(ctx context.Context, f composer.File, prev history.State) (history.Observation, error) {
	ep := p.endpointsFor(ctx)
	obs, err := p.ask(ctx, ep.document(f), f, prev, false)
	if err == nil && obs.Body == nil && !obs.Unchanged && prev.Present() {
		obs, err = p.confirmGone(ctx, ep, f, prev)
	}
	if err == nil && (staleEdge(obs, prev) || p.lagging(obs, prev)) {
		// An edge of the CDN is behind what we hold, or what was announced. Ask
		// past it; what the origin itself says is then believed, even if it is
		// old (a rollback).
		obs, err = p.ask(ctx, bypass(ep.document(f), p.now()), f, prev, true)
		obs.Origin = err == nil
	}
	return obs, err
}

// unkept lets a document be served that there is no room to record. The next
// request that does not find it in memory fetches it again.
func (p *Proxy) unkept(f composer.File, prev history.State, obs history.Observation) history.State {
	st := history.State{
		Seq: prev.Seq + 1, Document: store.SumDigest(obs.Body), ValidFrom: obs.AskedAt, Checked: obs.AskedAt, Ever: true,
		Source: obs.Source,
	}
	if lm, ok := history.ParseHTTPTime(obs.LastModified); ok && lm.Before(st.ValidFrom) {
		st.ValidFrom = lm
	}
	e := newFileEntry(f, st)
	e.source = obs.Body
	p.hot.put(e.key, e, int64(len(obs.Body)))
	return st
}

// ask sends one request for a document and checks the answer.
func (p *Proxy) ask(ctx context.Context, url string, f composer.File, prev history.State, unconditional bool) (history.Observation, error) {
	req := upstream.Request{URL: url, Class: "metadata", Header: http.Header{}}
	if !unconditional && prev.Conditional(p.now()) {
		if prev.LastModified != "" {
			req.Header.Set("If-Modified-Since", prev.LastModified)
		} else if prev.ETag != "" {
			req.Header.Set("If-None-Match", prev.ETag)
		}
	}
	obs := history.Observation{AskedAt: p.now()}
	resp, err := p.up.Do(ctx, req)
	if err != nil {
		return obs, fmt.Errorf("fetch %s: %w", f, err)
	}
	defer resp.Body.Close()
	p.noteSkew(resp.Header.Get("Date"), obs.AskedAt)
	obs.LastModified, obs.ETag = resp.Header.Get("Last-Modified"), resp.Header.Get("Etag")
	obs.Date, _ = history.ParseHTTPTime(resp.Header.Get("Date"))
	switch resp.Status {
	case http.StatusOK:
		obs.Body, err = p.up.ReadAll(resp, p.o.MaxDocumentSize)
		if err != nil {
			return obs, &badUpstream{f.String(), err}
		}
		return obs, checkDocument(obs.Body, f)
	case http.StatusNotModified:
		if len(req.Header) == 0 {
			return obs, &badUpstream{f.String(), errors.New("it says not modified although nothing was held")}
		}
		obs.Unchanged = true
		return obs, nil
	case http.StatusNotFound, http.StatusGone:
		return obs, nil
	}
	return obs, &badUpstream{f.String(), fmt.Errorf("status %d (if the registry needs credentials, set PROXY_AUTH_JSON)", resp.Status)}
}

// checkDocument refuses what cannot be the document of f: HTML pages, other
// packages' documents, cut-off JSON.
func checkDocument(body []byte, f composer.File) error {
	doc, err := composer.ParseDocument(body, f.Name)
	if err == nil {
		_, err = doc.Index()
	}
	if err != nil {
		return &badUpstream{f.String(), err}
	}
	return nil
}

// confirmGone is asked when a file we hold a copy of is suddenly not found. It
// is believed when the answer stands past the CDN's cache and the registry
// itself is well, so that a broken upstream does not delete the world. What was said before the root was seen to be well
// may be from an upstream that has recovered since, so it has to be said again.
func (p *Proxy) confirmGone(ctx context.Context, ep *endpoints, f composer.File, prev history.State) (history.Observation, error) {
	obs, err := p.ask(ctx, bypass(ep.document(f), p.now()), f, prev, true)
	if err != nil || obs.Body != nil {
		return obs, err
	}
	if _, err := p.askAnswer(ctx, p.rootQuestion(), whatever); err != nil {
		return obs, fmt.Errorf("%s is not found upstream, but the registry's root does not answer either: %w", f, err)
	}
	return p.ask(ctx, bypass(ep.document(f), p.now()), f, prev, true)
}

// staleEdge reports whether an answer is older than what is held.
func staleEdge(o history.Observation, prev history.State) bool {
	if o.Body == nil || !prev.Present() {
		return false
	}
	got, ok := history.ParseHTTPTime(o.LastModified)
	held, had := history.ParseHTTPTime(prev.LastModified)
	return ok && had && got.Before(held)
}

// edgeGrace is how long edges of the CDN get to show what was announced.
const edgeGrace = 2 * time.Minute

// lagging reports whether an answer is still older than an announcement that
// every edge should know by now. A rollback always is: without asking past the
// edges, such a file would count as behind for ever.
func (p *Proxy) lagging(o history.Observation, prev history.State) bool {
	if prev.AnnouncedAt.IsZero() || p.now().Sub(prev.AnnouncedAt) < edgeGrace {
		return false
	}
	got, ok := history.ParseHTTPTime(o.LastModified)
	return o.Unchanged || o.Body != nil && ok && got.Before(prev.AnnouncedAt)
}

// bypass adds a query that makes the CDN ask its origin (protocol 5.9).
func bypass(url string, now time.Time) string {
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	return fmt.Sprintf("%s%sfresh=%d", url, sep, now.UnixNano())
}

// variant tells for which audience a request is answered.
func (p *Proxy) variant(r *http.Request) (variant, error) {
	base, err := origin.BaseURL(r, p.o.BaseURL, p.o.TrustedProxies)
	if err != nil {
		return variant{}, &invalid{"the address this request was sent to cannot be told: " + err.Error()}
	}
	agent := headerOf(r, "User-Agent")
	return variant{
		base:   base,
		legacy: !p.o.Mirror && strings.HasPrefix(agent, "Composer/2.0."),
		lists:  knowsLists(agent),
	}, nil
}

// knowsLists reports whether a client is Composer 2.10 or later, which reads
// filter lists and prints why a version is denied. Older clients and others
// are not shown a denied version at all.
func knowsLists(agent string) bool {
	rest, ok := strings.CutPrefix(agent, "Composer/2.")
	if !ok {
		return false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	minor, err := strconv.Atoi(rest[:digits])
	return err == nil && minor >= 10
}
