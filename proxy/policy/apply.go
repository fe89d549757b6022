package policy

import (
	"fmt"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// evaluation is one question about one package.
type evaluation struct {
	book   *book
	o      *Options
	name   composer.Name
	rules  []*compiled
	facts  *Facts
	view   View
	lists  map[string][]composer.FilterEntry // the live filter
	known  map[string][]history.Reference    // references by version
	until  time.Time
	relief relief

	tainted map[string]*Denial // reference to the denial of a tagged version
}

// evaluate begins an evaluation. It completes the facts when the view needs
// all of them.
func (p *Policy) evaluate(n composer.Name, facts *Facts, v View) (*evaluation, error) {
	b := p.current.Load()
	if v.Now.IsZero() {
		v.Now = p.now()
	}
	e := &evaluation{book: b, o: &p.o, name: n, rules: b.rulesFor(n), facts: facts, view: v}
	if facts.Live != nil {
		e.lists = facts.Live.Filters()
	}
	if v.cooling() || e.denies() {
		if err := facts.all(); err != nil {
			return nil, err
		}
	}
	e.known = facts.byVersion()
	for _, c := range e.rules {
		e.changes(c.ExpiresAt)
	}
	return e, nil
}

// changes notes that the answer may be another from t on.
func (e *evaluation) changes(t time.Time) {
	if t.After(e.view.Now) && (e.until.IsZero() || t.Before(e.until)) {
		e.until = t
	}
}

// shown is one version of a document and what became of it.
type shown struct {
	version   composer.Version
	reference string
	replaced  composer.Object // when it is shown as an older document had it
	hidden    []Hidden
	gone      bool // not shown at all
	young     bool // gone for its age alone
}

// Apply shows doc, the document of f that the view's instant and freezes have
// led to, as the rules allow it.
func (p *Policy) Apply(f composer.File, doc *composer.Document, facts Facts, v View) (Result, error) {
	if doc == nil {
		return Result{}, nil
	}
	e, err := p.evaluate(f.Name, &facts, v)
	if err != nil {
		return Result{}, err
	}
	list, err := e.versions(doc)
	if err != nil {
		return Result{}, err
	}
	res := Result{Doc: doc}
	changed, dropped := false, 0
	for i := range list {
		s := &list[i]
		if d := e.denial(s.version.Normalized, s.reference); d != nil {
			// Filter entries stand in the document of the tagged versions, which
			// a client that wants a branch need not read.
			listed := d.obeyed && !v.Legacy && !f.Dev && !s.gone
			s.hide(Hidden{Rule: d.Rule, Sentence: d.Sentence, Until: d.Until, Listed: listed})
			s.gone = !listed
			res.Denied++
		}
		changed = changed || s.gone || s.replaced != nil
		if s.gone {
			dropped++
		}
		res.Hidden = append(res.Hidden, s.hidden...)
	}
	if changed {
		kept := make([]composer.Object, 0, len(list)-dropped)
		for i, o := range doc.Expanded() {
			switch s := &list[i]; {
			case s.gone:
			case s.replaced != nil:
				kept = append(kept, s.replaced)
			default:
				kept = append(kept, o)
			}
		}
		res.Doc = doc.With(kept)
	}
	if !f.Dev {
		res.Doc = e.filter(res.Doc, list)
	}
	res.Until = e.until
	return res, nil
}

// versions judges every version of a document by all rules but the denials.
func (e *evaluation) versions(doc *composer.Document) ([]shown, error) {
	index, err := doc.Index()
	if err != nil {
		return nil, err
	}
	list := make([]shown, len(index))
	for i, v := range index {
		s := &list[i]
		s.version, s.reference = v, referenceOf(v)
		if err := e.judge(s); err != nil {
			return nil, err
		}
	}
	e.letFixesThrough(list)
	return list, nil
}

// judge asks the rules in their order; the first that takes a version away has
// the last word.
func (e *evaluation) judge(s *shown) error {
	if err := e.retag(s); err != nil || s.gone {
		return err
	}
	if e.hold(s); s.gone {
		return nil
	}
	return e.cool(s)
}

// retag applies the re-tag policy of the view's moment.
func (e *evaluation) retag(s *shown) error {
	if composer.IsDev(s.version.Normalized) {
		return nil
	}
	first, changed := firstReference(e.known[s.version.Normalized], s.reference)
	if !changed {
		return nil
	}
	at := e.view.moment()
	mode := e.book.modeAt(at)
	if mode == Follow || e.waived(s.version.Normalized, s.reference, at) {
		return nil
	}
	h := Hidden{Rule: RuleRetag}
	if mode == Hide {
		h.Sentence = e.sentence(s, "is hidden: its reference changed from %s to %s upstream after it was first seen on %s",
			short(first.Reference), short(s.reference), when(first.FirstSeen))
		s.hide(h)
		s.gone = true
		return nil
	}
	// The entry from before the change, so that it is the same whenever asked.
	moved, _ := e.recorded(s.version.Normalized, s.reference)
	old, err := e.entry(first, moved.FirstSeen)
	if err != nil {
		return err
	}
	if old == nil {
		h.Sentence = e.sentence(s, "is hidden: its reference changed from %s to %s upstream, and the document that had the first one is not at hand",
			short(first.Reference), short(s.reference))
		s.hide(h)
		s.gone = true
		return nil
	}
	h.Instead = first.Reference
	h.Sentence = e.sentence(s, "is served at %s, where it was first seen on %s; the newer reference %s is not",
		short(first.Reference), when(first.FirstSeen), short(s.reference))
	s.hide(h)
	s.replace(old, first)
	return nil
}

// hold applies constraints on the versions of a package.
func (e *evaluation) hold(s *shown) {
	for _, c := range e.rules {
		if c.Kind == Hold && c.ActiveAt(e.view.moment()) && !c.covers(s.version.Normalized, s.reference) {
			s.hide(Hidden{
				Rule: RuleHold, Until: c.ExpiresAt,
				Sentence: e.sentence(s, "is hidden: %s is held at the versions %s by %s (%s)%s", e.name, c.Versions, c.Owner, c.Reason, expiry(c.ExpiresAt)),
			})
			s.gone = true
			return
		}
	}
}

// entry reads the state of a version before an instant.
func (e *evaluation) entry(r history.Reference, before time.Time) (composer.Object, error) {
	o, err := e.facts.entry(r, before)
	if err != nil {
		return nil, fmt.Errorf("read %s %s at %s: %w", e.name, r.Version, short(r.Reference), err)
	}
	return o, nil
}

// hide adds a reason why the version is not shown as it is.
func (s *shown) hide(h Hidden) {
	h.Version, h.Normalized, h.Reference = s.version.Pretty, s.version.Normalized, s.reference
	s.hidden = append(s.hidden, h)
}

// replace shows the version as it was at another reference.
func (s *shown) replace(o composer.Object, r history.Reference) {
	s.replaced, s.reference = o, r.Reference
	s.version.Published, s.version.Time = r.Published, r.Time
}

// referenceOf is what identifies the content of a version.
func referenceOf(v composer.Version) string {
	if v.Dist != nil && v.Dist.Reference != "" {
		return v.Dist.Reference
	}
	return v.SourceReference
}

func (e *evaluation) sentence(s *shown, format string, args ...any) string {
	return e.name.String() + " " + s.version.Pretty + " " + fmt.Sprintf(format, args...)
}
