package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Suffix is what the names of backup files in a folder end with.
const Suffix = ".backup"

// File is a backup in a folder.
type File struct {
	Path   string
	Header Header
}

// FileName is what a backup is called in a folder: names sort by time.
func FileName(h Header) string {
	kind := "incremental"
	if h.Full() {
		kind = "full"
	}
	return h.TakenAt.UTC().Format("20060102T150405.000Z") + "-" + kind + Suffix
}

// ReadFolder lists the backups in a folder, the oldest first. It looks at their
// headers only. A folder that does not exist has none. Files that cannot be
// read are passed over and named in the error, which leaves the list usable.
func ReadFolder(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []File
	var bad []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != Suffix {
			continue
		}
		name := filepath.Join(dir, e.Name())
		h, err := ReadHeader(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		files = append(files, File{name, h})
	}
	slices.SortStableFunc(files, func(a, b File) int { return a.Header.TakenAt.Compare(b.Header.TakenAt) })
	return files, errors.Join(bad...)
}

// ReadHeader reads the header of a backup file.
func ReadHeader(name string) (Header, error) {
	f, err := os.Open(name)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return Header{}, fmt.Errorf("%s: %w", name, err)
	}
	return r.Header(), nil
}

// Newest returns the newest backup of a folder that can be restored, with those
// it continues, the full one first.
func Newest(files []File) []File {
	byID := map[string]File{}
	for _, f := range files {
		byID[f.Header.ID] = f
	}
	for _, last := range slices.Backward(files) {
		chain := []File{last}
		for !chain[0].Header.Full() && len(chain) <= len(files) {
			base, ok := byID[chain[0].Header.Since]
			if !ok {
				break
			}
			chain = append([]File{base}, chain...)
		}
		if chain[0].Header.Full() {
			return chain
		}
	}
	return nil
}

// Expired returns the files that keeping the newest full backups, as many as
// keep says, and what continues them leaves over.
func Expired(files []File, keep int) []File {
	fulls := 0
	for i, f := range slices.Backward(files) {
		if f.Header.Full() {
			if fulls++; fulls == keep {
				return files[:i]
			}
		}
	}
	return nil
}
