package git

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// packsKept is how many packs a mirror may have: each fetch brings one.
const packsKept = 10

// Maintain joins the packs that syncs have brought, if they have become many; otherwise it costs a look
// at one folder. It is to be called now and then when nobody waits, since it can take minutes on a
// large mirror and syncs wait for it. What no reference leads to any more is kept.
func (r *Repository) Maintain(ctx context.Context) error {
	if packs, err := filepath.Glob(filepath.Join(r.dir, "objects", "pack", "*.pack")); err == nil && len(packs) <= packsKept {
		return r.mirrored()
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := r.lock.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer r.lock.Release(1)
	if err := r.mirrored(); err != nil {
		return err
	}
	for _, c := range []call{
		{args: []string{"pack-refs", "--all", "--prune"}},
		{args: []string{"gc", "--auto", "--quiet"}, config: []setting{
			{"gc.auto", "6700"}, {"gc.autoPackLimit", strconv.Itoa(packsKept)}, {"gc.autoDetach", "false"},
			{"gc.pruneExpire", "never"}, {"gc.cruftPacks", "true"}, {"gc.writeCommitGraph", "false"}, {"pack.threads", "1"},
		}},
	} {
		c.dir = r.dir
		if _, err := r.git.output(ctx, c); err != nil {
			return fmt.Errorf("maintain the mirror of %s: %w", r.at, err)
		}
	}
	return nil
}

// mirrorName matches the folders of mirrors.
var mirrorName = strings.Repeat("[0-9a-f]", 32) + ".git"

// Prune removes the mirrors of repositories that are not needed, and which others are, needed says by
// their addresses. It is asked once more for each that is about to go, while nothing can be fetched
// into it.
func (g *Git) Prune(ctx context.Context, needed func() ([]string, error)) error {
	dirs, err := filepath.Glob(filepath.Join(g.o.Dir, mirrorName))
	if err != nil {
		return err
	}
	keep, err := g.mirrorsOf(needed)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if keep[dir] {
			continue
		}
		if err := g.remove(ctx, dir, needed); err != nil {
			return fmt.Errorf("remove the mirror %s: %w", filepath.Base(dir), err)
		}
	}
	return nil
}

func (g *Git) remove(ctx context.Context, dir string, needed func() ([]string, error)) error {
	lock := g.lock(dir)
	if err := lock.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer lock.Release(1)
	keep, err := g.mirrorsOf(needed)
	if err != nil || keep[dir] {
		return err
	}
	// Not there from one moment to the next, whatever ends this.
	gone, err := os.MkdirTemp(g.o.Dir, filepath.Base(dir)+incoming)
	if err != nil {
		return err
	}
	defer os.RemoveAll(gone) //nolint:errcheck // New tries again
	if err := os.Rename(dir, filepath.Join(gone, "mirror")); err != nil {
		return err
	}
	g.o.Logger.LogAttrs(ctx, slog.LevelInfo, "removed a mirror that nothing needs", slog.String("mirror", filepath.Base(dir)))
	return nil
}

// mirrorsOf finds the folders of the mirrors of repositories.
func (g *Git) mirrorsOf(needed func() ([]string, error)) (map[string]bool, error) {
	urls, err := needed()
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]bool, len(urls))
	for _, url := range urls {
		at, err := parseAddress(url)
		if err != nil {
			return nil, err
		}
		dirs[g.mirrorOf(at)] = true
	}
	return dirs, nil
}
