package backup

import (
	"errors"
	"fmt"
	"io"
)

// Chain reads the headers of a full backup and of those that continue it, in
// the order in which they were made, and makes sure that nothing is missing
// between them.
func Chain(backups []io.Reader) ([]*Reader, error) {
	if len(backups) == 0 {
		return nil, errors.New("no backup is given")
	}
	chain := make([]*Reader, len(backups))
	for i, in := range backups {
		r, err := NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("backup %d of %d: %w", i+1, len(backups), err)
		}
		chain[i] = r
		h := r.Header()
		switch {
		case i == 0 && !h.Full():
			return nil, fmt.Errorf("the first backup, of %s, holds only what changed since another, %s; begin with the full one", h.Moment(), h.Since)
		case i > 0 && h.Full():
			return nil, fmt.Errorf("backup %d of %d, of %s, is a full one, which stands for itself", i+1, len(backups), h.Moment())
		case i > 0 && h.Since != chain[i-1].Header().ID:
			return nil, fmt.Errorf("backup %d of %d, of %s, does not continue the one before it, of %s: one between them is missing, or the order is wrong",
				i+1, len(backups), h.Moment(), chain[i-1].Header().Moment())
		}
	}
	return chain, nil
}
