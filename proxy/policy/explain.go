package policy

import (
	"fmt"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// Explanation says whether and why a version is visible.
type Explanation struct {
	Visible  bool
	Rule     RuleName
	Sentence string
	// Reference is the one that is shown, or the one that is hidden.
	Reference string
}

// Explain names the rule that shows or hides one version in a view. doc is
// what the view's instant and freezes have led to; nil when it has none.
// version is as its author wrote it, or normalized.
func (p *Policy) Explain(f composer.File, doc *composer.Document, version string, facts Facts, v View) (Explanation, error) {
	normalized, err := composer.NormalizeVersion(version)
	if err != nil {
		return Explanation{}, invalidf("%v", err)
	}
	if err := facts.all(); err != nil {
		return Explanation{}, err
	}
	res, err := p.Apply(f, doc, facts, v)
	if err != nil {
		return Explanation{}, err
	}
	found, listed, err := find(doc, normalized)
	if err != nil {
		return Explanation{}, err
	}
	if !listed {
		return absence(f.Name, version, normalized, facts, v), nil
	}
	x := Explanation{Visible: true, Reference: referenceOf(found)}
	for _, h := range res.Hidden {
		if h.Normalized != normalized {
			continue
		}
		x.Rule, x.Sentence = h.Rule, h.Sentence
		if h.Instead != "" {
			x.Reference = h.Instead
			continue
		}
		x.Reference, x.Visible = h.Reference, false
	}
	if x.Sentence == "" {
		e, err := p.evaluate(f.Name, &facts, v)
		if err != nil {
			return Explanation{}, err
		}
		x.Sentence = fmt.Sprintf("%s %s is visible at %s: %s", f.Name, found.Pretty, short(x.Reference), e.permission(found, x.Reference))
	}
	return x, nil
}

// permission says why a version is shown although it might not be.
func (e *evaluation) permission(v composer.Version, reference string) string {
	s := &shown{version: v, reference: reference}
	switch {
	case e.waived(v.Normalized, reference, e.view.Now):
		return "a waiver lets it through"
	case !e.view.cooling() || !e.ageOf(s).Add(e.view.MinAge).After(e.view.Now):
		return "upstream published it so, and no rule objects"
	case e.exempt():
		return "the package is exempt from the minimum release age"
	}
	return "it is younger than the minimum release age, but fixes a security advisory"
}

func find(doc *composer.Document, normalized string) (composer.Version, bool, error) {
	if doc == nil {
		return composer.Version{}, false, nil
	}
	index, err := doc.Index()
	for _, v := range index {
		if v.Normalized == normalized {
			return v, true, nil
		}
	}
	return composer.Version{}, false, err
}

// absence tells what the records know about a version that the document of a
// view does not have.
func absence(n composer.Name, version, normalized string, facts Facts, v View) Explanation {
	x := Explanation{Rule: RuleAbsent}
	var first, last history.Reference
	for _, r := range facts.byVersion()[normalized] {
		if first.Reference == "" || earlier(r, first) {
			first = r
		}
		if last.Reference == "" || !r.GoneAt.IsZero() && r.GoneAt.After(last.GoneAt) {
			last = r
		}
	}
	subject := n.String() + " " + version
	switch {
	case first.Reference == "":
		x.Sentence = fmt.Sprintf("%s is not visible: no document of the package ever seen here has such a version", subject)
	case !v.At.IsZero() && since(first).After(v.At):
		x.Sentence = fmt.Sprintf("%s is not visible at %s: it appeared on %s", subject, when(v.At), when(since(first)))
	case !last.GoneAt.IsZero():
		x.Sentence = fmt.Sprintf("%s is not visible: upstream no longer had it when it was asked on %s", subject, when(last.GoneAt))
	default:
		x.Sentence = fmt.Sprintf("%s is not visible: the document of this view does not have it; it was first seen here on %s", subject, when(first.FirstSeen))
	}
	x.Reference = first.Reference
	return x
}

// since is when a reference appeared, as far as that is known.
func since(r history.Reference) time.Time {
	if !r.Published.IsZero() && r.Published.Before(r.FirstSeen) {
		return r.Published
	}
	if r.Initial && r.Published.IsZero() && !r.Time.IsZero() && r.Time.Before(r.FirstSeen) {
		return r.Time // it was there before us; its author's date is all there is
	}
	return r.FirstSeen
}
