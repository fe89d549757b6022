package private

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stasis/private/remote"
	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// remotes are the readers of other Composer repositories, made when they are
// first asked.
type remotes struct {
	mu sync.Mutex
	m  map[string]*remote.Repository // by source; guarded by mu
}

// forgetRemote lets a repository be opened anew when it is next asked, as its
// source is then.
func (s *Service) forgetRemote(id string) {
	s.remotes.mu.Lock()
	repo := s.remotes.m[id]
	delete(s.remotes.m, id)
	if s.o.Upstream != nil {
		s.o.Upstream.Auth().Remove(id)
	}
	s.remotes.mu.Unlock()
	if repo != nil {
		repo.Close()
	}
}

// openRemotes lets requests for archives carry the credentials of their
// sources, also before a source is first asked for a package.
func (s *Service) openRemotes() {
	for _, src := range s.routes.Load().sources {
		if src.Type != Composer {
			continue
		}
		if _, err := s.remote(src.Source); err != nil {
			s.log.Warn("a source cannot be asked", "source", src.Name, "error", err)
		}
	}
}

func (s *Service) closeRemotes() {
	s.remotes.mu.Lock()
	defer s.remotes.mu.Unlock()
	for _, repo := range s.remotes.m {
		repo.Close()
	}
}

// remote returns the reader of a Composer repository.
func (s *Service) remote(src Source) (*remote.Repository, error) {
	s.remotes.mu.Lock()
	defer s.remotes.mu.Unlock()
	if repo := s.remotes.m[src.ID]; repo != nil {
		return repo, nil
	}
	if s.o.Upstream == nil {
		return nil, fmt.Errorf("the source %s cannot be asked: there is no way to the outside", src.Name)
	}
	if err := s.authorize(src); err != nil {
		return nil, err
	}
	repo, err := remote.New(remote.Options{URL: src.URL, Client: s.o.Upstream, Owner: src.ID, Now: s.now, Logger: s.log})
	if err != nil {
		return nil, fmt.Errorf("the source %s cannot be asked: %w", src.Name, err)
	}
	if s.remotes.m == nil {
		s.remotes.m = map[string]*remote.Repository{}
	}
	s.remotes.m[src.ID] = repo
	return repo, nil
}

// authorize lets requests in the name of a source carry its credentials to the
// origin of its repository, where archives may lie anywhere.
func (s *Service) authorize(src Source) error {
	c, err := s.credentialsOf(src)
	if err != nil || c.empty() {
		return err
	}
	u, err := url.Parse(src.URL)
	if err != nil {
		return fmt.Errorf("the source %s has no usable address", src.Name)
	}
	place := u.Scheme + "://" + u.Host
	auth := map[string]any{"http-basic": map[string]any{place: map[string]string{"username": c.Username, "password": c.Password}}}
	if c.Username == "" {
		auth = map[string]any{"bearer": map[string]string{place: c.Password}}
	}
	body, err := json.Marshal(auth)
	if err != nil {
		return fmt.Errorf("write the credentials of %s: %w", src.Name, err)
	}
	return s.o.Upstream.Auth().Set(src.ID, body)
}

// observeRemote asks the Composer repositories, in order, for a package. Once
// one of them had it, nobody else is asked: not when it is down, and not when
// it has the package no longer.
func (s *Service) observeRemote(ctx context.Context, r *routes, f composer.File, prev history.State) (o history.Observation, mine bool, err error) {
	bound := r.owners[f.Name]
	if bound != "" && r.names[bound] == "" {
		return history.Observation{AskedAt: s.now().UTC(), Source: bound, Origin: true}, true, nil // its source is no more
	}
	for _, src := range r.sources {
		if src.Type != Composer || bound != "" && bound != src.ID || bound == "" && !src.names.Has(f.Name) {
			continue
		}
		if o, err = s.ask(ctx, src.Source, f, prev); err != nil {
			return o, true, fmt.Errorf("ask %s for %s: %w", src.Name, f, err)
		}
		found := o.Body != nil || o.Unchanged // both of its documents are there if the package is
		if found && bound == "" {
			if err := s.bindOwner(f.Name, src.Source); err != nil {
				return o, true, err
			}
		}
		if found || bound != "" {
			return o, true, nil
		}
	}
	return history.Observation{}, false, nil
}

// ask asks one Composer repository. What another one said is nothing to go by.
func (s *Service) ask(ctx context.Context, src Source, f composer.File, prev history.State) (history.Observation, error) {
	repo, err := s.remote(src)
	if err != nil {
		return history.Observation{}, err
	}
	if prev.Source != src.ID {
		prev = history.State{}
	}
	o, err := repo.Observe(ctx, f, prev)
	o.Source = src.ID
	return o, err
}

// bindOwner notes in which repository a name was found first.
func (s *Service) bindOwner(n composer.Name, src Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routes.Load().owners[n] != "" {
		return nil
	}
	err := s.store.Update(func(tx *store.Tx) error {
		return owners.Put(tx, owner{Source: src.ID, Since: s.now().UTC()}, n.String())
	})
	if err != nil {
		return fmt.Errorf("note that %s comes from %s: %w", n, src.Name, err)
	}
	next := *s.routes.Load()
	next.owners = maps.Clone(next.owners)
	next.owners[n] = src.ID
	s.routes.Store(&next)
	return nil
}

// revalidations is how many packages of a repository are asked for at a time.
const revalidations = 4

// readRemote asks a Composer repository again for the packages that were ever
// taken from it, as far as it does not say that they are unchanged. Others are
// fetched when somebody asks for them.
func (s *Service) readRemote(ctx context.Context, src Source, r *Run) error {
	repo, err := s.remote(src)
	if err != nil {
		return err
	}
	return repo.Follow(ctx, func(changed []composer.Name, all bool) error {
		names, _, err := repo.Names(ctx)
		if err != nil {
			return err
		}
		r.Counts.Found = len(names)
		owners := s.routes.Load().owners
		if all {
			changed = slices.Collect(maps.Keys(owners))
		}
		var g errgroup.Group
		g.SetLimit(revalidations)
		for _, n := range changed {
			if owners[n] == src.ID && s.registry != nil {
				g.Go(func() error { return s.registry.Revalidate(ctx, n) })
			}
		}
		return g.Wait()
	})
}
