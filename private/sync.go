package private

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Run is one reading of a source.
type Run struct {
	ID        string    `json:"id"`
	Source    string    `json:"source"`
	Trigger   string    `json:"trigger"` // added, changed, interval, webhook, manual, upload
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Result is running, ok, unchanged or failed.
	Result string `json:"result"`
	// Error says why it failed, or what of it could not be done.
	Error string `json:"error,omitempty"`
	// Published, Removed and Retagged list versions as "vendor/name 1.0", the
	// first of many.
	Published []string `json:"published,omitempty"`
	Removed   []string `json:"removed,omitempty"`
	Retagged  []string `json:"retagged,omitempty"`
	// Skipped says which tags, branches or files are no versions, and why.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Notes say what archives that were published will lack.
	Notes []Skipped `json:"notes,omitempty"`
	// Counts are the full numbers.
	Counts Counts `json:"counts"`
}

// Counts are how many versions a run found in which state.
type Counts struct {
	Found     int `json:"found"`
	Published int `json:"published"`
	Removed   int `json:"removed"`
	Retagged  int `json:"retagged"`
	Skipped   int `json:"skipped"`
}

// Skipped is something in a source that is no version, and why.
type Skipped struct {
	Ref    string `json:"ref"`
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
}

const (
	listed   = 200 // entries in each list of a run
	runsKept = 50  // of each source
)

func (r *Run) skip(ref, path, reason string) {
	if r.Counts.Skipped++; len(r.Skipped) < listed {
		r.Skipped = append(r.Skipped, Skipped{ref, path, reason})
	}
}

func (r *Run) note(list *[]string, count *int, n composer.Name, pretty string) {
	if *count++; len(*list) < listed {
		*list = append(*list, n.String()+" "+pretty)
	}
}

// runs are the syncs under way: one of each source.
type runs struct {
	mu sync.Mutex
	m  map[string]*flight // guarded by mu
}

// flight is a run and whether the source changed again meanwhile.
type flight struct {
	done  chan struct{} // closed at the end
	again string        // the trigger of another run to make; guarded by runs.mu
	run   Run           // valid after done is closed
}

// Sync begins to read a source. When that is under way, it is read once more
// afterwards, since it may have changed behind the reader's back.
func (s *Service) Sync(id, trigger string) { s.begin(id, trigger) }

// begin returns the flight whose result holds what the source has now.
func (s *Service) begin(id, trigger string) *flight {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	if s.runs.m == nil {
		s.runs.m = map[string]*flight{}
	}
	if f := s.runs.m[id]; f != nil {
		f.again = trigger
		return f
	}
	f := &flight{done: make(chan struct{})}
	s.runs.m[id] = f
	s.spawn(func(ctx context.Context) {
		for next := trigger; next != ""; {
			f.run = s.run(ctx, id, next)
			s.runs.mu.Lock()
			next, f.again = f.again, ""
			if ctx.Err() != nil {
				next = ""
			}
			if next == "" {
				delete(s.runs.m, id)
			}
			s.runs.mu.Unlock()
		}
		close(f.done)
	})
	return f
}

// SyncNow reads a source and waits for the result.
func (s *Service) SyncNow(ctx context.Context, ref, trigger string) (Run, error) {
	src, err := s.source(ref)
	if err != nil {
		return Run{}, err
	}
	f := s.begin(src.ID, trigger)
	select {
	case <-f.done:
		return f.run, nil
	case <-ctx.Done():
		return Run{}, ctx.Err()
	}
}

