package snapshot

import (
	"context"
	"slices"
	"strings"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// fromLocks makes the document of a file out of exactly the versions that the
// lock files name. Each is taken from the document at the instant, else from
// any recorded one, else from the lock file itself, which holds everything a
// client needs.
func (b *build) fromLocks(ctx context.Context, f composer.File) (Entry, *composer.Document, error) {
	e := Entry{File: f.String(), Kind: history.WholeDocument, At: b.r.Instant, Fidelity: history.Exact}
	doc := composer.NewDocument(f.Name, nil)
	if packages := slices.Clone(b.locks[f]); len(packages) > 0 {
		slices.SortStableFunc(packages, newestFirst)
		doc = b.base(ctx, f, &e)
		if err := ctx.Err(); err != nil {
			return e, nil, err
		}
		offered, err := entries(doc)
		if err != nil {
			return e, nil, err
		}
		versions := make([]composer.Object, len(packages))
		for i, p := range packages {
			if versions[i] = offered[pinOf(p)]; versions[i] != nil {
				continue
			}
			if e.Fidelity == history.Exact || e.Fidelity == history.Absent {
				e.Fidelity = history.Reconstructed
			}
			o, known, err := b.world.Recorded(ctx, f, p.Normalized, p.Reference())
			if err != nil {
				return e, nil, err
			}
			if !known {
				o = restored(p.Object)
				e.Restored = append(e.Restored, p.Normalized)
			}
			versions[i] = o
		}
		doc = composer.FillNormalized(doc.With(versions))
	}
	body := doc.Encode()
	err := b.s.store.Update(func(tx *store.Tx) (err error) {
		e.Document, err = tx.PutDocument(body)
		return err
	})
	return e, doc, err
}

// base returns the document of a file at the instant, or an empty one when
// that cannot be had: the lock file will do.
func (b *build) base(ctx context.Context, f composer.File, e *Entry) *composer.Document {
	bound, err := b.world.Bind(ctx, b.r.Instant, f)
	if err == nil {
		var doc *composer.Document
		if doc, err = b.s.documents.Materialize(f, bound); err == nil && doc != nil {
			e.Fidelity, e.ValidFrom, e.LastConfirmed = bound.Fidelity, bound.ValidFrom.UTC(), bound.LastConfirmed.UTC()
			return doc
		}
	}
	e.Fidelity = history.Reconstructed
	return composer.NewDocument(f.Name, nil)
}

// pin is what a lock file pins: a version at a reference.
type pin struct{ normalized, reference string }

func pinOf(p composer.LockPackage) pin { return pin{p.Normalized, p.Reference()} }

// Reference identifies the content of a version, as LockPackage.Reference does:
// the reference of its archive, else of its source.
func Reference(v composer.Version) string {
	if v.Dist != nil && v.Dist.Reference != "" {
		return v.Dist.Reference
	}
	return v.SourceReference
}

func entries(doc *composer.Document) (map[pin]composer.Object, error) {
	index, err := doc.Index()
	if err != nil {
		return nil, err
	}
	whole := doc.Expanded()
	m := make(map[pin]composer.Object, len(index))
	for i, v := range index {
		m[pin{v.Normalized, Reference(v)}] = whole[i]
	}
	return m, nil
}

// newestFirst is the order of versions in a metadata document.
func newestFirst(a, b composer.LockPackage) int {
	if c := composer.CompareVersions(b.Normalized, a.Normalized); c != 0 {
		return c
	}
	return strings.Compare(a.Normalized, b.Normalized)
}

// restored is a lock file's entry as the version of a metadata document: what
// Composer adds to it when it locks a package is left out.
func restored(o composer.Object) composer.Object {
	o = o.Without("notification-url").Without("installation-source")
	for _, key := range []string{"dist", "source"} {
		var part composer.Object
		if value := o.Get(key); value != nil && part.UnmarshalJSON(value) == nil && part.Has("mirrors") {
			if text, err := part.Without("mirrors").MarshalJSON(); err == nil {
				o = o.With(key, text)
			}
		}
	}
	return o
}
