package api

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	guessBurst   = 10              // wrong tokens an address may send in one go
	guessPeriod  = 6 * time.Second // time after which one of them is forgotten
	guessClients = 4096            // addresses remembered
)

// throttle counts wrong tokens per address in leaking buckets. While a bucket is full even the right
// token is refused, because otherwise a guesser would not be slowed at all. The sad path that remains:
// behind a reverse proxy that is not among the trusted ones everybody has the proxy's address, and a
// stranger's guesses delay the administrator.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	buckets *simplelru.LRU[netip.Addr, bucket]
}

// bucket holds a number of failures that shrinks by one every guessPeriod.
type bucket struct {
	level float64
	at    time.Time // when level was right
}

func newThrottle(now func() time.Time) *throttle {
	buckets, err := simplelru.NewLRU[netip.Addr, bucket](guessClients, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &throttle{now: now, buckets: buckets}
}

// wait returns how long the address has to wait before its next try.
func (t *throttle) wait(a netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.current(network(a))
	if excess := b.level - (guessBurst - 1); excess > 1e-6 {
		return time.Duration(math.Ceil(excess * float64(guessPeriod)))
	}
	return 0
}

// failed counts one wrong token.
func (t *throttle) failed(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := network(a)
	b := t.current(key)
	b.level++
	t.buckets.Add(key, b)
}

// current is called with mu held.
func (t *throttle) current(key netip.Addr) bucket {
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
