package private

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

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
	defer s.remotes.mu.Unlock()
	delete(s.remotes.m, id)
	if s.o.Upstream != nil {
		s.o.Upstream.Auth().Remove(id)
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
	repo, err := remote.New(remote.Options{URL: src.URL, Client: s.o.Upstream, Now: s.now, Logger: s.log})
	if err != nil {
		return nil, fmt.Errorf("the source %s cannot be asked: %w", src.Name, err)
	}
	if s.remotes.m == nil {
		s.remotes.m = map[string]*remote.Repository{}
	}
	s.remotes.m[src.ID] = repo
	return repo, nil
}

// authorize lets requests to a repository, and to what lies below it, carry the
// credentials of its source.
func (s *Service) authorize(src Source) error {
	c, err := s.credentialsOf(src)
	if err != nil || c.empty() {
		return err
	}
	place, _, _ := strings.Cut(src.URL, "?")
	place = strings.TrimSuffix(place, "/packages.json")
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
	for _, src := range r.remotes {
		names, err := ParseNames(src.Packages)
		if err != nil {
			return o, false, err
		}
		if bound != "" && bound != src.ID || bound == "" && !names.Has(f.Name) {
			continue
		}
		if o, err = s.ask(ctx, src, f, prev); err != nil {
			return o, true, fmt.Errorf("ask %s for %s: %w", src.Name, f, err)
		}
		found := o.Body != nil || o.Unchanged
		if !found && bound == "" {
			// A package may have development versions only, or none.
			other := composer.File{Name: f.Name, Dev: !f.Dev}
			second, err := s.ask(ctx, src, other, history.State{})
			if err != nil {
				return o, true, fmt.Errorf("ask %s for %s: %w", src.Name, other, err)
			}
			found = second.Body != nil
		}
		if found && bound == "" {
			if err := s.bindOwner(f.Name, src); err != nil {
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
	return s.loadRoutes()
}

// readRemote sees whether a Composer repository answers, and how many packages
// it lists. They are fetched when somebody asks for them.
func (s *Service) readRemote(ctx context.Context, src Source, r *Run) error {
	repo, err := s.remote(src)
	if err != nil {
		return err
	}
	names, _, err := repo.Names(ctx)
	r.Counts.Found = len(names)
	return err
}