// run reads a source once and logs it.
func (s *Service) run(ctx context.Context, id, trigger string) Run {
	r := Run{ID: newID("run"), Source: id, Trigger: trigger, StartedAt: s.now().UTC(), Result: "running"}
	if err := s.slots.Acquire(ctx, 1); err != nil {
		r.Result, r.Error = "failed", "Stasis is shutting down"
		return r
	}
	defer s.slots.Release(1)
	src, err := s.source(id)
	if err == nil {
		err = s.logRun(&r)
	}
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, s.o.SyncTimeout)
		err = s.read(limited, src, &r)
		if limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("it took longer than %s and was given up: %w", s.o.SyncTimeout, err)
		}
		cancel()
	}
	r.EndedAt = s.now().UTC()
	switch {
	case err != nil:
		r.Result, r.Error = "failed", err.Error()
	case r.Counts.Published+r.Counts.Removed == 0:
		r.Result = "unchanged"
	default:
		r.Result = "ok"
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("a source could not be read", "source", src.Name, "error", err)
		if s.registry != nil && !errors.Is(err, errNotMine) {
			s.registry.Alert("source_failure", src.Name, fmt.Sprintf("the source %s could not be read; what it has published stays: %v", src.Name, err))
		}
	}
	if err := s.logRun(&r); err != nil {
		s.log.Error("a run was not logged", "source", src.Name, "error", err)
	}
	return r
}

// read reads a source according to its type.
func (s *Service) read(ctx context.Context, src Source, r *Run) error {
	switch src.Type {
	case Git:
		return s.readGit(ctx, src, r)
	case Composer:
		return s.readRemote(ctx, src, r)
	case Artifact:
		return s.readFolder(ctx, src, r)
	case Inline:
		return s.readInline(ctx, src, r)
	}
	return fmt.Errorf("a source of type %s cannot be read", src.Type)
}

// errNotMine is no failure of a source: a package of it comes from another one.
var errNotMine = errors.New("comes from another source")

// logRun writes a run, and forgets the oldest.
func (s *Service) logRun(r *Run) error {
	var drop []string
	err := s.store.View(func(tx *store.Tx) error {
		drop = drop[:0]
		n := 0
		return runTable.ScanReverse(tx, []string{r.Source}, "", func(key []string, _ Run) error {
			if n++; n >= runsKept {
				drop = append(drop, key[1])
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read the runs of a source: %w", err)
	}
	return s.store.Update(func(tx *store.Tx) error {
		for _, key := range drop {
			if err := runTable.Delete(tx, r.Source, key); err != nil {
				return err
			}
		}
		return runTable.Put(tx, *r, r.Source, store.TimeKey(r.StartedAt))
	})
}

// Runs returns the last runs of a source, newest first.
func (s *Service) Runs(_ context.Context, ref string) ([]Run, error) {
	src, err := s.source(ref)
	if err != nil {
		return nil, err
	}
	var all []Run
	err = s.store.View(func(tx *store.Tx) error {
		all = all[:0]
		return runTable.ScanReverse(tx, []string{src.ID}, "", func(_ []string, r Run) error {
			all = append(all, r)
			return nil
		})
	})
	return all, err
}

func (s *Service) lastRun(id string) (*Run, error) {
	var last *Run
	err := s.store.View(func(tx *store.Tx) error {
		last = nil
		return runTable.ScanReverse(tx, []string{id}, "", func(_ []string, r Run) error {
			last = &r
			return store.Stop
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the runs of a source: %w", err)
	}
	return last, nil
}

// tick is how often it is looked whether a source is due.
const tick = 5 * time.Second

// schedule reads sources when their interval is over, until ctx ends. A source
// that was never read, as after an import, is read at once.
func (s *Service) schedule(ctx context.Context) {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		if err := s.readDue(); err != nil {
			s.log.ErrorContext(ctx, "it could not be seen which sources are due", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (s *Service) readDue() error {
	now := s.now()
	for _, src := range s.routes.Load().sources {
		last, err := s.lastRun(src.ID)
		if err != nil {
			return err
		}
		switch {
		case last == nil, last.Result == "running" && !s.reading(src.ID):
			s.Sync(src.ID, "interval") // never read, or broken off by a crash
		case src.Interval > 0:
			// A tenth of jitter keeps many sources of one host apart.
			due := time.Duration(src.Interval) * time.Second
			if due += rand.N(due/10 + 1); now.Sub(last.StartedAt) >= due && !s.reading(src.ID) {
				s.Sync(src.ID, "interval")
			}
		}
	}
	return nil
}

func (s *Service) reading(id string) bool {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	return s.runs.m[id] != nil
}
