package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// reserveStep is how far ahead of the writing blocks are reserved: more than a
// batch of commits, little enough not to show in the size of a small cache.
const reserveStep = 1 << 20

// reserver gives the sparse files that Badger writes through memory maps real
// blocks before they are written to. A file that has its blocks cannot meet a
// full disk.
//
// Badger does not say where it writes, so the position is an upper bound: what
// was written since the file appeared, counted by the callers. When Badger has
// just begun a new file the first commits into it may come before its
// reservation; the free-space floor covers those.
type reserver struct {
	dir    string
	format string // name of file number n
	suffix string
	limit  int64 // a file is not written much past this

	mu       sync.Mutex // guards everything below
	file     *os.File
	number   int
	position int64
	reserved int64
	off      bool // the file system cannot reserve
}

func newReserver(dir, format, suffix string, limit int64) *reserver {
	return &reserver{dir: dir, format: format, suffix: suffix, limit: limit, number: -1}
}

// reserve makes sure that the next n bytes have blocks.
func (r *reserver) reserve(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.follow(); err != nil {
		return err
	}
	if r.file == nil || r.off {
		return nil
	}
	r.position += n
	for r.reserved < r.position+reserveStep/2 && r.reserved < r.limit+reserveStep {
		err := allocate(r.file, r.reserved, reserveStep)
		if errors.Is(err, errors.ErrUnsupported) {
			r.off = true
			return nil
		}
		if isNoSpace(err) {
			return fmt.Errorf("reserve blocks of %s: %w: %w", r.file.Name(), ErrNoSpace, err)
		}
		if err != nil {
			return fmt.Errorf("reserve blocks of %s: %w", r.file.Name(), err)
		}
		r.reserved += reserveStep
	}
	return nil
}

// current returns the number of the file that was written last time.
func (r *reserver) current() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number
}

// follow moves on to the file that Badger writes now: the last one.
func (r *reserver) follow() error {
	switch {
	case r.number < 0:
		entries, err := os.ReadDir(r.dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), r.suffix))
			if strings.HasSuffix(e.Name(), r.suffix) && err == nil {
				r.number = max(r.number, n)
			}
		}
		if r.number < 0 {
			return nil
		}
		return r.open()
	default:
		moved := false
		for {
			if _, err := os.Lstat(r.name(r.number + 1)); err != nil {
				break
			}
			r.number++
			moved = true
		}
		if !moved {
			return nil
		}
		return r.open()
	}
}

func (r *reserver) name(n int) string { return filepath.Join(r.dir, fmt.Sprintf(r.format, n)) }

func (r *reserver) open() error {
	if r.file != nil {
		r.file.Close() //nolint:errcheck // nothing was written through it
		r.file = nil
	}
	r.position, r.reserved = 0, 0
	f, err := os.OpenFile(r.name(r.number), os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	r.file = f
	return nil
}

func (r *reserver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		r.file.Close() //nolint:errcheck // nothing was written through it
		r.file = nil
	}
	r.off = true
}
