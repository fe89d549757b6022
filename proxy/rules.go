package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/store"
)

// permitted applies the rules about what may be seen to a document. It returns
// the very document when nothing had to change, and how many versions are
// denied.
func (p *Proxy) permitted(f composer.File, doc *composer.Document, in world, v variant) (*composer.Document, int, error) {
	var newest *composer.Document
	if in.kind == live && !f.Dev {
		newest = doc
	}
	facts, err := p.facts(f.Name, newest)
	if err != nil {
		return nil, 0, err
	}
	res, err := p.policy.Apply(f, doc, facts, p.policyView(in, v))
	if err != nil {
		return nil, 0, fmt.Errorf("apply the rules to %s: %w", f, err)
	}
	return res.Doc, res.Denied, nil
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

// facts collects what the rules need to know of a package. liveDoc is its
// newest document of tagged versions, where that is at hand.
func (p *Proxy) facts(n composer.Name, liveDoc *composer.Document) (policy.Facts, error) {
	refs, err := p.history.AllReferences(n)
	if err != nil {
		return policy.Facts{}, fmt.Errorf("read the references of %s: %w", n, err)
	}
	files := filesOf(n)
	if liveDoc == nil {
		if liveDoc, err = p.newest(files[0]); err != nil {
			return policy.Facts{}, err
		}
	}
	facts := policy.Facts{References: refs, Live: liveDoc, Entry: func(r history.Reference, before time.Time) (composer.Object, error) {
		return p.entryOfReference(n, r, before)
	}}
	if facts.FirstModified, err = p.firstModified(files[0]); err != nil {
		return policy.Facts{}, err
	}
	facts.FirstModifiedDev, err = p.firstModified(files[1])
	return facts, err
}

// firstModified is when the first document ever seen of a file began.
func (p *Proxy) firstModified(f composer.File) (time.Time, error) {
	list, err := p.history.Revisions(f)
	for _, r := range list {
		if !r.Absent() {
			return r.ValidFrom, err
		}
	}
	return time.Time{}, err
}

// newest returns the newest recorded document of a file, or nil.
func (p *Proxy) newest(f composer.File) (*composer.Document, error) {
	st, err := p.history.State(f)
	if err != nil || !st.Present() {
		return nil, err
	}
	doc, _, err := p.recorded(f, st.Document)
	return doc, err
}

// entryOfReference finds the version object that a recorded reference stood
// for, as it was in the last document observed before an instant that has it;
// nil when none is known.
func (p *Proxy) entryOfReference(n composer.Name, r history.Reference, before time.Time) (composer.Object, error) {
	f := composer.File{Name: n, Dev: composer.IsDev(r.Normalized)}
	if !r.LastDocument.IsZero() && r.GoneAt.Before(before) {
		return p.entryIn(f, r.LastDocument, r)
	}
	list, err := p.history.Revisions(f)
	if err != nil {
		return nil, err
	}
	for _, rev := range slices.Backward(list) {
		if rev.Absent() || !rev.FirstSeen.Before(before) {
			continue
		}
		if o, err := p.entryIn(f, rev.Document, r); o != nil || err != nil {
			return o, err
		}
	}
	return nil, nil
}

// entryIn finds the version object of a reference in a recorded document.
func (p *Proxy) entryIn(f composer.File, digest store.Digest, r history.Reference) (composer.Object, error) {
	doc, _, err := p.recorded(f, digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := doc.Index()
	if err != nil {
		return nil, err
	}
	for i, v := range index {
		if v.Normalized == r.Normalized && v.Dist != nil && v.Dist.Reference == r.Reference {
			return doc.Expanded()[i], nil
		}
	}
	return nil, nil
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
	facts, err := p.facts(k.name, nil)
	if err != nil {
		return nil, err
	}
	reference, norm := k.ref, normalized(version)
	for _, r := range facts.References {
		if composer.ReferenceKey(r.Reference) == k.ref && sameVersion(r, version) {
			reference, norm = r.Reference, r.Normalized
			break
		}
	}
	d, err := p.policy.Archive(k.name, norm, reference, facts, policy.View{Now: now, MinAge: p.o.MinReleaseAge})
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
