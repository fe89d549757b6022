package proxy

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// hot is a memory of what is ready to be sent, bounded by bytes: golang-lru
// counts entries, so the bytes are counted here, beside it.
type hot[K, V comparable] struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[K, *hotItem[V]] // guarded by mu
	bytes int64                          // guarded by mu
	limit int64
}

// hotItem is a value and the bytes accounted to it; guarded by hot.mu.
type hotItem[V comparable] struct {
	value V
	size  int64
}

// entryOverhead is what an entry costs beside its bodies: headers, map and
// list nodes, the state. Measured at 700 to 1,100 bytes.
const entryOverhead = 1 << 10

func newHot[K, V comparable](limit int64) *hot[K, V] {
	h := &hot[K, V]{limit: limit}
	lru, err := simplelru.NewLRU[K, *hotItem[V]](1<<31-1, func(_ K, i *hotItem[V]) { h.bytes -= i.size })
	if err != nil {
		panic(err) // only for a size below one
	}
	h.lru = lru
	return h
}

// get returns the value under key, or the zero value.
func (h *hot[K, V]) get(key K) (value V) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i, ok := h.lru.Get(key); ok {
		return i.value
	}
	return value
}

// put replaces the value under key.
func (h *hot[K, V]) put(key K, value V, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lru.Remove(key)
	i := &hotItem[V]{value, size + entryOverhead}
	h.bytes += i.size
	h.lru.Add(key, i)
	h.shrink(i)
}

// grow accounts n more bytes to a value, if it is still held.
func (h *hot[K, V]) grow(key K, value V, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.lru.Peek(key)
	if !ok || i.value != value {
		return
	}
	i.size += n
	h.bytes += n
	h.shrink(i)
}

// shrink drops the least recently used items but keep; called with mu held.
func (h *hot[K, V]) shrink(keep *hotItem[V]) {
	for h.bytes > h.limit && h.lru.Len() > 1 {
		if _, i, ok := h.lru.GetOldest(); ok && i == keep {
			return
		}
		h.lru.RemoveOldest()
	}
}

func (h *hot[K, V]) remove(key K) {
	h.mu.Lock()
	h.lru.Remove(key)
	h.mu.Unlock()
}

func (h *hot[K, V]) clear() {
	h.mu.Lock()
	h.lru.Purge()
	h.mu.Unlock()
}

func (h *hot[K, V]) usage() (entries int, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Len(), h.bytes
}
