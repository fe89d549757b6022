package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Found is an archive in a watched folder.
type Found struct {
	Path     string // below the folder, with slashes
	Size     int64
	ModTime  time.Time
	Artifact Artifact
}

// Skipped is a file in a watched folder that looks like an archive and is none, or none yet.
type Skipped struct {
	Path    string
	Size    int64
	ModTime time.Time
	Reason  string // a sentence
	// Again says that another look may find something else even at the same size and time: the file was being written, or
	// could not be read.
	Again bool
}

// extensions are those that Composer's own artifact repository reads, and that of a tar.bz2.
var extensions = []string{".zip", ".tar", ".gz", ".tgz", ".bz2"}

// Scan looks for archives in a folder and everything below it. known is asked once about every archive there is, and says
// whether it has been looked at with this size and time of change, whatever came of it; the others are inspected and
// handed to found, whose error ends the scan. What is not whole is skipped: as long as it is being written its size and
// time change, and so it is looked at again in the next scan.
//
// Links to files inside the folder are followed; those to folders, and those that lead out of it, are not.
func Scan(ctx context.Context, dir string, known func(path string, size int64, mtime time.Time) bool, found func(Found) error) ([]Skipped, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of archives: %w", err)
	}
	defer root.Close()
	var skipped []Skipped
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if p == "." {
				return err
			}
			skipped = append(skipped, Skipped{Path: p, Reason: unreadable(p, err), Again: true})
			return nil
		}
		if d.IsDir() || !slices.Contains(extensions, strings.ToLower(path.Ext(p))) {
			return nil
		}
		f, skip, err := look(root, p, known)
		if skip != nil {
			skipped = append(skipped, *skip)
		}
		if f == nil || err != nil {
			return err
		}
		return found(*f)
	})
	if err != nil {
		return skipped, fmt.Errorf("scan the folder of archives: %w", err)
	}
	return skipped, nil
}

// look inspects one file. Neither result means that it is known, or gone again.
func look(root *os.Root, p string, known func(path string, size int64, mtime time.Time) bool) (*Found, *Skipped, error) {
	before, err := root.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, &Skipped{Path: p, Reason: unreadable(p, err), Again: true}, nil
	}
	if !before.Mode().IsRegular() {
		return nil, nil, nil
	}
	if known(p, before.Size(), before.ModTime()) {
		return nil, nil, nil
	}
	skip := Skipped{Path: p, Size: before.Size(), ModTime: before.ModTime()}
	f, err := root.Open(p)
	if err != nil {
		skip.Reason, skip.Again = unreadable(p, err), true
		return nil, &skip, nil
	}
	defer f.Close()
	a, err := Inspect(f, before.Size(), p, Want{})
	after, statErr := f.Stat()
	if statErr != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		skip.Reason, skip.Again = label(p)+" was being written", true
		return nil, &skip, nil
	}
	var refused *Error
	if errors.As(err, &refused) {
		skip.Reason = refused.Error()
		return nil, &skip, nil
	}
	if err != nil {
		skip.Reason, skip.Again = unreadable(p, err), true
		return nil, &skip, nil
	}
	return &Found{Path: p, Size: before.Size(), ModTime: before.ModTime(), Artifact: a}, nil, nil
}

// unreadable is a sentence without the path of the folder, which is nobody's business.
func unreadable(p string, err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Sprintf("%s could not be read: %v", label(p), err)
}
