package proxy

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// freezeTable has every freeze there ever was, by package or pattern and time:
// a view of the past needs the freezes of the past.
var freezeTable = store.Table[Freeze]{Family: store.FamilyOverlay, Name: "freeze"}

// freezes are all freezes, in memory because every request asks for them.
type freezes struct {
	mu   sync.RWMutex
	list map[string][]Freeze // guarded by mu; by package or pattern, oldest first
}

func (p *Proxy) loadFreezes() error {
	p.freezes.list = map[string][]Freeze{}
	return p.store.View(func(tx *store.Tx) error {
		clear(p.freezes.list)
		return freezeTable.Scan(tx, nil, func(_ []string, f Freeze) error {
			p.freezes.list[f.Package] = append(p.freezes.list[f.Package], f)
			return nil
		})
	})
}

// active reports whether the freeze counts at t.
func (f *Freeze) active(t time.Time) bool {
	return !t.Before(f.CreatedAt) && (f.ExpiresAt.IsZero() || t.Before(f.ExpiresAt)) && (f.LiftedAt.IsZero() || t.Before(f.LiftedAt))
}

// pattern reports whether the freeze is for several packages.
func (f *Freeze) pattern() bool { return strings.Contains(f.Package, "*") }

// activeFreeze returns the freeze that counts for a package at t, or nil: the
// package's own, else the earliest of the patterns that match it.
func (p *Proxy) activeFreeze(n composer.Name, t time.Time) *Freeze {
	p.freezes.mu.RLock()
	defer p.freezes.mu.RUnlock()
	if len(p.freezes.list) == 0 {
		return nil
	}
	for _, f := range slices.Backward(p.freezes.list[n.String()]) {
		if f.active(t) {
			return &f
		}
	}
	var found *Freeze
	for key, list := range p.freezes.list {
		if !strings.Contains(key, "*") {
			continue
		}
		if ok, _ := path.Match(key, n.String()); !ok {
			continue
		}
		for _, f := range list {
			if f.active(t) && (found == nil || f.At.Before(found.At)) {
				found = &f
			}
		}
	}
	return found
}

// heldAt applies the freeze that counted at an instant: a freeze is an upper
// bound. It returns the instant to look at, or the binding that a package's
// own freeze holds.
func (p *Proxy) heldAt(at time.Time, f composer.File) (time.Time, *history.Binding, error) {
	fz := p.activeFreeze(f.Name, at)
	if fz == nil || at.Before(fz.At) {
		return at, nil, nil
	}
	st, ok := fz.state(f)
	if !ok {
		return fz.At, nil, nil
	}
	b := history.Binding{Kind: history.WholeDocument, Document: st.Document, At: at, Fidelity: history.Exact, ValidFrom: st.ValidFrom, LastConfirmed: fz.At}
	if !st.Present() {
		b.Kind, b.Fidelity = history.AbsentDocument, history.Absent
	}
	return at, &b, nil
}

// state is what a held package's file looks like: the revision it is held at.
// It is false for a pattern, which holds no document itself, and for a file
// that was first seen after the instant: they look as they do in its dated view.
func (f *Freeze) state(file composer.File) (history.State, bool) {
	for _, d := range f.Documents {
		if d.File != file.String() {
			continue
		}
		st := history.State{Seq: 1, ValidFrom: d.ValidFrom, Checked: f.CreatedAt, Ever: !d.Absent}
		if digest, err := store.ParseDigest(d.SHA256); err == nil && !d.Absent {
			st.Document = digest
		}
		return st, true
	}
	return history.State{}, false
}

// holds reports whether the freeze names the revision of a file.
func (f *Freeze) holds(file composer.File) bool {
	_, ok := f.state(file)
	return ok
}

// heldByView returns the freeze that counts now for a file of which it holds
// no revision: the file looks as in the dated view of the freeze's instant.
func (p *Proxy) heldByView(f composer.File) *Freeze {
	if fz := p.activeFreeze(f.Name, p.now()); fz != nil && !fz.holds(f) {
		return fz
	}
	return nil
}

func filesOf(n composer.Name) [2]composer.File {
	return [2]composer.File{{Name: n}, {Name: n, Dev: true}}
}

