package git

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// maxAttributes bounds a .gitattributes or .gitmodules, in bytes.
const maxAttributes = 1 << 20

// notesOn says what the archive of a package will lack: files that are kept with Git LFS, of which a
// repository has pointers only, and submodules. It goes by what .gitattributes and .gitmodules say, as
// looking at every file of 10,000 tags would take minutes.
func (s *scan) notesOn(root tree, f folder) ([]string, error) {
	var notes []string
	lfs := false
	for _, t := range []tree{root, f.tree} {
		lines, err := s.lines(t, ".gitattributes")
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			lfs = lfs || usesLFS(line)
		}
	}
	if lfs {
		notes = append(notes, "files that .gitattributes leaves to Git LFS are pointers in the archive")
	}
	lines, err := s.lines(root, ".gitmodules")
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		at := path.Clean(strings.Trim(strings.TrimSpace(value), `"`))
		if strings.TrimSpace(key) == "path" && (f.path == "" || strings.HasPrefix(at, f.path+"/")) && len(notes) < 20 {
			notes = append(notes, "the submodule "+clip(at)+" is left out of the archive")
		}
	}
	return notes, nil
}

// lines reads a small text file of a folder, once for all commits that have the same.
func (s *scan) lines(t tree, name string) ([]string, error) {
	e, ok := t.find(name)
	if !ok || !e.isFile() {
		return nil, nil
	}
	if lines, ok := s.notes[e.id]; ok {
		return lines, nil
	}
	got, err := s.objects.blob(e.id, maxAttributes)
	var large *sizeError
	if err != nil && !errors.As(err, &large) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var lines []string
	for line := range bytes.Lines(got.data) {
		if line = bytes.TrimSpace(line); bytes.Contains(line, []byte("filter")) || bytes.HasPrefix(line, []byte("path")) {
			lines = append(lines, string(bytes.ToValidUTF8(line, []byte("?"))))
		}
	}
	s.notes[e.id] = lines
	return lines, nil
}

// usesLFS reports whether a line of .gitattributes leaves files to Git LFS that archives have.
func usesLFS(line string) bool {
	fields := strings.Fields(line)
	lfs := false
	for i, attribute := range fields {
		if i == 0 {
			if strings.HasPrefix(attribute, "#") {
				return false
			}
			continue
		}
		switch attribute {
		case "filter=lfs":
			lfs = true
		case "export-ignore":
			return false
		}
	}
	return lfs
}
