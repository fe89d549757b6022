package archive

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/klauspost/compress/flate"
)

// EndRecord is the most that the end of a zip can take: the end record with
// the longest comment. Held back while streaming, it keeps a client from
// completing an archive that turns out to be bad.
const EndRecord = 22 + 1<<16 - 1

func checkZip(r io.ReaderAt, size int64) (Report, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return Report{}, refuse("it has no usable central directory: %v", err)
	}
	z.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser { return flate.NewReader(r) })
	if len(z.File) > maxFiles {
		return Report{}, refuse("it has %d entries, more than the %d allowed", len(z.File), maxFiles)
	}
	b := budget{size: size}
	var entries []entry
	seen := make(map[string]bool, len(z.File))
	for _, f := range z.File {
		name, err := safeName(f.Name)
		if err != nil {
			return Report{}, err
		}
		if f.Mode().IsDir() || strings.HasSuffix(f.Name, "/") {
			continue
		}
		if seen[name] {
			return Report{}, refuse("it has two entries named %q", name)
		}
		seen[name] = true
		body, err := f.Open()
		if err != nil {
			return Report{}, refuse("its entry %q cannot be read: %v", name, err)
		}
		sum, err := b.digest(body)
		_ = body.Close()
		if err != nil {
			return Report{}, wrapEntry(name, err)
		}
		entries = append(entries, entry{mode: modeOf(f.Mode()), sum: sum, path: name})
	}
	return Report{Content: contentDigest(entries), Comment: z.Comment, Files: len(entries), Unpacked: b.unpacked}, nil
}

func wrapEntry(name string, err error) error {
	var bad *Error
	if errors.As(err, &bad) {
		return bad
	}
	return refuse("its entry %q is damaged: %v", name, err)
}

// entry is one file of an archive.
type entry struct {
	mode string
	sum  [sha256.Size]byte
	path string
}

func modeOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "120000"
	case m&0o111 != 0:
		return "100755"
	}
	return "100644"
}

// budget counts what an archive unpacks to.
type budget struct {
	size     int64 // of the archive
	unpacked int64
}

// digest reads one entry to its end. archive/zip checks its CRC and size.
func (b *budget) digest(r io.Reader) (sum [sha256.Size]byte, err error) {
	left := int64(maxUnpacked)
	if ratio := b.size * maxRatio; ratio < left {
		left = max(ratio, ratioFloor)
	}
	left -= b.unpacked
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, left+1))
	b.unpacked += n
	if err != nil {
		return sum, err
	}
	if n > left {
		return sum, refuse("it unpacks to more than %d times its size", maxRatio)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// safeName refuses names that would leave the folder they are unpacked to.
func safeName(name string) (string, error) {
	name = strings.ReplaceAll(name, `\`, "/")
	if strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) || len(name) > 4096 {
		return "", refuse("it has an entry with the forbidden name %.80q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", refuse("it has an entry with the forbidden name %.80q", name)
		}
	}
	return path.Clean(name), nil
}

// contentDigest is c1 over the entries, the single top folder left out.
func contentDigest(entries []entry) string {
	top, single := "", len(entries) > 0
	for i, e := range entries {
		dir, _, nested := strings.Cut(e.path, "/")
		if !nested || i > 0 && dir != top {
			single = false
			break
		}
		top = dir
	}
	lines := make([]string, len(entries))
	for i, e := range entries {
		p := e.path
		if single {
			p = p[len(top)+1:]
		}
		lines[i] = e.mode + " " + hex.EncodeToString(e.sum[:]) + " " + p + "\n"
	}
	sort.Strings(lines)
	h := sha256.New()
	for _, l := range lines {
		_, _ = io.WriteString(h, l)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// CompleteZip looks only at the tail of a zip that is passed on without being
// kept: whether it ends with an end record that fits its size.
func CompleteZip(tail []byte) bool {
	for i := len(tail) - 22; i >= 0; i-- {
		if bytes.HasPrefix(tail[i:], []byte("PK\x05\x06")) {
			comment := int(tail[i+20]) | int(tail[i+21])<<8
			return i+22+comment == len(tail)
		}
	}
	return false
}
