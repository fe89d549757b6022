package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"stasis/proxy/composer"
	"stasis/store"
)

// gather gets the archives that the snapshot needs and pins each at once,
// since a large snapshot could otherwise push out what it fetched first.
func (b *build) gather(ctx context.Context) error {
	if err := b.s.holding(buildOwner(b.r.Name)); err != nil {
		return err
	}
	list := make([]wanted, 0, len(b.wanted))
	for w := range b.wanted {
		list = append(list, w)
	}
	b.phase(phaseArchives, len(list))
	return parallel(ctx, b.s.parallel, list, func(ctx context.Context, w wanted) error {
		body, held, err := b.keep(ctx, w, b.wanted[w])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrNoSpace):
			return fmt.Errorf("not all archives can be kept: %w", b.s.noRoom(err)) // the others would not fit either
		case err != nil:
			b.lack(Missing{Package: w.name.String(), Version: w.normalized, Reference: w.reference, Reason: err.Error()})
		case held:
			b.mu.Lock()
			b.archives = append(b.archives, Archive{
				Package: w.name, Version: w.normalized, Reference: w.reference, Type: w.typ,
				SHA256: body.Digest, Content: body.Content, Size: body.Size,
			})
			b.mu.Unlock()
		}
		b.step(body.Size)
		return nil
	})
}

// evictedMeanwhile is how often an archive may be evicted between being
// fetched and being pinned.
const evictedMeanwhile = 3

// keep gets one archive and pins it; false means that it is not held and need
// not be.
func (b *build) keep(ctx context.Context, w wanted, v composer.Version) (Body, bool, error) {
	for try := 1; ; try++ {
		var body Body
		var err error
		held := true
		if b.r.Options.Archives == ArchivesEager {
			body, err = b.world.Fetch(ctx, w.name, v)
		} else {
			body, held, err = b.world.Held(ctx, w.name, v)
		}
		if err != nil || !held {
			return Body{}, false, err
		}
		err = b.s.store.Pin(buildOwner(b.r.Name), body.Digest)
		if err == nil {
			return body, true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || try == evictedMeanwhile {
			return Body{}, false, err
		}
	}
}

// noRoom puts the limit of pinned archives into words when that is what was
// reached.
func (s *Snapshots) noRoom(err error) error {
	u := s.store.Usage()
	if u.Low || u.PinnedLimit == 0 {
		return err
	}
	return problemf(store.ErrNoSpace, "%d of the %d bytes that PROXY_MAX_PINNED_SIZE allows are taken; delete snapshots or allow more", u.PinnedBytes, u.PinnedLimit)
}
