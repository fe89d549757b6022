package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"stasis/proxy/composer"
	"stasis/store"
)

// Verification is what was looked at and what was wrong.
type Verification struct {
	ID        store.Digest `json:"id"`
	Documents int          `json:"documents"`
	Archives  int          `json:"archives"`
	Bytes     int64        `json:"bytes"`
	Problems  []Missing    `json:"problems"`
}

// Verify reads every document and every archive of a sealed snapshot and
// compares them with their digests; documents that are made anew each time are
// made once more. report, when not nil, is told how far it is.
func (s *Snapshots) Verify(ctx context.Context, ref string, report func(Progress)) (Verification, error) {
	snap, err := s.Resolve(ref)
	if err != nil {
		return Verification{}, err
	}
	m, err := s.readManifest(snap.ID)
	if err != nil {
		return Verification{}, err
	}
	v := Verification{ID: snap.ID, Problems: []Missing{}}
	p := tell(report, phaseMetadata, len(m.Files))
	for _, e := range m.Files {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if n, err := s.verifyEntry(e); err != nil {
			v.Problems = append(v.Problems, Missing{Package: e.File, Reason: explain(err)})
		} else if !e.Absent() {
			v.Documents++
			v.Bytes += int64(n)
		}
		p.step(0)
	}
	p = tell(report, phaseArchives, len(m.Archives))
	known := map[store.Digest]error{}
	for _, a := range m.Archives {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		err, seen := known[a.SHA256]
		read := int64(0)
		if !seen {
			err = s.verifyArchive(a)
			known[a.SHA256] = err
			if err == nil {
				read = a.Size
			}
		}
		v.Bytes += read
		if err != nil {
			v.Problems = append(v.Problems, Missing{Package: a.Package.String(), Version: a.Version, Reference: a.Reference, Reason: explain(err)})
		} else {
			v.Archives++
		}
		p.step(read)
	}
	return v, nil
}

func (s *Snapshots) verifyEntry(e Entry) (int, error) {
	if e.Absent() {
		return 0, nil
	}
	f, err := composer.ParseFile(e.File)
	if err != nil {
		return 0, err
	}
	body, err := s.body(f, e)
	if err != nil {
		return 0, err
	}
	_, err = composer.ParseDocument(body, f.Name)
	return len(body), err
}

func (s *Snapshots) verifyArchive(a Archive) error {
	b, err := s.store.OpenBlob(a.SHA256)
	if err != nil {
		return err
	}
	defer b.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, b)
	if err != nil {
		return err
	}
	if store.Digest(sum.Sum(nil)) != a.SHA256 || n != a.Size {
		return fmt.Errorf("the archive does not match its digest: %w", store.ErrCorrupt)
	}
	return nil
}

// explain says what is wrong with something that is kept.
func explain(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "It is not held any more: " + err.Error()
	case errors.Is(err, store.ErrCorrupt):
		return "It is damaged: " + err.Error()
	}
	return "It cannot be read: " + err.Error()
}
