package history

import (
	"slices"
	"time"

	"stasis/proxy/composer"
)

// claim says that a version looked like this since an instant.
type claim struct {
	since  time.Time
	object composer.Object
	of     composer.Version
}

// restore reconstructs with the help of lock files. For every version the
// latest claim not after the instant counts. An entry of the first document
// that claims to be older than a proof of another content must have come after
// it, at a time nobody knows, and does not count before the first observation.
func restore(doc *composer.Document, proofs []Proof, b Binding) (*composer.Document, bool, error) {
	index, err := doc.Index()
	if err != nil {
		return nil, false, err
	}
	byVersion := map[string][]claim{}
	for _, p := range proofs {
		if !b.Document.IsZero() && !p.At.Before(b.ValidFrom) {
			continue // from our own time: observations know better
		}
		v, err := versionOf(p.Object, doc.Name())
		if err != nil {
			return nil, false, err
		}
		byVersion[v.Normalized] = append(byVersion[v.Normalized], claim{p.At, p.Object, v})
	}
	estimated := false
	whole := doc.Expanded()
	var kept []composer.Object
	var versions []composer.Version
	add := func(at int, c claim) {
		kept = slices.Insert(kept, at, c.object)
		versions = slices.Insert(versions, at, c.of)
	}
	for i, v := range index {
		since, guess := Visible(v, b.ValidFrom)
		estimated = estimated || guess
		own := claim{since, whole[i], v}
		proven := byVersion[v.Normalized]
		delete(byVersion, v.Normalized)
		for _, c := range proven {
			if sameContent(c.of, v) {
				own.since = earlier(own.since, c.since)
			}
		}
		for _, c := range proven {
			if !sameContent(c.of, v) && !c.since.Before(own.since) {
				own.since = b.ValidFrom
			}
		}
		if c, ok := latest(append(proven, own), b.At); ok {
			add(len(kept), c)
		}
	}
	// What upstream no longer has goes where its number belongs, documents
	// being written newest first.
	gone := make([]string, 0, len(byVersion))
	for version := range byVersion {
		gone = append(gone, version)
	}
	slices.SortFunc(gone, composer.CompareVersions)
	for _, version := range gone {
		c, ok := latest(byVersion[version], b.At)
		if !ok {
			continue
		}
		place := slices.IndexFunc(versions, func(v composer.Version) bool {
			return composer.CompareVersions(v.Normalized, version) < 0
		})
		if place < 0 {
			place = len(versions)
		}
		add(place, c)
	}
	return doc.With(kept), estimated, nil
}

// latest returns the newest of the claims that count at an instant; of equal
// ones the last in the list.
func latest(claims []claim, at time.Time) (claim, bool) {
	var best claim
	found := false
	for _, c := range claims {
		if !c.since.After(at) && (!found || !c.since.Before(best.since)) {
			best, found = c, true
		}
	}
	return best, found
}
