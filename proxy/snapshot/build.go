package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stasis/proxy/composer"
	"stasis/store"
)

// maxMissing bounds what a record lists as missing.
const maxMissing = 500

// build is a snapshot in the making.
type build struct {
	s      *Snapshots
	world  World
	r      record
	locks  locked // nil unless the snapshot is made from lock files
	cancel context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	progress Progress                    // guarded by mu
	missing  []Missing                   // guarded by mu
	files    []Entry                     // guarded by mu
	wanted   map[wanted]composer.Version // versions whose archives are needed; guarded by mu
	archives []Archive                   // guarded by mu
}

// wanted names the archive of one version.
type wanted struct {
	name                       composer.Name
	normalized, reference, typ string
}

// The phases of a build.
const (
	phaseMetadata = "metadata"
	phaseArchives = "archives"
	phaseSealing  = "sealing"
)

// Create is Begin and Build.
func (s *Snapshots) Create(ctx context.Context, req Request, w World) (Snapshot, error) {
	snap, err := s.Begin(req)
	if err != nil {
		return Snapshot{}, err
	}
	return s.Build(ctx, snap.Name, w)
}

// Unfinished returns the names of the snapshots that are to be built and that
// nobody is building: those of a process that ended early.
func (s *Snapshots) Unfinished() ([]string, error) {
	list, err := s.List()
	var out []string
	for _, snap := range list {
		if snap.State == Building && snap.Progress == nil {
			out = append(out, snap.Name)
		}
	}
	return out, err
}

// Build does the work that Begin announced, or tries again to complete an
// incomplete snapshot at its instant. It returns when the snapshot is sealed
// or incomplete. When ctx ends before, the error is that of ctx, the snapshot
// stays building, and another Build goes on.
func (s *Snapshots) Build(ctx context.Context, name string, w World) (Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := s.start(name, w, cancel)
	if err != nil {
		return Snapshot{}, err
	}
	defer func() {
		s.mu.Lock()
		delete(s.builds, name)
		s.mu.Unlock()
		close(b.ended)
	}()
	err = b.run(ctx)
	if ctx.Err() != nil {
		return b.r.Snapshot, fmt.Errorf("the snapshot %q is not finished: %w", name, ctx.Err())
	}
	if err != nil {
		b.lack(Missing{Reason: err.Error()})
	}
	if b.r.State == Sealed {
		return b.r.Snapshot, nil
	}
	return b.giveUp()
}

// start reads what Begin wrote and takes the build on.
func (s *Snapshots) start(name string, w World, cancel context.CancelFunc) (*build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.builds[name] != nil {
		return nil, problemf(ErrExists, "the snapshot %q is being built already", name)
	}
	b := &build{s: s, world: w, cancel: cancel, ended: make(chan struct{}), wanted: map[wanted]composer.Version{}}
	b.progress.Phase = phaseMetadata
	var bodies [][]byte
	err := s.store.Update(func(tx *store.Tx) (err error) {
		if b.r, err = find(tx, name); err != nil {
			return err
		}
		if b.r.State == Sealed {
			return problemf(ErrExists, "the snapshot %q is sealed and cannot be built again", name)
		}
		bodies = bodies[:0]
		for _, d := range b.r.Locks {
			body, err := tx.Document(d)
			if err != nil {
				return fmt.Errorf("read the lock files of snapshot %q: %w", name, err)
			}
			bodies = append(bodies, body)
		}
		if b.r.State == Building {
			return nil
		}
		b.r.State, b.r.Missing, b.r.MissingTotal = Building, nil, 0
		return records.Put(tx, b.r, name)
	})
	if err == nil && len(bodies) > 0 {
		b.locks, err = readLocks(bodies)
	}
	if err != nil {
		return nil, err
	}
	s.builds[name] = b
	return b, nil
}

