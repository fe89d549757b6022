package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"stasis/private/git"
	"stasis/proxy/composer"
	"stasis/store"
)

// mirror is a repository that versions of a package were made from, and the
// folder of the package there. It is remembered until the name is released,
// whatever becomes of the source: dated views, snapshots and lock files name
// commits whose archives may have to be made again.
type mirror struct {
	URL  string `json:"url"`
	Path string `json:"path,omitempty"`
}

var mirrors = store.Table[mirror]{Family: store.FamilySource, Name: "mirror"}

// fromMirror takes note of where the releases of a package come from, before
// any of them is published.
func (s *Service) fromMirror(n composer.Name, url string, releases []git.Release) error {
	noted := map[string]bool{}
	for _, rel := range releases {
		if noted[rel.Path] {
			continue
		}
		noted[rel.Path] = true
		key := []string{n.String(), url, "/" + rel.Path}
		_, known, err := get(s.store, mirrors, key...)
		if err == nil && !known {
			err = put(s.store, mirrors, mirror{url, rel.Path}, key...)
		}
		if err != nil {
			return fmt.Errorf("note where %s comes from: %w", n, err)
		}
	}
	return nil
}

// mirrorsOf lists where a commit of a package may be found.
func (s *Service) mirrorsOf(p Package) ([]mirror, error) {
	all, err := list(s.store, mirrors, p.Name.String())
	if err != nil {
		return nil, fmt.Errorf("read where %s comes from: %w", p.Name, err)
	}
	if src, err := s.source(p.Source); err == nil && src.Type == Git {
		all = append([]mirror{{src.URL, p.Path}}, all...)
	}
	return all, nil
}

// remake finds the commit of a package in a mirror of it.
func (s *Service) remake(ctx context.Context, p Package, commit string) (*git.Repository, git.Release, error) {
	all, err := s.mirrorsOf(p)
	if err != nil {
		return nil, git.Release{}, err
	}
	if s.o.Git == nil && len(all) > 0 {
		return nil, git.Release{}, errNoGit
	}
	var failures []error
	for _, m := range all {
		repo, err := s.o.Git.Open(m.URL, git.Credentials{}) // nobody is asked
		if err != nil {
			failures = append(failures, err)
			continue
		}
		folder := ""
		if m.Path != "" {
			folder = m.Path + "/"
		}
		switch _, err := repo.File(ctx, commit, folder+"composer.json", maxManifest); {
		case err == nil:
			return repo, git.Release{Package: p.Name, Commit: commit, Path: m.Path}, nil
		case !errors.Is(err, fs.ErrNotExist):
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		failures = append(failures, missingf("the archive of %s at %s is not kept, and no repository it came from has that commit with a composer.json", p.Name, commit))
	}
	return nil, git.Release{}, errors.Join(failures...)
}

// maintenance bounds one Maintain, as others wait their turn. What it does not
// get to is next when it is called again.
const maintenance = 15 * time.Minute

// Maintain removes the mirrors that no source reads and nothing of ours was
// made from, and joins what pushes have brought into the others, one after the
// other.
func (s *Service) Maintain(ctx context.Context) error {
	if s.o.Git == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maintenance)
	defer cancel()
	if err := s.o.Git.Prune(ctx, s.mirrored); err != nil {
		return err
	}
	all, err := list(s.store, sources)
	if err != nil {
		return fmt.Errorf("read the sources: %w", err)
	}
	var failures []error
	for _, src := range all {
		if src.Type != Git {
			continue
		}
		repo, err := s.o.Git.Open(src.URL, git.Credentials{})
		if err == nil {
			err = repo.Maintain(ctx)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// mirrored lists the repositories whose mirrors are needed.
func (s *Service) mirrored() (urls []string, err error) {
	err = s.store.View(func(tx *store.Tx) error {
		urls = urls[:0]
		if err := sources.Scan(tx, nil, func(_ []string, src Source) error {
			if src.Type == Git {
				urls = append(urls, src.URL)
			}
			return nil
		}); err != nil {
			return err
		}
		return mirrors.Scan(tx, nil, func(_ []string, m mirror) error {
			urls = append(urls, m.URL)
			return nil
		})
	})
	return urls, err
}
