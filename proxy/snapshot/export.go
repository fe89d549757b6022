package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"stasis/store"
)

// Export writes a sealed snapshot, given by channel, name or id, as a bundle.
// What was written is worth nothing when there is an error.
func (s *Snapshots) Export(ctx context.Context, w io.Writer, ref string) (Bundle, error) {
	snap, err := s.Resolve(ref)
	if err != nil {
		return Bundle{}, err
	}
	m, err := s.readManifest(snap.ID)
	if err != nil {
		return Bundle{}, err
	}
	c, err := m.contents()
	if err != nil {
		return Bundle{}, err
	}
	info := Bundle{
		Format: bundleFormat, ID: snap.ID, Name: snap.Name, Instant: snap.Instant,
		CreatedAt: snap.CreatedAt, CreatedBy: snap.CreatedBy, Note: snap.Note, SealedAt: snap.SealedAt,
		Documents: len(c.documents), Archives: len(c.archives), Bytes: bodyBytes(c.archives),
	}
	lost := 0
	for _, a := range c.archives {
		if !s.store.HasBlob(a.SHA256) {
			lost++
		}
	}
	if lost > 0 {
		return info, problemf(store.ErrCorrupt, "the snapshot %q cannot be exported: %d of its archives are not held any more", snap.Name, lost)
	}
	if err := s.write(ctx, &bundleWriter{w: w}, info, m, c); err != nil {
		return info, fmt.Errorf("export the snapshot %q: %w", snap.Name, err)
	}
	return info, nil
}

func (s *Snapshots) write(ctx context.Context, w *bundleWriter, info Bundle, m *Manifest, c contents) error {
	text, err := json.MarshalIndent(info, "", "\t")
	if err != nil {
		return err
	}
	if err := w.bytes(infoEntry, append(text, '\n')); err != nil {
		return err
	}
	manifest, err := m.Encode()
	if err != nil {
		return err
	}
	if err := w.bytes(manifestEntry, manifest); err != nil {
		return err
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	defer pack.Close() //nolint:errcheck // it has no writer
	for _, d := range c.documents {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := c.users[d][0]
		e, _ := m.Entry(f)
		body, err := s.body(f, e)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		packed := pack.EncodeAll(body, nil)
		if len(body) > maxUnpacked || len(packed) > maxPacked {
			return fmt.Errorf("%s is too large for a bundle", f)
		}
		if err := w.bytes(documentEntry(d), packed); err != nil {
			return err
		}
	}
	for _, a := range c.archives {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.writeArchive(w, a); err != nil {
			return fmt.Errorf("the archive of %s %s: %w", a.Package, a.Version, err)
		}
	}
	return w.end()
}

func (s *Snapshots) writeArchive(w *bundleWriter, a Archive) error {
	b, err := s.store.OpenBlob(a.SHA256)
	if err != nil {
		return err
	}
	defer b.Close()
	return w.entry(archiveEntry(a.SHA256), a.Size, b)
}

func sortDigests(list []store.Digest) {
	slices.SortFunc(list, func(a, b store.Digest) int { return bytes.Compare(a[:], b[:]) })
}

func sortBodies(list []Archive) {
	slices.SortFunc(list, func(a, b Archive) int {
		return cmp.Or(bytes.Compare(a.SHA256[:], b.SHA256[:]), compareArchives(a, b))
	})
}
