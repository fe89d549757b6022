package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"stasis/proxy/history"
	"stasis/proxy/upstream"
	"stasis/store"
)

// Answers are upstream's replies beside package documents: the root, the name
// list, searches, providers, the filter summary. Only the newest of each is
// kept, and it is served when upstream is down, however old.

// keptAnswer is the newest good reply to one question.
type keptAnswer struct {
	Checked      time.Time `json:"checked"` // when upstream last gave or confirmed it
	LastModified string    `json:"last_modified,omitempty"`
	ETag         string    `json:"etag,omitempty"`
	Chunks       int       `json:"chunks"`
	Size         int       `json:"size"` // of the compressed body
	body         []byte
}

func (k *keptAnswer) known() bool { return !k.Checked.IsZero() }

// state gives a kept answer the shape that freshness is judged by.
func (k *keptAnswer) state() history.State {
	if !k.known() {
		return history.State{}
	}
	return history.State{Seq: 1, Document: store.SumDigest(k.body), Checked: k.Checked}
}

type answerChunk struct {
	Data []byte `json:"data"`
}

var (
	keptAnswers  = store.Table[keptAnswer]{Family: store.FamilyAuxiliary, Name: "answer"}
	answerChunks = store.Table[answerChunk]{Family: store.FamilyAuxiliary, Name: "answer chunk"}
)

const (
	rootKey     = "root"
	listKey     = "list"
	summaryKey  = "summary"
	chunkSize   = 256 << 10           // several fit into one transaction
	searchTTL   = 5 * time.Minute     // at most: what Packagist lets caches keep
	answersKept = 20000               // questions beside the fixed ones
	answersAge  = 30 * 24 * time.Hour // after which a question nobody asks is forgotten
)

