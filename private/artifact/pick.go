package artifact

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The largest files that are read. The largest composer.json files in use have some 100 KB.
const (
	maxManifest = 1 << 20
	maxReadme   = 512 << 10
)

const manifestName = "composer.json"

// readmeNames are looked for in any mix of upper and lower case, the best first.
var readmeNames = []string{"readme.md", "readme.markdown", "readme.txt", "readme"}

// pick chooses the files to read while an archive is checked: the composer.json and readme at its top, and those in the
// first folder there. Only at the end it shows whether that folder is the only one. So at most ten files are held.
type pick struct {
	folder    string
	manifests map[string]int64  // the size of every file named composer.json, in upper or lower case
	readmes   map[string]string // the first file of each name
}

// file is an archive.Pick.
func (p *pick) file(path string, size int64) bool {
	folder, name, nested := strings.Cut(path, "/")
	switch {
	case !nested:
		folder, name = "", path
	case p.folder == "":
		p.folder = folder
	case p.folder != folder:
		return false
	}
	lower := strings.ToLower(name)
	switch {
	case lower == manifestName:
		p.manifests[path] = size
		return name == manifestName && size <= maxManifest
	case slices.Contains(readmeNames, lower) && size <= maxReadme:
		key := place(folder) + lower
		if p.readmes[key] == "" {
			p.readmes[key] = path
			return true
		}
	}
	return false
}

func place(folder string) string {
	if folder == "" {
		return ""
	}
	return folder + "/"
}

// root returns where the package lies in the archive: at the top if there is a composer.json, else in the single folder.
func (p *pick) root(top string) string {
	if _, ok := p.manifests[manifestName]; ok {
		return ""
	}
	return place(top)
}

// manifest returns the composer.json of the package.
func (p *pick) manifest(top string, files map[string][]byte) ([]byte, error) {
	path := p.root(top) + manifestName
	var twin string
	for other := range p.manifests {
		if other != path && strings.EqualFold(other, path) {
			twin = other
		}
	}
	body, ok := files[path]
	size := p.manifests[path]
	_, below := p.manifests[place(p.folder)+manifestName]
	switch {
	case ok && twin != "":
		return nil, fmt.Errorf("it has both %q and %q, of which only one exists on some systems", path, twin)
	case ok:
		return body, nil
	case size > maxManifest:
		return nil, fmt.Errorf("its composer.json has %d bytes, more than the %d allowed", size, maxManifest)
	case twin != "":
		return nil, fmt.Errorf("it has no composer.json: the name of %q must be in lower case", twin)
	case below:
		return nil, fmt.Errorf("its composer.json lies in the folder %q, where Composer does not look, because something lies beside that folder", p.folder)
	}
	return nil, errors.New("it has no composer.json at its top or in a single folder there")
}

// readme returns the best readme beside the composer.json.
func (p *pick) readme(top string, files map[string][]byte) []byte {
	for _, name := range readmeNames {
		if body, ok := files[p.readmes[p.root(top)+name]]; ok {
			return body
		}
	}
	return nil
}
