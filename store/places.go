package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// places reads chunks of Badger's value log where they lie in its files,
// instead of through the mapping that Badger hands out. A mapped chunk has to
// be mapped page by page when it is read and unmapped again so that it does not
// count as our memory (dropPages), which costs several times what copying does.
//
// Where a chunk lies is learnt when it is first read through Badger. It is a
// hint: the bytes found there are checked as all bytes are, and when they are
// not the chunk (a collected file, another mapping) Badger is asked again. A
// chunk that was checked in a file that nobody has touched since may be handed
// to sendfile, as a file of the other driver may.
type places struct {
	dir string

	mu    sync.Mutex
	files map[string]*os.File // by name; guarded by mu
	// mapped is what this process had mapped when it was last looked at;
	// guarded by mu.
	mapped []mapping
}

// init takes the folder as the system names it, without links.
func (p *places) init(dir string) {
	p.files = map[string]*os.File{}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	p.dir = dir
}

// place is where a framed chunk lies; the zero place is nowhere. It was right
// when the file was last changed at the time checked, if that is not 0.
type place struct {
	file    *os.File
	off     int64
	checked int64
}

// changed is when a file was last changed, 0 if that is not known.
func changed(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return stateOf(info).changed
}

// placed is a driver's reader whose chunks may lie in files.
type placed interface {
	place(i uint32) place
}

// sender lets the kernel send the trusted chunks of one body. It has a file
// description of its own, and so an offset of its own; what one body needs lies
// mostly in one file.
type sender struct {
	file *os.File
}

// open returns a file that lies open at the bytes of a place, if they need not
// be compared again. It belongs to the sender.
func (s *sender) open(at place) *os.File {
	if at.file == nil || at.checked == 0 {
		return nil
	}
	if s.file == nil || s.file.Name() != at.file.Name() {
		s.close()
		s.file, _ = os.Open(at.file.Name()) // gone: it is read otherwise
	}
	if s.file == nil || changed(s.file) != at.checked {
		return nil
	}
	if _, err := s.file.Seek(at.off, io.SeekStart); err != nil {
		return nil
	}
	return s.file
}

func (s *sender) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// chunkPlaces are the places of the chunks of one body.
type chunkPlaces struct {
	mu sync.Mutex
	at []place // guarded by mu
}

func (c *chunkPlaces) get(i uint32) place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(i) < len(c.at) {
		return c.at[i]
	}
	return place{}
}

// set remembers the place of chunk i.
func (c *chunkPlaces) set(i uint32, p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for int(i) >= len(c.at) {
		c.at = append(c.at, place{})
	}
	c.at[i] = p
}

// read fills buf, which has the length of the framed chunk, from its place.
func (p *places) read(at place, buf []byte) bool {
	if _, err := at.file.ReadAt(buf, at.off); err == nil {
		return true
	}
	p.forget(at.file)
	return false
}

// forget closes a file that cannot be read any more: Badger empties the files
// that it removes. Who still reads from it is not disturbed.
func (p *places) forget(f *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mapped = nil
	name := filepath.Base(f.Name())
	if p.files[name] == f {
		delete(p.files, name)
		_ = f.Close()
	}
}

// mistaken is called when a place did not hold its chunk.
func (p *places) mistaken() {
	p.mu.Lock()
	p.mapped = nil
	p.mu.Unlock()
}

// find tells where a value lies that Badger has handed out, while it is locked.
func (p *places) find(val []byte) (place, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := findMapping(p.mapped, val)
	if !ok {
		p.mapped = mappings()
		if m, ok = findMapping(p.mapped, val); !ok {
			return place{}, false
		}
	}
	if filepath.Dir(m.path) != p.dir || !strings.HasSuffix(m.path, ".vlog") {
		return place{}, false
	}
	f := p.files[filepath.Base(m.path)]
	if f == nil {
		var err error
		if f, err = os.Open(m.path); err != nil {
			return place{}, false
		}
		p.files[filepath.Base(m.path)] = f
	}
	return place{file: f, off: m.offsetOf(val)}, true
}

// prune closes the files that Badger has removed.
func (p *places) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range p.files {
		if _, err := os.Stat(f.Name()); errors.Is(err, os.ErrNotExist) {
			delete(p.files, name)
			_ = f.Close()
		}
	}
}

func (p *places) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range p.files {
		delete(p.files, name)
		_ = f.Close()
	}
}

// mapping is a part of a file that is mapped into this process.
type mapping struct {
	from, to uintptr
	offset   int64 // in the file
	path     string
}
