package policy

import (
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// Gather collects the facts about a package that are recorded. Older documents
// are read only when an evaluation asks for an entry of theirs.
func Gather(h *history.History, n composer.Name) (Facts, error) {
	refs, err := h.AllReferences(n)
	if err != nil {
		return Facts{}, fmt.Errorf("gather what is known of %s: %w", n, err)
	}
	docs := documents{h, n, map[store.Digest]map[string]composer.Object{}}
	facts := Facts{References: refs, Entry: docs.entry}
	if facts.Live, err = newest(h, n); err != nil {
		return Facts{}, fmt.Errorf("gather what is known of %s: %w", n, err)
	}
	for dev, at := range map[bool]*time.Time{false: &facts.FirstModified, true: &facts.FirstModifiedDev} {
		if slices.ContainsFunc(refs, func(r history.Reference) bool {
			return r.Initial && r.Published.IsZero() && composer.IsDev(r.Normalized) == dev
		}) {
			if *at, err = firstModified(h, composer.File{Name: n, Dev: dev}); err != nil {
				return Facts{}, fmt.Errorf("gather what is known of %s: %w", n, err)
			}
		}
	}
	return facts, nil
}

// newest is the newest document of the tagged versions. A package that
// vanished upstream keeps its last one: what was malware before it was pulled
// still is.
func newest(h *history.History, n composer.Name) (*composer.Document, error) {
	f := composer.File{Name: n}
	st, err := h.State(f)
	if err != nil || !st.Known() {
		return nil, err
	}
	digest := st.Document
	if digest.IsZero() {
		revs, err := h.Revisions(f)
		if err != nil {
			return nil, err
		}
		for _, r := range revs {
			if !r.Absent() {
				digest = r.Document
			}
		}
		if digest.IsZero() {
			return nil, nil
		}
	}
	body, err := h.Document(digest)
	if err != nil {
		return nil, err
	}
	return composer.ParseDocument(body, n)
}

// firstModified is when the first document of a file began.
func firstModified(h *history.History, f composer.File) (time.Time, error) {
	revs, err := h.Revisions(f)
	for _, r := range revs {
		if r.Absent() {
			continue
		}
		if at, ok := history.ParseHTTPTime(r.LastModified); ok {
			return at, err
		}
		return r.ValidFrom, err
	}
	return time.Time{}, err
}

// documents reads entries of older documents, each document once.
type documents struct {
	history *history.History
	name    composer.Name
	read    map[store.Digest]map[string]composer.Object // by normalized version and reference
}

func (d documents) entry(r history.Reference) (composer.Object, error) {
	if r.LastDocument.IsZero() {
		return nil, nil
	}
	entries, ok := d.read[r.LastDocument]
	if !ok {
		body, err := d.history.Document(r.LastDocument)
		if err != nil {
			return nil, err
		}
		doc, err := composer.ParseDocument(body, d.name)
		if err != nil {
			return nil, err
		}
		index, err := doc.Index()
		if err != nil {
			return nil, err
		}
		entries = make(map[string]composer.Object, len(index))
		for i, o := range doc.Expanded() {
			entries[entryKey(index[i].Normalized, referenceOf(index[i]))] = o
		}
		d.read[r.LastDocument] = entries
	}
	return entries[entryKey(r.Normalized, r.Reference)], nil
}

func entryKey(normalized, reference string) string { return normalized + "\x00" + reference }
