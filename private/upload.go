package private

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"stasis/private/artifact"
	"stasis/proxy/composer"
	"stasis/store"
)

// Upload is an archive that somebody sends.
type Upload struct {
	// Source is the id or name of the artifact source it goes to; "" means the
	// first that may take it, or one that is made for uploads.
	Source string
	// Name and Version are what the sender says it is; either may be empty when
	// composer.json says it. What both say must agree.
	Name, Version string
	Filename      string
	Body          io.Reader
	// May is asked whether the sender may publish the package that the archive
	// turns out to be; its error is returned as it is. Nil allows all.
	May func(composer.Name) error
}

// uploads is the name of the source that is made for uploads.
const uploads = "uploads"

// Upload publishes an archive. A version that exists with other content is
// refused unless its source says otherwise; with the same content it is no
// change. Nothing is published of an archive that is refused.
func (s *Service) Upload(ctx context.Context, up Upload) (Version, Package, error) {
	if s.registry == nil {
		return Version{}, Package{}, errors.New("the private packages are not being served yet")
	}
	blob, err := s.store.CreateBlob(-1)
	if err != nil {
		return Version{}, Package{}, err
	}
	defer blob.Abort() //nolint:errcheck // after Commit it does nothing
	if _, err := io.Copy(&limitedWriter{w: blob, left: s.o.MaxArchiveSize}, up.Body); err != nil {
		return Version{}, Package{}, fmt.Errorf("receive the archive: %w", err)
	}
	art, err := artifact.Inspect(blob, blob.Size(), up.Filename, artifact.Want{Name: up.Name, Version: up.Version})
	if err != nil {
		return Version{}, Package{}, refusedArchive(err)
	}
	if up.May != nil {
		if err := up.May(art.Package); err != nil {
			return Version{}, Package{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src, err := s.uploadSource(up.Source, art.Package)
	if err != nil {
		return Version{}, Package{}, err
	}
	return s.publishArtifact(ctx, src, art, blob, up.Filename)
}

// refusedArchive makes an archive's fault that of the request.
func refusedArchive(err error) error {
	var bad *artifact.Error
	if errors.As(err, &bad) {
		return &invalid{strings.TrimSuffix(bad.Error(), ".") + "."}
	}
	return err
}

// uploadSource finds where an upload goes.
func (s *Service) uploadSource(ref string, n composer.Name) (Source, error) {
	if ref != "" {
		src, err := s.source(ref)
		if err == nil && src.Type != Artifact {
			err = invalidf("the source %s is of type %s; archives go to one of type artifact", src.Name, src.Type)
		}
		return src, err
	}
	if p := s.routes.Load().packages[n]; p != nil {
		src, err := s.source(p.Source)
		switch {
		case err == nil && src.Type == Artifact:
			return src, nil
		case err == nil:
			return src, conflictf("%s comes from %q, a source of type %s, and is not uploaded", n, src.Name, src.Type)
		case !errors.Is(err, fs.ErrNotExist):
			return src, err
		}
	}
	all, err := list(s.store, sources)
	if err != nil {
		return Source{}, err
	}
	inOrder(all)
	for _, src := range all {
		if src.Type == Artifact && src.Folder == "" && s.mayProvide(src, n) == nil {
			return src, nil
		}
	}
	src := Source{ID: newID("src"), Name: uploads, Type: Artifact, CreatedAt: s.now().UTC(), UpdatedAt: s.now().UTC()}
	for _, other := range all {
		if other.Name == uploads {
			return src, conflictf("no source of type artifact may provide %s; add one for it", n)
		}
	}
	if err := s.mayProvide(src, n); err != nil {
		return src, &conflict{err.Error()}
	}
	if err := put(s.store, sources, src, src.ID); err != nil {
		return src, fmt.Errorf("add a source for uploads: %w", err)
	}
	return src, s.reroute()
}

// publishArtifact publishes an archive whose bytes are in blob, called with s.mu
// held.
func (s *Service) publishArtifact(ctx context.Context, src Source, art artifact.Artifact, blob store.BlobWriter, ref string) (Version, Package, error) {
	pkg, held, err := s.claim(src, art.Package)
	if errors.Is(err, errNotMine) {
		err = &conflict{err.Error()}
	}
	if err != nil {
		return Version{}, pkg, err
	}
	was, had := held[art.Normalized]
	if had && was.Reference == art.SHA1 {
		return was, pkg, nil
	}
	if had && !src.Overwrite && !composer.IsDev(art.Normalized) {
		return was, pkg, conflictf("%s %s exists with other content; publish a new version, or let the source %q overwrite", art.Package, art.Pretty, src.Name)
	}
	manifest, err := json.Marshal(art.Manifest)
	if err != nil {
		return was, pkg, fmt.Errorf("write composer.json of %s: %w", art.Package, err)
	}
	v := was
	v.Pretty, v.Normalized, v.Manifest = art.Pretty, art.Normalized, manifest
	v.Reference, v.SHA1, v.Type, v.Extension, v.Size = art.SHA1, art.SHA1, art.Type, art.Extension, art.Size
	v.Ref, v.PublishedAt = ref, s.now().UTC()
	v.Time = v.PublishedAt
	if v.Digest, err = blob.Commit(); err != nil {
		return v, pkg, fmt.Errorf("keep the archive of %s %s: %w", art.Package, art.Pretty, err)
	}
	if err := s.keepArchive(ctx, &pkg, v, art.Content); err != nil {
		return v, pkg, err
	}
	if err := s.publish(ctx, edition{pkg: pkg, put: []Version{v}}); err != nil {
		return v, pkg, err
	}
	if had {
		err = s.letGo(art.Package, []Version{was})
	}
	return v, *s.routes.Load().packages[art.Package], err
}

// readmeInArchive reads the README of an uploaded version.
func (s *Service) readmeInArchive(n composer.Name, v Version) ([]byte, error) {
	if v.Digest.IsZero() {
		return nil, missingf("%s %s has no archive here to look into", n, v.Pretty)
	}
	b, err := s.store.OpenBlob(v.Digest)
	if err != nil {
		return nil, fmt.Errorf("open the archive of %s %s: %w", n, v.Pretty, err)
	}
	defer b.Close()
	art, err := artifact.Inspect(b, b.Size(), v.Ref, artifact.Want{Version: v.Pretty})
	var bad *artifact.Error
	if errors.As(err, &bad) || err == nil && art.Readme == nil {
		return nil, missingf("%s %s has no README", n, v.Pretty)
	}
	return art.Readme, err
}
