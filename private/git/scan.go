package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// Release is one version of one package.
type Release struct {
	Package            composer.Name
	Pretty, Normalized string
	Ref                string // refs/tags/… or refs/heads/…
	Commit             string // its full id
	Path               string // of the package's folder, "" for the root
	// State is the same at two commits between which nothing of the folder changed; "" for the root.
	State   string
	Time    time.Time
	Default bool // the development version of the default branch
	// Manifest is composer.json as Composer's vcs repository has it: with the name, the version, its
	// normalized form, the time and the mark of the default branch, and without source and dist
	// unless it brings its own.
	Manifest composer.Object
	// Notes are sentences about what an archive of it will lack.
	Notes []string
}

// Skip is a tag or branch, or a folder of one, that is no release.
type Skip struct {
	Ref, Path string
	Reason    string // the end of a sentence that begins with the reference
}

// Scan is what a repository holds.
type Scan struct {
	Releases      []Release
	Skipped       []Skip
	DefaultBranch string // its name, without refs/heads/
}

// Limits of what one scan may bring. The largest monorepos have some hundred packages and a thousand
// tags.
const (
	maxReleases = 500_000
	maxManifest = 1 << 20 // bytes of a composer.json
)

// Scan finds the releases at all tags and branches of the mirror. The paths are those of folders that
// hold packages, and may be globs: "" is the root, as are no paths at all, "packages/*" every folder
// in packages. Where a rule of Composer asks what came first, tags count in order of their names, then
// the default branch, then the other branches in order of their names.
//
// The name of the package at the default branch counts for all tags and branches, so that a package
// that was renamed has one name.
func (r *Repository) Scan(ctx context.Context, paths []string) (Scan, error) {
	paths, err := checkPaths(paths)
	if err != nil {
		return Scan{}, err
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return Scan{}, err
	}
	defer done()
	if err := r.mirrored(); err != nil {
		return Scan{}, err
	}
	all, err := r.list(ctx)
	if err != nil {
		return Scan{}, err
	}
	var s *scan
	err = r.withObjects(ctx, func(o *objects) error {
		s = newScan(o, paths)
		return s.run(all)
	})
	if err != nil {
		return Scan{}, fmt.Errorf("scan the mirror of %s: %w", r.at, err)
	}
	return s.result, nil
}

// scan is one scan at work.
type scan struct {
	objects *objects
	paths   []string
	result  Scan

	commits   map[string]holding
	trees     map[string]tree
	held      int // names in trees
	manifests map[string]manifest
	notes     map[string][]string // by blob and folder

	names map[string]composer.Name // by path, at the default branch
	taken map[string]string        // which reference has a package's version
}

// holding is what a commit holds for us.
type holding struct {
	commit
	err      error // why it holds nothing
	packages []found
	missing  []string // paths that mean nothing here
}

// found is a composer.json.
type found struct {
	path  string
	state string
	blob  string
	notes []string
}

// manifest is a composer.json that was read, or why it cannot be.
type manifest struct {
	object composer.Object
	err    error
}

func newScan(o *objects, paths []string) *scan {
	return &scan{
		objects: o, paths: paths,
		commits: map[string]holding{}, trees: map[string]tree{}, manifests: map[string]manifest{}, notes: map[string][]string{},
		names: map[string]composer.Name{}, taken: map[string]string{},
	}
}

