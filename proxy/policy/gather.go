package policy

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// Gather collects the facts about a package that are recorded, as far as a view
// asks for them: what only some rules need is read when one of them counts.
// Entries of older documents are read likewise, and kept with the facts, which
// therefore belong to one goroutine.
func (p *Policy) Gather(h *history.History, n composer.Name, v View) (Facts, error) {
	facts := Facts{Entry: entriesOf(h, n), complete: func(f *Facts) error { return complete(h, n, f) }}
	var err error
	if facts.References, err = h.MovedReferences(n); err == nil {
		facts.Live, err = p.newest(h, n, v.cooling())
	}
	if err != nil {
		return Facts{}, fmt.Errorf("gather what is known of %s: %w", n, err)
	}
	return facts, nil
}

// complete reads all references, and what the age of the first ones needs.
func complete(h *history.History, n composer.Name, facts *Facts) (err error) {
	if facts.References, err = h.AllReferences(n); err != nil {
		return fmt.Errorf("gather what is known of %s: %w", n, err)
	}
	for dev, at := range map[bool]*time.Time{false: &facts.FirstModified, true: &facts.FirstModifiedDev} {
		if slices.ContainsFunc(facts.References, func(r history.Reference) bool {
			return r.Initial && r.Published.IsZero() && composer.IsDev(r.Normalized) == dev
		}) {
			if *at, err = firstModified(h, composer.File{Name: n, Dev: dev}); err != nil {
				return fmt.Errorf("gather what is known of %s: %w", n, err)
			}
		}
	}
	return nil
}

// newest is the newest document of the tagged versions, or nil when it says
// nothing that counts: advisories count for ages alone. A package that
// vanished upstream keeps its last one: what was malware before it was pulled
// still is.
func (p *Policy) newest(h *history.History, n composer.Name, advisories bool) (*composer.Document, error) {
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
	if !advisories && p.unfiltered.Contains(digest) {
		return nil, nil
	}
	body, err := h.Document(digest)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(body, filterKey) {
		if p.unfiltered.Add(digest, struct{}{}); !advisories {
			return nil, nil
		}
	}
	return composer.ParseDocument(body, n)
}

var filterKey = []byte(`"filter"`)

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

// Entry returns the version that a recorded reference stands for, as it is in
// the last document observed before an instant that has it; nil when that is
// not known.
func Entry(h *history.History, n composer.Name, r history.Reference, before time.Time) (composer.Object, error) {
	return entriesOf(h, n)(r, before)
}

func entriesOf(h *history.History, n composer.Name) func(history.Reference, time.Time) (composer.Object, error) {
	return documents{history: h, name: n, read: map[store.Digest]map[string]composer.Object{}}.entry
}

// documents reads entries of older documents, each document once.
type documents struct {
	history *history.History
	name    composer.Name
	read    map[store.Digest]map[string]composer.Object // by normalized version and reference
}

// entry is Facts.Entry. Mostly the reference had gone before the instant, and
// its record names its last document. If it has come back since, the documents
// before the instant are searched, newest first.
func (d documents) entry(r history.Reference, before time.Time) (composer.Object, error) {
	if !r.LastDocument.IsZero() && !r.GoneAt.After(before) {
		return d.find(r, r.LastDocument)
	}
	revs, err := d.history.Revisions(composer.File{Name: d.name, Dev: composer.IsDev(r.Normalized)})
	if err != nil {
		return nil, err
	}
	for _, rev := range slices.Backward(revs) {
		if rev.Absent() || !rev.FirstSeen.Before(before) {
			continue
		}
		if rev.FirstSeen.Before(r.FirstSeen) {
			return nil, nil
		}
		if o, err := d.find(r, rev.Document); o != nil || err != nil {
			return o, err
		}
	}
	return nil, nil
}

// find reads one entry of one document.
func (d documents) find(r history.Reference, digest store.Digest) (composer.Object, error) {
	entries, ok := d.read[digest]
	if !ok {
		body, err := d.history.Document(digest)
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
		d.read[digest] = entries
	}
	return entries[entryKey(r.Normalized, r.Reference)], nil
}

func entryKey(normalized, reference string) string { return normalized + "\x00" + reference }
