package git

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"stasis/proxy/composer"
)

// level is how hard archives are packed. The bytes of an archive are part of what is promised, since
// their checksum stands in lock files, and this number, the order of files, their headers and the
// packing itself decide about them. The library is pinned by go.sum, unlike that of the Go version
// that happens to build; TestArchivesKeepTheirBytes tells when one of them changes.
const level = 6

// maxEntries bounds the files and links of an archive, as proxy/archive does.
const maxEntries = 100_000

// Zip writes the archive of a release, of which only the package, the commit and the path count. All
// files lie in one folder, in order of their names, dated as the commit. Left out is what
// .gitattributes marks with export-ignore, what archive.exclude in composer.json names, submodules,
// and links that lead out of the package.
//
// What was written is of no use when Zip returns an error.
func (r *Repository) Zip(ctx context.Context, w io.Writer, rel Release) error {
	if err := r.zip(ctx, w, rel); err != nil {
		return fmt.Errorf("archive %s at %.12s of %s: %w", rel.Package, rel.Commit, r.at, err)
	}
	return nil
}

func (r *Repository) zip(ctx context.Context, w io.Writer, rel Release) error {
	if err := checkPlace(rel.Commit, rel.Path); err != nil {
		return err
	}
	if rel.Package.IsZero() {
		return errors.New("the package has no name")
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := r.mirrored(); err != nil {
		return err
	}
	p := packer{
		prefix: strings.TrimPrefix(rel.Path+"/", "/"),
		root:   fmt.Sprintf("%s-%s-%.12s/", rel.Package.Vendor(), rel.Package.Package(), rel.Commit),
		left:   r.git.o.MaxUnpacked,
		max:    r.git.o.MaxUnpacked,
	}
	err = r.withObjects(ctx, func(o *objects) error {
		c, err := o.commit(rel.Commit)
		if err != nil {
			return err
		}
		p.modified = zipTime(c.time)
		manifest, err := o.blob(rel.Commit+":"+p.prefix+"composer.json", maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("there is no composer.json")
		}
		if err != nil {
			return fmt.Errorf("read composer.json: %w", err)
		}
		var object composer.Object
		if err := object.UnmarshalJSON(manifest.data); err != nil {
			return fmt.Errorf("read composer.json: %w", err)
		}
		p.excludes = parseExcludes(object)
		return nil
	})
	if err != nil {
		return err
	}
	zw := zip.NewWriter(w)
	deflate, err := flate.NewWriter(nil, level)
	if err != nil {
		return err
	}
	zw.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		deflate.Reset(w)
		return deflate, nil
	})
	p.zip = zw
	err = r.git.run(ctx, r.exporting(rel, p.modified), func(in io.WriteCloser, out io.Reader) error {
		in.Close()
		return p.pack(tar.NewReader(out))
	})
	if err != nil {
		return err
	}
	if p.entries == 0 {
		return errors.New("it would hold no files")
	}
	if err := zw.SetComment(rel.Commit); err != nil {
		return err
	}
	return zw.Close()
}

// exporting is how git writes out a commit. What export-subst puts into files could depend on the
// other references and objects of the mirror and on the time of day, so the command runs in a
// repository that has no references, borrows the mirror's objects, cuts ids at a length that stays
// unique, and takes the commit's time for now.
func (r *Repository) exporting(rel Release, now time.Time) call {
	c := call{
		dir: r.git.blank,
		env: []string{
			"GIT_OBJECT_DIRECTORY=" + filepath.Join(r.dir, "objects"),
			"GIT_TEST_DATE_NOW=" + strconv.FormatInt(now.Unix(), 10),
		},
		config: []setting{{"core.abbrev", "12"}, {"tar.umask", "0022"}},
		args:   []string{"archive", "--format=tar", rel.Commit},
	}
	if rel.Path != "" {
		c.args = append(c.args, "--", rel.Path)
	}
	return c
}

// checkPlace refuses what is no commit id or no folder.
func checkPlace(commit, path string) error {
	if len(commit) != 40 || !isHex(commit) {
		return fmt.Errorf("%.80q is not a commit id", commit)
	}
	if path != "" && !fs.ValidPath(path) || path == "." || unprinting.MatchString(path) {
		return fmt.Errorf("%.80q is not a path in a repository", path)
	}
	return nil
}

// zipTime brings a time into the range that zips can hold.
func zipTime(t time.Time) time.Time {
	first, last := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2105, 12, 31, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}

// packer turns git's tar into the zip.
type packer struct {
	zip       *zip.Writer
	prefix    string // of the package's folder in the repository, with its slash
	root      string // of everything in the zip, with its slash
	modified  time.Time
	excludes  excludes
	entries   int
	left, max int64 // bytes
	last      string
}

func (p *packer) pack(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink {
			continue // folders, and the commit's id
		}
		name, ok := strings.CutPrefix(h.Name, p.prefix)
		if !ok || p.excludes.has(name) {
			continue
		}
		if err := p.check(name, h.Size); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeSymlink {
			err = p.link(name, h.Linkname)
		} else {
			err = p.file(name, h.Mode&0o111 != 0, h.Size, t)
		}
		if err != nil {
			return err
		}
	}
}

// check refuses what tools would read differently, and what is too much. git's order is that of whole
// paths, so that a name that does not come after the last one is there twice.
func (p *packer) check(name string, size int64) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("it holds a file named %.80q, which not every tool can unpack", name)
	}
	if name <= p.last {
		return fmt.Errorf("it holds %.80q twice", name)
	}
	p.last = name
	if p.entries++; p.entries > maxEntries {
		return fmt.Errorf("it holds more than the %d files allowed", maxEntries)
	}
	if p.left -= size; p.left < 0 {
		return fmt.Errorf("it holds more than the %d bytes allowed", p.max)
	}
	return nil
}

func (p *packer) file(name string, executable bool, size int64, content io.Reader) error {
	h := &zip.FileHeader{Name: p.root + name, Method: zip.Deflate, Modified: p.modified}
	if size == 0 {
		h.Method = zip.Store
	}
	h.SetMode(0o644)
	if executable {
		h.SetMode(0o755)
	}
	w, err := p.zip.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return err
}

func (p *packer) link(name, target string) error {
	if leadsOut(name, target) {
		p.entries--
		return nil
	}
	h := &zip.FileHeader{Name: p.root + name, Method: zip.Store, Modified: p.modified}
	h.SetMode(fs.ModeSymlink | 0o777)
	w, err := p.zip.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, target)
	return err
}

// leadsOut reports whether a link leaves the package. Steps up are understood at its beginning only:
// behind a name, which may be another link, nobody can tell from the text where they lead.
func leadsOut(name, target string) bool {
	const longest = 4096
	if target == "" || len(target) > longest || target[0] == '/' || strings.ContainsAny(target, "\\\x00") || strings.IndexByte(target, ':') == 1 {
		return true
	}
	depth, named := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}
