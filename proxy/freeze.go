package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// freezeTable has one record per held package.
var freezeTable = store.Table[Freeze]{Family: store.FamilyOverlay, Name: "freeze"}

// active reports whether the freeze counts at t.
func (f *Freeze) active(t time.Time) bool {
	return f.ExpiresAt.IsZero() || t.Before(f.ExpiresAt)
}

// state is what a held package's file looks like: the revision it is held at.
func (f *Freeze) state(file composer.File) history.State {
	for _, d := range f.Documents {
		if d.File != file.String() {
			continue
		}
		st := history.State{Seq: 1, ValidFrom: d.ValidFrom, Checked: f.CreatedAt, Ever: !d.Absent}
		if digest, err := store.ParseDigest(d.SHA256); err == nil && !d.Absent {
			st.Document = digest
		}
		return st
	}
	return history.State{}
}

// activeFreeze returns the freeze that counts now for a package, or nil.
func (p *Proxy) activeFreeze(n composer.Name) (*Freeze, error) {
	var f Freeze
	err := p.store.View(func(tx *store.Tx) (err error) {
		f, err = freezeTable.Get(tx, n.String())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && !f.active(p.now()) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the freeze of %s: %w", n, err)
	}
	return &f, nil
}

func filesOf(n composer.Name) [2]composer.File {
	return [2]composer.File{{Name: n}, {Name: n, Dev: true}}
}

// Freeze holds a package at a recorded revision of both its documents. A
// package never seen is fetched first. Freezing again with the same request
// changes nothing; with another one it replaces the freeze.
func (p *Proxy) Freeze(ctx context.Context, n composer.Name, req FreezeRequest) (Freeze, error) {
	now := p.now().UTC().Truncate(time.Second)
	if req.ExpiresAt != nil && !req.ExpiresAt.After(now) {
		return Freeze{}, &invalid{"expires_at is in the past"}
	}
	if req.At != nil && req.At.After(now) {
		return Freeze{}, &invalid{"at is in the future: a package can only be held at what was recorded"}
	}
	held, err := p.activeFreeze(n)
	if err != nil {
		return Freeze{}, err
	}
	if held != nil && held.same(req) {
		return *held, nil
	}
	f := Freeze{Package: n.String(), At: now, CreatedAt: now, Reason: req.Reason, Owner: req.Owner}
	if f.Owner == "" {
		f.Owner = "admin"
	}
	if req.At != nil {
		f.At = req.At.UTC()
	}
	if req.ExpiresAt != nil {
		f.ExpiresAt = req.ExpiresAt.UTC()
	}
	present := false
	for _, file := range filesOf(n) {
		d, err := p.documentToHold(ctx, file, req.At)
		if err != nil {
			return Freeze{}, err
		}
		present = present || !d.Absent
		f.Documents = append(f.Documents, d)
	}
	if !present {
		return Freeze{}, absence(fmt.Sprintf("%s does not exist upstream, so there is nothing to hold", n))
	}
	if err := p.store.Update(func(tx *store.Tx) error { return freezeTable.Put(tx, f, n.String()) }); err != nil {
		return Freeze{}, fmt.Errorf("keep the freeze of %s: %w", n, err)
	}
	p.switched(n)
	return f, nil
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
		if st, err = p.refresh(ctx, file, history.Demand); err != nil {
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
	for i := len(list) - 1; i >= 0; i-- {
		if r := list[i]; !r.ValidFrom.After(*at) {
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
	held := false
	err := p.store.Update(func(tx *store.Tx) (err error) {
		if held, err = freezeTable.Has(tx, n.String()); err != nil || !held {
			return err
		}
		return freezeTable.Delete(tx, n.String())
	})
	if err != nil {
		return false, fmt.Errorf("lift the freeze of %s: %w", n, err)
	}
	if held {
		p.switched(n)
	}
	return held, nil
}

// switched forgets what memory holds about a package whose served bytes may
// have changed, and says so in the change feed.
func (p *Proxy) switched(n composer.Name) {
	for _, f := range filesOf(n) {
		p.hot.remove(f.String())
		e, err := p.lookup(f, nil)
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
	list := []Freeze{}
	err := p.store.View(func(tx *store.Tx) error {
		list = list[:0]
		return freezeTable.Scan(tx, nil, func(_ []string, f Freeze) error {
			if f.active(p.now()) {
				list = append(list, f)
			}
			return nil
		})
	})
	return list, err
}
