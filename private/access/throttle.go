package access

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	guessPeriod  = 6 * time.Second // time after which one wrong token is forgotten
	guessBurst   = 10              // wrong tokens an address may send in one go
	guessesPerID = 100             // wrong secrets that may come for one token, from wherever
	guessKeys    = 4096            // addresses, and ids, that are remembered
)

// throttle counts wrong tokens per key in leaking buckets. While a bucket is full even the right token is
// refused, because otherwise a guesser would not be slowed at all; only a token that was right a moment ago
// passes, by the memory of decisions. The sad path that remains: behind a reverse proxy that is not among the
// trusted ones everybody has the proxy's address, and a stranger's guesses delay everybody who comes anew.
type throttle[K comparable] struct {
	now   func() time.Time
	burst float64

	mu      sync.Mutex // guards what follows
	buckets *simplelru.LRU[K, bucket]
}

// bucket holds a number of failures that shrinks by one every guessPeriod.
type bucket struct {
	level float64
	at    time.Time // when level was right
}

func newThrottle[K comparable](burst int, now func() time.Time) *throttle[K] {
	buckets, err := simplelru.NewLRU[K, bucket](guessKeys, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &throttle[K]{now: now, burst: float64(burst), buckets: buckets}
}

// wait returns how long whoever has the key has to wait before the next try.
func (t *throttle[K]) wait(key K) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.current(key)
	if excess := b.level - (t.burst - 1); excess > 1e-6 {
		return time.Duration(math.Ceil(excess * float64(guessPeriod)))
	}
	return 0
}

// failed counts one wrong token.
func (t *throttle[K]) failed(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.current(key)
	b.level++
	t.buckets.Add(key, b)
}

// current is called with mu held.
func (t *throttle[K]) current(key K) bucket {
	now := t.now()
	b, ok := t.buckets.Get(key)
	if !ok {
		return bucket{at: now}
	}
	b.level = max(0, b.level-float64(max(0, now.Sub(b.at)))/float64(guessPeriod))
	b.at = now
	return b
}

// network is what counts as one client: an IPv4 address, or the /64 an IPv6 client can choose from freely.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
