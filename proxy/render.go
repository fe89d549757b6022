package proxy

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// renderOnce makes the rendition of e for v ready, once for all who wait.
func (p *Proxy) renderOnce(ctx context.Context, e *entry, v variant, render func() (*rendition, error)) error {
	key := fmt.Sprintf("render %p %s %+v", e, e.key, v)
	ch := p.flights.DoChan(key, func() (any, error) {
		if e.rendition(v, p.now) != nil {
			return nil, nil
		}
		rd, err := render()
		if err == nil {
			p.keep(e, rd)
		}
		return nil, err
	})
	select {
	case res := <-ch:
		return res.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keep adds a rendition to an entry and the entry to the memory.
func (p *Proxy) keep(e *entry, rd *rendition) {
	grew := e.add(rd)
	if p.hot.get(e.key) == e {
		p.hot.grow(e.key, e, grew)
		return
	}
	p.hot.put(e.key, e, grew+int64(len(e.source)))
	// A freeze that came or went while this was made has cleared the memory
	// already; then it is for us to do so again.
	if f, err := composer.ParseFile(e.key); err == nil && (p.activeFreeze(f.Name, p.now()) == nil) != (e.freeze == nil) {
		p.hot.remove(e.key)
	}
}

// renderDocument makes the ready answer of a recorded document, live.
func (p *Proxy) renderDocument(f composer.File, e *entry, v variant) (*rendition, error) {
	st := e.state.Load()
	var doc *composer.Document
	var err error
	if e.source != nil {
		doc, err = composer.ParseDocument(e.source, f.Name)
	} else {
		doc, err = p.recorded(f, st.Document)
	}
	if err != nil {
		return nil, err
	}
	return p.renderContent(f, doc, st.ValidFrom, world{}, v)
}

// renderContent applies the rules to a document and rewrites it for its
// audience.
func (p *Proxy) renderContent(f composer.File, doc *composer.Document, validFrom time.Time, in world, v variant) (*rendition, error) {
	res, err := p.permitted(f, doc, in, v)
	if err != nil {
		return nil, err
	}
	seen := res.Doc
	if v.only != "" {
		if seen, err = matchingOnly(seen, v.only); err != nil {
			return nil, err
		}
	}
	if in.strict {
		seen = withoutSources(seen)
	}
	body := p.rewrite(seen, f, v).Encode()
	modified, err := p.history.Validator(f.String(), p.bodyID(body, v), validFrom)
	if err != nil {
		return nil, fmt.Errorf("date the answer for %s: %w", f, err)
	}
	rd := newRendition(v, body, modified)
	rd.until = res.Until
	if res.Denied > 0 {
		rd.denied = []string{strconv.Itoa(res.Denied)}
	}
	return rd, nil
}

// withoutSources drops the source of every version that has a dist, so that
// no client can get around the archive that was recorded.
func withoutSources(doc *composer.Document) *composer.Document {
	list := doc.Expanded()
	for i, o := range list {
		if dist := o.Get("dist"); dist != nil && string(dist) != "null" {
			list[i] = o.Without("source")
		}
	}
	return doc.With(list)
}

// rewrite points the dists of a document at us.
func (p *Proxy) rewrite(doc *composer.Document, f composer.File, v variant) *composer.Document {
	doc = composer.FillNormalized(doc)
	return composer.Rewrite(doc, func(ver composer.Version) (string, bool) {
		if ver.Dist == nil || p.o.Mirror && !strings.HasPrefix(ver.Dist.URL, composer.LocalScheme) {
			return "", false // the root's mirrors do it
		}
		if v.legacy {
			return composer.DistURL(v.base, f.Name, ver), true
		}
		return composer.VersionTemplate(v.base, ver), true
	})
}

// bodyID identifies the bytes served under one URL of ours. A base URL that is
// derived from the request is left out: it is the same whenever the URL is.
func (p *Proxy) bodyID(body []byte, v variant) store.Digest {
	if p.o.BaseURL == "" {
		body = bytes.ReplaceAll(body, []byte(v.base), nil)
	}
	return store.SumDigest(body)
}

// longAgo is the check time of what was made stale on purpose.
var longAgo = time.Unix(1, 0).UTC()

// whatever asks upstream in any case, whenever it was last asked.
var whatever = time.Unix(1<<40, 0)

// zeroTime is the Last-Modified of answers without a date.
var zeroTime = time.Unix(0, 0).UTC()
