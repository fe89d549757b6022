package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

const (
	ballastName = "BALLAST"

	defaultFloor = 256 << 20

	minBallast = 2 << 20
	maxBallast = 64 << 20
)

// space watches the disk below the data folder. Writers ask need before they
// write; that keeps our own writing from ever taking the last block, which
// Badger would answer with SIGBUS.
type space struct {
	path    string
	floor   int64
	free    func(path string) (int64, error)
	ballast int64
	log     *slog.Logger
	alert   func(kind, subject, message string)

	low atomic.Bool // the floor was reached and has not been left since

	facts *reserver // blocks of the memtable the facts are being written to
}

func newSpace(o Options) (*space, error) {
	s := &space{path: o.Path, floor: o.MinFreeSpace, free: o.FreeSpace, log: o.Logger, alert: o.Alert}
	if s.free == nil {
		s.free = func(path string) (int64, error) {
			free, _, err := diskSpace(path)
			return free, err
		}
	}
	if s.floor <= 0 {
		s.floor = defaultFloor
		if _, total, err := diskSpace(o.Path); err == nil && total > 0 {
			s.floor = min(s.floor, total/20)
		}
	}
	s.ballast = maxBallast
	if o.MaxCacheSize > 0 {
		s.ballast = min(max(o.MaxCacheSize/32, minBallast), maxBallast)
	}
	s.facts = newReserver(filepath.Join(o.Path, "facts"), "%05d.mem", ".mem", factsMemTable)
	return s, nil
}

// need returns ErrNoSpace when writing n bytes would take the disk below the
// floor. It raises an alert when that happens for the first time in a row.
func (s *space) need(n int64) error {
	free, err := s.free(s.path)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", s.path, err)
	}
	if free-n >= s.floor {
		if s.low.Load() && free-n >= s.floor+s.floor/8 {
			s.low.Store(false)
		}
		return nil
	}
	err = fmt.Errorf("%d bytes free on the disk of %s, %d are to stay free: %w", free, s.path, s.floor, ErrNoSpace)
	if !s.low.Swap(true) {
		s.log.Error("the disk is full", "path", s.path, "free", free, "floor", s.floor)
		s.alert("disk_full", s.path, fmt.Sprintf("Only %d bytes are free on the disk of %s and %d are to stay free: "+
			"what is cached stays served, nothing new is kept.", free, s.path, s.floor))
	}
	return err
}

// needSpare is need for those who may go down to half of the floor.
func (s *space) needSpare(n int64) error {
	if s.has(n + s.floor/2) {
		return nil
	}
	return s.need(n)
}

// has reports whether n bytes are free, above the floor or not: for work that
// frees more than it takes.
func (s *space) has(n int64) bool {
	free, err := s.free(s.path)
	return err == nil && free >= n
}

// Badger turns its memtables into tables when it opens and when it closes, and
// on a full disk that kills the process. For opening the ballast is borrowed:
// removed before, and put back afterwards as far as there is room. Closing can
// be left out instead (see Store.Close), which keeps the ballast out of reach
// of whoever is filling the disk.

// canFlush reports whether there is room for tables of all memtables. It asks
// the file system itself: a test that plays a full disk has room for these.
func (s *space) canFlush() error {
	free, _, err := diskSpace(s.path)
	if err != nil {
		return nil // it was asked before, and need asks again
	}
	need := int64(1 << 20)
	logs, _ := filepath.Glob(filepath.Join(s.path, "*", "*.mem")) // the pattern is sound
	for _, name := range logs {
		if info, err := os.Stat(name); err == nil {
			need += max(diskUsage(info)-reserveStep/2, 0) // at least that much is reserved and not used
		}
	}
	if free >= need {
		return nil
	}
	return fmt.Errorf("%d bytes are free on the disk of %s and %d are needed: %w", free, s.path, need, ErrNoSpace)
}

// borrow removes the ballast when the disk is full.
func (s *space) borrow() error {
	free, err := s.free(s.path)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", s.path, err)
	}
	if free >= s.floor {
		return nil
	}
	name := filepath.Join(s.path, ballastName)
	switch err := emptyFile(name); {
	case err == nil:
		s.log.Warn("the disk is full, the ballast is being used", "path", s.path, "free", free, "floor", s.floor)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("empty the ballast: %w", err)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("remove the ballast: %w", err)
	}
	return nil
}

// emptyFile frees the blocks of a file at once. Removing it would do so later
// on some file systems: xfs leaves it to a worker.
func emptyFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(0), f.Sync(), f.Close())
}

// repay puts the ballast in place: all of it when the floor allows, and on a
// full disk most of what is left, for the next time.
func (s *space) repay() {
	name := filepath.Join(s.path, ballastName)
	info, err := os.Stat(name)
	if err == nil && info.Size() == s.ballast {
		return
	}
	free, ferr := s.free(s.path)
	size := s.ballast
	switch {
	case ferr != nil:
		return
	case free >= s.floor+s.ballast:
	case err == nil:
		return // a small one is in place
	default:
		if size = min(s.ballast, free/4*3); size < minBallast {
			return
		}
	}
	if err := writeBallast(name, size); err != nil {
		s.log.Warn("the ballast could not be made", "path", name, "error", err)
	}
}

func writeBallast(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = allocate(f, 0, size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = writeZeros(f, size)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}

func isNoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// SpareRoom is ErrNoSpace when not even an update that uses the spare room can
// write (Tx.UseSpare).
func (s *Store) SpareRoom() error { return s.space.needSpare(reserveStep) }

// Low reports whether the disk is below the floor of free space: what is held
// is served, and nothing new is kept.
func (s *Store) Low() bool {
	free, err := s.space.free(s.opts.Path)
	return err == nil && free < s.space.floor
}
