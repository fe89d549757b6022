package private

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"stasis/private/artifact"
	"stasis/proxy/composer"
	"stasis/store"
)

// fileRecord remembers an archive of a watched folder, so that it is read once.
type fileRecord struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Package  string    `json:"package,omitempty"` // empty when it was refused
	Version  string    `json:"version,omitempty"` // normalized
	Reason   string    `json:"reason,omitempty"`  // of the refusal
}

var files = store.Table[fileRecord]{Family: store.FamilySource, Name: "file"}

// readFolder publishes the archives in a watched folder. A version whose file
// is gone is taken away; an empty folder takes nothing away, since it may be a
// disk that is not there.
func (s *Service) readFolder(ctx context.Context, src Source, r *Run) error {
	if src.Folder == "" {
		return nil // uploads come by themselves
	}
	dir, err := s.folder(src.Folder)
	if err != nil {
		return err
	}
	known := map[string]fileRecord{}
	err = s.store.View(func(tx *store.Tx) error {
		clear(known)
		return files.Scan(tx, []string{src.ID}, func(key []string, f fileRecord) error {
			known[key[1]] = f
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read which archives are known: %w", err)
	}
	there := map[string]bool{}
	skipped, err := artifact.Scan(ctx, dir, func(path string, size int64, modified time.Time) bool {
		r.Counts.Found++
		there[path] = true
		f, ok := known[path]
		if ok = ok && f.Size == size && f.Modified.Equal(modified); ok && f.Reason != "" {
			r.skip(path, "", f.Reason)
		}
		return ok
	}, func(f artifact.Found) error {
		return s.takeIn(ctx, src, dir, f, r)
	})
	if err != nil {
		return err
	}
	for _, skip := range skipped {
		r.skip(skip.Path, "", skip.Reason)
		if skip.Again {
			continue
		}
		rec := fileRecord{Size: skip.Size, Modified: skip.ModTime, Reason: skip.Reason}
		if err := put(s.store, files, rec, src.ID, skip.Path); err != nil {
			return fmt.Errorf("note an archive: %w", err)
		}
	}
	if len(there) == 0 && len(known) > 0 {
		return errors.New("the folder is empty; nothing is taken away, in case its disk is missing")
	}
	return s.dropMissing(ctx, src, known, there, r)
}

// takeIn publishes one archive of a folder.
func (s *Service) takeIn(ctx context.Context, src Source, dir string, f artifact.Found, r *Run) error {
	rec := fileRecord{Size: f.Size, Modified: f.ModTime}
	v, err := s.publishFile(ctx, src, dir, f)
	var wrong *conflict
	var unfit *artifact.Error
	switch {
	case errors.As(err, &unfit), errors.Is(err, fs.ErrNotExist):
		r.skip(f.Path, "", err.Error()) // it changed a moment ago, and is looked at again
		return nil
	case errors.As(err, &wrong):
		rec.Reason = err.Error()
		r.skip(f.Path, "", rec.Reason)
	case err != nil:
		return err
	default:
		rec.Package, rec.Version = f.Artifact.Package.String(), v.Normalized
		r.note(&r.Published, &r.Counts.Published, f.Artifact.Package, v.Pretty)
	}
	if err := put(s.store, files, rec, src.ID, f.Path); err != nil {
		return fmt.Errorf("note the archive %s: %w", f.Path, err)
	}
	return nil
}

func (s *Service) publishFile(ctx context.Context, src Source, dir string, f artifact.Found) (Version, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Version{}, fmt.Errorf("open the folder of archives: %w", err)
	}
	defer root.Close()
	file, err := root.Open(f.Path)
	if err != nil {
		return Version{}, fmt.Errorf("open %s: %w", f.Path, err)
	}
	defer file.Close()
	blob, err := s.store.CreateBlob(f.Size)
	if err != nil {
		return Version{}, err
	}
	defer blob.Abort() //nolint:errcheck // after Commit it does nothing
	if _, err := io.Copy(blob, file); err != nil {
		return Version{}, fmt.Errorf("read %s: %w", f.Path, err)
	}
	// What is stored is looked at, not what was there a moment ago.
	art, err := artifact.Inspect(blob, blob.Size(), f.Path, artifact.Want{})
	if err != nil {
		return Version{}, fmt.Errorf("read %s: %w", f.Path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _, err := s.publishArtifact(ctx, src, art, blob, f.Path)
	return v, err
}

// dropMissing takes away the versions whose files are gone.
func (s *Service) dropMissing(ctx context.Context, src Source, known map[string]fileRecord, there map[string]bool, r *Run) error {
	for path, f := range known {
		if there[path] {
			continue
		}
		if err := s.dropFile(ctx, src, path, f, r); err != nil {
			return err
		}
		if err := s.store.Update(func(tx *store.Tx) error { return files.Delete(tx, src.ID, path) }); err != nil {
			return fmt.Errorf("forget the archive %s: %w", path, err)
		}
	}
	return nil
}

func (s *Service) dropFile(ctx context.Context, src Source, path string, f fileRecord, r *Run) error {
	n, err := composer.ParseName(f.Package)
	if err != nil {
		return nil // it was refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, held, err := s.claim(src, n)
	if errors.Is(err, errNotMine) {
		return nil
	}
	if err != nil {
		return err
	}
	v, ok := held[f.Version]
	if !ok || v.Ref != path {
		return nil // another file has it
	}
	r.note(&r.Removed, &r.Counts.Removed, n, v.Pretty)
	return s.publish(ctx, edition{pkg: p, remove: []string{v.Normalized}})
}
