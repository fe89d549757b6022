package policy

import (
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// View is how a document is looked at.
type View struct {
	// At is the instant of a dated view; zero means live.
	At time.Time
	// Now is the present: denials count as of now in every view. Zero means
	// the policy's own clock.
	Now time.Time
	// MinAge is the minimum release age; it counts in live views only.
	MinAge time.Duration
	// Legacy is true for clients that do not know filter lists. Denied
	// versions are taken out for them; newer clients see them listed together
	// with the entry that makes them refuse, so that they can say why.
	Legacy bool
}

// moment is when rules about what a version is are looked up.
func (v View) moment() time.Time {
	if v.At.IsZero() {
		return v.Now
	}
	return v.At
}

// cooling reports whether the minimum release age counts.
func (v View) cooling() bool { return v.At.IsZero() && v.MinAge > 0 }

// Facts are what is recorded about a package.
type Facts struct {
	// References are all that were ever recorded of the package; before
	// complete was called, those of the versions that have more than one.
	References []history.Reference
	// Live is the newest document of the tagged versions; nil when there is
	// none. Its filter lists and advisories are the ones that count.
	Live *composer.Document
	// Advisories are further live ones, when the document does not carry them.
	Advisories []composer.Advisory
	// Filters are further live entries of filter lists, such as those of the
	// registry's summary. Clients do not see them, so what they deny is taken
	// out of documents. Make them with FilterEntry.WithConstraint, which reads
	// the constraint once.
	Filters map[string][]composer.FilterEntry
	// FirstModified and FirstModifiedDev are when the first document ever seen
	// of the tagged and of the development versions began.
	FirstModified, FirstModifiedDev time.Time
	// Entry returns the version that a reference stands for, whole, as it is in
	// the last document observed before an instant that has it; nil when that
	// is not known.
	Entry func(r history.Reference, before time.Time) (composer.Object, error)

	// complete reads the references that are missing, and what belongs to them.
	// Ages and denials need it, re-tags do not. Nil when nothing is missing.
	complete func(*Facts) error
}

// all makes the facts complete.
func (f *Facts) all() error {
	if f.complete == nil {
		return nil
	}
	err := f.complete(f)
	if err == nil {
		f.complete = nil
	}
	return err
}

// byVersion groups the references by normalized version.
func (f *Facts) byVersion() map[string][]history.Reference {
	m := make(map[string][]history.Reference, len(f.References))
	for _, r := range f.References {
		m[r.Normalized] = append(m[r.Normalized], r)
	}
	return m
}

// advisories are those of the live document and the further ones.
func (f *Facts) advisories() []composer.Advisory {
	if f.Live == nil {
		return f.Advisories
	}
	return append(f.Live.Advisories(), f.Advisories...)
}

// entry is Entry for facts that have none.
func (f *Facts) entry(r history.Reference, before time.Time) (composer.Object, error) {
	if f.Entry == nil {
		return nil, nil
	}
	return f.Entry(r, before)
}

// RuleName names the rule that decided about a version.
type RuleName string

// The rules, in the order in which they are asked.
const (
	RuleNone     RuleName = ""         // nothing objects
	RuleRetag    RuleName = "retag"    // the reference of a stable version changed
	RuleHold     RuleName = "hold"     // outside the constraint of a hold
	RuleCooldown RuleName = "cooldown" // too young
	RuleBlock    RuleName = "block"    // blocked by the operator
	RuleMalware  RuleName = "malware"  // on a deny list of upstream
	RuleAbsent   RuleName = "absent"   // the document does not have it
)

// Hidden is a version of a document that is not shown as upstream publishes it.
type Hidden struct {
	Version    string   // as its author wrote it
	Normalized string   // canonical
	Reference  string   // the one that is not shown
	Rule       RuleName // what hides it
	Sentence   string   // why, for people
	// Until is when it will be shown if nothing else changes; zero when that
	// is not known.
	Until time.Time
	// Instead is the older reference that is shown in its place.
	Instead string
	// Listed is true when the version stays in the document because the
	// client itself refuses it by the filter entry beside it.
	Listed bool
}

// Result is a document as a view shows it.
type Result struct {
	// Doc is the very document that was given when nothing had to change.
	Doc    *composer.Document
	Hidden []Hidden
	// Denied counts the versions that are blocked or on a deny list.
	Denied int
	// Until is the next moment at which the result changes by itself, because
	// a version comes of age or a rule expires; zero when there is none.
	Until time.Time
}
