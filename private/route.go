package private

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// ours is what history.State.Source says of packages that are published here.
// Those of other Composer repositories have the id of their source.
const ours = "private"

// routes says where names come from. It is made anew when that changes.
type routes struct {
	packages map[composer.Name]*Package // published here, deleted ones included
	owners   map[composer.Name]string   // names found in a Composer repository: its source
	sources  []claimant                 // in order
	reserved Names                      // of all sources
	names    map[string]string          // of sources by id
}

// claimant is a source, without definitions, and the names it may provide.
type claimant struct {
	Source
	names     Names
	exclusive Names // those that are kept for it
}

func (s *Service) loadRoutes() error {
	r := &routes{packages: map[composer.Name]*Package{}, owners: map[composer.Name]string{}, names: map[string]string{}}
	var reserved []string
	err := s.store.View(func(tx *store.Tx) error {
		clear(r.packages)
		clear(r.owners)
		clear(r.names)
		r.sources, reserved = nil, nil
		if err := packages.Scan(tx, nil, func(_ []string, p Package) error {
			r.packages[p.Name] = &p
			return nil
		}); err != nil {
			return err
		}
		if err := owners.Scan(tx, nil, func(key []string, o owner) error {
			if n, err := composer.ParseName(key[0]); err == nil {
				r.owners[n] = o.Source
			}
			return nil
		}); err != nil {
			return err
		}
		return sources.Scan(tx, nil, func(_ []string, src Source) error {
			names, err := ParseNames(src.Packages)
			if err != nil {
				return err
			}
			r.names[src.ID] = src.Name
			src.Definitions = nil
			r.sources = append(r.sources, claimant{src, names, names.Exclusive()})
			reserved = append(reserved, names.Exclusive().patterns...)
			return nil
		})
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(r.sources, func(a, b claimant) int { return compareSources(a.Source, b.Source) })
	r.reserved = namesOf(reserved)
	s.routes.Store(r)
	return nil
}

// routeTo takes a package into the routes. It is called with s.mu held.
func (s *Service) routeTo(p Package) {
	next := *s.routes.Load()
	next.packages = maps.Clone(next.packages)
	next.packages[p.Name] = &p
	s.routes.Store(&next)
}

// reroute makes the routes anew and tells the registry.
func (s *Service) reroute() error {
	if err := s.loadRoutes(); err != nil {
		return fmt.Errorf("read where names come from: %w", err)
	}
	if s.registry != nil {
		s.registry.Rerouted()
	}
	return nil
}

// Reserved reports whether a name is never asked of a public registry: it
// matches a pattern of ours, or was ever ours.
func (s *Service) Reserved(n composer.Name) bool {
	if s.names.Has(n) {
		return true
	}
	r := s.routes.Load()
	if r.packages[n] != nil || r.owners[n] != "" {
		return true
	}
	return r.reserved.Has(n)
}

// Observe tells what is published of f here, or asks the Composer repository
// that has it. mine is false when no source provides it.
func (s *Service) Observe(ctx context.Context, f composer.File, prev history.State) (o history.Observation, mine bool, err error) {
	r := s.routes.Load()
	if p := r.packages[f.Name]; p != nil {
		o, err := s.published(p, f, prev)
		return o, true, err
	}
	return s.observeRemote(ctx, r, f, prev)
}

// published is the observation of a file that is published here.
func (s *Service) published(p *Package, f composer.File, prev history.State) (history.Observation, error) {
	// What is said now cannot have changed while it was looked up.
	o := history.Observation{AskedAt: s.now().UTC(), Source: ours, Origin: true}
	file := p.file(f)
	if file.Document.IsZero() || !p.DeletedAt.IsZero() {
		o.Unchanged = prev.Source == ours && prev.Known() && !prev.Present()
		return o, nil
	}
	o.LastModified = file.Modified.UTC().Format(httpTime)
	if prev.Source == ours && prev.Document == file.Document && prev.LastModified == o.LastModified {
		o.Unchanged = true
		return o, nil
	}
	err := s.store.View(func(tx *store.Tx) (err error) {
		o.Body, err = tx.Document(file.Document)
		return err
	})
	if err != nil {
		return o, fmt.Errorf("read the document of %s: %w", f, err)
	}
	return o, nil
}

// httpTime is the form of dates in HTTP (RFC 9110, 5.6.7).
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// Packages lists the packages that are published here, sorted by name.
func (s *Service) Packages() []composer.Summary {
	var all []composer.Summary
	for _, p := range s.routes.Load().packages {
		if p.DeletedAt.IsZero() && p.Versions > 0 {
			all = append(all, composer.Summary{Name: p.Name, Type: p.Type, Description: p.Description, Abandoned: p.Abandoned != ""})
		}
	}
	slices.SortFunc(all, func(a, b composer.Summary) int { return compareNames(a.Name, b.Name) })
	return all
}

func compareNames(a, b composer.Name) int { return cmp.Compare(a.String(), b.String()) }

// Private reports whether a package is published here, or its name kept for
// that: such packages are shown only to those who may see them.
func (s *Service) Private(n composer.Name) bool { return s.Reserved(n) }

// Explain says in a sentence where a name comes from; "" when from the public
// registry.
func (s *Service) Explain(n composer.Name) string {
	r := s.routes.Load()
	named := func(id string) string {
		if name, ok := r.names[id]; ok {
			return fmt.Sprintf("the source %q", name)
		}
		return "a source that is no more (" + id + ")"
	}
	switch p := r.packages[n]; {
	case p != nil && !p.DeletedAt.IsZero():
		return fmt.Sprintf("%s came from %s and was deleted on %s; the name stays private", n, named(p.Source), p.DeletedAt.Format(time.DateOnly))
	case p != nil:
		return fmt.Sprintf("%s comes from %s", n, named(p.Source))
	case r.owners[n] != "":
		return fmt.Sprintf("%s comes from %s, a Composer repository", n, named(r.owners[n]))
	case s.Reserved(n):
		return fmt.Sprintf("%s is a private name that no source provides", n)
	}
	return ""
}
