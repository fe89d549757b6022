package proxy

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// hot is the memory of ready answers, bounded by bytes: golang-lru counts
// entries, so the bytes are counted here, beside it.
type hot struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[string, *entry] // guarded by mu
	bytes int64                          // guarded by mu
	limit int64
}

// entryOverhead is what an entry costs beside its bodies: headers, map and
// list nodes, the state. Measured at 700 to 1,100 bytes.
const entryOverhead = 1 << 10

func newHot(limit int64) *hot {
	h := &hot{limit: limit}
	lru, err := simplelru.NewLRU[string, *entry](1<<31-1, func(_ string, e *entry) { h.bytes -= e.size })
	if err != nil {
		panic(err) // only for a size below one
	}
	h.lru = lru
	return h
}

func (h *hot) get(key string) *entry {
	h.mu.Lock()
	e, _ := h.lru.Get(key)
	h.mu.Unlock()
	return e
}

// put replaces the entry under key.
func (h *hot) put(key string, e *entry, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lru.Remove(key)
	e.size = size + entryOverhead
	h.bytes += e.size
	h.lru.Add(key, e)
	h.shrink(e)
}

// grow accounts n more bytes to an entry, if it is still held.
func (h *hot) grow(key string, e *entry, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held, ok := h.lru.Peek(key); !ok || held != e {
		return
	}
	e.size += n
	h.bytes += n
	h.shrink(e)
}

// shrink drops the least recently used entries but keep; called with mu held.
func (h *hot) shrink(keep *entry) {
	for h.bytes > h.limit && h.lru.Len() > 1 {
		if _, e, ok := h.lru.GetOldest(); ok && e == keep {
			return
		}
		h.lru.RemoveOldest()
	}
}

func (h *hot) remove(key string) {
	h.mu.Lock()
	h.lru.Remove(key)
	h.mu.Unlock()
}

func (h *hot) clear() {
	h.mu.Lock()
	h.lru.Purge()
	h.mu.Unlock()
}

func (h *hot) usage() (entries int, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Len(), h.bytes
}
