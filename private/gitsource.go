package private

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stasis/private/git"
	"stasis/proxy/archive"
	"stasis/proxy/composer"
	"stasis/store"
)

// errNoGit is why a git source cannot be read.
var errNoGit = errors.New("git was not found when Stasis started; install it, or use the container image that has it")

// zipsAtOnce is how many archives of one repository are made at a time.
const zipsAtOnce = 2

// readGit publishes what a repository has.
func (s *Service) readGit(ctx context.Context, src Source, r *Run) error {
	repo, err := s.repository(src)
	if err != nil {
		return err
	}
	if _, err := repo.Sync(ctx); err != nil {
		return err
	}
	scan, err := repo.Scan(ctx, src.Paths)
	if err != nil {
		return err
	}
	for _, skip := range scan.Skipped {
		r.skip(skip.Ref, skip.Path, skip.Reason)
	}
	byPackage := map[composer.Name][]git.Release{}
	for _, rel := range scan.Releases {
		if err := composer.CheckManifest(rel.Manifest); err != nil {
			r.skip(rel.Ref, rel.Path, "its composer.json would end the run of whoever reads it: "+err.Error())
			continue
		}
		byPackage[rel.Package] = append(byPackage[rel.Package], rel)
	}
	var failures []error
	for _, n := range slices.SortedFunc(maps.Keys(byPackage), compareNames) {
		if err := s.publishReleases(ctx, src, repo, n, byPackage[n], r); err != nil {
			failures = append(failures, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	had, err := s.packagesOf(src.ID)
	if err != nil {
		return err
	}
	if len(byPackage) == 0 && len(had) > 0 {
		return errors.New("the repository has no version any more, neither tag nor branch; what was published stays, delete the packages if that is meant")
	}
	for _, p := range had {
		if byPackage[p.Name] == nil { // moved or renamed, as when a repository gets another name
			r.skip("", p.Path, fmt.Sprintf("%s is not in the repository any more; what was published of it stays, delete it if that is meant", p.Name))
		}
	}
	return errors.Join(failures...)
}

// repository opens the mirror of a git source.
func (s *Service) repository(src Source) (*git.Repository, error) {
	if s.o.Git == nil {
		return nil, errNoGit
	}
	c, err := s.credentialsOf(src)
	if err != nil {
		return nil, err
	}
	return s.o.Git.Open(src.URL, git.Credentials{
		Username: c.Username, Password: c.Password, SSHKey: []byte(c.SSHKey), KnownHosts: []byte(c.KnownHosts),
	})
}

// publishReleases makes the versions of a package those that a repository has.
func (s *Service) publishReleases(ctx context.Context, src Source, repo *git.Repository, n composer.Name, releases []git.Release, r *Run) error {
	pkg, held, err := s.claim(src, n)
	if errors.Is(err, errNotMine) {
		r.skip("", "", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.fromMirror(n, repo.URL(), releases); err != nil {
		return err
	}
	e := edition{pkg: pkg}
	var old []Version // whose archives have moved on
	var work []git.Release
	seen := map[string]bool{}
	for _, rel := range releases {
		e.pkg.Path = rel.Path
		r.Counts.Found++
		seen[rel.Normalized] = true
		was, had := held[rel.Normalized]
		if had {
			rel = stayed(src, rel, was)
		}
		if !had || was.Reference != rel.Commit || was.Pretty != rel.Pretty || was.Digest.IsZero() {
			work = append(work, rel)
			continue
		}
		if now := s.describe(src, rel, was); !sameVersion(now, was) {
			e.put = append(e.put, now)
		}
	}
	built, err := s.build(ctx, repo, &e.pkg, work, r)
	if err != nil {
		return err
	}
	for _, b := range built {
		v := s.describe(src, b.release, held[b.release.Normalized])
		v.Type, v.Extension, v.Digest, v.SHA1, v.Size = "zip", "zip", b.digest, b.sha1, b.size
		was, had := held[v.Normalized]
		if had && was.Reference != v.Reference {
			old = append(old, was)
			if !composer.IsDev(v.Normalized) {
				r.note(&r.Retagged, &r.Counts.Retagged, n, v.Pretty)
			}
		}
		if err := s.keepArchive(ctx, &e.pkg, v, b.content); err != nil {
			return err
		}
		r.note(&r.Published, &r.Counts.Published, n, v.Pretty)
		for _, text := range b.release.Notes {
			if len(r.Notes) < listed {
				r.Notes = append(r.Notes, Skipped{v.Ref, e.pkg.Path, text})
			}
		}
		e.put = append(e.put, v)
	}
	for normalized, was := range held {
		if !seen[normalized] {
			e.remove = append(e.remove, normalized)
			old = append(old, was)
			r.note(&r.Removed, &r.Counts.Removed, n, was.Pretty)
		}
	}
	slices.Sort(e.remove)
	if len(e.put)+len(e.remove) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// An operator may have said something about versions meanwhile.
	path := e.pkg.Path
	if e.pkg, held, err = s.claim(src, n); err != nil {
		return err
	}
	e.pkg.Path = path
	for i, v := range e.put {
		now := held[v.Normalized]
		v.YankedAt, v.YankReason, v.Deprecated = now.YankedAt, now.YankReason, now.Deprecated
		e.put[i] = v
	}
	if err := s.publish(ctx, e); err != nil {
		return err
	}
	return s.letGo(n, old)
}

// stayed is a release as it was published, if only other folders of its repository changed since: a push to a monorepo
// moves the packages that it changes, and their lock files, and no others. Where clients may clone the repository they
// have to find the commit on the branch, so there every release moves.
func stayed(src Source, rel git.Release, was Version) git.Release {
	if rel.State == "" || rel.State != was.State || !composer.IsDev(rel.Normalized) || src.IncludeSource ||
		rel.Ref != was.Ref || rel.Pretty != was.Pretty || rel.Default != was.Default {
		return rel
	}
	var manifest composer.Object
	if err := manifest.UnmarshalJSON(was.Manifest); err != nil {
		return rel
	}
	rel.Commit, rel.Time, rel.Manifest = was.Reference, was.Time, manifest
	return rel
}

// describe makes the version of a release. What an operator said about it, and
// the archive, stay those of the version that was there.
func (s *Service) describe(src Source, rel git.Release, was Version) Version {
	v := was
	manifest, err := json.Marshal(rel.Manifest)
	if err != nil {
		manifest = []byte("{}") // it was read as JSON
	}
	v.Pretty, v.Normalized, v.Ref, v.State, v.Time, v.Default, v.Manifest = rel.Pretty, rel.Normalized, rel.Ref, rel.State, rel.Time.UTC(), rel.Default, manifest
	if v.SourceURL = ""; src.IncludeSource {
		v.SourceURL = src.URL
	}
	if was.Reference != rel.Commit {
		v.Reference, v.PublishedAt = rel.Commit, s.now().UTC()
	}
	return v
}

func sameVersion(a, b Version) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// builtZip is an archive that was made of a release.
type builtZip struct {
	release git.Release
	storedArchive
}

// storedArchive is an archive in the store.
type storedArchive struct {
	digest  store.Digest
	sha1    string
	size    int64
	content string
}

// build makes the archives of releases, a few at a time. One that cannot be
// made is skipped; want of room ends it.
func (s *Service) build(ctx context.Context, repo *git.Repository, p *Package, releases []git.Release, r *Run) ([]builtZip, error) {
	var mu sync.Mutex // guards built and r
	var built []builtZip
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(zipsAtOnce)
	for _, rel := range releases {
		group.Go(func() error {
			stored, err := s.storeArchive("zip", func(w io.Writer) error { return repo.Zip(ctx, w, rel) })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				built = append(built, builtZip{rel, stored})
			case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrClosed), ctx.Err() != nil:
				return fmt.Errorf("make the archive of %s %s: %w", p.Name, rel.Pretty, err)
			default:
				r.skip(rel.Ref, rel.Path, "its archive cannot be made: "+err.Error())
			}
			return nil
		})
	}
	err := group.Wait()
	slices.SortFunc(built, func(a, b builtZip) int { return composer.CompareVersions(a.release.Normalized, b.release.Normalized) })
	return built, err
}

// storeArchive stores what write writes, once it was checked like any archive
// from outside.
func (s *Service) storeArchive(typ string, write func(io.Writer) error) (storedArchive, error) {
	var out storedArchive
	blob, err := s.store.CreateBlob(-1)
	if err != nil {
		return out, err
	}
	defer blob.Abort() //nolint:errcheck // after Commit it does nothing
	sum := sha1.New()
	if err := write(io.MultiWriter(&limitedWriter{w: blob, left: s.o.MaxArchiveSize}, sum)); err != nil {
		return out, err
	}
	rep, err := archive.Check(typ, blob, blob.Size())
	if err != nil {
		return out, err
	}
	out = storedArchive{sha1: hex.EncodeToString(sum.Sum(nil)), size: blob.Size(), content: rep.Content}
	out.digest, err = blob.Commit()
	return out, err
}

// limitedWriter fails when more than left bytes come.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errTooLarge
	}
	return l.w.Write(p)
}
