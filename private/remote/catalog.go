package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// mode is how a repository offers its packages (protocol 1.4).
type mode int

const (
	inline    mode = iota // all in the root and what it includes
	documents             // metadata-url
	lazy                  // providers-lazy-url
	hashed                // providers-url
)

// digest is a SHA-256.
type digest [sha256.Size]byte

// catalog is what the root said at one time, together with the indexes and
// packages that it includes. It never changes.
type catalog struct {
	mode      mode
	asked     time.Time // when the root was asked for
	root      *composer.Root
	base      string // of relative addresses
	inline    map[composer.Name][]piece
	indexes   []map[composer.Name]digest // a later one counts before an earlier
	listed    map[string]bool            // a closed list of names; nil when any name may be asked for
	patterns  []string
	mirrors   []composer.Mirror // absolute
	lazyURL   string
	hashedURL string
	// tag tells apart what repositories, and repositories at other times, would
	// make of the same document.
	tag string

	// The validators of the root; empty when it is to be read as a whole.
	lastModified, etag string
	// files are the included documents by address and hash: while both stay the
	// same, they are not fetched again.
	files map[string]*content
}

// form counts the ways in which documents were made by this program. Another
// one than that of a recorded document makes it be fetched as a whole.
const form = "1"

// newCatalog reads the small members of a root.
func newCatalog(address string, c *content, asked time.Time) (*catalog, error) {
	root, err := composer.ParseRoot(encode(c.members))
	if err != nil {
		return nil, err
	}
	cat := &catalog{
		asked: asked, root: root, base: address, inline: map[composer.Name][]piece{}, files: map[string]*content{},
		lazyURL:   composer.Resolve(address, root.Members.Text("providers-lazy-url")),
		hashedURL: composer.Resolve(address, root.Members.Text("providers-url")),
	}
	switch {
	case root.MetadataURL != "":
		cat.mode = documents
		root.MetadataURL = composer.Resolve(address, root.MetadataURL)
	case cat.lazyURL != "":
		cat.mode = lazy
	case cat.hashedURL != "":
		cat.mode = hashed
	case !c.inline && len(c.ancient) == 0:
		return nil, errors.New("it names neither packages nor a place where they are, so it is not the root of a Composer repository")
	}
	for template, want := range map[string][]string{
		root.MetadataURL: {"%package%"}, cat.lazyURL: {"%package%"}, cat.hashedURL: {"%package%", "%hash%"},
	} {
		for _, placeholder := range want {
			if template != "" && !strings.Contains(template, placeholder) {
				return nil, fmt.Errorf("the address of its packages, %s, has no %s", plain(template), placeholder)
			}
		}
	}
	for _, m := range root.Mirrors {
		if m.DistURL = composer.Resolve(address, m.DistURL); fetchable(m.DistURL) {
			cat.mirrors = append(cat.mirrors, m)
		}
	}
	if cat.mode == documents && len(root.AvailablePackages)+len(root.AvailablePatterns) > 0 {
		cat.listed = map[string]bool{}
		for _, name := range root.AvailablePackages {
			cat.listed[strings.ToLower(name)] = true
		}
		for _, p := range root.AvailablePatterns {
			cat.patterns = append(cat.patterns, strings.ToLower(p))
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s", form, address, cat.mode, mirrorList(cat.mirrors)))
	cat.tag = "r" + form + "-" + hex.EncodeToString(sum[:8])
	return cat, nil
}

// lists reports whether the root does not rule a name out.
func (c *catalog) lists(n composer.Name) bool {
	return c.listed == nil || c.listed[n.String()] ||
		slices.ContainsFunc(c.patterns, func(p string) bool { return matches(p, n.String()) })
}

// matches reports whether a whole name fits a pattern in which * stands for any
// characters, slashes too.
func matches(pattern, name string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, last)
}

// hash looks a name up in the indexes. They count only where hashed files can
// be asked for.
func (c *catalog) hash(n composer.Name) (digest, bool) {
	if c.mode != hashed && c.mode != lazy || c.hashedURL == "" {
		return digest{}, false
	}
	for _, index := range slices.Backward(c.indexes) {
		if sum, ok := index[n]; ok {
			return sum, true
		}
	}
	return digest{}, false
}

// mark makes the validator that is recorded with a document: who made it, and
// what it was made of.
func (c *catalog) mark(of string) string { return strings.TrimSpace(c.tag + " " + of) }

// madeBy is the tag in a recorded validator, and madeOf the rest.
func madeBy(etag string) string {
	tag, _, _ := strings.Cut(etag, " ")
	return tag
}

func madeOf(etag string) string {
	_, of, _ := strings.Cut(etag, " ")
	return of
}
