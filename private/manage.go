package private

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"stasis/private/git"
	"stasis/proxy/composer"
	"stasis/store"
)

// List returns the packages of a source, or of all when source is empty, sorted
// by name; with deleted also those that were deleted.
func (s *Service) List(_ context.Context, source string, deleted bool) ([]Package, error) {
	if source != "" {
		src, err := s.source(source)
		if err != nil {
			return nil, err
		}
		source = src.ID
	}
	all, err := list(s.store, packages)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p Package) bool {
		return source != "" && p.Source != source || !deleted && !p.DeletedAt.IsZero()
	}), nil
}

// Package returns one package with its versions, newest first.
func (s *Service) Package(_ context.Context, n composer.Name) (Package, []Version, error) {
	p, ok, err := get(s.store, packages, n.String())
	if err == nil && !ok {
		err = missingf("there is no private package %s", n)
	}
	if err != nil {
		return p, nil, err
	}
	all, err := list(s.store, versions, n.String())
	slices.SortFunc(all, func(a, b Version) int {
		return cmp.Or(composer.CompareVersions(b.Normalized, a.Normalized), cmp.Compare(a.Normalized, b.Normalized))
	})
	return p, all, err
}

// Version returns one version of a package, as somebody may write it.
func (s *Service) Version(ctx context.Context, n composer.Name, version string) (Package, Version, error) {
	p, all, err := s.Package(ctx, n)
	if err != nil {
		return p, Version{}, err
	}
	normalized, err := composer.NormalizeVersion(version)
	if err != nil {
		return p, Version{}, invalidf("%q is not a version", version)
	}
	for _, v := range all {
		if v.Normalized == normalized {
			return p, v, nil
		}
	}
	return p, Version{}, missingf("%s has no version %s", n, version)
}

// change edits one version and publishes the package.
func (s *Service) change(ctx context.Context, n composer.Name, version string, edit func(*Version) error) (Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, v, err := s.Version(ctx, n, version)
	if err != nil {
		return v, err
	}
	if err := edit(&v); err != nil {
		return v, err
	}
	return v, s.publish(ctx, edition{pkg: p, put: []Version{v}})
}

// Yank hides a version. Its archive stays, for lock files that have it, and so
// do dated views of the time before.
func (s *Service) Yank(ctx context.Context, n composer.Name, version, reason string) (Version, error) {
	return s.change(ctx, n, version, func(v *Version) error {
		if !v.YankedAt.IsZero() {
			return conflictf("%s %s is yanked already", n, v.Pretty)
		}
		v.YankedAt, v.YankReason = s.now().UTC(), reason
		return nil
	})
}

// Unyank shows a version again.
func (s *Service) Unyank(ctx context.Context, n composer.Name, version string) (Version, error) {
	return s.change(ctx, n, version, func(v *Version) error {
		if v.YankedAt.IsZero() {
			return conflictf("%s %s is not yanked", n, v.Pretty)
		}
		v.YankedAt, v.YankReason = time.Time{}, ""
		return nil
	})
}

// Deprecate marks a version as abandoned, which Composer warns of; replacement
// is the package to use instead, "" for none. With undo the mark is taken away.
func (s *Service) Deprecate(ctx context.Context, n composer.Name, version, replacement string, undo bool) (Version, error) {
	mark, err := abandonment(replacement, undo)
	if err != nil {
		return Version{}, err
	}
	return s.change(ctx, n, version, func(v *Version) error {
		v.Deprecated = mark
		return nil
	})
}

