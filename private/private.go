// Package private has the packages that are ours: where they come from, which
// versions they have, and which names nobody else may answer for.
//
// It owns the sources and their runs, the names that were ever provided by one
// of them, and the versions it publishes. What it publishes are metadata
// documents and archives; whoever serves them (a Registry) records the former
// like any upstream's, so that dated views, snapshots, freezes and rules hold
// for them, too.
//
// It promises that one package comes from one source; that a name which was ever
// ours, or matches a pattern of ours, is never asked of a public registry, also
// when its source is down or gone and when the package was deleted (dependency
// confusion); that a version is visible whole or not at all; and that a source
// which fails takes nothing away that was published.
//
// It leaves git to private/git, other Composer repositories to private/remote,
// what is in an archive to private/artifact, who may read to private/access,
// and durability to store.
package private

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"stasis/private/git"
	"stasis/proxy/composer"
	"stasis/proxy/upstream"
	"stasis/store"
)

// Registry is who serves what is published here. All methods are safe for
// concurrent use.
type Registry interface {
	// Keep records the archive of a version. Its bytes are in the store.
	Keep(ctx context.Context, n composer.Name, v composer.Version, digest store.Digest, size int64, content string) error
	// Changed takes note that the documents of a package are other ones since an
	// instant. When it returns, clients see them.
	Changed(ctx context.Context, n composer.Name, since time.Time) error
	// Revalidate asks for the documents of a package again, whatever their age.
	Revalidate(ctx context.Context, n composer.Name) error
	// Rerouted takes note that names come from other sources than before.
	Rerouted()
	// Alert tells the operator something.
	Alert(kind, subject, message string)
}

// Vault keeps secrets from whoever reads the disk.
type Vault interface {
	// Put stores the secret of a subject; the error says what to do when there
	// is no key.
	Put(tx *store.Tx, subject string, secret []byte) error
	Read(subject string) ([]byte, error)
	Delete(tx *store.Tx, subject string) error
}

// Options configure a Service. Store and Vault are required.
type Options struct {
	Store *store.Store
	Vault Vault
	// Git reads repositories; nil allows none.
	Git *git.Git
	// Upstream reaches other Composer repositories; nil allows none.
	Upstream *upstream.Client
	// Vendors are patterns of names that are ours, whatever sources there are.
	Vendors []string
	// Folder is where watched folders of archives must lie; empty allows none.
	Folder string
	// MaxArchiveSize bounds one archive in bytes; default 2 GiB.
	MaxArchiveSize int64
	// SyncTimeout bounds one run of a source; default 30 min.
	SyncTimeout time.Duration

	Now    func() time.Time
	Logger *slog.Logger
}

// Service is the private side of Stasis. It is safe for concurrent use.
type Service struct {
	o     Options
	store *store.Store
	now   func() time.Time
	log   *slog.Logger
	names Names

	registry Registry // set by Start, before anything is published
	routes   atomic.Pointer[routes]

	mu      sync.Mutex // held while sources, claims and versions change
	runs    runs       // syncs under way
	remotes remotes    // readers of other Composer repositories
	slots   *semaphore.Weighted

	background context.Context // ends when Close is called
	stop       context.CancelFunc
	running    sync.WaitGroup
}

// syncsAtOnce is how many sources are read at a time.
const syncsAtOnce = 4

// New reads what is recorded. Nothing is synchronized before Start.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Vault == nil {
		return nil, errors.New("private: a store and a vault are needed")
	}
	if o.MaxArchiveSize == 0 {
		o.MaxArchiveSize = 2 << 30
	}
	if o.SyncTimeout == 0 {
		o.SyncTimeout = 30 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Folder != "" {
		var err error
		if o.Folder, err = filepath.Abs(o.Folder); err != nil {
			return nil, fmt.Errorf("private: the folder of archives: %w", err)
		}
	}
	names, err := ParseNames(o.Vendors)
	if err != nil {
		return nil, fmt.Errorf("PRIVATE_VENDORS: %w", err)
	}
	if len(names.Exclusive().patterns) != len(names.patterns) {
		return nil, errors.New("PRIVATE_VENDORS: a pattern must name its vendor, like acme/*")
	}
	s := &Service{
		o: o, store: o.Store, now: o.Now, log: o.Logger, names: names,
		slots: semaphore.NewWeighted(syncsAtOnce),
	}
	s.background, s.stop = context.WithCancel(context.Background())
	if err := s.loadRoutes(); err != nil {
		return nil, fmt.Errorf("read the private packages: %w", err)
	}
	return s, nil
}

// Start begins to publish to r, with what an earlier process did not finish,
// and to synchronize sources when their time has come.
func (s *Service) Start(r Registry) {
	s.registry = r
	s.openRemotes()
	s.spawn(func(ctx context.Context) {
		s.publishPending(ctx)
		s.schedule(ctx)
	})
}

// Close ends syncs that are under way and waits for them.
func (s *Service) Close() error {
	s.stop()
	s.running.Wait()
	s.closeRemotes()
	return nil
}

func (s *Service) spawn(work func(ctx context.Context)) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		work(s.background)
	}()
}
