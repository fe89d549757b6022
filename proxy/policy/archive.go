package policy

import (
	"fmt"
	"net/http"
	"time"

	"stasis/proxy/composer"
)

// Archive says why the archive of a version at a reference is not handed out,
// or nil. Archives have one address for all views, so the view is the live one
// with the minimum release age that counts by default; its At is ignored.
//
// Version and reference may be given as they stand in the archive's address,
// which hashes some of them.
func (p *Policy) Archive(n composer.Name, version, reference string, facts Facts, v View) (*Denial, error) {
	v.At = time.Time{}
	e, err := p.evaluate(n, &facts, v)
	if err != nil {
		return nil, err
	}
	normalized, reference := e.recognize(version, reference)
	if d := e.denial(normalized, reference); d != nil {
		return d, nil
	}
	if d := e.retaggedArchive(normalized, reference); d != nil {
		return d, nil
	}
	if !p.o.EnforceOnDownload {
		return nil, nil
	}
	return e.youngArchive(normalized, reference)
}

// recognize finds the version and the reference that an address means.
func (e *evaluation) recognize(version, reference string) (normalized, ref string) {
	normalized, ref = version, reference
	if n, err := composer.NormalizeVersion(version); err == nil {
		normalized = n
	}
	for _, r := range e.facts.References {
		if composer.VersionKey(r.Normalized) == version {
			normalized = r.Normalized
		}
		if composer.ReferenceKey(r.Reference) == reference {
			ref = r.Reference
		}
	}
	return normalized, ref
}

// retaggedArchive refuses the reference that a stable version was moved to,
// unless it was ever given out under the policy that follows upstream.
func (e *evaluation) retaggedArchive(normalized, reference string) *Denial {
	now := e.view.Now
	if composer.IsDev(normalized) || e.book.modeAt(now) == Follow || e.waived(normalized, reference, now) {
		return nil
	}
	first, changed := firstReference(e.known[normalized], reference)
	if !changed {
		return nil
	}
	r, _ := e.recorded(normalized, reference)
	if e.book.followed(r.FirstSeen, now) {
		return nil
	}
	return &Denial{
		Status: http.StatusUnavailableForLegalReasons, Rule: RuleRetag,
		Sentence: fmt.Sprintf("%s %s was first seen at %s and was changed to %s later, which is not handed out; a reviewed reference can be waived",
			e.name, e.label(normalized), short(first.Reference), short(reference)),
	}
}

// youngArchive refuses what the live view holds back for its age.
func (e *evaluation) youngArchive(normalized, reference string) (*Denial, error) {
	if !e.view.cooling() || e.exempt() || e.waived(normalized, reference, e.view.Now) {
		return nil, nil
	}
	r, known := e.recorded(normalized, reference)
	for _, other := range e.facts.References {
		// The same content by a name that is not recorded with it.
		if !known && other.Reference == reference {
			r, known = other, true
		}
	}
	began := e.clock(r, r.Published, known)
	due := began.Add(e.view.MinAge)
	if !due.After(e.view.Now) {
		return nil, nil
	}
	if e.facts.Live != nil && !composer.IsDev(normalized) {
		list, err := e.versions(e.facts.Live)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if s.version.Normalized == normalized && s.reference == reference && !s.gone {
				return nil, nil // a security fix
			}
		}
	}
	return &Denial{
		Status: http.StatusUnavailableForLegalReasons, Rule: RuleCooldown, Until: due,
		Sentence: fmt.Sprintf("%s %s is held back until %s: it appeared on %s, and releases have to be %s old",
			e.name, e.label(normalized), when(due), when(began), days(e.view.MinAge)),
	}, nil
}

// label is a normalized version as its author wrote it, if that is known.
func (e *evaluation) label(normalized string) string {
	if list := e.known[normalized]; len(list) > 0 && list[0].Version != "" {
		return list[0].Version
	}
	return normalized
}
