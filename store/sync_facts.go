package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// syncGroup lets commits that happen at the same time share one sync. Badger's
// own SyncWrites syncs twice for each of them, one after the other.
type syncGroup struct {
	run func() error

	mu      sync.Mutex // guards waiting
	waiting *syncRound // the round that has not begun, nil when nobody waits
	turn    sync.Mutex // held by the round that runs
}

type syncRound struct {
	done chan struct{}
	err  error // valid when done is closed
}

// sync returns when a sync that began after the call has ended. The first
// caller of a round runs it as soon as the round before has ended; whoever
// comes until then shares it.
func (g *syncGroup) sync() error {
	g.mu.Lock()
	r, lead := g.waiting, false
	if r == nil {
		r, lead = &syncRound{done: make(chan struct{})}, true
		g.waiting = r
	}
	g.mu.Unlock()
	if !lead {
		<-r.done
		return r.err
	}
	g.turn.Lock()
	g.mu.Lock()
	g.waiting = nil // later callers may have written what this sync misses
	g.mu.Unlock()
	r.err = g.run()
	g.turn.Unlock()
	close(r.done)
	return r.err
}

// factsSync makes every committed transaction durable: it syncs the logs of all
// memtables, and their names when there are new ones. A log that disappears
// meanwhile has become a table, which Badger syncs before it removes the log.
// A sync covers whole files, so of each log a prefix is durable, and replay
// ends where that does.
type factsSync struct {
	dir   string
	names []string // whose names are durable; only the round that runs looks
}

func (f *factsSync) run() error {
	logs, err := filepath.Glob(filepath.Join(f.dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		if err := syncFile(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync facts: %w", fileError(err))
		}
	}
	if slices.Equal(logs, f.names) {
		return nil
	}
	if err := syncFolder(f.dir); err != nil {
		return fmt.Errorf("sync facts: %w", err)
	}
	f.names = logs
	return nil
}
