package proxy

import (
	"sync/atomic"
	"time"
)

// slowPause is how long clients are not made to wait for revalidations after
// upstream exceeded RevalidateWait.
const slowPause = 30 * time.Second

// patience decides whether a client that can be given a copy waits for
// upstream first. While upstream is quick everybody does. Once it has kept
// somebody waiting too long, one client per pause finds out whether it still
// does; the others are given their copy at once.
type patience struct {
	until atomic.Int64 // Unix ns of the next client who waits; 0 while everybody does
}

// wait reports whether this client waits. Who does must say how it went.
func (p *patience) wait(now time.Time) bool {
	until := p.until.Load()
	return until == 0 || now.UnixNano() >= until && p.until.CompareAndSwap(until, now.Add(slowPause).UnixNano())
}

// was tells whether upstream took too long.
func (p *patience) was(slow bool, now time.Time) {
	until := int64(0)
	if slow {
		until = now.Add(slowPause).UnixNano()
	}
	p.until.Store(until)
}
