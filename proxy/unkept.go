package proxy

import (
	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// Documents that there was no room to record are served from memory, see
// unkept. Their archives must be found as well: what such a document names is
// not absent because a disk is full.

// freshUnkept reports whether memory holds an unrecorded document that need
// not be asked for again yet.
func (p *Proxy) freshUnkept(f composer.File) bool {
	e := p.hot.get(f.String())
	return e != nil && e.source != nil && p.o.judge(e.state.Load(), p.now()) == serve
}

// unkeptReferences lists what the unrecorded documents of a package say about
// a reference key.
func (p *Proxy) unkeptReferences(n composer.Name, key string) []history.Reference {
	var out []history.Reference
	for _, f := range filesOf(n) {
		e := p.hot.get(f.String())
		if e == nil || e.source == nil {
			continue
		}
		doc, err := composer.ParseDocument(e.source, n)
		if err != nil {
			continue // it was checked when it was fetched
		}
		versions, err := doc.Index()
		if err != nil {
			continue
		}
		for _, v := range versions {
			if v.Dist == nil || composer.ReferenceKey(v.Dist.Reference) != key {
				continue
			}
			out = append(out, history.Reference{
				Version: v.Pretty, Normalized: v.Normalized, Reference: v.Dist.Reference,
				Type: v.Dist.Type, URL: v.Dist.URL, URLs: composer.Origins(n, v), Shasum: v.Dist.Shasum,
				Source: e.state.Load().Source,
			})
		}
	}
	return out
}
