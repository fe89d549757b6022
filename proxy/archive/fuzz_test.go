package archive_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"testing"

	"stasis/proxy/archive"
)

// FuzzCheckZip holds that Check never panics, says of bad bytes only that they
// are bad, and accepts nothing that Go's own reader, which is more tolerant,
// cannot unpack to the same sizes.
func FuzzCheckZip(f *testing.F) {
	f.Add(raw(layout{}, good))
	f.Add(raw(layout{zip64: same, comment: "c"}, good, item{name: "acme-lib-1/l", mode: 0o120777, content: "src"}))
	for _, c := range hostileZips() {
		if len(c.body) < 1<<12 {
			f.Add(c.body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rep, err := archive.Check("zip", bytes.NewReader(body), int64(len(body)))
		if err != nil {
			var bad *archive.Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if !archive.CompleteZip(body) {
			t.Fatal("a good zip does not count as complete")
		}
		z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatalf("accepted, but Go cannot open it: %v", err)
		}
		var n int64
		for _, e := range z.File {
			r, err := e.Open()
			if err != nil {
				t.Fatalf("accepted, but %q cannot be opened: %v", e.Name, err)
			}
			m, err := io.Copy(io.Discard, r)
			if err != nil {
				t.Fatalf("accepted, but %q cannot be read: %v", e.Name, err)
			}
			n += m
		}
		if n != rep.Unpacked {
			t.Fatalf("it unpacks to %d bytes, and the report says %d", n, rep.Unpacked)
		}
	})
}

func FuzzCheckTar(f *testing.F) {
	for _, c := range hostileTars() {
		if len(c.body) < 1<<13 {
			f.Add(c.body)
		}
	}
	f.Add(bz2Tar)
	f.Add(xzTar)
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := archive.Check("tar", bytes.NewReader(body), int64(len(body)))
		var bad *archive.Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("got %v", err)
		}
	})
}