func (b *build) run(ctx context.Context) error {
	files, err := b.plan(ctx)
	if err != nil {
		return err
	}
	b.phase(phaseMetadata, len(files))
	err = parallel(ctx, b.s.parallel, files, func(ctx context.Context, f composer.File) error {
		defer b.step(0)
		return b.file(ctx, f)
	})
	if err != nil {
		return err
	}
	if b.r.Options.Archives != ArchivesNone {
		if err := b.gather(ctx); err != nil {
			return err
		}
	}
	if len(b.missing) > 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	b.phase(phaseSealing, 1)
	return b.seal()
}

// plan lists the files that the snapshot is about.
func (b *build) plan(ctx context.Context) ([]composer.File, error) {
	if b.locks == nil {
		files, err := b.world.Files(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the recorded files: %w", err)
		}
		return files, nil
	}
	files := make([]composer.File, 0, len(b.locks))
	for f := range b.locks {
		files = append(files, f)
	}
	return files, nil
}

// file finds out what the snapshot says about one file.
func (b *build) file(ctx context.Context, f composer.File) error {
	var e Entry
	var doc *composer.Document
	var err error
	if b.locks != nil {
		e, doc, err = b.fromLocks(ctx, f)
	} else {
		e, doc, err = b.fromWorld(ctx, f)
	}
	var versions []composer.Version
	if err == nil && doc != nil {
		versions, err = b.versions(ctx, f, doc)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.lack(Missing{Package: f.String(), Reason: err.Error()})
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, e)
	for _, v := range versions {
		if v.Dist != nil && v.Dist.Type != "" && v.Dist.Type != "path" {
			b.wanted[wanted{f.Name, v.Normalized, v.Dist.Reference, v.Dist.Type}] = v
		}
	}
	return nil
}

// fromWorld binds a file at the instant. The document is nil when nothing
// about it needs to be known.
func (b *build) fromWorld(ctx context.Context, f composer.File) (Entry, *composer.Document, error) {
	bound, err := b.world.Bind(ctx, b.r.Instant, f)
	if err != nil {
		return Entry{}, nil, err
	}
	e := entryOf(f, bound)
	if e.Absent() || !e.derived() && b.r.Options.Archives == ArchivesNone {
		return e, nil, nil
	}
	doc, err := b.s.documents.Materialize(f, e.Binding())
	if err != nil {
		return Entry{}, nil, err
	}
	if e.derived() {
		e.Result = store.SumDigest(doc.Encode())
	}
	return e, doc, nil
}

// versions are those of a document whose archives the snapshot needs.
func (b *build) versions(ctx context.Context, f composer.File, doc *composer.Document) ([]composer.Version, error) {
	switch {
	case b.r.Options.Archives == ArchivesNone:
		return nil, nil
	case b.locks != nil:
		return doc.Index()
	}
	return b.world.Allowed(ctx, f, doc, b.r.Instant)
}

// giveUp records what is missing and lets go of what was pinned meanwhile.
func (b *build) giveUp() (Snapshot, error) {
	slices.SortFunc(b.missing, func(x, y Missing) int {
		return cmp.Or(cmp.Compare(x.Package, y.Package), cmp.Compare(x.Version, y.Version), cmp.Compare(x.Reference, y.Reference))
	})
	b.r.State = Incomplete
	b.r.MissingTotal = len(b.missing)
	b.r.Missing = b.missing[:min(len(b.missing), maxMissing)]
	b.count()
	err := b.s.store.Update(func(tx *store.Tx) error {
		if err := b.still(tx); err != nil {
			return err
		}
		return records.Put(tx, b.r, b.r.Name)
	})
	return b.r.Snapshot, errors.Join(err, b.s.release(buildOwner(b.r.Name)))
}

// parallel calls fn for every item, n at a time, until one fails.
func parallel[T any](ctx context.Context, n int, items []T, fn func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(n)
	for _, item := range items {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return fn(ctx, item) })
	}
	return g.Wait()
}
