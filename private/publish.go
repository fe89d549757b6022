package private

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// edition is a change of the versions of one package.
type edition struct {
	pkg    Package
	put    []Version // new or changed ones
	remove []string  // normalized versions that are no more
}

// versionBatch bounds the records of one transaction, which holds about 1 MiB.
const versionBatch = 50

// publish writes the versions of a package and then its documents, and tells
// the registry. It is called with s.mu held.
func (s *Service) publish(ctx context.Context, e edition) error {
	name := e.pkg.Name
	for batch := range slices.Chunk(e.put, versionBatch) {
		if err := s.store.Update(func(tx *store.Tx) error {
			for _, v := range batch {
				if err := versions.Put(tx, v, name.String(), v.Normalized); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("write the versions of %s: %w", name, err)
		}
	}
	for batch := range slices.Chunk(e.remove, 10*versionBatch) {
		if err := s.store.Update(func(tx *store.Tx) error {
			for _, normalized := range batch {
				if err := versions.Delete(tx, name.String(), normalized); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("remove versions of %s: %w", name, err)
		}
	}
	return s.redo(ctx, e.pkg)
}

// redo makes the documents of a package from its versions. The package record,
// which points at them, is written last; until the registry knows them it is
// pending.
func (s *Service) redo(ctx context.Context, p Package) error {
	all, err := list(s.store, versions, p.Name.String())
	if err != nil {
		return fmt.Errorf("read the versions of %s: %w", p.Name, err)
	}
	now := s.now().UTC()
	p.summarize(all)
	bodies := map[bool][]byte{}
	changed := false
	for _, f := range []composer.File{{Name: p.Name}, {Name: p.Name, Dev: true}} {
		if bodies[f.Dev], err = makeDocument(&p, all, f.Dev); err != nil {
			return err
		}
		var digest store.Digest
		if bodies[f.Dev] != nil {
			digest = store.SumDigest(bodies[f.Dev])
		}
		if file := p.file(f); file.Document != digest {
			file.Document, changed = digest, true
			// Whole seconds, each later than the last.
			file.Modified = now.Truncate(time.Second)
			if held := s.routes.Load().packages[p.Name]; held != nil && !file.Modified.After(held.file(f).Modified) {
				file.Modified = held.file(f).Modified.Add(time.Second)
			}
		}
	}
	p.UpdatedAt, p.Pending = now, true
	err = s.store.Update(func(tx *store.Tx) error {
		for _, body := range bodies {
			if body == nil {
				continue
			}
			if _, err := tx.PutDocument(body); err != nil {
				return err
			}
		}
		return packages.Put(tx, p, p.Name.String())
	})
	if err != nil {
		return fmt.Errorf("publish %s: %w", p.Name, err)
	}
	fresh := s.routes.Load().packages[p.Name] == nil
	if s.routeTo(p); fresh && s.registry != nil {
		s.registry.Rerouted()
	}
	return s.announce(ctx, p, changed, now)
}

// announce tells the registry of new documents.
func (s *Service) announce(ctx context.Context, p Package, changed bool, since time.Time) error {
	if s.registry == nil {
		return nil // Start does it
	}
	if changed {
		// Whoever asked for it may be gone; what is published is told all the same.
		if err := s.registry.Changed(context.WithoutCancel(ctx), p.Name, since.Truncate(time.Second)); err != nil {
			return fmt.Errorf("publish %s: %w", p.Name, err)
		}
	}
	p.Pending = false
	if err := put(s.store, packages, p, p.Name.String()); err != nil {
		return fmt.Errorf("note that %s is published: %w", p.Name, err)
	}
	return nil
}

// publishPending tells the registry what an earlier process did not.
func (s *Service) publishPending(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := list(s.store, packages)
	if err != nil {
		s.log.ErrorContext(ctx, "the packages could not be read", "error", err)
		return
	}
	for _, p := range all {
		if !p.Pending {
			continue
		}
		if err := s.announce(ctx, p, true, s.now().UTC()); err != nil {
			s.log.ErrorContext(ctx, "a package was not published", "package", p.Name.String(), "error", err)
		}
	}
}

// summarize takes over into the package what lists show of it.
func (p *Package) summarize(all []Version) {
	p.Versions = 0
	var latest *Version
	for i, v := range all {
		if !v.YankedAt.IsZero() {
			continue
		}
		p.Versions++
		stable := func(v *Version) bool { return composer.Stability(v.Normalized) == "stable" }
		switch {
		case latest == nil, stable(&v) && !stable(latest),
			stable(&v) == stable(latest) && composer.CompareVersions(v.Normalized, latest.Normalized) > 0:
			latest = &all[i]
		}
	}
	if latest == nil {
		p.Latest = ""
		return
	}
	p.Latest = latest.Pretty
	if o, err := latest.object(p); err == nil {
		p.Type, p.Description = o.Text("type"), o.Text("description")
	}
}

// keepArchive takes over the archive of a version: it is served from now on,
// and not evicted.
func (s *Service) keepArchive(ctx context.Context, p *Package, v Version, content string) error {
	if err := s.store.Pin(pinOwner(p.Name, v), v.Digest); err != nil {
		return fmt.Errorf("keep the archive of %s %s: %w", p.Name, v.Pretty, err)
	}
	return s.registry.Keep(ctx, p.Name, v.indexed(p), v.Digest, v.Size, content)
}

// letGo lets archives of development versions that have moved on be evicted.
// Those of tagged versions are kept for ever.
func (s *Service) letGo(n composer.Name, old []Version) error {
	var errs []error
	for _, v := range old {
		if composer.IsDev(v.Normalized) {
			errs = append(errs, s.store.Unpin(pinOwner(n, v)))
		}
	}
	return errors.Join(errs...)
}

// pinOwner names who keeps an archive: the version at that reference.
func pinOwner(n composer.Name, v Version) string {
	return "private " + n.String() + " " + v.Normalized + " " + v.Reference
}
