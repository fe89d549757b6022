package private

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"stasis/private/git"
	"stasis/proxy/composer"
)

// localURL is the dist URL of an archive that is made or kept here.
func localURL(n composer.Name, reference, extension string) string {
	return composer.LocalScheme + n.String() + "/" + reference + "." + extension
}

// parseLocalURL reads what localURL wrote.
func parseLocalURL(url string) (n composer.Name, reference string, err error) {
	rest, ok := strings.CutPrefix(url, composer.LocalScheme)
	i := strings.LastIndexByte(rest, '/')
	if ok && i > 0 {
		reference, _, _ = strings.Cut(rest[i+1:], ".")
		n, err = composer.ParseName(rest[:i])
	}
	if err != nil || reference == "" {
		err = missingf("%q is not the address of an archive here", url)
	}
	return n, reference, err
}

// Open returns the archive of a dist URL of ours: the bytes that are kept, or,
// for a commit of a repository that is no version any more, made anew, whether
// or not there still is a source that reads the repository.
func (s *Service) Open(ctx context.Context, url string) (io.ReadCloser, int64, error) {
	n, reference, err := parseLocalURL(url)
	if err != nil {
		return nil, 0, err
	}
	p, all, err := s.Package(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	for _, v := range all {
		if v.Reference != reference || v.Digest.IsZero() {
			continue
		}
		b, err := s.store.OpenBlob(v.Digest)
		if err == nil {
			return b, b.Size(), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, fmt.Errorf("open the archive of %s %s: %w", n, v.Pretty, err)
		}
	}
	repo, rel, err := s.remake(ctx, p, reference)
	if err != nil {
		return nil, 0, err
	}
	return s.zip(ctx, repo, rel)
}

// maxManifest bounds a composer.json, in bytes.
const maxManifest = 4 << 20

// zip makes the archive of a release while it is being read.
func (s *Service) zip(ctx context.Context, repo *git.Repository, rel git.Release) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	s.spawn(func(context.Context) {
		w.CloseWithError(repo.Zip(ctx, w, rel)) //nolint:errcheck // never fails
	})
	return &pipe{r, cancel}, -1, nil
}

// pipe ends the writer when its reader is done.
type pipe struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (p *pipe) Close() error {
	p.cancel()
	return p.PipeReader.Close()
}
