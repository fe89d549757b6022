package store

import (
	"errors"
	"fmt"
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

// newSpace also gives the ballast back when the disk is too full to open.
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
	free, err := s.free(o.Path)
	if err != nil {
		return nil, fmt.Errorf("ask for the free space of %s: %w", o.Path, err)
	}
	if free < s.floor {
		err := os.Remove(filepath.Join(o.Path, ballastName))
		if err == nil {
			s.log.Warn("the disk is full, the ballast was given back", "path", o.Path, "free", free, "ballast", s.ballast)
		}
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

// replenish makes the ballast anew when it is gone and there is room for it.
func (s *space) replenish() {
	name := filepath.Join(s.path, ballastName)
	if info, err := os.Stat(name); err == nil && info.Size() == s.ballast {
		return
	}
	if free, err := s.free(s.path); err != nil || free < s.floor+s.ballast {
		return
	}
	if err := writeBallast(name, s.ballast); err != nil {
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

// Low reports whether the disk is below the floor of free space: what is held
// is served, and nothing new is kept.
func (s *Store) Low() bool {
	free, err := s.space.free(s.opts.Path)
	return err == nil && free < s.space.floor
}