// Freeze holds a package at a recorded revision of both its documents. A
// package never seen is fetched first. Freezing again with the same request
// changes nothing; with another one it replaces the freeze.
func (p *Proxy) Freeze(ctx context.Context, n composer.Name, req FreezeRequest) (Freeze, error) {
	now := p.now().UTC().Truncate(time.Second)
	if err := req.check(now); err != nil {
		return Freeze{}, err
	}
	if held := p.activeFreeze(n, p.now()); held != nil && !held.pattern() && held.same(req) {
		return *held, nil
	}
	f := req.freeze(n.String(), now)
	present := false
	var unrecorded error
	for _, file := range filesOf(n) {
		d, err := p.documentToHold(ctx, file, req.At)
		var early *invalid
		if errors.As(err, &early) {
			unrecorded = early // it looks as in the dated view of that instant
			continue
		}
		if err != nil {
			return Freeze{}, err
		}
		present = present || !d.Absent
		f.Documents = append(f.Documents, d)
	}
	if len(f.Documents) == 0 {
		return Freeze{}, unrecorded
	}
	if !present {
		return Freeze{}, absence(fmt.Sprintf("%s does not exist upstream, so there is nothing to hold", n))
	}
	if err := p.addFreeze(f); err != nil {
		return Freeze{}, err
	}
	p.switched(n)
	return f, nil
}

// FreezePattern holds all packages that match a pattern such as acme/* at an
// instant: each looks as it does in the dated view of that instant.
func (p *Proxy) FreezePattern(_ context.Context, pattern string, req FreezeRequest) (Freeze, error) {
	pattern = strings.ToLower(pattern)
	if _, err := path.Match(pattern, "a/b"); err != nil || strings.Count(pattern, "/") != 1 || !strings.Contains(pattern, "*") {
		return Freeze{}, &invalid{fmt.Sprintf("%q is not a pattern like acme/*", pattern)}
	}
	now := p.now().UTC().Truncate(time.Second)
	if err := req.check(now); err != nil {
		return Freeze{}, err
	}
	f := req.freeze(pattern, now)
	f.Documents = []FrozenDocument{}
	if err := p.addFreeze(f); err != nil {
		return Freeze{}, err
	}
	p.rulesChanged()
	return f, nil
}

// UnfreezePattern lifts the freeze of a pattern.
func (p *Proxy) UnfreezePattern(_ context.Context, pattern string) (bool, error) {
	held, err := p.liftFreeze(strings.ToLower(pattern))
	if held {
		p.rulesChanged()
	}
	return held, err
}

func (req FreezeRequest) check(now time.Time) error {
	if req.ExpiresAt != nil && !req.ExpiresAt.After(now) {
		return &invalid{"expires_at is in the past"}
	}
	if req.At != nil && req.At.After(now) {
		return &invalid{"at is in the future: a package can only be held at what was recorded"}
	}
	return nil
}

func (req FreezeRequest) freeze(key string, now time.Time) Freeze {
	f := Freeze{Package: key, At: now, CreatedAt: now, Reason: req.Reason, Owner: req.Owner}
	if f.Owner == "" {
		f.Owner = "admin"
	}
	if req.At != nil {
		f.At = req.At.UTC()
	}
	if req.ExpiresAt != nil {
		f.ExpiresAt = req.ExpiresAt.UTC()
	}
	return f
}

