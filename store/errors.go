package store

import (
	"errors"
	"fmt"
	"io/fs"
)

// What a caller may want to tell apart. Anything that is not there matches
// fs.ErrNotExist.
var (
	ErrNoSpace   = errors.New("no space left for the store")
	ErrCorrupt   = errors.New("stored bytes are damaged")
	ErrLocked    = errors.New("the folder is locked")
	ErrSchema    = errors.New("the data folder has another format")
	ErrRestoring = errors.New("the data folder is being restored")
	ErrClosed    = errors.New("the store is closed")
	ErrPinned    = errors.New("the archive is pinned")
)

// Stop, returned by the function given to a scan, ends the scan without error.
var Stop = errors.New("stop the scan") //nolint:errname,staticcheck // a signal, not a failure

// missing says what was looked for and not found.
func missing(kind, subject string) error {
	return &fs.PathError{Op: "find " + kind, Path: subject, Err: fs.ErrNotExist}
}

// damaged says what was found and cannot be trusted.
func damaged(kind, subject, why string) error {
	return fmt.Errorf("%s %s: %s: %w", kind, subject, why, ErrCorrupt)
}
