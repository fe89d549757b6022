package access

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	decisionsKept = 8192
	// maxRemembered is the longest Authorization header whose decision is remembered, in bytes. Ours have about 80.
	maxRemembered = 256
)

// decisions remembers which Authorization header was whose. It keeps hashes, so that a dump of the memory shows no
// tokens, and only headers that were right, so that strangers cannot fill it.
type decisions struct {
	cache *lru.Cache[[sha256.Size]byte, decision]
}

type decision struct {
	reader     *Reader
	generation uint64 // of tokens and owners when it was made
}

func newDecisions() *decisions {
	cache, err := lru.New[[sha256.Size]byte, decision](decisionsKept)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &decisions{cache}
}

func (d *decisions) get(header string, generation uint64) *Reader {
	sum, ok := sumOf(header)
	if !ok {
		return nil
	}
	if found, ok := d.cache.Get(sum); ok && found.generation == generation {
		return found.reader
	}
	return nil
}

func (d *decisions) put(header string, generation uint64, r *Reader) {
	if sum, ok := sumOf(header); ok {
		d.cache.Add(sum, decision{r, generation})
	}
}

// sumOf hashes without an allocation: the copy stays on the stack.
func sumOf(header string) (sum [sha256.Size]byte, ok bool) {
	var buf [maxRemembered]byte
	if len(header) > len(buf) {
		return sum, false
	}
	return sha256.Sum256(buf[:copy(buf[:], header)]), true
}
