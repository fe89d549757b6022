package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// RefChange is a tag or branch that a Sync found changed.
type RefChange struct {
	Ref      string // refs/tags/… or refs/heads/…
	Old, New string // commit ids; "" for what was not there before, or is there no more
}

// Changes are what a Sync brought, by name of the reference.
type Changes struct{ Refs []RefChange }

// incoming marks folders of mirrors in the making.
const incoming = ".incoming-"

var errTime = errors.New("it took longer than is allowed")

// Sync makes the mirror what the repository is now: all of it the first time, what changed later.
// When nothing changed, that costs one question. Changes are true also when there is an error behind
// them.
func (r *Repository) Sync(ctx context.Context) (Changes, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return Changes{}, err
	}
	defer done()
	if err := r.lock.Acquire(ctx, 1); err != nil {
		return Changes{}, fmt.Errorf("wait for another sync of %s: %w", r.at, context.Cause(ctx))
	}
	defer r.lock.Release(1)
	changes, err := r.sync(ctx)
	if err != nil {
		return changes, fmt.Errorf("sync %s: %w", r.at, err)
	}
	return changes, nil
}

// begin waits for a turn and sets the time limit of one operation.
func (r *Repository) begin(ctx context.Context) (context.Context, func(), error) {
	if err := r.git.slots.Acquire(ctx, 1); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.git.o.Timeout, fmt.Errorf("%w (%s)", errTime, r.git.o.Timeout))
	return ctx, func() { cancel(); r.git.slots.Release(1) }, nil
}

func (r *Repository) sync(ctx context.Context) (Changes, error) {
	to, err := r.reach(ctx)
	if err != nil {
		return Changes{}, err
	}
	defer to.closed()
	theirs, err := r.ask(ctx, to)
	if err != nil {
		return Changes{}, err
	}
	var before listing
	_, err = os.Stat(r.dir)
	first := errors.Is(err, fs.ErrNotExist)
	switch {
	case first:
		err = r.clone(ctx, to)
	case err == nil:
		if before, err = r.list(ctx); err == nil && !slices.Equal(before.refs, theirs.refs) {
			err = r.fetch(ctx, to, before, theirs)
		}
	}
	if err != nil && first {
		return Changes{}, err
	}
	after, listErr := r.list(ctx)
	if listErr != nil {
		return Changes{}, errors.Join(err, listErr)
	}
	changes := compare(before.refs, after.refs)
	if err != nil {
		return changes, err
	}
	if head := theirs.defaultBranch(); head != "" && head != after.head {
		if _, err := r.git.output(ctx, call{dir: r.dir, args: []string{"symbolic-ref", "HEAD", head}}); err != nil {
			return changes, fmt.Errorf("note the default branch: %w", err)
		}
	}
	return changes, nil
}

// ask has the server list what it has.
func (r *Repository) ask(ctx context.Context, to remote) (listing, error) {
	var theirs listing
	c := to.call
	c.args = []string{"ls-remote", "--quiet", "--symref", "--", to.url}
	err := r.git.run(ctx, c, func(in io.WriteCloser, out io.Reader) (err error) {
		in.Close()
		theirs, err = readListing(out, r.git.o.MaxRefs)
		return err
	})
	return theirs, err
}

// clone makes the mirror beside its place and puts it there when it is whole.
func (r *Repository) clone(ctx context.Context, to remote) error {
	began := time.Now()
	fresh, err := os.MkdirTemp(r.git.o.Dir, filepath.Base(r.dir)+incoming)
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) //nolint:errcheck // it is gone when all went well, and New tries again
	c := to.call
	c.args = []string{"clone", "--quiet", "--bare", "--no-local", "--template=", "--", to.url, fresh}
	if err := r.git.bounded(ctx, fresh, c); err != nil {
		return err
	}
	if err := os.Rename(fresh, r.dir); err != nil {
		return err
	}
	r.git.o.Logger.LogAttrs(ctx, slog.LevelInfo, "mirrored a repository", slog.String("url", r.URL()), slog.Duration("took", time.Since(began)))
	return nil
}

// fetch brings what changed and takes away what is gone. A repository that suddenly shows nothing is
// not believed: that is a broken server far more often than somebody who deleted everything.
func (r *Repository) fetch(ctx context.Context, to remote, before, theirs listing) error {
	if len(theirs.refs) == 0 && len(before.refs) > 0 {
		return errors.New("it shows no tags and branches any more; what the mirror has was left as it is")
	}
	c := to.call
	c.dir = r.dir
	c.args = []string{
		"fetch", "--quiet", "--no-tags", "--prune", "--force", "--no-write-fetch-head", "--no-recurse-submodules", "--",
		to.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*",
	}
	err := r.git.bounded(ctx, r.dir, c)
	if err != nil {
		r.clearPartialPacks()
	}
	return err
}

// clearPartialPacks removes what an interrupted fetch left. Nobody else writes packs, because the
// caller holds the lock.
func (r *Repository) clearPartialPacks() {
	for _, pattern := range []string{"tmp_*", "*.keep"} {
		leftovers, _ := filepath.Glob(filepath.Join(r.dir, "objects", "pack", pattern)) // the pattern is well-formed
		for _, file := range leftovers {
			_ = os.Remove(file)
		}
	}
}

// sizeCheck is how often a fetch is measured. A fast disk takes some hundred megabytes meanwhile.
const sizeCheck = 250 * time.Millisecond

// bounded runs git while it fills a folder, and ends it when the folder becomes too large. What is
// too large already is not filled.
func (g *Git) bounded(ctx context.Context, dir string, c call) error {
	if err := g.tooLarge(dir); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		ticker := time.NewTicker(sizeCheck)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := g.tooLarge(dir); err != nil {
					stop(err)
					return
				}
			}
		}
	}()
	_, err := g.output(ctx, c)
	stop(nil)
	<-watched
	if err == nil {
		err = g.tooLarge(dir)
	}
	return err
}

func (g *Git) tooLarge(dir string) error {
	if sizeOf(dir) > g.o.MaxSize {
		return fmt.Errorf("its mirror takes more than the %d bytes allowed", g.o.MaxSize)
	}
	return nil
}

// sizeOf adds up the files below a folder. Files come and go meanwhile.
func sizeOf(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// compare finds what differs between two lists in order of name. An annotated tag that was written
// anew for the same commit is no change.
func compare(before, after []ref) Changes {
	var c Changes
	for len(before) > 0 || len(after) > 0 {
		var change RefChange
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].name < after[0].name:
			change = RefChange{Ref: before[0].name, Old: before[0].commit}
			before = before[1:]
		case len(before) == 0 || after[0].name < before[0].name:
			change = RefChange{Ref: after[0].name, New: after[0].commit}
			after = after[1:]
		default:
			change = RefChange{before[0].name, before[0].commit, after[0].commit}
			before, after = before[1:], after[1:]
		}
		if change.Old != change.New {
			c.Refs = append(c.Refs, change)
		}
	}
	return c
}
