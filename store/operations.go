package store

import "sync"

// operations counts what is under way, so that Close can wait for it and no
// operation meets a closed database. Operations may be nested (a function
// given to View may open a blob), which a read lock would not allow: a nested
// one waits behind a waiting Close for ever. Here it gets ErrClosed.
type operations struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   *sync.Cond
}

func (o *operations) enter() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	o.n++
	return nil
}

func (o *operations) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n--; o.n == 0 && o.idle != nil {
		o.idle.Signal()
	}
}

// end refuses new operations and waits for those under way. It reports whether
// this was the first call.
func (o *operations) end() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.closed = true
	o.idle = sync.NewCond(&o.mu)
	for o.n > 0 {
		o.idle.Wait()
	}
	return true
}
