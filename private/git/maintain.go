package git

import (
	"context"
	"fmt"
)

// Maintain joins the packs that syncs have brought, if they have become many. It is to be called now
// and then when nobody waits, since it can take minutes on a large mirror and syncs wait for it. What
// no reference leads to any more is kept.
func (r *Repository) Maintain(ctx context.Context) error {
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
			{"gc.auto", "6700"}, {"gc.autoPackLimit", "10"}, {"gc.autoDetach", "false"},
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
