package archive

import (
	"bytes"
	"io"
	"strings"
)

// A Pick says whether Read hands out the content of a file, which is then held
// in memory: the pick bounds how much. It sees the cleaned path of every plain
// file and the size that the file is known to have, in the order of the
// archive.
type Pick func(path string, size int64) bool

// Read is Check for those who also want to know what stands in some files. The
// contents come from the same pass that checks them, so they are what every
// tool that unpacks the archive gets. They mean nothing beside an error.
func Read(typ string, r io.ReaderAt, size int64, pick Pick) (Report, map[string][]byte, error) {
	p := &picker{pick: pick, picked: map[string][]byte{}}
	rep, err := run(typ, r, size, p)
	if err != nil {
		return Report{}, nil, err
	}
	return rep, p.picked, nil
}

// picker collects what a Pick chose.
type picker struct {
	pick   Pick
	picked map[string][]byte
}

// watch returns r, and a function that keeps what was read from it once it
// turned out to be whole.
func (p *picker) watch(path string, r io.Reader, size int64) (io.Reader, func()) {
	if p == nil || !p.pick(path, size) {
		return r, func() {}
	}
	b := new(bytes.Buffer)
	return io.TeeReader(r, b), func() { p.picked[path] = b.Bytes() }
}

// summit finds out which folder Composer takes for the package when it unpacks
// an archive: the only thing at the top, if that is a folder. Folders without
// files count, and the traces of a Mac's Finder do not.
type summit struct {
	name string
	flat bool
}

func (s *summit) see(path string, folder bool) {
	name, _, below := strings.Cut(path, "/")
	switch {
	case name == "" || name == ".DS_Store":
	case !below && !folder:
		s.flat = true
	case s.name == "":
		s.name = name
	case s.name != name:
		s.flat = true
	}
}

func (s *summit) folder() string {
	if s.flat {
		return ""
	}
	return s.name
}
