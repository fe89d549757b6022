package store

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// held is what memory knows of one archive body: about 250 bytes with the
// places that list it, so that 100,000 bodies take 25 MiB.
type held struct {
	digest Digest
	id     uint64
	size   int64
	used   int64 // last use, nanoseconds
	saved  int64 // the last use that is on disk
	refs   int32 // open readers
	gone   bool  // out of the index

	forgotten bool // its record is gone too: its bytes go when the last reader closes

	// places are where its chunks lie, as far as that is known (driver "badger").
	places chunkPlaces

	// checked is the state of the file when its bytes were last known to be
	// right (driver "files").
	checked fileState
}

// index knows every body that is held, in order of use. Unpinned bodies are in
// the LRU list and may be evicted, pinned ones are apart. It is guarded by
// blobs.mu.
type index struct {
	lru    *simplelru.LRU[Digest, *held] // unpinned, least recently used first
	pinned map[Digest]*held
	owners map[Digest]int // how many owners pin a digest, held or not

	bytes       int64 // of unpinned bodies
	pinnedBytes int64
	promised    int64 // to bodies being written
	written     int64 // of that, by now

	// leaving are the ids of bodies that left the index while being read; their
	// chunks are still needed.
	leaving map[uint64]bool
}

func newIndex() index {
	lru, err := simplelru.NewLRU[Digest, *held](math.MaxInt, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return index{lru: lru, pinned: map[Digest]*held{}, owners: map[Digest]int{}, leaving: map[uint64]bool{}}
}

func (x *index) get(d Digest) *held {
	if h, ok := x.lru.Peek(d); ok {
		return h
	}
	return x.pinned[d]
}

// use returns the body and makes it the most recently used.
func (x *index) use(d Digest, now int64) *held {
	h, ok := x.lru.Get(d)
	if !ok {
		h = x.pinned[d]
	}
	if h != nil {
		h.used = max(now, h.used)
	}
	return h
}

func (x *index) add(h *held) {
	if x.owners[h.digest] > 0 {
		x.pinned[h.digest] = h
		x.pinnedBytes += h.size
		return
	}
	x.lru.Add(h.digest, h)
	x.bytes += h.size
}

// remove takes the body out and reports whether it was in.
func (x *index) remove(h *held) bool {
	if x.get(h.digest) != h {
		return false
	}
	if x.lru.Remove(h.digest) {
		x.bytes -= h.size
	} else {
		delete(x.pinned, h.digest)
		x.pinnedBytes -= h.size
	}
	h.gone = true
	if h.refs > 0 {
		x.leaving[h.id] = true
	}
	return true
}

// evict takes the least recently used bodies out until the rest fits into
// limit, and returns them. No rest fits below 0, so that limit takes out all.
func (x *index) evict(limit int64) []*held {
	var out []*held
	for x.bytes+x.written > limit {
		_, h, ok := x.lru.GetOldest()
		if !ok {
			break
		}
		x.remove(h)
		out = append(out, h)
	}
	return out
}

// pin counts one more owner of d.
func (x *index) pin(d Digest) {
	if x.owners[d]++; x.owners[d] > 1 {
		return
	}
	if h, ok := x.lru.Peek(d); ok {
		x.lru.Remove(d)
		x.bytes -= h.size
		x.pinned[d] = h
		x.pinnedBytes += h.size
	}
}

// unpin counts one owner of d less.
func (x *index) unpin(d Digest) {
	if x.owners[d]--; x.owners[d] > 0 {
		return
	}
	delete(x.owners, d)
	if h, ok := x.pinned[d]; ok {
		delete(x.pinned, d)
		x.pinnedBytes -= h.size
		x.lru.Add(d, h)
		x.bytes += h.size
	}
}

// all returns every body, the least recently used first.
func (x *index) all() []*held {
	out := make([]*held, 0, x.lru.Len()+len(x.pinned))
	for _, h := range x.pinned {
		out = append(out, h)
	}
	return append(out, x.lru.Values()...)
}
