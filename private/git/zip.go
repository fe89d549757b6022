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
)

// Zip writes the archive of a release as Scan returned it; of one without Manifest, the package, the
// commit and the path are enough, and the rest is read again. All files lie in one folder, in order of their names, dated as the commit. Left out is what
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
	if rel.Manifest == nil {
		if err := r.recall(ctx, &rel); err != nil {
			return err
		}
	}
	deflate, err := flate.NewWriter(nil, level)
	if err != nil {
		return err
	}
	p := packer{
		zip:      zip.NewWriter(w),
		deflate:  deflate,
		packed:   r.git.packed,
		prefix:   strings.TrimPrefix(rel.Path+"/", "/"),
		root:     fmt.Sprintf("%s-%s-%.12s/", rel.Package.Vendor(), rel.Package.Package(), rel.Commit),
		modified: zipTime(rel.Time),
		excludes: parseExcludes(rel.Manifest),
		left:     r.git.o.MaxUnpacked,
		max:      r.git.o.MaxUnpacked,
	}
	p.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) })
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
	if err := p.zip.SetComment(rel.Commit); err != nil {
		return err
	}
	return p.zip.Close()
}

// recall reads what a scan found out about a release and nobody kept.
func (r *Repository) recall(ctx context.Context, rel *Release) error {
	return r.withObjects(ctx, func(o *objects) error {
		c, err := o.commit(rel.Commit)
		if err != nil {
			return err
		}
		rel.Time = c.time
		manifest, err := o.blob(rel.Commit+":"+strings.TrimPrefix(rel.Path+"/composer.json", "/"), maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("there is no composer.json")
		}
		if err == nil {
			err = rel.Manifest.UnmarshalJSON(manifest.data)
		}
		if err != nil {
			return fmt.Errorf("read composer.json: %w", err)
		}
		return nil
	})
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
		config: []setting{{"core.abbrev", "12"}, {"tar.umask", "0022"}, {"core.protectHFS", "true"}, {"core.protectNTFS", "true"}},
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
