package proxy

import (
	"context"
	"fmt"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// renderVersion is part of every body's identity: raise it when the same
// inputs begin to give other bytes, so that clients do not keep the old ones.
const renderVersion = "1"

// render makes the rendition of e for v ready, once for all who wait.
func (p *Proxy) render(ctx context.Context, e *entry, f composer.File, v variant) error {
	st := *e.state.Load()
	key := fmt.Sprintf("render %s %s %t %s", f, v.base, v.legacy, st.Document)
	ch := p.flights.DoChan(key, func() (any, error) {
		if e.rendition(v) != nil {
			return nil, nil
		}
		rd, err := p.renderDocument(f, st, v)
		if err != nil {
			return nil, err
		}
		p.keep(e, rd)
		return nil, nil
	})
	select {
	case res := <-ch:
		if res.Err == nil && e.rendition(v) == nil {
			// Somebody rendered into an entry that was replaced meanwhile.
			rd, err := p.renderDocument(f, st, v)
			if err != nil {
				return err
			}
			p.keep(e, rd)
		}
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
	p.hot.put(e.key, e, grew)
}

// renderDocument rewrites a recorded document for its audience.
func (p *Proxy) renderDocument(f composer.File, st history.State, v variant) (*rendition, error) {
	raw, err := p.history.Document(st.Document)
	if err != nil {
		return nil, fmt.Errorf("read the document of %s: %w", f, err)
	}
	doc, err := composer.ParseDocument(raw, f.Name)
	if err != nil {
		return nil, fmt.Errorf("read the document of %s: %w", f, err)
	}
	body := p.rewrite(doc, f, v).Encode()
	modified, err := p.history.Validator(f.String(), p.bodyID(st.Document, v), st.ValidFrom)
	if err != nil {
		return nil, fmt.Errorf("date the answer for %s: %w", f, err)
	}
	return newRendition(v, body, modified), nil
}

// rewrite points the dists of a document at us.
func (p *Proxy) rewrite(doc *composer.Document, f composer.File, v variant) *composer.Document {
	doc = composer.FillNormalized(doc)
	if p.o.Mirror {
		return doc // the root's mirrors do it
	}
	return composer.Rewrite(doc, func(ver composer.Version) (string, bool) {
		if ver.Dist == nil {
			return "", false
		}
		if v.legacy {
			return composer.DistURL(v.base, f.Name, ver), true
		}
		return composer.VersionTemplate(v.base, ver), true
	})
}

// bodyID identifies the bytes served under one URL of ours by what they are
// made from. A base URL derived from the request is left out: it is the same
// whenever the URL is.
func (p *Proxy) bodyID(content store.Digest, v variant) store.Digest {
	return store.SumDigest(fmt.Appendf(nil, "%s %s %q %t %t", renderVersion, content, p.o.BaseURL, p.o.Mirror, v.legacy))
}

// longAgo is the check time of what was made stale on purpose.
var longAgo = time.Unix(1, 0).UTC()

// zeroTime is the Last-Modified of answers without a date.
var zeroTime = time.Unix(0, 0).UTC()
