package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// clock is when the age of a version began: not before its reference was first
// seen here, whatever its author says. Only what was there before us is
// believed upstream's date of publication. A date in the future begins now.
//
// The date of publication of a branch moves whenever upstream touches it, so
// for a branch the reference alone counts, which names its content.
func (e *evaluation) clock(r history.Reference, published time.Time, known bool) time.Time {
	c := e.view.Now
	switch {
	case !known:
		return c
	case r.Initial:
		if c = published; c.IsZero() {
			c = e.facts.FirstModified
			if composer.IsDev(r.Normalized) {
				c = e.facts.FirstModifiedDev
			}
		}
		if c.IsZero() {
			c = r.FirstSeen
		}
	default:
		c = r.FirstSeen
		if published.After(c) && !composer.IsDev(r.Normalized) {
			c = published
		}
	}
	if c.After(e.view.Now) {
		return e.view.Now
	}
	return c
}

// recorded finds what is known of a version at a reference.
func (e *evaluation) recorded(normalized, reference string) (history.Reference, bool) {
	for _, r := range e.known[normalized] {
		if r.Reference == reference {
			return r, true
		}
	}
	return history.Reference{}, false
}

// exempt reports whether the package is free of the minimum release age.
func (e *evaluation) exempt() bool {
	return slices.ContainsFunc(e.rules, func(c *compiled) bool {
		return c.Kind == Exemption && c.ActiveAt(e.view.Now)
	})
}

// cool takes away what is too young. For a branch the newest head that is old
// enough takes its place.
func (e *evaluation) cool(s *shown) error {
	if !e.view.cooling() || e.exempt() || e.waived(s.version.Normalized, s.reference, e.view.Now) {
		return nil
	}
	began := e.ageOf(s)
	due := began.Add(e.view.MinAge)
	if !due.After(e.view.Now) {
		return nil
	}
	e.changes(due)
	s.hide(Hidden{
		Rule: RuleCooldown, Until: due,
		Sentence: e.sentence(s, "is held back until %s: it appeared on %s, and releases have to be %s old", when(due), when(began), days(e.view.MinAge)),
	})
	if !composer.IsDev(s.version.Normalized) {
		s.gone, s.young = true, true
		return nil
	}
	old, err := e.olderHead(s)
	if err == nil && !old {
		s.gone = true
	}
	return err
}

// ageOf is the clock of the version as it is shown now.
func (e *evaluation) ageOf(s *shown) time.Time {
	r, known := e.recorded(s.version.Normalized, s.reference)
	return e.clock(r, s.version.Published, known)
}

// olderHead shows a branch at the newest recorded head that is old enough.
func (e *evaluation) olderHead(s *shown) (bool, error) {
	heads := slices.Clone(e.known[s.version.Normalized])
	slices.SortStableFunc(heads, func(a, b history.Reference) int { return b.FirstSeen.Compare(a.FirstSeen) })
	for _, r := range heads {
		if r.Reference == s.reference {
			continue
		}
		if due := e.clock(r, r.Published, true).Add(e.view.MinAge); due.After(e.view.Now) {
			e.changes(due)
			continue
		}
		if e.denial(r.Normalized, r.Reference) != nil {
			continue
		}
		o, err := e.entry(r, e.view.Now)
		if err != nil {
			return false, err
		}
		if o != nil {
			s.hidden[len(s.hidden)-1].Instead = r.Reference
			s.replace(o, r)
			return true, nil
		}
	}
	return false, nil
}

// relief is what is needed to tell security fixes from other young versions.
type relief struct {
	newest map[string]string // major series to the newest stable version allowed by age
	list   []composer.Advisory
}

// letFixesThrough shows young versions that an advisory justifies: it affects
// the newest version that is otherwise allowed in the same major series, and
// not the young one, which is newer and older than the grace.
func (e *evaluation) letFixesThrough(list []shown) {
	if !slices.ContainsFunc(list, func(s shown) bool { return s.young }) {
		return
	}
	e.relief = relief{newest: map[string]string{}, list: e.facts.advisories()}
	if len(e.relief.list) == 0 {
		return
	}
	for i := range list {
		s := &list[i]
		v := s.version.Normalized
		if s.gone || composer.Stability(v) != "stable" || e.denial(v, s.reference) != nil {
			continue
		}
		if best, ok := e.relief.newest[major(v)]; !ok || composer.CompareVersions(v, best) > 0 {
			e.relief.newest[major(v)] = v
		}
	}
	for i := range list {
		s := &list[i]
		if s.young && e.isFix(s) {
			s.gone, s.young = false, false
			s.hidden = slices.DeleteFunc(s.hidden, func(h Hidden) bool { return h.Rule == RuleCooldown })
		}
	}
}

// isFix reports whether a young version is a security fix that may be shown.
func (e *evaluation) isFix(s *shown) bool {
	v := s.version.Normalized
	best, ok := e.relief.newest[major(v)]
	if !ok || composer.Stability(v) != "stable" || composer.CompareVersions(v, best) <= 0 || e.denial(v, s.reference) != nil {
		return false
	}
	justified := false
	for _, a := range e.relief.list {
		if a.Affects(v) {
			return false
		}
		justified = justified || a.Affects(best)
	}
	if !justified {
		return false
	}
	graceOver := e.ageOf(s).Add(e.o.SecurityGrace)
	e.changes(graceOver)
	return !graceOver.After(e.view.Now)
}

// major is the series a stable version belongs to.
func major(normalized string) string {
	m, _, _ := strings.Cut(normalized, ".")
	return cmp.Or(strings.TrimLeft(m, "0"), "0")
}
