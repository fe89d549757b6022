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
	guessesPerID = 100             // wrong secrets that may come for one token in one go, from wherever
	guessClients = 4096            // addresses remembered
)

// bucket holds a number of failures that shrinks by one every guessPeriod.
type bucket struct {
	level float64
	at    time.Time // when level was right
}

// leaked is the bucket at a later time.
func (b bucket) leaked(now time.Time) bucket {
	return bucket{max(0, b.level-float64(max(0, now.Sub(b.at)))/float64(guessPeriod)), now}
}

// wait returns how long it takes until there is room for one more.
func (b bucket) wait(burst int) time.Duration {
	if excess := b.level - float64(burst-1); excess > 1e-6 {
		return time.Duration(math.Ceil(excess * float64(guessPeriod)))
	}
	return 0
}

// throttle counts wrong tokens per address. While a bucket is full even the right token is refused, because otherwise
// a guesser would not be slowed at all; only a token that was right a moment ago passes, by the memory of decisions.
// The sad path that remains: behind a reverse proxy that is not among the trusted ones everybody has the proxy's
// address, and a stranger's guesses delay everybody who comes anew.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	buckets *simplelru.LRU[netip.Addr, bucket]
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
	b, _ := t.buckets.Get(network(a))
	return b.leaked(t.now()).wait(guessBurst)
}

// failed counts one wrong token.
func (t *throttle) failed(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := network(a)
	b, _ := t.buckets.Get(key)
	b = b.leaked(t.now())
	b.level++
	t.buckets.Add(key, b)
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

// guesses counts wrong secrets for the id of one token.
type guesses struct {
	mu sync.Mutex // guards bucket
	bucket
}

// count returns how long to wait before the next try, and counts this one if it was wrong.
func (g *guesses) count(now time.Time, wrong bool) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bucket = g.leaked(now)
	wait := g.wait(guessesPerID)
	if wrong {
		g.level++
	}
	return wait
}