// answerFor returns the kept answer for key; an unknown one when there is none.
func (p *Proxy) answerFor(key string) (keptAnswer, error) {
	var k keptAnswer
	err := p.store.View(func(tx *store.Tx) error {
		var err error
		if k, err = keptAnswers.Get(tx, key); err != nil {
			return err
		}
		packed := make([]byte, 0, k.Size)
		for i := range k.Chunks {
			c, err := answerChunks.Get(tx, key, store.SeqKey(uint64(i)))
			if err != nil {
				return err
			}
			packed = append(packed, c.Data...)
		}
		k.body, err = zstdDecoder().DecodeAll(packed, nil)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt) {
		return keptAnswer{}, nil // it can be fetched again
	}
	return k, err
}

// keepAnswer stores an answer. Chunks first, head last.
func (p *Proxy) keepAnswer(key string, k *keptAnswer) error {
	packed := encode(zstded, k.body)
	k.Size, k.Chunks = len(packed), 0
	for rest := packed; len(rest) > 0; k.Chunks++ {
		part := rest[:min(chunkSize, len(rest))]
		rest = rest[len(part):]
		err := p.store.Update(func(tx *store.Tx) error {
			return answerChunks.Put(tx, answerChunk{part}, key, store.SeqKey(uint64(k.Chunks)))
		})
		if err != nil {
			return fmt.Errorf("keep the answer for %s: %w", key, err)
		}
	}
	return p.touchAnswer(key, k)
}

func (p *Proxy) touchAnswer(key string, k *keptAnswer) error {
	err := p.store.Update(func(tx *store.Tx) error { return keptAnswers.Put(tx, *k, key) })
	if err != nil {
		return fmt.Errorf("keep the answer for %s: %w", key, err)
	}
	return nil
}

// question is one thing to ask upstream, and how to serve the answer.
type question struct {
	key string
	url string
	ttl time.Duration
	// check refuses an unusable body.
	check func(body []byte) error
	// body makes what we serve from what upstream said; nil means verbatim.
	body func(upstream []byte, v variant) ([]byte, error)
	// seen leaves in a body what a restricted reader sees; nil means that all
	// readers see the same.
	seen func(body []byte, reader Reader) ([]byte, error)
	// fallback makes an answer when nothing is kept and upstream fails.
	fallback func() ([]byte, bool)
}

// unanswered says that there is no answer.
func (q question) unanswered() error { return absence("there is no answer for " + q.key) }

// serveAnswer answers a GET with what upstream says to q.
func (p *Proxy) serveAnswer(w http.ResponseWriter, r *http.Request, q question) {
	kind := KindAPI
	if q.key == rootKey {
		kind = KindRoot
	}
	v, err := p.variant(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	e, cache, err := p.currentAnswer(r.Context(), q)
	if err != nil {
		if q.fallback != nil {
			if body, ok := q.fallback(); ok {
				p.respondTo(w, r, q, newEntry(q.key, history.State{}), newRendition(v, body, p.now()), cacheLocal)
				return
			}
		}
		p.stats.count(kind, failed, 0, "")
		p.fail(w, r, err)
		return
	}
	rd := e.rendition(v, p.now)
	if rd == nil {
		if rd, err = p.renderAnswer(q, e, v); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	if cache[0] == cacheStale[0] && p.now().Sub(e.state.Load().Checked) > q.ttl+p.o.StaleWhileRevalidate {
		w.Header().Set("Warning", warningStale)
	}
	p.respondTo(w, r, q, e, rd, cache)
}

// respondTo writes the answer to a question as its reader sees it.
func (p *Proxy) respondTo(w http.ResponseWriter, r *http.Request, q question, e *entry, rd *rendition, cache []string) {
	reader := p.readerOf(r)
	if q.seen == nil || reader.Everything() {
		kind := KindAPI
		if q.key == rootKey {
			kind = KindRoot
		}
		p.stats.count(kind, outcomeOf(cache), p.respond(w, r, e, rd, cache), "")
		return
	}
	body, err := rd.body()
	if err == nil {
		body, err = q.seen(body, reader)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.writeJSON(w, r, body, cache)
}

// currentAnswer returns the entry of q, refreshed as its age demands.
func (p *Proxy) currentAnswer(ctx context.Context, q question) (*entry, []string, error) {
	e := p.hot.get(answerEntry(q.key))
	if e == nil {
		k, err := p.answerFor(q.key)
		if err != nil {
			return nil, nil, err
		}
		e = newEntry(answerEntry(q.key), k.state())
	}
	o := p.o
	o.MetadataTTL = min(q.ttl, o.MetadataTTL)
	st := e.state.Load()
	switch o.judge(st, p.now()) {
	case serve:
		return e, cacheHit, nil
	case serveAndRefresh:
		p.askBehind(q, st.Checked)
		return e, cacheStale, nil
	case refreshFirst:
		if !p.slow.wait(p.now()) {
			p.askBehind(q, st.Checked)
			return e, cacheStale, nil
		}
		wait, cancel := context.WithTimeout(ctx, p.o.RevalidateWait)
		defer cancel()
		fresh, err := p.askAnswer(wait, q, st.Checked)
		if ctx.Err() != nil && err != nil {
			return nil, nil, ctx.Err()
		}
		p.slow.was(err != nil && wait.Err() != nil, p.now())
		if err == nil {
			return fresh, cacheRefresh, nil
		}
		return e, cacheStale, nil
	}
	fresh, err := p.askAnswer(ctx, q, st.Checked)
	if err != nil {
		return nil, nil, err
	}
	return fresh, cacheMiss, nil
}

func answerEntry(key string) string { return "answer " + key }

func (p *Proxy) askBehind(q question, seen time.Time) {
	p.flights.DoChan("ask "+q.key, func() (any, error) { return p.fetchAnswer(q, seen) })
}

// askAnswer asks upstream, together with everybody else who wants that. For
// seen see refresh.
func (p *Proxy) askAnswer(ctx context.Context, q question, seen time.Time) (*entry, error) {
	ch := p.flights.DoChan("ask "+q.key, func() (any, error) { return p.fetchAnswer(q, seen) })
	select {
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*entry), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetchAnswer asks upstream and keeps the answer. It returns the entry that
// now stands for it.
func (p *Proxy) fetchAnswer(q question, seen time.Time) (*entry, error) {
	ctx, cancel := p.detached(p.o.UpstreamTimeout)
	defer cancel()
	if !p.running.begin() {
		return nil, errClosing
	}
	defer p.running.end()
	if !p.o.Enabled {
		return nil, absence("the proxy is switched off, and no registry is asked for " + q.key)
	}
	prev, err := p.answerFor(q.key)
	if err != nil {
		return nil, err
	}
	if prev.Checked.After(seen) {
		// Somebody else's question was answered in the meantime (see refresh).
		if e := p.hot.get(answerEntry(q.key)); e != nil {
			return e, nil
		}
		return newAnswerEntry(q.key, prev.state(), prev.body), nil
	}
	if q.url == "" {
		// The address comes from the root, which was perhaps never read.
		return nil, absence("this registry does not offer " + q.key)
	}
	header := http.Header{}
	if prev.LastModified != "" {
		header.Set("If-Modified-Since", prev.LastModified)
	} else if prev.ETag != "" {
		header.Set("If-None-Match", prev.ETag)
	}
	asked := p.now()
	resp, err := p.up.Do(ctx, upstream.Request{URL: q.url, Class: "api", Header: header})
	if err != nil {
		p.upstreamFailed(q.key, err)
		return nil, fmt.Errorf("ask for %s: %w", q.key, err)
	}
	defer resp.Body.Close()
	e := p.hot.get(answerEntry(q.key))
	switch {
	case resp.Status == http.StatusNotModified && prev.known():
		prev.Checked = asked
		if err := p.touchAnswer(q.key, &prev); err != nil {
			return nil, err
		}
		p.upstreamAnswered()
		if e == nil {
			e = newEntry(answerEntry(q.key), prev.state())
		} else {
			st := prev.state()
			e.state.Store(&st)
		}
		return e, nil
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusGone:
		return nil, q.unanswered()
	case resp.Status != http.StatusOK:
		return nil, &badUpstream{q.key, fmt.Errorf("status %d", resp.Status)}
	}
	body, err := p.up.ReadAll(resp, p.o.MaxDocumentSize)
	if err == nil && q.check != nil {
		err = q.check(body)
	}
	if err != nil {
		err = &badUpstream{q.key, err}
		p.upstreamFailed(q.key, err)
		return nil, err
	}
	p.upstreamAnswered()
	p.stats.fetched(KindAPI, int64(len(body)))
	k := keptAnswer{Checked: asked, LastModified: resp.Header.Get("Last-Modified"), ETag: resp.Header.Get("Etag"), body: body}
	if err := p.keepAnswer(q.key, &k); err != nil && !errors.Is(err, store.ErrNoSpace) {
		return nil, err
	}
	st := k.state()
	if e != nil && e.state.Load().Document == st.Document {
		e.state.Store(&st)
		return e, nil
	}
	p.hot.remove(answerEntry(q.key))
	return newAnswerEntry(q.key, st, body), nil
}

// newAnswerEntry is an entry whose upstream body is at hand for rendering.
func newAnswerEntry(key string, st history.State, body []byte) *entry {
	e := newEntry(answerEntry(key), st)
	e.source = body
	return e
}

// renderAnswer makes the rendition of q for v.
func (p *Proxy) renderAnswer(q question, e *entry, v variant) (*rendition, error) {
	st := e.state.Load()
	body := e.source
	if body == nil {
		k, err := p.answerFor(q.key)
		if err != nil {
			return nil, err
		}
		body = k.body
	}
	if q.body != nil {
		var err error
		if body, err = q.body(body, v); err != nil {
			return nil, err
		}
	}
	modified := st.Checked
	if !strings.Contains(q.key, "?") {
		// Fixed questions are revalidated by clients; their dates must tell
		// bodies apart. Searches and the like are not cached by Composer.
		id := body
		if p.o.BaseURL == "" && v.base != "" {
			var err error
			if q.body != nil {
				if id, err = q.body(e.sourceOr(p, q.key), variant{base: derivedBase}); err != nil {
					return nil, err
				}
			}
		}
		var err error
		if modified, err = p.history.Validator(answerEntry(q.key), store.SumDigest(id), p.now()); err != nil {
			return nil, err
		}
	}
	rd := newRendition(v, body, modified)
	p.keep(e, rd)
	return rd, nil
}

// derivedBase stands for "whatever the client called us" where bodies are
// told apart.
const derivedBase = "http://base.invalid"

// sourceOr returns upstream's body of an entry.
func (e *entry) sourceOr(p *Proxy, key string) []byte {
	if e.source != nil {
		return e.source
	}
	k, err := p.answerFor(key)
	if err != nil {
		return nil
	}
	return k.body
}

// forgetAnswers removes old answers to questions that are seldom asked, so
// that inventing questions does not fill the disk.
func (p *Proxy) forgetAnswers() error {
	var drop []string
	chunks := map[string]int{}
	count := 0
	err := p.store.View(func(tx *store.Tx) error {
		drop, count = drop[:0], 0
		return keptAnswers.Scan(tx, nil, func(key []string, k keptAnswer) error {
			name := key[len(key)-1]
			if !strings.Contains(name, "?") {
				return nil
			}
			count++
			if count > answersKept || p.now().Sub(k.Checked) > answersAge {
				drop = append(drop, name)
				chunks[name] = k.Chunks
			}
			return nil
		})
	})
	for _, name := range drop {
		if err != nil {
			break
		}
		err = p.store.Update(func(tx *store.Tx) error {
			for i := range chunks[name] {
				if err := answerChunks.Delete(tx, name, store.SeqKey(uint64(i))); err != nil {
					return err
				}
			}
			return keptAnswers.Delete(tx, name)
		})
	}
	return err
}
