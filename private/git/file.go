package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// File reads one file of at most max bytes, as it is in a commit. The error matches fs.ErrNotExist
// when there is no such file.
func (r *Repository) File(ctx context.Context, commit, path string, max int64) ([]byte, error) {
	if err := checkPlace(commit, path); err != nil {
		return nil, err
	}
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := r.mirrored(); err != nil {
		return nil, err
	}
	var data []byte
	err = r.withObjects(ctx, func(o *objects) error {
		got, err := o.blob(commit+":"+path, max)
		data = got.data
		return err
	})
	if err != nil {
		var large *sizeError
		if errors.As(err, &large) {
			return nil, fmt.Errorf("read %s at %.12s of %s: %w", path, commit, r.at, large)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s at %.12s of %s: %w", path, commit, r.at, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("read %s at %.12s of %s: %w", path, commit, r.at, err)
	}
	return data, nil
}
