package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"stasis/store"
)

// intake keeps what is in a bundle that was found to be good.
type intake struct {
	s     *Snapshots
	ctx   context.Context
	owner string
	fresh map[store.Digest]bool // archives that were not held before

	pending [][]byte // documents to be written together
	size    int
}

// documentBatch is how many bytes of documents go into one transaction.
const documentBatch = 256 << 10

func (in *intake) run(r io.Reader, info Bundle, m *Manifest, name, by string, a Adopter) (Snapshot, error) {
	s := in.s
	if err := s.holding(in.owner); err != nil {
		return Snapshot{}, err
	}
	again, _, err := readBundle(in.ctx, r, sink{document: in.document, archive: in.archive})
	if err == nil && again.ID != info.ID {
		err = errors.New("it changed while it was read")
	}
	if err == nil {
		err = in.flush()
	}
	if errors.Is(err, store.ErrNoSpace) {
		return Snapshot{}, fmt.Errorf("the bundle does not fit: %w", s.noRoom(err))
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("keep what is in the bundle: %w", err)
	}
	if a != nil && len(m.Archives) > 0 {
		if err := a.Adopt(in.ctx, m.Archives); err != nil {
			return Snapshot{}, fmt.Errorf("take over the archives of the bundle: %w", err)
		}
	}
	manifest, err := m.Encode()
	if err != nil {
		return Snapshot{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	var rec record
	err = s.store.View(func(tx *store.Tx) error {
		rec, err = claim(tx, name, info.ID)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	if rec.Name == "" {
		b := build{r: record{Snapshot: Snapshot{
			Name: name, ID: info.ID, State: Sealed, From: "import", Instant: m.Instant, Options: m.Options,
			CreatedAt: info.CreatedAt.UTC(), CreatedBy: info.CreatedBy, Note: info.Note, SealedAt: info.SealedAt.UTC(),
			ImportedAt: s.now().UTC(), ImportedBy: by,
		}}, files: m.Files, archives: m.Archives}
		b.count()
		rec = b.r
	}
	digests := make([]store.Digest, 0, len(m.Archives))
	for _, a := range m.Archives {
		digests = append(digests, a.SHA256)
	}
	if err := s.commit(rec, manifest, digests, func(*store.Tx) error { return nil }); err != nil {
		return Snapshot{}, err
	}
	return rec.Snapshot, s.release(in.owner)
}

// document keeps a document, together with the next ones.
func (in *intake) document(body []byte) error {
	in.pending, in.size = append(in.pending, body), in.size+len(body)
	if in.size < documentBatch {
		return nil
	}
	return in.flush()
}

func (in *intake) flush() error {
	err := in.s.store.Update(func(tx *store.Tx) error {
		for _, body := range in.pending {
			if _, err := tx.PutDocument(body); err != nil {
				return err
			}
		}
		return nil
	})
	in.pending, in.size = nil, 0
	return err
}

// archive keeps an archive and pins it at once.
func (in *intake) archive(a Archive, body io.Reader) error {
	s := in.s
	err := s.store.Pin(in.owner, a.SHA256)
	if err == nil && s.verifyArchive(a) == nil {
		return nil // held already, and sound
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := s.store.CreateBlob(a.Size)
	if err != nil {
		return err
	}
	defer w.Abort() //nolint:errcheck // after Commit it does nothing
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	d, err := w.Commit()
	if err != nil {
		return err
	}
	in.fresh[d] = true
	if d != a.SHA256 {
		return errors.New("it does not match its digest")
	}
	return s.store.Pin(in.owner, d)
}

// undo drops what an import that failed had kept. Documents stay, as nothing
// points at them.
func (in *intake) undo() error {
	err := in.s.release(in.owner)
	for d := range in.fresh {
		if gone := in.s.store.DeleteBlob(d); !errors.Is(gone, fs.ErrNotExist) && !errors.Is(gone, store.ErrPinned) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
