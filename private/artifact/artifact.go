// Package artifact looks into archives that are uploaded or laid into a folder, and into package definitions written by
// hand: what package they are, which version, and whether they may be published.
//
// It promises that what it accepts can be installed: the archive is whole and stays inside its folder, its composer.json
// lies where Composer will find it after unpacking and would end nobody's run, and name and version are what the uploader
// said they are. Nothing is unpacked to disk, and memory is bounded whatever the archive claims.
//
// It knows nothing of where archives are kept, who may publish them, and which versions exist already.
package artifact

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"stasis/proxy/archive"
	"stasis/proxy/composer"
)

// Artifact is an archive that may be published.
type Artifact struct {
	Package    composer.Name
	Pretty     string // the version as its author or uploader wrote it
	Normalized string
	Type       string          // the dist type: "zip" or "tar"
	Extension  string          // under which Composer can open it: "zip", "tar", "tar.gz" or "tar.bz2"
	Manifest   composer.Object // the composer.json, whole and as it was written
	SHA1       string          // of the archive, in lower-case hex, as in dist.shasum
	SHA256     [sha256.Size]byte
	Size       int64
	Content    string // the content digest, see archive.Report
	Readme     []byte // nil when there is none, or none of a sensible size
}

// Want is what the uploader says about an archive beside it, such as in the address. Either may be empty.
type Want struct{ Name, Version string }

// Error says why an archive or a definition was refused, in a sentence for who sent it.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func refuse(filename, format string, args ...any) error {
	return &Error{label(filename) + ": " + fmt.Sprintf(format, args...)}
}

// label is how a file is called in a sentence.
func label(filename string) string {
	name := path.Base(strings.ReplaceAll(filename, `\`, "/"))
	if filename == "" || name == "." || name == "/" {
		return "the archive"
	}
	return strings.Trim(strconv.QuoteToASCII(name[:min(len(name), 100)]), `"`)
}

// Inspect looks into an archive of size bytes. What it is tells its content; filename only names it in errors. The
// error is an *Error when the archive is refused, and r's own when it could not be read.
func Inspect(r io.ReaderAt, size int64, filename string, want Want) (Artifact, error) {
	a := Artifact{Size: size}
	if err := a.sniff(r, filename); err != nil {
		return Artifact{}, err
	}
	p := pick{manifests: map[string]int64{}, readmes: map[string]string{}}
	rep, files, err := archive.Read(a.Type, r, size, p.file)
	var bad *archive.Error
	if errors.As(err, &bad) {
		return Artifact{}, refuse(filename, "%s", bad)
	}
	if err != nil {
		return Artifact{}, err
	}
	a.Content = rep.Content
	body, err := p.manifest(rep.Top, files)
	if err == nil {
		err = a.read(body, want)
	}
	if err != nil {
		return Artifact{}, refuse(filename, "%s", err)
	}
	a.Readme = p.readme(rep.Top, files)
	return a, a.sum(r)
}

var kinds = []struct{ magic, typ, extension string }{
	{"PK", "zip", "zip"},
	{"\x1f\x8b", "tar", "tar.gz"},
	{"BZh", "tar", "tar.bz2"},
}

func (a *Artifact) sniff(r io.ReaderAt, filename string) error {
	head := make([]byte, min(a.Size, archive.SniffSize))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	a.Type, a.Extension = "tar", "tar"
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			a.Type, a.Extension = k.typ, k.extension
		}
	}
	if archive.Sniff(a.Type, head) != nil || bytes.HasPrefix(head, []byte("\xfd7zXZ")) {
		return refuse(filename, "it is neither a zip, nor a tar, tar.gz or tar.bz2 archive: it begins with %.20q", head[:min(len(head), 20)])
	}
	return nil
}

// sum reads the archive once more for its checksums.
func (a *Artifact) sum(r io.ReaderAt) error {
	one, two := sha1.New(), sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(one, two), struct{ io.Reader }{io.NewSectionReader(r, 0, a.Size)}, make([]byte, 256<<10))
	if err == nil && n != a.Size {
		err = io.ErrUnexpectedEOF
	}
	a.SHA1 = hex.EncodeToString(one.Sum(nil))
	two.Sum(a.SHA256[:0])
	return err
}
