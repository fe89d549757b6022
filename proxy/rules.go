package proxy

import (
	"fmt"
	"iter"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

// permitted applies the rules about what may be seen to a document. The
// result's Doc is the very document when nothing had to change.
func (p *Proxy) permitted(f composer.File, doc *composer.Document, in world, v variant) (policy.Result, error) {
	pv := p.policyView(in, v)
	facts, err := p.policy.Gather(p.history, f.Name, pv)
	if err != nil {
		return policy.Result{}, err
	}
	res, err := p.policy.Apply(f, doc, facts, pv)
	if err != nil {
		return policy.Result{}, fmt.Errorf("apply the rules to %s: %w", f, err)
	}
	return res, nil
}

// policyView says how the rules look at a world.
func (p *Proxy) policyView(in world, v variant) policy.View {
	pv := policy.View{Now: p.now(), Legacy: !v.lists}
	switch in.kind {
	case dated, sealed:
		pv.At = in.at
	case cooldown:
		pv.MinAge = in.age
	}
	return pv
}

// newest returns the newest recorded document of a file, or nil.
func (p *Proxy) newest(f composer.File) (*composer.Document, error) {
	st, err := p.history.State(f)
	if err != nil || !st.Present() {
		return nil, err
	}
	return p.recorded(f, st.Document)
}

// verdicts remembers what the rules said about archives, for as long as
// nothing can have changed.
type verdicts struct {
	cache *lru.Cache[verdictKey, archiveVerdict]
}

type verdictKey struct {
	archiveKey
	asked string // the version in the request
}

type archiveVerdict struct {
	denial  error // nil: hand it out
	rules   uint64
	pkg     uint64
	expires time.Time
}

const (
	verdictsKept = 1 << 16
	verdictTime  = time.Minute // ages grow and rules expire
)

// denied says why an archive is not handed out, as an error, or nil.
func (p *Proxy) denied(k archiveKey, version string) error {
	key := verdictKey{k, version}
	pkg, rules, now := p.packageState(k.name), p.policy.Generation(), p.now()
	gen := pkg.gen.Load()
	if v, ok := p.verdicts.cache.Get(key); ok && v.rules == rules && v.pkg == gen && now.Before(v.expires) {
		return v.denial
	}
	denial, err := p.judgeArchive(k, version, now)
	if err != nil {
		return err
	}
	p.verdicts.cache.Add(key, archiveVerdict{denial: denial, rules: rules, pkg: gen, expires: now.Add(verdictTime)})
	return denial
}

func (p *Proxy) judgeArchive(k archiveKey, version string, now time.Time) (denial, failure error) {
	view := policy.View{Now: now, MinAge: p.o.MinReleaseAge}
	facts, err := p.policy.Gather(p.history, k.name, view)
	if err != nil {
		return nil, err
	}
	named, err := p.history.References(k.name, k.ref)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", k, err)
	}
	reference, norm := k.ref, normalized(version)
	for _, r := range named {
		if sameVersion(r, version) {
			reference, norm = r.Reference, r.Normalized
			break
		}
	}
	d, err := p.policy.Archive(k.name, norm, reference, facts, view)
	if err != nil {
		return nil, fmt.Errorf("apply the rules to %s: %w", k, err)
	}
	if d != nil {
		return &refusal{d.Sentence}, nil
	}
	return nil, nil
}

// retagged notes stable versions that changed their reference, and holds the
// package when there are so many that it looks like an attack.
func (p *Proxy) retagged(f composer.File, prev history.State, c history.Change) {
	if len(c.Retags) == 0 {
		return
	}
	for _, t := range c.Retags {
		p.alerts.raise(AlertRetagged, t.Package, fmt.Sprintf("%s %s pointed at %s and now points at %s upstream", t.Package, t.Version, t.Old, t.New))
	}
	if err := p.policy.RecordRetags(c.Retags, prev.Document); err != nil {
		p.log.Error("re-tags were not recorded", "package", f.Name.String(), "error", err)
	}
	reason, mass := policy.MassRetag(c.Retags)
	if !mass {
		return
	}
	other := composer.File{Name: f.Name, Dev: !f.Dev}
	st, err := p.history.State(other)
	if err != nil {
		p.log.Error("a package was not held after a mass re-tag", "package", f.Name.String(), "error", err)
		return
	}
	fz := FreezeRequest{Reason: reason, Owner: "stasis"}.freeze(f.Name.String(), p.now().UTC())
	fz.At = c.State.ValidFrom.Add(-1)
	fz.Documents = []FrozenDocument{frozenDocument(f, prev.Document, prev.ValidFrom), frozenDocument(other, st.Document, st.ValidFrom)}
	if err := p.addFreeze(fz); err != nil {
		p.log.Error("a package was not held after a mass re-tag", "package", f.Name.String(), "error", err)
		return
	}
	p.alerts.raise(AlertRetagged, f.Name.String(), reason)
	p.switched(f.Name)
}

// summaryBody adds our own blocks to upstream's filter summary.
func (p *Proxy) summaryBody(upstream []byte, _ variant) ([]byte, error) {
	return p.policy.Summary(upstream, p.trackedNames())
}

// trackedNames are all packages that were ever asked for.
func (p *Proxy) trackedNames() iter.Seq[composer.Name] {
	return func(yield func(composer.Name) bool) {
		more := true
		err := p.history.Files(func(f composer.File, _ history.State) error {
			if more && !f.Dev {
				more = yield(f.Name)
			}
			return nil
		})
		if err != nil {
			p.log.Error("the known packages could not be listed", "error", err)
		}
	}
}