func (s *scan) run(all listing) error {
	head := all.defaultBranch()
	s.result.DefaultBranch = strings.TrimPrefix(head, heads)
	var tagged, branches []ref
	for _, r := range all.refs {
		if strings.HasPrefix(r.name, tags) {
			tagged = append(tagged, r)
		} else {
			branches = append(branches, r)
		}
	}
	slices.SortStableFunc(branches, func(a, b ref) int {
		return -cmp.Compare(btoi(a.name == head), btoi(b.name == head))
	})
	if len(branches) > 0 && branches[0].name == head {
		if err := s.learnNames(branches[0]); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(append(tagged, branches...), 256) {
		if err := s.prefetch(some); err != nil {
			return err
		}
		for _, r := range some {
			if err := s.ref(r, head); err != nil {
				return err
			}
		}
	}
	return nil
}

// prefetch asks for what most references will be asked for: their commits, the folders at the root, and
// in these the files that count. What it cannot know is asked for when it is needed.
func (s *scan) prefetch(refs []ref) error {
	s.objects.forget()
	var commits, trees, blobs, small []string
	add := func(list *[]string, id string) {
		if !slices.Contains(*list, id) {
			*list = append(*list, id)
		}
	}
	for _, r := range refs {
		if _, known := s.commits[r.commit]; !known {
			add(&commits, r.commit)
		}
	}
	if err := s.objects.prefetch(contents, commits); err != nil {
		return err
	}
	for _, id := range commits {
		if got, ok := s.objects.ahead[contents+id]; ok && got.kind == "commit" {
			add(&trees, parseCommit(got.data).tree)
		}
	}
	if err := s.objects.prefetch(contents, trees); err != nil {
		return err
	}
	for _, id := range trees {
		t, err := s.folder(id)
		if fatal(err) {
			return err
		}
		for _, e := range t {
			_, read := s.manifests[e.id]
			_, noted := s.notes[e.id]
			if (e.name == "composer.json" || e.name == ".gitattributes" || e.name == ".gitmodules") && !read && !noted {
				add(&blobs, e.id)
			}
		}
	}
	if err := s.objects.prefetch(info, blobs); err != nil {
		return err
	}
	for _, id := range blobs {
		if got, ok := s.objects.ahead[info+id]; ok && got.size <= maxAhead {
			add(&small, id)
		}
	}
	return s.objects.prefetch(contents, small)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// learnNames notes the names of the packages at the default branch.
func (s *scan) learnNames(r ref) error {
	c, err := s.holding(r.commit)
	if err != nil {
		return err
	}
	for _, f := range c.packages {
		m, err := s.manifest(f.blob)
		if err != nil {
			return err
		}
		if name, err := composer.ParseName(m.object.Text("name")); err == nil {
			s.names[f.path] = name
		}
	}
	return nil
}

// ref makes releases of what one tag or branch holds. An error ends the scan.
func (s *scan) ref(r ref, head string) error {
	c, err := s.holding(r.commit)
	if err != nil {
		return err
	}
	if c.err != nil {
		s.skip(r, "", c.err)
		return nil
	}
	for _, path := range c.missing {
		if strings.ContainsAny(path, "*?[") {
			s.skip(r, path, errors.New("it has no package in such a folder"))
		} else {
			s.skip(r, path, errors.New("it has no composer.json"))
		}
	}
	for _, f := range c.packages {
		m, err := s.manifest(f.blob)
		if err != nil {
			return err
		}
		release, err := s.release(r, head, c, f, m)
		if err != nil {
			s.skip(r, f.path, err)
			continue
		}
		if s.result.Releases = append(s.result.Releases, release); len(s.result.Releases) > maxReleases {
			return fmt.Errorf("it holds more than the %d versions allowed", maxReleases)
		}
	}
	return nil
}

func (s *scan) skip(r ref, path string, why error) {
	s.result.Skipped = append(s.result.Skipped, Skip{Ref: r.name, Path: path, Reason: clip(why.Error())})
}

// release makes a release of one composer.json at one reference; the error says why it is none.
func (s *scan) release(r ref, head string, c holding, f found, m manifest) (Release, error) {
	if m.err != nil {
		return Release{}, m.err
	}
	var v version
	var err error
	tag, isTag := strings.CutPrefix(r.name, tags)
	if isTag {
		v, err = versionOfTag(tag, m.object)
	} else {
		v, err = versionOfBranch(strings.TrimPrefix(r.name, heads))
	}
	if err != nil {
		return Release{}, err
	}
	name, ok := s.names[f.path]
	if !ok {
		if name, err = composer.ParseName(m.object.Text("name")); err != nil {
			return Release{}, fmt.Errorf("its composer.json does not name the package: %w", err)
		}
	}
	release := Release{
		Package: name, Pretty: v.pretty, Normalized: v.normalized, Ref: r.name, Commit: r.commit, Path: f.path, State: f.state,
		Time: c.time, Default: r.name == head, Notes: f.notes,
	}
	release.Manifest = complete(m.object, release)
	key := name.String() + " " + v.normalized
	if other, is := s.taken[key]; is {
		return Release{}, fmt.Errorf("%s is version %s already", other, v.normalized)
	}
	s.taken[key] = r.name
	if f.path != "" {
		s.taken[key] += " in " + f.path
	}
	return release, nil
}

// complete adds to a composer.json what the repository knows.
func complete(o composer.Object, r Release) composer.Object {
	o = o.With("name", text(r.Package.String())).
		With("version", text(r.Pretty)).
		With("version_normalized", text(r.Normalized)).
		Without("default-branch")
	if o.Text("time") == "" {
		o = o.With("time", text(r.Time.Format(time.RFC3339)))
	}
	if r.Default {
		o = o.With("default-branch", []byte("true"))
	}
	return o
}

// holding reads a commit as far as we need it, once for all that name it. An error ends the scan;
// what is wrong with the commit alone stands in what it holds.
func (s *scan) holding(id string) (holding, error) {
	if c, ok := s.commits[id]; ok {
		return c, nil
	}
	c, err := s.read(id)
	if fatal(err) {
		return holding{}, err
	}
	c.err = err
	s.commits[id] = c
	return c, nil
}

// fatal reports whether an error means that git is gone, and not that something is wrong with what
// was read.
func fatal(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (s *scan) read(id string) (holding, error) {
	var c holding
	var err error
	if c.commit, err = s.objects.commit(id); err != nil {
		return c, err
	}
	root, err := s.folder(c.tree)
	if err != nil {
		return c, err
	}
	seen := map[string]bool{}
	for _, pattern := range s.paths {
		folders, err := s.folders(root, pattern)
		if err != nil {
			return c, err
		}
		any := false
		for _, f := range folders {
			e, ok := f.tree.find("composer.json")
			if !ok || !e.isFile() {
				continue
			}
			any = true
			if seen[f.path] {
				continue
			}
			seen[f.path] = true
			notes, err := s.notesOn(root, f)
			if err != nil {
				return c, err
			}
			c.packages = append(c.packages, found{path: f.path, state: f.state(), blob: e.id, notes: notes})
		}
		if !any {
			c.missing = append(c.missing, pattern)
		}
	}
	return c, nil
}

// manifest reads a composer.json, once for all commits that have the same. An error ends the scan.
func (s *scan) manifest(blob string) (manifest, error) {
	if m, ok := s.manifests[blob]; ok {
		return m, nil
	}
	var m manifest
	got, err := s.objects.blob(blob, maxManifest)
	if fatal(err) {
		return m, err
	}
	if err != nil {
		m.err = fmt.Errorf("its composer.json cannot be read: %w", err)
	} else if err := m.object.UnmarshalJSON(got.data); err != nil {
		m.err = fmt.Errorf("its composer.json is not valid: %w", err)
	} else if len(m.object) == 0 {
		m.err = errors.New("its composer.json is empty")
	} else if err := composer.CheckManifest(m.object.With("name", text("the/name")).Without("version")); err != nil {
		// The name and the version may come from elsewhere, and are looked at there.
		m.err = fmt.Errorf("its composer.json would end the run of a client: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	s.manifests[blob] = m
	return m, nil
}
