package store

import "fmt"

const lockName = "LOCK"

// lockedError is the one sentence a second process gets.
func lockedError(path, holder string) error {
	if holder == "" {
		return fmt.Errorf("the data folder %s is used by another process; stop it or choose another folder: %w", path, ErrLocked)
	}
	return fmt.Errorf("the data folder %s is used by another process (pid %s); stop it or choose another folder: %w", path, holder, ErrLocked)
}
