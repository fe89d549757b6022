//go:build !linux

package main

import "time"

type ticker struct {
	every time.Duration
	last  time.Time
	t     *time.Ticker
}

func newTicker(every time.Duration) (*ticker, error) {
	return &ticker{every: every, last: time.Now(), t: time.NewTicker(max(every, time.Millisecond))}, nil
}

func (t *ticker) wait() (uint64, error) {
	n := uint64(0)
	for n == 0 {
		n = uint64((<-t.t.C).Sub(t.last) / t.every)
	}
	t.last = t.last.Add(time.Duration(n) * t.every)
	return n, nil
}

func (t *ticker) close() { t.t.Stop() }
