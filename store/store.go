package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Names of the drivers for archive bodies.
const (
	DriverBadger = "badger"
	DriverFiles  = "files"
)

// Options say where and how much to keep. Only Path is required.
type Options struct {
	Path     string // data folder; made when it does not exist
	Archives string // driver for archive bodies: "badger" (default) or "files"

	MaxCacheSize  int64 // bytes of unpinned archive bodies kept; 0 = as many as the free-space floor allows
	MaxPinnedSize int64 // bytes of pinned archive bodies allowed; 0 = unlimited
	MinFreeSpace  int64 // bytes left free on the disk; 0 = 256 MiB, or 5 % of a disk smaller than 5 GiB

	Now    func() time.Time // nil = time.Now
	Logger *slog.Logger     // nil = discard

	// Alert is told what an operator should know: kind ("corrupt", "disk_full",
	// "cache_limit"), what it is about, and a sentence. It must not block and
	// must not call back into the store. May be nil.
	Alert func(kind, subject, message string)

	// FreeSpace returns the bytes free below path; nil asks the file system.
	FreeSpace func(path string) (int64, error)
}

// Store is an open data folder. It is safe for concurrent use.
type Store struct {
	opts  Options
	log   *slog.Logger
	now   func() time.Time
	lock  *folderLock
	space *space
	facts *badger.DB
	sync  syncGroup
	blobs *blobs

	codec     *codec
	documents documentCount
	damage    damage
	backups   backups

	operations operations
}

// Open opens the data folder, making it when needed, and checks that this
// program can read its format. The context bounds the opening only.
func Open(ctx context.Context, o Options) (*Store, error) { return openFolder(ctx, o, false) }

// openFolder is Open, also for the one who is restoring the folder.
func openFolder(ctx context.Context, o Options, restoring bool) (_ *Store, err error) {
	if o.Path == "" {
		return nil, errors.New("open store: no data folder given")
	}
	if o.Archives == "" {
		o.Archives = DriverBadger
	}
	if o.Archives != DriverBadger && o.Archives != DriverFiles {
		return nil, fmt.Errorf("open store: archives driver %q is unknown, use %q or %q", o.Archives, DriverBadger, DriverFiles)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Alert == nil {
		o.Alert = func(string, string, string) {}
	}
	if o.Path, err = filepath.Abs(o.Path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := os.MkdirAll(o.Path, 0o755); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}

	s := &Store{opts: o, log: o.Logger, now: o.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if s.lock, err = lockFolder(o.Path); err != nil {
		return nil, err
	}
	if !restoring {
		if err := checkRestored(o.Path); err != nil {
			return nil, err
		}
	}
	if err := checkFormat(o.Path); err != nil {
		return nil, err
	}
	if s.space, err = newSpace(o); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.space.borrow(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.space.canFlush(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.codec, err = newCodec(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	facts := filepath.Join(o.Path, "facts")
	s.sync.run = (&factsSync{dir: facts}).run
	if restoring {
		s.sync.run = func() error { return nil } // once is enough, see Restore
	}
	if s.facts, err = openFacts(facts, s.log); err != nil {
		return nil, fmt.Errorf("open store: facts in %s: %w", o.Path, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.blobs, err = openBlobs(ctx, s); err != nil {
		return nil, fmt.Errorf("open store: archives in %s: %w", o.Path, err)
	}
	if err := errors.Join(s.documents.load(s.facts), s.backups.load(s)); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := writeFormat(o.Path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.space.repay()
	return s, nil
}

// Close writes what is only in memory (recency) and closes the folder. It
// waits for operations under way; later ones return ErrClosed.
//
// On a disk that others have filled it leaves the databases as they are, like
// a kill would: everything is durable in their logs, and closing them would
// take room that is not there.
func (s *Store) Close() error {
	if !s.operations.end() {
		return nil
	}
	s.blobs.stop()
	err := errors.Join(s.blobs.flushUses(true), s.documents.save(s.facts))
	if errors.Is(err, ErrNoSpace) {
		err = nil // recency is a hint; a full disk is no reason to fail the shutdown
	}
	if full := s.space.canFlush(); full != nil {
		s.log.Warn("the databases were left open for lack of space; the next start reads their logs", "error", full)
		return errors.Join(err, s.lock.release())
	}
	return errors.Join(err, s.release())
}

// release closes whatever of the store is open.
func (s *Store) release() error {
	var errs []error
	if s.blobs != nil {
		errs = append(errs, s.blobs.close())
	}
	if s.space != nil {
		s.space.facts.close()
	}
	if s.facts != nil {
		errs = append(errs, s.facts.Close())
	}
	s.codec.close()
	errs = append(errs, s.lock.release())
	return errors.Join(errs...)
}

// enter is called at the start of every operation; the operation calls leave
// when enter returned nil.
func (s *Store) enter() error { return s.operations.enter() }

func (s *Store) leave() { s.operations.leave() }

// corrupt logs and reports damage where it is noticed and dropped.
func (s *Store) corrupt(kind, subject string, err error) {
	s.log.Error("stored bytes are damaged", "kind", kind, "subject", subject, "error", err)
	s.opts.Alert("corrupt", kind+" "+subject, err.Error())
}
