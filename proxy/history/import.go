package history

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Lock files are older than any observation of ours. An entry proves that a
// version existed with a certain reference at the latest when the file was
// committed, and carries the version's complete metadata. So imported entries
// fill in views from before the first observation: versions that were deleted
// since, and tags as they were before they were moved. They change neither
// recorded revisions nor views that are bound.
//
// Of a branch, a lock proves only that its head once was there, not that it
// still was when the file was committed. Branch entries are therefore recorded
// as references, so that their archives can be asked for, and shown in no view.

// imported points to the list of what was imported for one file. The list is a
// document like any other, so that a binding can name the list it was made with.
type imported struct {
	List     store.Digest `json:"list"`
	Earliest time.Time    `json:"earliest"`
	Versions int          `json:"versions"`
}

func (i imported) provenBy(at time.Time) bool {
	return i.Versions > 0 && !i.Earliest.After(at)
}

var imports = store.Table[imported]{Family: store.FamilyRevision, Name: "imported"}

// Proof is one imported version: at At, a lock file had it.
type Proof struct {
	At     time.Time       `json:"at"`
	Object composer.Object `json:"version"`
}

// ImportResult says what an import did.
type ImportResult struct {
	Versions int             // versions proven for the first time, or for an earlier instant
	Known    int             // entries that added nothing
	Branches int             // branch heads: recorded as references only
	Skipped  []string        // names of entries without a reference, such as path repositories
	Files    []composer.File // files whose unbound views from before their first observation may now differ
}

// ImportLock takes the versions of a lock file as proven at an instant: the
// time of the commit that the file is from.
func (h *History) ImportLock(lock *composer.Lock, at time.Time) (ImportResult, error) {
	at = ceil(at)
	if at.After(h.now()) {
		return ImportResult{}, fmt.Errorf("import a composer.lock of %s: that is in the future", at.Format(time.RFC3339))
	}
	var res ImportResult
	byFile := map[composer.File][]composer.LockPackage{}
	for _, p := range lock.Packages {
		if p.Reference() == "" || p.Dist != nil && p.Dist.Type == "path" {
			res.Skipped = append(res.Skipped, p.Name.String())
			continue
		}
		byFile[p.File()] = append(byFile[p.File()], p)
	}
	files := make([]composer.File, 0, len(byFile))
	for f := range byFile {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b composer.File) int { return strings.Compare(a.String(), b.String()) })
	for _, f := range files {
		if f.Dev {
			res.Branches += len(byFile[f])
		} else {
			added, err := h.prove(f, byFile[f], at)
			if err != nil {
				return res, fmt.Errorf("import a composer.lock: %w", err)
			}
			res.Versions += added
			res.Known += len(byFile[f]) - added
			if added > 0 {
				res.Files = append(res.Files, f)
			}
		}
		if err := h.importReferences(f.Name, byFile[f], at); err != nil {
			return res, fmt.Errorf("import a composer.lock: %w", err)
		}
	}
	return res, nil
}

// prove adds versions to the list of one file and returns how many were news.
func (h *History) prove(f composer.File, pkgs []composer.LockPackage, at time.Time) (int, error) {
	added := 0
	err := h.store.Update(func(tx *store.Tx) error {
		added = 0
		rec, err := imports.Get(tx, f.String())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		list, err := readProofs(tx, rec.List)
		if err != nil {
			return err
		}
		for _, p := range pkgs {
			if list, err = addProof(list, Proof{At: at, Object: published(p)}, f.Name); err != nil {
				return err
			}
		}
		slices.SortStableFunc(list, func(a, b Proof) int {
			return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Object.Text("version"), b.Object.Text("version")))
		})
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(list); err != nil {
			return err
		}
		digest, err := tx.PutDocument(body.Bytes())
		if err != nil || digest == rec.List {
			return err
		}
		added = max(1, len(list)-rec.Versions)
		return imports.Put(tx, imported{List: digest, Earliest: list[0].At, Versions: len(list)}, f.String())
	})
	if err != nil {
		return 0, fmt.Errorf("add versions of %s: %w", f, err)
	}
	return added, nil
}