// addFreeze keeps a freeze in place of the one that counted until now: both
// or neither, in the store and in memory.
func (p *Proxy) addFreeze(f Freeze) error {
	now := p.now().UTC()
	p.freezes.mu.Lock()
	defer p.freezes.mu.Unlock()
	var list, lifted []Freeze
	for _, old := range p.freezes.list[f.Package] {
		if old.CreatedAt.Equal(f.CreatedAt) {
			continue // the new one takes its place
		}
		if old.active(now) {
			old.LiftedAt = now
			lifted = append(lifted, old)
		}
		list = append(list, old)
	}
	err := p.store.Update(func(tx *store.Tx) error {
		for _, kept := range append(slices.Clip(lifted), f) {
			if err := freezeTable.Put(tx, kept, kept.Package, store.TimeKey(kept.CreatedAt)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep the freeze of %s: %w", f.Package, err)
	}
	p.freezes.list[f.Package] = append(list, f)
	return nil
}

// liftFreeze ends the freeze that counts for a package or pattern; false when
// none does.
func (p *Proxy) liftFreeze(key string) (bool, error) {
	now := p.now().UTC()
	p.freezes.mu.Lock()
	defer p.freezes.mu.Unlock()
	list := p.freezes.list[key]
	for i := range list {
		if !list[i].active(now) {
			continue
		}
		lifted := list[i]
		lifted.LiftedAt = now
		err := p.store.Update(func(tx *store.Tx) error {
			return freezeTable.Put(tx, lifted, key, store.TimeKey(lifted.CreatedAt))
		})
		if err != nil {
			return false, fmt.Errorf("lift the freeze of %s: %w", key, err)
		}
		list[i] = lifted
		return true, nil
	}
	return false, nil
}

// same reports whether a request asks for what the freeze already is.
func (f *Freeze) same(req FreezeRequest) bool {
	if req.At != nil && !req.At.Equal(f.At) {
		return false
	}
	if (req.ExpiresAt == nil) != f.ExpiresAt.IsZero() || req.ExpiresAt != nil && !req.ExpiresAt.Equal(f.ExpiresAt) {
		return false
	}
	return (req.Reason == "" || req.Reason == f.Reason) && (req.Owner == "" || req.Owner == f.Owner)
}

// documentToHold finds the recorded revision of a file at an instant; nil
// means the current one.
func (p *Proxy) documentToHold(ctx context.Context, file composer.File, at *time.Time) (FrozenDocument, error) {
	st, err := p.history.State(file)
	if err != nil {
		return FrozenDocument{}, err
	}
	if !st.Known() {
		if st, err = p.refresh(ctx, file, history.Demand, st.Checked); err != nil {
			return FrozenDocument{}, &unavailable{message: fmt.Sprintf("%s was never fetched and upstream cannot be asked now", file), retry: retrySoon, err: err}
		}
	}
	if at == nil || !st.ValidFrom.After(*at) {
		return frozenDocument(file, st.Document, st.ValidFrom), nil
	}
	list, err := p.history.Revisions(file)
	if err != nil {
		return FrozenDocument{}, err
	}
	for _, r := range slices.Backward(list) {
		if !r.ValidFrom.After(*at) {
			return frozenDocument(file, r.Document, r.ValidFrom), nil
		}
	}
	return FrozenDocument{}, &invalid{fmt.Sprintf("nothing was recorded of %s at %s; the first record is from %s", file, at.Format(time.RFC3339), list[0].ValidFrom.Format(time.RFC3339))}
}

func frozenDocument(f composer.File, d store.Digest, validFrom time.Time) FrozenDocument {
	out := FrozenDocument{File: f.String(), ValidFrom: validFrom, Absent: d.IsZero()}
	if !d.IsZero() {
		out.SHA256 = d.String()
	}
	return out
}

// Unfreeze lets a package go on. It returns false when it was not held.
func (p *Proxy) Unfreeze(_ context.Context, n composer.Name) (bool, error) {
	held, err := p.liftFreeze(n.String())
	if held {
		p.switched(n)
	}
	return held, err
}

// switched forgets what memory holds about a package whose served bytes may
// have changed, and says so in the change feed.
func (p *Proxy) switched(n composer.Name) {
	p.touched(n)
	for _, f := range filesOf(n) {
		p.hot.remove(f.String())
		e, err := p.lookup(f)
		if err != nil {
			p.log.Warn("a package's state could not be read", "package", n.String(), "error", err)
			continue
		}
		if st := *e.state.Load(); st.Present() {
			p.changed(f, st)
		}
	}
}

// Frozen lists the freezes that count now, by name.
func (p *Proxy) Frozen(context.Context) ([]Freeze, error) {
	p.freezes.mu.RLock()
	defer p.freezes.mu.RUnlock()
	list := []Freeze{}
	for _, all := range p.freezes.list {
		for _, f := range all {
			if f.active(p.now()) {
				list = append(list, f)
			}
		}
	}
	slices.SortFunc(list, func(a, b Freeze) int { return strings.Compare(a.Package, b.Package) })
	return list, nil
}
