package history

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// References returns what is recorded for a package under one reference key
// (composer.ReferenceKey of the reference), in version order.
func (h *History) References(n composer.Name, refKey string) ([]Reference, error) {
	return h.scanReferences([]string{n.String(), refKey})
}

// AllReferences returns every reference ever recorded for a package; for one
// that does not come from the registry, those that its sources had.
func (h *History) AllReferences(n composer.Name) ([]Reference, error) {
	return h.scanReferences([]string{n.String()})
}

// MovedReferences returns every reference ever recorded of the tagged versions
// that have more than one: those that were re-tagged, or that a lock file
// knows otherwise. Hardly any package has such versions, and to find that out
// only keys are read.
func (h *History) MovedReferences(n composer.Name) ([]Reference, error) {
	var list []Reference
	err := h.store.View(func(tx *store.Tx) error {
		list = list[:0]
		keys := map[string][][]string{} // by normalized version
		if err := references.Keys(tx, []string{n.String()}, func(key []string) error {
			if version := key[len(key)-1]; !composer.IsDev(version) {
				keys[version] = append(keys[version], key)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, version := range slices.Sorted(maps.Keys(keys)) {
			if len(keys[version]) < 2 {
				continue
			}
			for _, key := range keys[version] {
				r, err := references.Get(tx, key...)
				if err != nil {
					return err
				}
				list = append(list, r)
			}
		}
		return nil
	})
	return list, err
}

func (h *History) scanReferences(prefix []string) ([]Reference, error) {
	var list []Reference
	err := h.store.View(func(tx *store.Tx) error {
		list = list[:0]
		own, err := provided(tx, prefix[0])
		if err != nil {
			return err
		}
		return references.Scan(tx, prefix, func(_ []string, r Reference) error {
			if !own || r.Source != "" {
				list = append(list, r)
			}
			return nil
		})
	})
	return list, err
}

// provided reports whether a package comes from elsewhere than the registry.
func provided(tx *store.Tx, name string) (bool, error) {
	for _, file := range []string{name, name + "~dev"} {
		st, err := states.Get(tx, file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if st.Source != "" {
			return true, nil
		}
	}
	return false, nil
}

// recordReferences writes what the new document has and the previous one had
// not, marks what went away, and returns the stable versions that were re-tagged.
func (h *History) recordReferences(f composer.File, prev State, o Observation, at time.Time) ([]Retag, error) {
	doc, err := composer.ParseDocument(o.Body, f.Name)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", f, err)
	}
	now, err := doc.Index()
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", f, err)
	}
	before, err := h.index(f, prev)
	if err != nil {
		return nil, err
	}
	old := make(map[string]composer.Version, len(before))
	for _, v := range before {
		old[v.Normalized] = v
	}
	var changes []referenceChange
	var retags []Retag
	var returned []composer.Version
	for _, v := range now {
		was, had := old[v.Normalized]
		delete(old, v.Normalized)
		if had && sameDist(was.Dist, v.Dist) {
			continue
		}
		if v.Dist != nil {
			changes = append(changes, referenceChange{version: v})
			if !had && !composer.IsDev(v.Normalized) {
				returned = append(returned, v)
			}
		}
		if !had || was.Dist == nil {
			continue
		}
		if v.Dist == nil || v.Dist.Reference != was.Dist.Reference {
			changes = append(changes, referenceChange{version: was, gone: true})
			if v.Dist != nil && !composer.IsDev(v.Normalized) {
				retags = append(retags, Retag{
					Package: f.Name.String(), Version: v.Pretty,
					Old: was.Dist.Reference, New: v.Dist.Reference, At: at,
				})
			}
		}
	}
	for _, v := range old {
		if v.Dist != nil {
			changes = append(changes, referenceChange{version: v, gone: true})
		}
	}
	if len(returned) > 0 && prev.Seq > 0 {
		moved, err := h.movedWhileGone(f.Name, returned, at)
		if err != nil {
			return nil, err
		}
		retags = append(retags, moved...)
	}
	return retags, h.writeReferences(f.Name, changes, recording{at: at, via: o.Via, source: o.Source, initial: prev.Seq == 0, last: prev.Document})
}

// movedWhileGone finds, among stable versions that the previous document did
// not have, those that had another reference when they were last seen: a tag
// that is deleted, moved and restored is moved all the same.
func (h *History) movedWhileGone(n composer.Name, returned []composer.Version, at time.Time) ([]Retag, error) {
	all, err := h.AllReferences(n)
	if err != nil {
		return nil, err
	}
	last := map[string]Reference{}
	for _, r := range all {
		if held, ok := last[r.Normalized]; !ok || held.GoneAt.Before(r.GoneAt) {
			last[r.Normalized] = r
		}
	}
	var retags []Retag
	for _, v := range returned {
		if r, ok := last[v.Normalized]; ok && r.Reference != v.Dist.Reference {
			retags = append(retags, Retag{Package: n.String(), Version: v.Pretty, Old: r.Reference, New: v.Dist.Reference, At: at})
		}
	}
	return retags, nil
}

// closeReferences marks every reference of the current document as gone.
func (h *History) closeReferences(f composer.File, prev State, o Observation, at time.Time) error {
	before, err := h.index(f, prev)
	if err != nil {
		return err
	}
	var changes []referenceChange
	for _, v := range before {
		if v.Dist != nil {
			changes = append(changes, referenceChange{version: v, gone: true})
		}
	}
	return h.writeReferences(f.Name, changes, recording{at: at, via: o.Via, last: prev.Document})
}

// index returns the versions of a file's current document, or nil.
func (h *History) index(f composer.File, st State) ([]composer.Version, error) {
	if !st.Present() {
		return nil, nil
	}
	body, err := h.Document(st.Document)
	if err != nil {
		return nil, fmt.Errorf("read the previous document of %s: %w", f, err)
	}
	doc, err := composer.ParseDocument(body, f.Name)
	if err != nil {
		return nil, fmt.Errorf("index the previous document of %s: %w", f, err)
	}
	return doc.Index()
}

type referenceChange struct {
	version composer.Version
	gone    bool
}

// recording is what the changes of one observation have in common.
type recording struct {
	at      time.Time
	via     Via
	source  string
	initial bool         // the first document of its file
	last    store.Digest // the document before it
}

func (h *History) writeReferences(n composer.Name, changes []referenceChange, r recording) error {
	for len(changes) > 0 {
		batch := changes[:min(referenceBatch, len(changes))]
		changes = changes[len(batch):]
		err := h.store.Update(func(tx *store.Tx) error {
			for _, c := range batch {
				if err := putReference(tx, n, c, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record the references of %s: %w", n, err)
		}
	}
	return nil
}

func putReference(tx *store.Tx, n composer.Name, c referenceChange, r recording) error {
	v := c.version
	key := []string{n.String(), composer.ReferenceKey(v.Dist.Reference), v.Normalized}
	rec, err := references.Get(tx, key...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		rec = Reference{FirstSeen: r.at, Via: r.via, Initial: r.initial}
	case err != nil:
		return err
	}
	if c.gone {
		rec.GoneAt, rec.LastDocument = r.at, r.last
		return references.Put(tx, rec, key...)
	}
	if rec.Via == Import {
		rec.Via = r.via // seen with our own eyes now, but known since FirstSeen
	}
	rec.Version, rec.Normalized = v.Pretty, v.Normalized
	rec.Reference, rec.Type, rec.URL, rec.Shasum = v.Dist.Reference, v.Dist.Type, v.Dist.URL, v.Dist.Shasum
	if rec.URLs = composer.Origins(n, v); len(rec.URLs) == 1 && rec.URLs[0] == rec.URL {
		rec.URLs = nil
	}
	rec.SourceURL, rec.SourceReference = v.SourceURL, v.SourceReference
	rec.Time, rec.Published, rec.Source = v.Time, v.Published, r.source
	rec.GoneAt, rec.LastDocument = time.Time{}, store.Digest{}
	return references.Put(tx, rec, key...)
}

func sameDist(a, b *composer.Dist) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}
