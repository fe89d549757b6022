package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// CreateOwner makes an owner with the name, email, external id and grants of o. An error with Validation says what is
// wrong with o, one with Conflict that the external id is taken.
func (a *Access) CreateOwner(o Owner) (Owner, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	o = Owner{
		ID: "cust_" + random(12), Name: o.Name, Email: o.Email, ExternalID: o.ExternalID, Packages: o.Packages,
		Status: Active, CreatedAt: a.o.Now().UTC().Truncate(time.Second),
	}
	return a.putOwner(o)
}

// UpdateOwner changes an owner by edit, which must not touch its id. An error of edit is returned as it is; the others
// are those of CreateOwner, and fs.ErrNotExist when there is no such owner.
func (a *Access) UpdateOwner(id string, edit func(o *Owner) error) (Owner, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	o, err := a.Owner(id)
	if err != nil {
		return Owner{}, err
	}
	if err := edit(&o); err != nil {
		return Owner{}, err
	}
	return a.putOwner(o)
}

// putOwner makes an owner durable and lets it count. It is called with changing held.
func (a *Access) putOwner(o Owner) (Owner, error) {
	if err := o.check(); err != nil {
		return Owner{}, err
	}
	if other, err := a.OwnerByExternalID(o.ExternalID); err == nil && other.ID != o.ID {
		return Owner{}, &conflict{fmt.Sprintf("The external id %q belongs to %s already.", o.ExternalID, other.ID)}
	}
	if err := a.o.Store.Update(func(tx *store.Tx) error { return ownerTable.Put(tx, o, o.ID) }); err != nil {
		return Owner{}, fmt.Errorf("keep %s: %w", o.ID, err)
	}
	a.mu.Lock()
	a.owners[o.ID] = &o
	a.mu.Unlock()
	a.generation.Add(1)
	return o.clone(), nil
}

// SuspendOwner refuses the tokens of an owner until ReactivateOwner. The reason is told to whoever uses them.
func (a *Access) SuspendOwner(id, reason string) (Owner, error) {
	return a.UpdateOwner(id, func(o *Owner) error {
		if o.Status != Suspended {
			o.SuspendedAt = a.o.Now().UTC().Truncate(time.Second)
		}
		o.Status, o.Reason = Suspended, reason
		return nil
	})
}

// ReactivateOwner ends a suspension.
func (a *Access) ReactivateOwner(id string) (Owner, error) {
	return a.UpdateOwner(id, func(o *Owner) error {
		o.Status, o.Reason, o.SuspendedAt = Active, "", time.Time{}
		return nil
	})
}

// FreezeOwner lets an owner see the registry as of an instant, or only the versions named, or both. With neither, the
// instant is the latest that can be looked at.
func (a *Access) FreezeOwner(id string, at time.Time, versions map[string]string) (Owner, error) {
	latest := a.o.Now().Add(-a.o.Settle)
	switch {
	case at.IsZero() && len(versions) == 0:
		at = latest
	case at.After(latest):
		return Owner{}, wrongf("An owner can be frozen at an instant that is at least %s old, because a younger view may still change.", a.o.Settle)
	}
	return a.UpdateOwner(id, func(o *Owner) error {
		o.FrozenAt, o.FrozenVersions = at.UTC().Truncate(time.Second), versions
		return nil
	})
}

// UnfreezeOwner ends both kinds of freeze.
func (a *Access) UnfreezeOwner(id string) (Owner, error) {
	return a.UpdateOwner(id, func(o *Owner) error {
		o.FrozenAt, o.FrozenVersions = time.Time{}, nil
		return nil
	})
}

// DeleteOwner revokes the tokens of an owner and forgets the owner. It returns how many tokens that ended.
func (a *Access) DeleteOwner(id string) (int, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	if _, err := a.Owner(id); err != nil {
		return 0, err
	}
	now := a.o.Now().UTC().Truncate(time.Second)
	var ended []*token
	a.mu.RLock()
	for _, t := range a.tokens {
		if t.Owner == id && t.RevokedAt.IsZero() {
			revoked := *t
			revoked.RevokedAt = now
			ended = append(ended, &revoked)
		}
	}
	a.mu.RUnlock()
	err := a.o.Store.Update(func(tx *store.Tx) error {
		for _, t := range ended {
			if err := tokenTable.Put(tx, tokenRecord{t.Token, store.Digest(t.sum)}, t.ID); err != nil {
				return err
			}
		}
		return ownerTable.Delete(tx, id)
	})
	if err != nil {
		return 0, fmt.Errorf("delete %s: %w", id, err)
	}
	a.mu.Lock()
	delete(a.owners, id)
	for _, t := range ended {
		a.tokens[t.ID] = t
	}
	a.mu.Unlock()
	a.generation.Add(1)
	return len(ended), nil
}

// Owner returns an owner; the error matches fs.ErrNotExist when there is none.
func (a *Access) Owner(id string) (Owner, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.owners[id]; o != nil {
		return o.clone(), nil
	}
	return Owner{}, &absent{"customer", id}
}

// OwnerByExternalID is Owner by the name in another system.
func (a *Access) OwnerByExternalID(external string) (Owner, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, o := range a.owners {
		if external != "" && o.ExternalID == external {
			return o.clone(), nil
		}
	}
	return Owner{}, &absent{"customer with the external id", external}
}

// Owners lists the owners, those with a status if one is named, the oldest first.
func (a *Access) Owners(status Status) []Owner {
	return a.ownersThat(func(o *Owner) bool { return status == "" || o.Status == status })
}

// OwnersOf lists those who were granted a package, or some versions of it.
func (a *Access) OwnersOf(n composer.Name) []Owner {
	return a.ownersThat(func(o *Owner) bool {
		return slices.ContainsFunc(o.Packages, func(g Grant) bool { return pattern(g.Package).has(n) })
	})
}

func (a *Access) ownersThat(wanted func(*Owner) bool) []Owner {
	a.mu.RLock()
	list := make([]Owner, 0, len(a.owners))
	for o := range maps.Values(a.owners) {
		if wanted(o) {
			list = append(list, o.clone())
		}
	}
	a.mu.RUnlock()
	slices.SortFunc(list, func(x, y Owner) int {
		if c := x.CreatedAt.Compare(y.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}
