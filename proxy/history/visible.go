package history

import (
	"fmt"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// moved is how much newer than its publication a version's commit must be to
// prove that the tag was moved: more than any clock or zone is wrong by.
const moved = 24 * time.Hour

// skewed is how far our clock and the registry's may be apart: a document's
// date that lies in our future by less is ours to correct, not a lie.
const skewed = 30 * time.Second

// Visible says since when a version of a document can be assumed to have been
// offered by upstream: since its publication; or since its commit, when that
// is so much newer that the tag must have been moved, which Packagist allowed
// until June 2026. What has no publication time goes by its commit's date,
// which its author chose: that is an estimate. Nothing is newer than the
// document it is in.
func Visible(v composer.Version, docLastModified time.Time) (at time.Time, estimated bool) {
	switch {
	case v.Published.IsZero() && v.Time.IsZero():
		return docLastModified, false
	case v.Published.IsZero():
		at, estimated = v.Time, true
	case v.Published.Add(moved).Before(v.Time) && !v.Time.After(docLastModified.Add(skewed)):
		at = v.Time
	default:
		at = v.Published
	}
	return earlier(at, docLastModified), estimated
}

// build makes the document of a binding and says whether dates chosen by
// authors had a part in it.
func (h *History) build(f composer.File, b Binding) (*composer.Document, bool, error) {
	switch b.Kind {
	case AbsentDocument:
		return nil, false, nil
	case WholeDocument:
		doc, err := h.parsed(f, b.Document)
		return doc, false, err
	case FilterDocument:
		return h.filter(f, b)
	case GapDocument:
		return h.merge(f, b)
	}
	return nil, false, fmt.Errorf("binding of unknown kind %q", b.Kind)
}

// parsed reads a document; the zero digest stands for one without versions.
func (h *History) parsed(f composer.File, d store.Digest) (*composer.Document, error) {
	if d.IsZero() {
		return composer.NewDocument(f.Name, nil), nil
	}
	body, err := h.Document(d)
	if err != nil {
		return nil, err
	}
	return composer.ParseDocument(body, f.Name)
}

// filter reconstructs: of the first document what was visible at the instant,
// and what lock files prove.
func (h *History) filter(f composer.File, b Binding) (*composer.Document, bool, error) {
	doc, err := h.parsed(f, b.Document)
	if err != nil {
		return nil, false, err
	}
	proofs, err := h.proofs(b.Imported)
	if err != nil {
		return nil, false, err
	}
	if proofs != nil {
		return restore(doc, proofs, b)
	}
	estimated := false
	seen := composer.Keep(doc, func(v composer.Version, _ composer.Object) bool {
		at, guess := Visible(v, b.ValidFrom)
		estimated = estimated || guess
		return !at.After(b.At)
	})
	return seen, estimated, nil
}

// merge fills a gap: what the document before it had, and what the document
// after it says became visible in between. Of a version that both have, the
// later entry counts from when it says it was published.
//
// An entry of the later document that claims to be older than the last
// confirmation of the earlier one cannot be: it was not there. It was
// restored, moved or back-dated at a time nobody knows, and stays out.
func (h *History) merge(f composer.File, b Binding) (*composer.Document, bool, error) {
	old, err := h.parsed(f, b.Document)
	if err != nil {
		return nil, false, err
	}
	next, err := h.parsed(f, b.Next)
	if err != nil {
		return nil, false, err
	}
	had, err := old.Index()
	if err != nil {
		return nil, false, err
	}
	has, err := next.Index()
	if err != nil {
		return nil, false, err
	}
	places := make(map[string]int, len(had))
	for i, v := range had {
		places[v.Normalized] = i
	}
	// Chosen entries of the later document: over place i of the earlier one,
	// or new and in front of it.
	over := map[int]int{}
	front := map[int][]int{}
	estimated := false
	passed := 0 // places of the earlier document that the later one is past
	for j, v := range has {
		i, both := places[v.Normalized]
		if both {
			passed = max(passed, i+1)
		}
		if both && sameContent(had[i], v) {
			continue
		}
		at, guess := Visible(v, b.NextFrom)
		estimated = estimated || guess
		switch {
		case at.After(b.At) || !at.After(b.LastConfirmed):
		case !both:
			// Documents are written newest first.
			i := passed
			for i < len(had) && composer.CompareVersions(had[i].Normalized, v.Normalized) > 0 {
				i++
			}
			front[i] = append(front[i], j)
		case composer.IsDev(v.Normalized):
			over[i] = j
		}
	}
	if len(over)+len(front) == 0 {
		return old, estimated, nil
	}
	before, after := old.Expanded(), next.Expanded()
	whole := make([]composer.Object, 0, len(before)+len(after))
	for i := 0; ; i++ {
		for _, j := range front[i] {
			whole = append(whole, after[j])
		}
		if i == len(before) {
			break
		}
		if j, ok := over[i]; ok {
			whole = append(whole, after[j])
		} else {
			whole = append(whole, before[i])
		}
	}
	base := old
	if b.Document.IsZero() {
		base = next
	}
	return base.With(whole), estimated, nil
}

// sameContent reports whether two entries of one version are the same commit.
func sameContent(a, b composer.Version) bool {
	if a.SourceReference != b.SourceReference {
		return false
	}
	if a.Dist == nil || b.Dist == nil {
		return a.Dist == b.Dist
	}
	return a.Dist.Reference == b.Dist.Reference
}