// addProof adds p unless the same version with the same reference is proven
// for an instant not later.
func addProof(list []Proof, p Proof, n composer.Name) ([]Proof, error) {
	v, err := versionOf(p.Object, n)
	if err != nil {
		return nil, err
	}
	for i, q := range list {
		w, err := versionOf(q.Object, n)
		if err != nil {
			return nil, err
		}
		if w.Normalized == v.Normalized && sameContent(v, w) {
			if p.At.Before(q.At) {
				list[i] = p
			}
			return list, nil
		}
	}
	return append(list, p), nil
}

func versionOf(o composer.Object, n composer.Name) (composer.Version, error) {
	index, err := composer.NewDocument(n, []composer.Object{o}).Index()
	if err != nil {
		return composer.Version{}, err
	}
	return index[0], nil
}

// published is a lock entry in the form of a metadata document: without what
// Composer adds for itself.
func published(p composer.LockPackage) composer.Object {
	o := p.Object.Without("notification-url").Without("transport-options").Without("installation-source")
	for _, key := range []string{"dist", "source"} {
		var part composer.Object
		if json.Unmarshal(o.Get(key), &part) != nil || !part.Has("mirrors") {
			continue
		}
		if text, err := part.Without("mirrors").MarshalJSON(); err == nil {
			o = o.With(key, text)
		}
	}
	return o
}

// importReferences makes the locked archives findable by their reference.
func (h *History) importReferences(n composer.Name, pkgs []composer.LockPackage, at time.Time) error {
	return h.store.Update(func(tx *store.Tx) error {
		for _, p := range pkgs {
			if p.Dist == nil || p.Dist.Reference == "" {
				continue
			}
			key := []string{n.String(), composer.ReferenceKey(p.Dist.Reference), p.Normalized}
			rec, err := references.Get(tx, key...)
			if err == nil && (rec.Via != Import || !at.Before(rec.FirstSeen)) {
				continue // known better
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			v, err := versionOf(p.Object, n)
			if err != nil {
				return err
			}
			if err := references.Put(tx, Reference{
				Version: v.Pretty, Normalized: v.Normalized,
				Reference: v.Dist.Reference, Type: v.Dist.Type, URL: originOf(v), Shasum: v.Dist.Shasum,
				SourceURL: v.SourceURL, SourceReference: v.SourceReference,
				Time: v.Time, FirstSeen: at, GoneAt: at, Via: Import,
			}, key...); err != nil {
				return err
			}
		}
		return nil
	})
}

// originOf is where the archive of a locked version comes from. A lock that
// was made through a proxy names the proxy; then the address is told from the
// repository, where that is possible.
func originOf(v composer.Version) string {
	if !strings.Contains(v.Dist.URL, "%") && !strings.Contains(v.Dist.URL, "/dist-proxy/") {
		return v.Dist.URL
	}
	repo, ok := strings.CutPrefix(strings.TrimSuffix(v.SourceURL, ".git"), "https://github.com/")
	if !ok || strings.Count(repo, "/") != 1 || v.Dist.Type != "zip" {
		return ""
	}
	return "https://api.github.com/repos/" + repo + "/zipball/" + v.Dist.Reference
}

// Imports returns what lock files prove about f, oldest first.
func (h *History) Imports(f composer.File) ([]Proof, error) {
	rec, err := h.imports(f)
	if err != nil {
		return nil, err
	}
	return h.proofs(rec.List)
}

func (h *History) imports(f composer.File) (imported, error) {
	var rec imported
	err := h.store.View(func(tx *store.Tx) (err error) {
		rec, err = imports.Get(tx, f.String())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return imported{}, nil
	}
	return rec, err
}

func (h *History) proofs(list store.Digest) (proofs []Proof, err error) {
	err = h.store.View(func(tx *store.Tx) error {
		proofs, err = readProofs(tx, list)
		return err
	})
	return proofs, err
}

func readProofs(tx *store.Tx, list store.Digest) ([]Proof, error) {
	if list.IsZero() {
		return nil, nil
	}
	body, err := tx.Document(list)
	if err != nil {
		return nil, err
	}
	var proofs []Proof
	return proofs, json.Unmarshal(body, &proofs)
}
