package private

import (
	"fmt"
	"time"

	"stasis/proxy/composer"
)

// claim decides whether a source may provide a package, and returns the package
// and the versions it has, by normalized version. One package comes from one
// source: the first in order that has it. The error says in a sentence who else
// does, and is errNotMine.
func (s *Service) claim(src Source, n composer.Name) (Package, map[string]Version, error) {
	if err := s.mayProvide(src, n); err != nil {
		return Package{}, nil, err
	}
	p, ok, err := get(s.store, packages, n.String())
	if err != nil {
		return p, nil, err
	}
	if ok && p.Source != src.ID {
		other, err := s.source(p.Source)
		if err == nil && compareSources(src, other) > 0 {
			return p, nil, fmt.Errorf("%s %w, %q, which is asked first", n, errNotMine, other.Name)
		}
	}
	if !p.DeletedAt.IsZero() {
		return p, nil, fmt.Errorf("%s was deleted here on %s and is not taken in again; restore it first: %w", n, p.DeletedAt.Format(time.DateOnly), errNotMine)
	}
	if !ok {
		p = Package{Name: n, CreatedAt: s.now().UTC()}
	}
	p.Source = src.ID
	all, err := list(s.store, versions, n.String())
	if err != nil {
		return p, nil, fmt.Errorf("read the versions of %s: %w", n, err)
	}
	held := make(map[string]Version, len(all))
	for _, v := range all {
		held[v.Normalized] = v
	}
	return p, held, nil
}

// mayProvide looks at the patterns of a source and of those before it.
func (s *Service) mayProvide(src Source, n composer.Name) error {
	names, err := ParseNames(src.Packages)
	if err != nil {
		return err
	}
	if !names.Empty() && !names.Has(n) {
		return fmt.Errorf("%s does not match the packages this source may provide: %w", n, errNotMine)
	}
	r := s.routes.Load()
	own := names.Exclusive().Has(n)
	for _, other := range r.sources {
		if other.ID == src.ID || !other.exclusive.Has(n) {
			continue
		}
		if !own || compareSources(other.Source, src) < 0 {
			return fmt.Errorf("%s %w, %q, to which its name is reserved", n, errNotMine, other.Name)
		}
	}
	if found := r.owners[n]; found != "" {
		if other, err := s.source(found); err == nil && compareSources(src, other) > 0 {
			return fmt.Errorf("%s %w, the Composer repository %q", n, errNotMine, other.Name)
		}
	}
	return nil
}

// packagesOf lists the packages that come from a source.
func (s *Service) packagesOf(id string) ([]Package, error) {
	all, err := list(s.store, packages)
	if err != nil {
		return nil, fmt.Errorf("read the packages: %w", err)
	}
	var mine []Package
	for _, p := range all {
		if p.Source == id && p.DeletedAt.IsZero() {
			mine = append(mine, p)
		}
	}
	return mine, nil
}
