package proxy

import (
	"context"
	"net/url"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// endpoints are the URLs at which upstream answers, as its root says. Empty
// means that it does not offer that.
type endpoints struct {
	metadata   string // with %package%
	list       string
	search     string // with %query% and %type%
	providers  string // with %package%
	changes    string
	advisories string
	summary    string
	notify     string
	packages   string // with %package%: package pages in JSON; not in the root
	fromRoot   bool   // a root was read
}

// document is the URL of a p2 file.
func (e *endpoints) document(f composer.File) string {
	return strings.ReplaceAll(e.metadata, "%package%", f.String())
}

func endpointsOf(repository string, r *composer.Root) *endpoints {
	at := func(value string) string { return composer.Resolve(repository, value) }
	e := &endpoints{
		metadata:   at(r.MetadataURL),
		list:       at(r.ListURL),
		search:     at(r.SearchURL),
		providers:  at(r.ProvidersURL),
		changes:    at(r.MetadataChangesURL),
		advisories: at(r.AdvisoriesURL),
		summary:    at(r.FilterSummaryURL),
		notify:     at(r.NotifyURL),
		fromRoot:   true,
	}
	if e.metadata == "" {
		e.metadata = repository + "/p2/%package%.json"
	}
	// Package pages live beside the name list.
	if u, err := url.Parse(e.list); err == nil && strings.HasSuffix(u.Path, "/packages/list.json") {
		u.Path = strings.TrimSuffix(u.Path, "list.json")
		e.packages = u.String() + "%package%.json"
	}
	return e
}

// loadEndpoints reads what the last root said. Until a root was read once,
// documents are looked for in the usual place.
func (p *Proxy) loadEndpoints() error {
	p.endpoints.Store(&endpoints{metadata: p.o.PackagistURL + "/p2/%package%.json"})
	kept, err := p.answerFor(rootKey)
	if err != nil || !kept.known() {
		return err
	}
	root, err := composer.ParseRoot(kept.body)
	if err != nil {
		return nil // an upstream of another kind was configured before
	}
	p.endpoints.Store(endpointsOf(p.o.PackagistURL, root))
	return nil
}

// endpointsFor returns the endpoints, reading the root first when that never
// succeeded so far.
func (p *Proxy) endpointsFor(ctx context.Context) *endpoints {
	if ep := p.endpoints.Load(); ep.fromRoot || !p.o.Enabled {
		return ep
	}
	if _, err := p.askAnswer(ctx, p.rootQuestion(), time.Time{}); err != nil {
		p.log.DebugContext(ctx, "the upstream root could not be read", "error", err)
	}
	return p.endpoints.Load()
}
