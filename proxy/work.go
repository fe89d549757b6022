package proxy

import (
	"context"
	"sync"
)

// work counts the goroutines that belong to the proxy and not to a request, so
// that Close can wait for them and none begins after that.
type work struct {
	mu     sync.Mutex
	closed bool // guarded by mu
	wg     sync.WaitGroup
}

// begin counts one more; false when the proxy is closing.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.wg.Add(1)
	return true
}

func (w *work) end() { w.wg.Done() }

// close lets nothing begin any more.
func (w *work) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

// errClosing is what work is told that would begin after Close.
var errClosing = context.Canceled

// spawn runs fn until it returns or its context ends with the proxy; not at
// all when the proxy is closing.
func (p *Proxy) spawn(fn func(context.Context)) {
	if !p.running.begin() {
		return
	}
	go func() {
		defer p.running.end()
		fn(p.background)
	}()
}
