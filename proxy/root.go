package proxy

import (
	"net/http"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

// rootQuestion asks for upstream's packages.json.
func (p *Proxy) rootQuestion() question {
	return question{
		key: rootKey,
		url: p.o.PackagistURL + "/packages.json",
		ttl: p.o.MetadataTTL,
		check: func(body []byte) error {
			root, err := composer.ParseRoot(body)
			if err != nil {
				return err
			}
			ep := endpointsOf(p.o.PackagistURL, root)
			first := !p.endpoints.Swap(ep).fromRoot
			if first && ep.summary != "" {
				// Composer 2.10 asks for it in every install: have a copy before
				// the day that upstream is down.
				p.askBehind(p.summaryQuestion(ep.summary), time.Time{})
			}
			return nil
		},
		body: p.rootBody,
	}
}

// rootBody makes our root from upstream's.
func (p *Proxy) rootBody(upstream []byte, v variant) ([]byte, error) {
	root, err := parseRoot(upstream)
	if err != nil {
		return nil, err
	}
	return root.Rewrite(v.base, p.rootOptions()), nil
}

// parseRoot reads upstream's root, or takes the usual one when it was never
// seen, with our own filter list announced in it.
func parseRoot(upstream []byte) (*composer.Root, error) {
	root := composer.DefaultRoot()
	if upstream != nil {
		var err error
		if root, err = composer.ParseRoot(upstream); err != nil {
			return nil, &badUpstream{"packages.json", err}
		}
	}
	root.Members = root.Members.With("filter", policy.RootFilter(root.Members.Get("filter")))
	return root, nil
}

// rootOptions are what every root of ours offers.
func (p *Proxy) rootOptions() composer.RootOptions {
	return composer.RootOptions{Mirror: p.o.Mirror}
}

// serveRoot answers GET /packages.json. Nearly all of it is ours, so it is
// answered even when upstream's was never seen.
func (p *Proxy) serveRoot(w http.ResponseWriter, r *http.Request) {
	q := p.rootQuestion()
	v, err := p.variant(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	q.fallback = func() ([]byte, bool) {
		body, err := p.rootBody(nil, v)
		return body, err == nil
	}
	if !p.o.Enabled {
		body, ok := q.fallback()
		if !ok {
			body = []byte("{}")
		}
		p.respond(w, r, newEntry(rootKey, history.State{}), newRendition(v, body, p.started), cacheLocal)
		return
	}
	p.serveAnswer(w, r, q)
}
