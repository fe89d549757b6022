package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// View is any world that can be compared with another: a snapshot, an instant,
// the present.
type View interface {
	// Files lists the files that the world has an answer about.
	Files(ctx context.Context) ([]composer.File, error)
	// File says what the world has of one file.
	File(ctx context.Context, f composer.File) (FileView, error)
}

// FileView is one file in a world.
type FileView struct {
	// Fidelity says how well it is known; empty when the world knows nothing.
	Fidelity history.Fidelity
	// Fingerprint, when not empty, is the same for two views only if their
	// versions are.
	Fingerprint string
	// Versions lists the versions. It may be nil when there are none.
	Versions func(ctx context.Context) ([]VersionView, error)
}

// VersionView is one version in a world.
type VersionView struct {
	Version    string // as its author wrote it
	Normalized string
	Reference  string
	Denied     string // why it may not be used; empty when it may
}

// Difference is what changed between two worlds.
type Difference struct {
	Added    []Change         `json:"added"`
	Removed  []Change         `json:"removed"`
	Retagged []Change         `json:"retagged"` // the same version with another reference; moved branches too
	Denied   []Change         `json:"denied"`   // usable before and not any more
	Allowed  []Change         `json:"allowed"`  // the other way round
	Fidelity []FidelityChange `json:"fidelity"`
	Files    int              `json:"files"` // that were compared
}

// Empty reports whether the worlds are the same.
func (d Difference) Empty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Retagged)+len(d.Denied)+len(d.Allowed)+len(d.Fidelity) == 0
}

// Change is what happened to one version.
type Change struct {
	Package      composer.Name `json:"package"`
	Version      string        `json:"version"`
	Dev          bool          `json:"dev,omitempty"`
	Reference    string        `json:"reference,omitempty"`
	OldReference string        `json:"old_reference,omitempty"`
	Reason       string        `json:"reason,omitempty"`

	normalized string
}

// FidelityChange is a file that is known better or worse.
type FidelityChange struct {
	File string           `json:"file"`
	From history.Fidelity `json:"from"`
	To   history.Fidelity `json:"to"`
}

// Diff compares two worlds, in all files that either has an answer about, or
// in those of the given packages only. report, when not nil, is told how far it
// is.
func Diff(ctx context.Context, from, to View, only []composer.Name, report func(Progress)) (Difference, error) {
	files, err := filesToCompare(ctx, from, to, only)
	if err != nil {
		return Difference{}, err
	}
	d := Difference{
		Added: []Change{}, Removed: []Change{}, Retagged: []Change{}, Denied: []Change{}, Allowed: []Change{},
		Fidelity: []FidelityChange{}, Files: len(files),
	}
	p := tell(report, phaseMetadata, len(files))
	for _, f := range files {
		if err := d.file(ctx, f, from, to); err != nil {
			return Difference{}, fmt.Errorf("compare %s: %w", f, err)
		}
		p.step(0)
	}
	return d, nil
}

func filesToCompare(ctx context.Context, from, to View, only []composer.Name) ([]composer.File, error) {
	wanted := map[composer.Name]bool{}
	for _, n := range only {
		wanted[n] = true
	}
	set := map[composer.File]bool{}
	for _, v := range []View{from, to} {
		files, err := v.Files(ctx)
		if err != nil {
			return nil, fmt.Errorf("list what to compare: %w", err)
		}
		for _, f := range files {
			if only == nil || wanted[f.Name] {
				set[f] = true
			}
		}
	}
	list := make([]composer.File, 0, len(set))
	for f := range set {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b composer.File) int { return cmp.Compare(a.String(), b.String()) })
	return list, nil
}

func (d *Difference) file(ctx context.Context, f composer.File, from, to View) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := from.File(ctx, f)
	if err != nil {
		return err
	}
	b, err := to.File(ctx, f)
	if err != nil {
		return err
	}
	if a.Fidelity != b.Fidelity {
		d.Fidelity = append(d.Fidelity, FidelityChange{f.String(), a.Fidelity, b.Fidelity})
	}
	if a.Fingerprint != "" && a.Fingerprint == b.Fingerprint {
		return nil
	}
	before, err := a.list(ctx)
	if err != nil {
		return err
	}
	after, err := b.list(ctx)
	if err != nil {
		return err
	}
	d.versions(f, before, after)
	return nil
}

