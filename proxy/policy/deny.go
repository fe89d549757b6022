package policy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// Denial is why something is refused.
type Denial struct {
	// Status is what an archive request is answered with: 451, which Composer
	// neither retries nor takes for missing credentials.
	Status   int
	Rule     RuleName
	Sentence string
	// Until is when the refusal ends by itself; zero when that is not known.
	Until time.Time

	obeyed bool // clients with filter lists find the reason beside the version
}

// malwareList is the filter list that every client with filter lists obeys
// unless it was told not to.
const malwareList = "malware"

// waived reports whether a waiver counts at t for a version at a reference.
func (e *evaluation) waived(normalized, reference string, t time.Time) bool {
	return slices.ContainsFunc(e.rules, func(c *compiled) bool {
		return c.Kind == Waiver && c.ActiveAt(t) && c.waives(normalized, reference)
	})
}

// denial says why a version at a reference is denied now, or nil. It is the
// same in every view.
//
// Content is denied whatever name it goes by: a branch at the commit of a
// denied tag is denied as well. Not so the other way round, since the name of a
// branch stands for all the commits it ever had.
func (e *evaluation) denial(normalized, reference string) *Denial {
	d := e.objection(normalized, reference)
	if d == nil {
		d = e.content(normalized, reference)
	}
	if d != nil && e.waived(normalized, reference, e.view.Now) {
		return nil
	}
	return d
}

// content is the denial of another version at the same reference.
func (e *evaluation) content(normalized, reference string) *Denial {
	if e.tainted == nil {
		e.tainted = map[string]*Denial{}
		if e.denies() {
			for _, r := range e.facts.References {
				if composer.IsDev(r.Normalized) || e.tainted[r.Reference] != nil || e.waived(r.Normalized, r.Reference, e.view.Now) {
					continue
				}
				if d := e.objection(r.Normalized, r.Reference); d != nil {
					e.tainted[r.Reference] = d
				}
			}
		}
	}
	other := e.tainted[reference]
	if other == nil || reference == "" {
		return nil
	}
	d := *other
	d.obeyed = false // clients are told of the other version only
	d.Sentence = fmt.Sprintf("%s %s has the content of a refused version: %s", e.name, e.label(normalized), other.Sentence)
	return &d
}

// denies reports whether anything of the package may be denied at all.
func (e *evaluation) denies() bool {
	return len(e.lists) > 0 || len(e.facts.Filters) > 0 || slices.ContainsFunc(e.rules, func(c *compiled) bool {
		return c.Kind == Block && c.ActiveAt(e.view.Now)
	})
}

func (e *evaluation) objection(normalized, reference string) *Denial {
	for _, c := range e.rules {
		if c.Kind == Block && c.ActiveAt(e.view.Now) && c.covers(normalized, reference) {
			return &Denial{
				Status: http.StatusUnavailableForLegalReasons, Rule: RuleBlock, Until: c.ExpiresAt, obeyed: true,
				Sentence: fmt.Sprintf("%s %s is blocked by %s: %s%s", e.name, e.label(normalized), c.Owner, c.Reason, expiry(c.ExpiresAt)),
			}
		}
	}
	for _, list := range e.o.DenyLists {
		for _, f := range e.lists[list] {
			if f.Names(normalized) {
				d := e.listed(list, f, normalized)
				d.obeyed = list == malwareList
				return d
			}
		}
		for _, f := range e.facts.Filters[list] {
			if f.Names(normalized) {
				return e.listed(list, f, normalized)
			}
		}
	}
	return nil
}

// listed refuses a version because of an entry of upstream's.
func (e *evaluation) listed(list string, f composer.FilterEntry, normalized string) *Denial {
	why := f.Reason
	if why == "" {
		why = "no reason is given"
	}
	text := fmt.Sprintf("%s %s is on the %s list of the registry: %s", e.name, e.label(normalized), list, why)
	if about := strings.TrimSpace(f.ID + " " + f.URL); about != "" {
		text += " (" + about + ")"
	}
	return &Denial{Status: http.StatusUnavailableForLegalReasons, Rule: RuleMalware, Sentence: text}
}
