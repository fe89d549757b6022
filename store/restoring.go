package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// restoringName is the file that stands in a folder for as long as it is being
// restored. It lists the backups.
const restoringName = "RESTORING"

type restoring struct {
	Note    string   `json:"note"`
	Backups []string `json:"backups"` // their IDs, in order
}

// beginRestore makes sure that a folder is empty, or that an interrupted
// restore of the same backups can be taken up in it, and marks it.
func beginRestore(path string, ids []string) error {
	if path == "" {
		return errors.New("restore: no data folder given")
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	before, err := readRestoring(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for _, e := range entries {
			if e.Name() != "lost+found" && e.Name() != restoringName+".new" {
				return fmt.Errorf("restore: the folder %s is not empty (it has %s); restore into an empty one", path, e.Name())
			}
		}
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	case len(before.Backups) > len(ids) || !slices.Equal(before.Backups, ids[:len(before.Backups)]):
		return fmt.Errorf("restore: the folder %s holds an unfinished restore of other backups (%s); finish that one, or empty the folder", path, strings.Join(before.Backups, ", "))
	}
	body, err := json.MarshalIndent(restoring{
		Note:    "This folder is being restored and cannot be used yet. If that was interrupted, run stasis restore again with the same backups.",
		Backups: ids,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFileDurably(filepath.Join(path, restoringName), append(body, '\n')); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// readRestoring reads the mark. The error matches fs.ErrNotExist when there is
// none.
func readRestoring(path string) (r restoring, err error) {
	body, err := os.ReadFile(filepath.Join(path, restoringName))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("%s in %s cannot be read; empty the folder and restore again", restoringName, path)
	}
	return r, nil
}

// endRestore takes the mark away: the folder is like any other.
func endRestore(path string) error {
	if err := os.Remove(filepath.Join(path, restoringName)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return syncFolder(path)
}

// checkRestored refuses a folder whose restore is not over.
func checkRestored(path string) error {
	if _, err := os.Stat(filepath.Join(path, restoringName)); err == nil {
		return fmt.Errorf("the data folder %s holds an unfinished restore; run stasis restore again with the same backups, or empty the folder: %w", path, ErrRestoring)
	}
	return nil
}
