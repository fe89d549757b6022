package snapshot

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// A bundle is a plain tar file, so that anybody can look into it, with entries
// in a fixed order:
//
//	bundle.json                  what is in it, for people and for the import
//	manifest.json                the manifest; its SHA-256 is the snapshot's id
//	documents/<sha256>.json.zst  every document, in order of digest
//	archives/<sha256>            every archive, in order of digest
//	SHA256SUMS                   the SHA-256 of each of the above, as sha256sum -c reads it
//
// There is one way to write it. The reader makes the header of each entry
// anew and compares, wants zeros for padding and nothing behind the end, so
// that there is no byte whose change goes unnoticed.
const (
	bundleFormat  = "stasis bundle 1"
	infoEntry     = "bundle.json"
	manifestEntry = "manifest.json"
	sumsEntry     = "SHA256SUMS"

	maxInfo     = 64 << 10
	maxManifest = 256 << 20
	maxPacked   = 64 << 20  // a document, compressed
	maxUnpacked = 256 << 20 // and not
)

func documentEntry(d store.Digest) string { return "documents/" + d.String() + ".json.zst" }
func archiveEntry(d store.Digest) string  { return "archives/" + d.String() }

// Bundle describes a bundle.
type Bundle struct {
	Format    string       `json:"format"`
	ID        store.Digest `json:"id"`
	Name      string       `json:"name"`
	Instant   time.Time    `json:"instant"`
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy string       `json:"created_by,omitempty"`
	Note      string       `json:"note,omitempty"`
	SealedAt  time.Time    `json:"sealed_at"`
	Documents int          `json:"documents"`
	Archives  int          `json:"archives"`
	Bytes     int64        `json:"bytes"` // of the archives
}

// contents lists what a bundle of a manifest holds, in order.
type contents struct {
	documents []store.Digest
	users     map[store.Digest][]composer.File // who a document must be about
	archives  []Archive                        // each body once
}

func (m *Manifest) contents() (contents, error) {
	c := contents{users: map[store.Digest][]composer.File{}}
	for _, e := range m.Files {
		if e.Absent() {
			continue
		}
		f, err := composer.ParseFile(e.File)
		if err != nil {
			return c, err
		}
		d := e.Served()
		if c.users[d] == nil {
			c.documents = append(c.documents, d)
		}
		c.users[d] = append(c.users[d], f)
	}
	sizes := map[store.Digest]int64{}
	for _, a := range m.Archives {
		size, seen := sizes[a.SHA256]
		if seen && size != a.Size {
			return c, fmt.Errorf("the archive %s has two sizes", a.SHA256)
		}
		if !seen {
			c.archives = append(c.archives, a)
		}
		sizes[a.SHA256] = a.Size
	}
	sortDigests(c.documents)
	sortBodies(c.archives)
	return c, nil
}

// tarHeader is the one header that an entry has.
func tarHeader(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	})
	return b.Bytes(), err
}

const tarBlock = 512

func padding(size int64) int64 { return -size & (tarBlock - 1) }

// bundleWriter writes entries.
type bundleWriter struct {
	w    io.Writer
	sums strings.Builder
}

func (b *bundleWriter) entry(name string, size int64, body io.Reader) error {
	head, err := tarHeader(name, size)
	if err != nil {
		return err
	}
	if _, err := b.w.Write(head); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(b.w, sum), body)
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s has %d bytes and not %d", name, n, size)
	}
	b.sums.WriteString(sumLine(sum, name))
	_, err = b.w.Write(make([]byte, padding(size)))
	return err
}

func (b *bundleWriter) bytes(name string, body []byte) error {
	return b.entry(name, int64(len(body)), bytes.NewReader(body))
}

func (b *bundleWriter) end() error {
	if err := b.bytes(sumsEntry, []byte(b.sums.String())); err != nil {
		return err
	}
	_, err := b.w.Write(make([]byte, 2*tarBlock))
	return err
}

func sumLine(sum hash.Hash, name string) string {
	return hex.EncodeToString(sum.Sum(nil)) + "  " + name + "\n"
}

// bundleReader reads entries and believes nothing.
type bundleReader struct {
	r    io.Reader
	sums strings.Builder
}

// entry reads the next entry, which must have this name and at most this size,
// and gives its body to read.
func (b *bundleReader) entry(name string, limit int64, read func(body io.Reader, size int64) error) error {
	head := make([]byte, tarBlock)
	if _, err := io.ReadFull(b.r, head); err != nil {
		return fmt.Errorf("%s: %w", name, cut(err))
	}
	// Bytes 124 to 135 are the size in octal digits.
	size, err := strconv.ParseInt(strings.TrimRight(string(head[124:136]), "\x00 "), 8, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("%s does not follow where it should", name)
	}
	want, err := tarHeader(name, size)
	if err != nil || !bytes.Equal(head, want) {
		return fmt.Errorf("%s does not follow where it should", name)
	}
	if size > limit {
		return fmt.Errorf("%s has %d bytes, more than the %d allowed", name, size, limit)
	}
	sum := sha256.New()
	body := &io.LimitedReader{R: b.r, N: size}
	if err := read(io.TeeReader(body, sum), size); err != nil {
		return fmt.Errorf("%s: %w", name, cut(err))
	}
	if body.N > 0 {
		return fmt.Errorf("%s: it is cut short", name)
	}
	if err := b.zeros(padding(size)); err != nil {
		return fmt.Errorf("behind %s: %w", name, err)
	}
	b.sums.WriteString(sumLine(sum, name))
	return nil
}

func (b *bundleReader) bytes(name string, limit int64) (body []byte, err error) {
	err = b.entry(name, limit, func(r io.Reader, size int64) error {
		// A size that is a lie costs no memory.
		body, err = io.ReadAll(r)
		return err
	})
	return body, err
}

func (b *bundleReader) zeros(n int64) error {
	block := make([]byte, n)
	if _, err := io.ReadFull(b.r, block); err != nil {
		return cut(err)
	}
	if len(bytes.Trim(block, "\x00")) > 0 {
		return errors.New("there is something that does not belong there")
	}
	return nil
}

// end reads the sums and makes sure that nothing follows.
func (b *bundleReader) end() error {
	want := b.sums.String()
	body, err := b.bytes(sumsEntry, int64(len(want)))
	if err != nil {
		return err
	}
	if string(body) != want {
		return errors.New("its checksums do not match its entries")
	}
	if err := b.zeros(2 * tarBlock); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	switch n, err := io.ReadFull(b.r, make([]byte, 1)); {
	case n > 0:
		return errors.New("something follows behind its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the bundle is cut short")
	}
	return err
}
