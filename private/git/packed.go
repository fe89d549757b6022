package git

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/klauspost/compress/flate"
)

// packedFile is a file's content as it stands in a zip.
type packedFile struct {
	method uint16
	data   []byte
	size   int
	crc    uint32
}

// packedCache remembers files that were packed lately. Versions of a package have most of their files
// in common, and packing is most of the work of making their archives.
type packedCache struct {
	mu    sync.Mutex // guards the rest
	files *simplelru.LRU[[sha256.Size]byte, packedFile]
	bytes int
}

const (
	maxPackedBytes = 32 << 20
	maxPackedFile  = 1 << 20 // what is larger is rare, and not held in memory
)

func newPackedCache() *packedCache {
	c := &packedCache{}
	var err error
	c.files, err = simplelru.NewLRU(maxPackedBytes/64, func(_ [sha256.Size]byte, f packedFile) { c.bytes -= len(f.data) })
	if err != nil {
		panic(err) // only a size below one is refused
	}
	return c
}

// pack packs content, which it keeps, with the given writer, unless that was done before. What does
// not become smaller stays as it is.
func (c *packedCache) pack(content []byte, with *flate.Writer) (packedFile, error) {
	key := sha256.Sum256(content)
	c.mu.Lock()
	f, ok := c.files.Get(key)
	c.mu.Unlock()
	if ok {
		return f, nil
	}
	var b bytes.Buffer
	with.Reset(&b)
	if _, err := with.Write(content); err != nil {
		return f, err
	}
	if err := with.Close(); err != nil {
		return f, err
	}
	f = packedFile{method: zip.Deflate, data: bytes.Clone(b.Bytes()), size: len(content), crc: crc32.ChecksumIEEE(content)}
	if len(f.data) >= len(content) {
		f.method, f.data = zip.Store, content
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.files.Contains(key) {
		c.files.Add(key, f)
		c.bytes += len(f.data)
	}
	for c.bytes > maxPackedBytes {
		c.files.RemoveOldest()
	}
	return f, nil
}
