package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stasis/proxy/archive"
	"stasis/store"
)

// A download whose room ends on the way goes on for the clients that have its
// first bytes already: what the store has of it they read there, and the rest
// passes through memory. Nobody joins it any more, so a client that comes then
// is passed the archive by itself (distThrough).

// spillSize bounds the memory of a download that the store does not take. It
// goes at the pace of its slowest client then, who is cut off by the server's
// write deadline if it takes nothing. It has to hold what is kept from clients
// and another step.
const spillSize = 4 * copySize

// spill is what a download knows of those who follow it, and the bytes that
// the store did not take.
type spill struct {
	followers map[*follower]struct{}
	moved     chan struct{} // closed and replaced when a follower advanced or left
	full      error         // why the store took no more; nil while it does
	kept      int64         // bytes that are read from the store
	bytes     []byte        // what follows, from the slowest follower on
	base      int64         // where bytes begins
	whole     bool          // the body is complete and checked, and will not be stored
}

// follower is a client of a download.
type follower struct {
	at int64 // bytes it has read; guarded by the download's mu
}

func (s *spill) init() {
	s.followers, s.moved = map[*follower]struct{}{}, make(chan struct{})
}

// stir wakes up whoever waits for followers.
func (s *spill) stir() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (d *download) enter(f *follower) {
	if f == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spill.followers[f] = struct{}{}
}

func (d *download) leave(f *follower) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.spill.followers, f)
	d.spill.stir()
}

func (d *download) advance(f *follower, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.at = at
	if d.spill.full != nil {
		d.spill.stir()
	}
}

// spilled returns why the store took no more of the download, or nil.
func (d *download) spilled() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spill.full
}

// take adds the next bytes of the body.
func (p *Proxy) take(ctx context.Context, d *download, b []byte) error {
	if d.spilled() == nil {
		n, err := d.blob.Write(b)
		d.got += int64(n)
		if err == nil || !errors.Is(err, store.ErrNoSpace) || !d.hasBegun() {
			return err
		}
		p.downloads.drop(d)
		d.mu.Lock()
		d.spill.full, d.spill.kept, d.spill.base = err, d.got, d.got
		d.mu.Unlock()
		b = b[n:]
	}
	return d.pour(ctx, b)
}

// pour adds bytes to those in memory, once there is room for them. Without
// anybody who wants them the download is over.
func (d *download) pour(ctx context.Context, b []byte) error {
	s := &d.spill
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if len(s.followers) == 0 {
			return s.full
		}
		slowest := d.got
		for f := range s.followers {
			slowest = min(slowest, f.at)
		}
		if slowest > s.base {
			s.bytes = slices.Delete(s.bytes, 0, int(slowest-s.base))
			s.base = slowest
		}
		if len(s.bytes)+len(b) <= spillSize {
			break
		}
		if err := d.awaitMove(ctx); err != nil {
			return err
		}
	}
	s.bytes = append(s.bytes, b...)
	d.got += int64(len(b))
	return nil
}

// awaitMove waits until a follower advances or leaves. It is called with mu
// held, and returns with it held.
func (d *download) awaitMove(ctx context.Context) error {
	moved := d.spill.moved
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readAt reads what clients may have, wherever it is.
func (d *download) readAt(b []byte, off int64) (int, error) {
	d.mu.Lock()
	if s := &d.spill; s.full != nil {
		if off >= s.base {
			defer d.mu.Unlock()
			return copy(b, s.bytes[off-s.base:]), nil
		}
		b = b[:min(int64(len(b)), s.kept-off)]
	}
	d.mu.Unlock()
	return d.blob.ReadAt(b, off)
}

// checkSpilled looks at the end of an archive, which nobody has yet, and at
// what the metadata says of the whole. Its middle has gone by.
func (p *Proxy) checkSpilled(d *download, src source, sum string) error {
	end := make([]byte, min(d.got, holdBack))
	for n := 0; n < len(end); {
		m, err := d.readAt(end[n:], d.got-int64(len(end)-n))
		if m == 0 && err != nil {
			return fmt.Errorf("pass %s on: %w", d.key, err)
		}
		n += m
	}
	var err error
	switch {
	case d.key.typ == "zip" && !archive.CompleteZip(end):
		err = errors.New("the zip archive has no end record")
	case src.shasum != "" && src.shasum != sum:
		err = fmt.Errorf("its SHA-1 is %s and the metadata says %s", sum, src.shasum)
	default:
		return nil
	}
	p.alerts.raise(AlertBadArchive, d.key.name.String()+" "+d.key.ref, fmt.Sprintf("%s was refused: %v", d.key, err))
	return &badUpstream{d.key.String(), err}
}

// handOut lets the clients that have begun have all of an archive that will
// not be kept, and returns when they are done.
func (p *Proxy) handOut(ctx context.Context, d *download) {
	if !d.hasBegun() {
		return // they are passed it by themselves
	}
	p.downloads.drop(d)
	d.mu.Lock()
	d.spill.whole = true
	d.mu.Unlock()
	d.show(d.got)
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.spill.followers) > 0 {
		if d.awaitMove(ctx) != nil {
			return
		}
	}
}
