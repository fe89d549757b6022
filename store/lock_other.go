//go:build !unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// folderLock relies on the system refusing to remove a file that is open: a
// lock file that can be removed belongs to nobody.
type folderLock struct{ file *os.File }

func lockFolder(path string) (*folderLock, error) {
	name := filepath.Join(path, lockName)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, lockedError(path, "")
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, lockedError(path, "")
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return &folderLock{f}, nil
}

func (l *folderLock) release() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.file.Close(), os.Remove(l.file.Name()))
}
