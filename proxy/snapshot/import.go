package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"stasis/proxy/composer"
	"stasis/store"
)

// Adopter takes note of archives that came in a bundle.
type Adopter interface {
	// Adopt records where archives belong, so that they are served. It is
	// called when all of them are held and before the snapshot is visible; an
	// error, such as a reference already known with other content, refuses the
	// bundle.
	Adopt(ctx context.Context, archives []Archive) error
}

// Import reads a bundle. It is checked from the first to the last byte before
// anything of it is kept; ErrDamaged means that it was refused. An empty name
// takes the bundle's. Importing again what is there already repairs what got
// lost. A reader that is no io.ReadSeeker is copied to a temporary file first.
func (s *Snapshots) Import(ctx context.Context, r io.Reader, name, by string, a Adopter) (Snapshot, error) {
	file, ok := r.(io.ReadSeeker)
	if !ok {
		spooled, err := s.spool(ctx, r)
		if err != nil {
			return Snapshot{}, err
		}
		defer spooled.Close()
		file = spooled
	}
	start, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read the bundle: %w", err)
	}
	info, m, err := readBundle(ctx, file, sink{})
	if err != nil {
		return Snapshot{}, damagedBundle(ctx, err)
	}
	if name == "" {
		name = info.Name
	}
	if err := CheckName(name); err != nil {
		return Snapshot{}, err
	}
	err = s.store.View(func(tx *store.Tx) error {
		_, err := claim(tx, name, info.ID)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return Snapshot{}, fmt.Errorf("read the bundle again: %w", err)
	}
	in := &intake{s: s, ctx: ctx, owner: importPrefix + info.ID.String(), fresh: map[store.Digest]bool{}}
	snap, err := in.run(file, info, m, name, by, a)
	if err != nil {
		err = errors.Join(err, in.undo())
	}
	return snap, err
}

// importPrefix begins the owner of pins that hold until an import is over.
const importPrefix = "import:"

func damagedBundle(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return problemf(ErrDamaged, "the bundle is refused: %v", err)
}

// claim says whether a bundle may take a name; the record is that of the same
// snapshot when it is there already.
func claim(tx *store.Tx, name string, id store.Digest) (record, error) {
	r, err := records.Get(tx, name)
	if err == nil && r.State == Sealed && r.ID == id {
		return r, nil
	}
	if err := free(tx, name); err != nil {
		if errors.Is(err, ErrExists) {
			err = problemf(ErrExists, "the bundle needs another name: %v", err)
		}
		return record{}, err
	}
	return record{}, nil
}

// spool copies a bundle to a file that is gone when it is closed.
func (s *Snapshots) spool(ctx context.Context, r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(s.tempDir, "stasis-bundle-*")
	if err != nil {
		return nil, fmt.Errorf("make room for the bundle: %w", err)
	}
	err = os.Remove(f.Name())
	if err == nil {
		_, err = io.Copy(f, &interruptible{ctx, r})
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("receive the bundle: %w", err)
	}
	return f, nil
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// sink takes what is in a bundle. Either may be nil.
type sink struct {
	document func(body []byte) error
	archive  func(a Archive, body io.Reader) error
}

// readBundle reads a bundle from beginning to end and checks everything.
func readBundle(ctx context.Context, r io.Reader, to sink) (Bundle, *Manifest, error) {
	b := &bundleReader{r: &interruptible{ctx, r}}
	info, m, err := b.head()
	if err != nil {
		return info, nil, err
	}
	c, err := m.contents()
	if err != nil {
		return info, nil, err
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return info, nil, err
	}
	defer unpack.Close()
	for _, d := range c.documents {
		if err := b.document(d, c.users[d], unpack, to); err != nil {
			return info, nil, err
		}
	}
	for _, a := range c.archives {
		if err := b.archive(a, to); err != nil {
			return info, nil, err
		}
	}
	if err := b.end(); err != nil {
		return info, nil, err
	}
	if info.Documents != len(c.documents) || info.Archives != len(c.archives) || info.Bytes != bodyBytes(c.archives) || !info.Instant.Equal(m.Instant) {
		return info, nil, errors.New("it is not what it says it is")
	}
	return info, m, nil
}

func (b *bundleReader) head() (Bundle, *Manifest, error) {
	var info Bundle
	text, err := b.bytes(infoEntry, maxInfo)
	if err != nil {
		return info, nil, err
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, nil, fmt.Errorf("%s cannot be read: %w", infoEntry, err)
	}
	if info.Format != bundleFormat {
		return info, nil, fmt.Errorf("its format is %.40q and not %q", info.Format, bundleFormat)
	}
	body, err := b.bytes(manifestEntry, maxManifest)
	if err != nil {
		return info, nil, err
	}
	if id := store.SumDigest(body); id != info.ID {
		return info, nil, fmt.Errorf("its manifest has the id %s and not %s", id, info.ID)
	}
	m, err := ParseManifest(body)
	return info, m, err
}

func (b *bundleReader) document(d store.Digest, users []composer.File, unpack *zstd.Decoder, to sink) error {
	name := documentEntry(d)
	packed, err := b.bytes(name, maxPacked)
	if err != nil {
		return err
	}
	body, err := unpack.DecodeAll(packed, nil)
	if err != nil {
		return fmt.Errorf("%s cannot be unpacked: %w", name, err)
	}
	if store.SumDigest(body) != d {
		return fmt.Errorf("%s does not match its digest", name)
	}
	for _, f := range users {
		if _, err := composer.ParseDocument(body, f.Name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if to.document == nil {
		return nil
	}
	return to.document(body)
}

func (b *bundleReader) archive(a Archive, to sink) error {
	return b.entry(archiveEntry(a.SHA256), a.Size, func(body io.Reader, size int64) error {
		if size != a.Size {
			return fmt.Errorf("it has %d bytes and not %d", size, a.Size)
		}
		sum := sha256.New()
		body = io.TeeReader(body, sum)
		if to.archive != nil {
			if err := to.archive(a, body); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if store.Digest(sum.Sum(nil)) != a.SHA256 {
			return errors.New("it does not match its digest")
		}
		return nil
	})
}
