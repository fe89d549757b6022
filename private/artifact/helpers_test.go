package artifact_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io/fs"
	"testing"

	"stasis/private/artifact"
)

// entry is a file of an archive; one whose name ends with a slash is a folder, one with a target is a link.
type entry struct{ name, body, target string }

func file(name, body string) entry { return entry{name: name, body: body} }

const manifest = `{"name": "acme/lib", "version": "1.2.0", "require": {"php": ">=8.1"}}`

func zipped(entries ...entry) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if e.target != "" {
			h.SetMode(fs.ModeSymlink | 0o777)
			e.body = e.target
		}
		f, err := w.CreateHeader(&h)
		if err == nil {
			_, err = f.Write([]byte(e.body))
		}
		if err != nil && e.body != "" {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// claiming is a small zip with a file that claims to be large.
func claiming(size uint64) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "p/zeros", Method: zip.Deflate, UncompressedSize64: size, CompressedSize64: 4})
	if err == nil {
		_, err = f.Write([]byte("zero"))
	}
	if err != nil || w.Close() != nil {
		panic(err)
	}
	return b.Bytes()
}

func tarred(entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.body)), Typeflag: tar.TypeReg}
		switch {
		case e.target != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.target
		case e.name[len(e.name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write([]byte(e.body))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// One tar, packed by the bzip2 and xz tools: p/composer.json of acme/lib 1.2.0 and p/README.md. Go packs neither. And 64
// MiB of zeros, packed by bzip2.
var (
	bz2Tar = unbase64("QlpoOTFBWSZTWR7cjwMAANb/hsuQAUBYBf+QJgYyAX433woAAICAAAgwALiiEmjRMaCYAIwNTBMAgwGgNAABpoNANAGgbUkyTT0Q0NTaTQwCfqjExGNS7sc5Y8lrQJ1UyAahCSLIZ86oqQ8xQTi8jIMIScJeJTJPOw4tf8ZeLvHtT599NmDd/FNazRA1sBaMkS++OYSwMQY4VzD2vuTyKj6pjZwMM0DLOXqN0DgQTMiU4PIwxawVQQQW9IHQPptx5715LOYivHQnSMxaA750ft0q6SVh3HUR83EyMJcY6miIS/xdyRThQkB7cjwM")
	xzTar  = unbase64("/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AMZdADgLvBunjDRE4cIHdekAF5rLD6iK4RWZ3cm0OJfYJ34N6JpvtllCzpLmIo+3B4jlfp7P5M4R2Qf+/Vo/DnW0vbhe+qUtFwZKNH/Q9/BlFMlONA/ojIHjo8FA9U06436rFWYPjQ/zRLe4p6rnnzfXekgT3hx3R8ZeSa6kb2N9DbFiPUAWGCXoqBDTgTlv8SL1tXTEsDbFoT430Knm+1AWZjydiPbKpgWeVZq8BgvUE/FRlExuZipjUgNEYT0fq4Djr456iSoi3wAAAEe9vUExoSbxAAHiAYBQAABv31wkscRn+wIAAAAABFla")
	bz2Big = unbase64("QlpoOTFBWSZTWQBqgzIFfkF7gMwAAEBAAE+AAADgAJ4QAAggAHUJEU0GjT1ACKkZpDQGJ9iumVEAVVEmqoAqqJa1SNpULsEgBJJIRCceREiNGFZGrJbqYqc6oTjSIlqdcFy8/szM5xAKAKqifmKCskymsvXILcYBRQaAA4AAQAAAEEAAYZgKU0ygSE2KgSE8XckU4UJB6MRCHA==")
)

func inspect(t testing.TB, body []byte, want artifact.Want) artifact.Artifact {
	t.Helper()
	a, err := artifact.Inspect(bytes.NewReader(body), int64(len(body)), "upload", want)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