// Abandon marks a whole package as Deprecate does one version.
func (s *Service) Abandon(ctx context.Context, n composer.Name, replacement string, undo bool) (Package, error) {
	mark, err := abandonment(replacement, undo)
	if err != nil {
		return Package{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _, err := s.Package(ctx, n)
	if err != nil {
		return p, err
	}
	p.Abandoned = mark
	return p, s.redo(ctx, p)
}

func abandonment(replacement string, undo bool) (string, error) {
	switch {
	case undo:
		return "", nil
	case replacement == "":
		return "true", nil
	}
	n, err := composer.ParseName(replacement)
	if err != nil {
		return "", invalidf("%q, to be used instead, is not a package name", replacement)
	}
	return n.String(), nil
}

// Delete takes a package away. Its name stays ours, so that nobody else's
// package takes its place, and dated views of the time before stay what they
// were.
func (s *Service) Delete(ctx context.Context, n composer.Name) (Package, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _, err := s.Package(ctx, n)
	if err != nil {
		return p, err
	}
	if !p.DeletedAt.IsZero() {
		return p, conflictf("%s was deleted already", n)
	}
	p.DeletedAt = s.now().UTC()
	return p, s.setDeleted(ctx, p)
}

// Restore brings a deleted package back as it was.
func (s *Service) Restore(ctx context.Context, n composer.Name) (Package, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _, err := s.Package(ctx, n)
	if err != nil {
		return p, err
	}
	if p.DeletedAt.IsZero() {
		return p, conflictf("%s is not deleted", n)
	}
	p.DeletedAt = time.Time{}
	return p, s.setDeleted(ctx, p)
}

// setDeleted writes that a package is deleted, or no longer, and tells the
// registry.
func (s *Service) setDeleted(ctx context.Context, p Package) error {
	now := s.now().UTC()
	p.UpdatedAt, p.Pending = now, true
	for _, file := range []*Published{&p.Stable, &p.Dev} {
		if !file.Document.IsZero() {
			// What comes back is dated anew: something else was there between.
			file.Modified = now.Truncate(time.Second)
		}
	}
	if err := put(s.store, packages, p, p.Name.String()); err != nil {
		return fmt.Errorf("write the package %s: %w", p.Name, err)
	}
	s.routeTo(p)
	return s.announce(ctx, p, true, now)
}

// Release gives up the name of a deleted package, or of one that was found in a
// Composer repository: from now on it comes from wherever it is found, the
// public registry included, unless a pattern of ours still matches it.
func (s *Service) Release(ctx context.Context, n composer.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routes.Load()
	p := r.packages[n]
	switch {
	case p != nil && p.DeletedAt.IsZero():
		return conflictf("%s is a package of ours; delete it before its name is released", n)
	case p == nil && r.owners[n] == "":
		return missingf("the name %s was never taken", n)
	}
	all, err := list(s.store, versions, n.String())
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(all, 10*versionBatch) {
		if err := s.store.Update(func(tx *store.Tx) error {
			for _, v := range batch {
				if err := versions.Delete(tx, n.String(), v.Normalized); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("release the name %s: %w", n, err)
		}
	}
	made, err := list(s.store, mirrors, n.String())
	if err != nil {
		return err
	}
	err = s.store.Update(func(tx *store.Tx) error {
		for _, m := range made {
			if err := mirrors.Delete(tx, n.String(), m.URL, "/"+m.Path); err != nil {
				return err
			}
		}
		return errors.Join(packages.Delete(tx, n.String()), owners.Delete(tx, n.String()))
	})
	if err != nil {
		return fmt.Errorf("release the name %s: %w", n, err)
	}
	return s.reroute()
}

// Readme returns the README of a version, which may be an archive's or, for a
// package from git, that of the commit. The error matches fs.ErrNotExist when
// there is none.
func (s *Service) Readme(ctx context.Context, n composer.Name, version string) ([]byte, error) {
	p, v, err := s.Version(ctx, n, cmp.Or(version, "dev-main"))
	if errors.Is(err, fs.ErrNotExist) && version == "" {
		if p, _, err = s.Package(ctx, n); err == nil {
			p, v, err = s.Version(ctx, n, p.Latest)
		}
	}
	if err != nil {
		return nil, err
	}
	switch repo, rel, err := s.remake(ctx, p, v.Reference); {
	case err == nil:
		return readmeOf(ctx, repo, v, rel.Path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return s.readmeInArchive(n, v)
}

// maxReadme bounds what is shown of a README, in bytes.
const maxReadme = 1 << 20

func readmeOf(ctx context.Context, repo *git.Repository, v Version, folder string) ([]byte, error) {
	if folder != "" {
		folder += "/"
	}
	for _, name := range []string{"README.md", "readme.md", "Readme.md", "README", "README.txt", "README.rst"} {
		body, err := repo.File(ctx, v.Reference, folder+name, maxReadme)
		if !errors.Is(err, fs.ErrNotExist) {
			return body, err
		}
	}
	return nil, missingf("%s has no README", v.Pretty)
}
