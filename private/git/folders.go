package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	maxPaths   = 100
	maxFolders = 1000 // that one path may mean at one commit
)

// checkPaths refuses what cannot be a glob of folders. No paths are the root alone.
func checkPaths(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return []string{""}, nil
	}
	if len(paths) > maxPaths {
		return nil, fmt.Errorf("there are %d paths of packages, more than the %d allowed", len(paths), maxPaths)
	}
	var checked []string
	for _, p := range paths {
		clean := strings.Trim(strings.TrimPrefix(p, "./"), "/")
		if clean == "." {
			clean = ""
		}
		_, err := path.Match(clean, "")
		if err != nil || clean != "" && !fs.ValidPath(clean) || unprinting.MatchString(clean) || strings.ContainsAny(clean, `\`) {
			return nil, fmt.Errorf("%q is not a folder of the repository or a pattern of such, like packages/*", p)
		}
		if !slices.Contains(checked, clean) {
			checked = append(checked, clean)
		}
	}
	return checked, nil
}

// folder is a folder of a repository that a path means.
type folder struct {
	path  string // "" is the root
	tree  tree
	id    string // of the tree; "" at the root
	above string // the ids of the attributes of the folders above, which count here, too
}

// folders finds what a path means below a root folder, in order.
func (s *scan) folders(root tree, pattern string) ([]folder, error) {
	found := []folder{{tree: root}}
	if pattern == "" {
		return found, nil
	}
	for part := range strings.SplitSeq(pattern, "/") {
		var next []folder
		for _, above := range found {
			attributes := above.above
			if e, ok := above.tree.find(".gitattributes"); ok {
				attributes += " " + e.id
			}
			for _, e := range above.tree {
				if ok, _ := path.Match(part, e.name); !ok || !e.isFolder() || e.name == ".." || e.name == "." || unprinting.MatchString(e.name) {
					continue
				}
				t, err := s.folder(e.id)
				if err != nil {
					return nil, err
				}
				if next = append(next, folder{path.Join(above.path, e.name), t, e.id, attributes}); len(next) > maxFolders {
					return nil, errors.New("its path means more than the 1000 folders allowed")
				}
			}
		}
		found = next
	}
	return found, nil
}

// state tells two states of a folder apart, as far as archives of it go; "" for the root.
func (f folder) state() string {
	if f.id == "" {
		return ""
	}
	return f.path + " " + f.id + f.above
}

// folder reads a folder, which commits have in common more often than not.
func (s *scan) folder(id string) (tree, error) {
	if t, ok := s.trees[id]; ok {
		return t, nil
	}
	t, err := s.objects.tree(id)
	if err != nil {
		return nil, err
	}
	if s.held += len(t); s.held > maxHeld {
		clear(s.trees)
		s.held = len(t)
	}
	s.trees[id] = t
	return t, nil
}

// maxHeld bounds the names in remembered folders; a hundred bytes each.
const maxHeld = 500_000