func (v FileView) list(ctx context.Context) ([]VersionView, error) {
	if v.Versions == nil {
		return nil, nil
	}
	return v.Versions(ctx)
}

func (d *Difference) versions(f composer.File, before, after []VersionView) {
	old := make(map[string]VersionView, len(before))
	for _, v := range before {
		old[v.Normalized] = v
	}
	start := *d
	for _, v := range after {
		was, had := old[v.Normalized]
		delete(old, v.Normalized)
		c := Change{
			Package: f.Name, Version: v.Version, Dev: f.Dev, Reference: v.Reference, Reason: v.Denied, normalized: v.Normalized,
		}
		switch {
		case !had:
			d.Added = append(d.Added, c)
			continue
		case was.Reference != v.Reference:
			c.OldReference = was.Reference
			d.Retagged = append(d.Retagged, c)
		}
		switch {
		case was.Denied == "" && v.Denied != "":
			d.Denied = append(d.Denied, c)
		case was.Denied != "" && v.Denied == "":
			c.Reason = was.Denied
			d.Allowed = append(d.Allowed, c)
		}
	}
	for _, v := range before {
		if _, gone := old[v.Normalized]; gone {
			delete(old, v.Normalized)
			d.Removed = append(d.Removed, Change{
				Package: f.Name, Version: v.Version, Dev: f.Dev, Reference: v.Reference, normalized: v.Normalized,
			})
		}
	}
	for _, part := range [][]Change{
		d.Added[len(start.Added):], d.Removed[len(start.Removed):], d.Retagged[len(start.Retagged):],
		d.Denied[len(start.Denied):], d.Allowed[len(start.Allowed):],
	} {
		slices.SortStableFunc(part, func(a, b Change) int { return composer.CompareVersions(b.normalized, a.normalized) })
	}
}

// VersionsOf lists the versions of a document, none of them denied.
func VersionsOf(doc *composer.Document) ([]VersionView, error) {
	index, err := doc.Index()
	if err != nil {
		return nil, err
	}
	list := make([]VersionView, len(index))
	for i, v := range index {
		list[i] = VersionView{Version: v.Pretty, Normalized: v.Normalized, Reference: Reference(v)}
	}
	return list, nil
}

// Look lists the versions of a document that is served as of an instant. It is
// where policies have their say.
type Look func(ctx context.Context, f composer.File, doc *composer.Document, at time.Time) ([]VersionView, error)

// View returns a sealed snapshot for comparison. A nil look sees everything
// and denies nothing.
func (s *Snapshots) View(id store.Digest, look Look) (View, error) {
	m, err := s.Manifest(id)
	if err != nil {
		return nil, err
	}
	plain := look == nil
	if plain {
		look = func(_ context.Context, _ composer.File, doc *composer.Document, _ time.Time) ([]VersionView, error) {
			return VersionsOf(doc)
		}
	}
	return &snapshotView{s, m, look, plain}, nil
}

type snapshotView struct {
	s    *Snapshots
	m    *Manifest
	look Look
	// plain means that versions depend on nothing besides the document.
	plain bool
}

func (v *snapshotView) Files(context.Context) ([]composer.File, error) {
	list := make([]composer.File, 0, len(v.m.Files))
	for _, e := range v.m.Files {
		f, err := composer.ParseFile(e.File)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

func (v *snapshotView) File(_ context.Context, f composer.File) (FileView, error) {
	e, ok := v.m.Entry(f)
	if !ok {
		return FileView{}, nil
	}
	view := FileView{Fidelity: e.Fidelity}
	if e.Absent() {
		return view, nil
	}
	if v.plain {
		view.Fingerprint = "document " + e.Served().String()
	}
	view.Versions = func(ctx context.Context) ([]VersionView, error) {
		doc, err := v.s.open(f, e)
		if err != nil {
			return nil, err
		}
		return v.look(ctx, f, doc, v.m.Instant)
	}
	return view, nil
}
