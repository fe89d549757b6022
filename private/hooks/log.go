package hooks

import (
	"context"
	"fmt"
	"slices"

	"stasis/private/webhook"
	"stasis/store"
)

var deliveries = store.Table[Delivery]{Family: store.FamilyDelivery, Name: "delivery"}

// load reads which deliveries came within the last day.
func (h *Hooks) load() error {
	err := h.o.Store.View(func(tx *store.Tx) error {
		clear(h.seen)
		h.kept = 0
		return deliveries.Scan(tx, nil, func(_ []string, d Delivery) error {
			h.kept++
			if d.Delivery != "" && d.Replays == "" && d.Result == Queued && h.o.Now().Sub(d.ReceivedAt) <= memory {
				h.seen[d.key()] = arrival{d.ID, d.ReceivedAt}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read the log of webhook deliveries: %w", err)
	}
	return nil
}

// log writes a delivery down and forgets old ones. A full disk does not keep sources from being read.
func (h *Hooks) log(d Delivery) Delivery {
	now := h.o.Now()
	if d.ID == "" {
		d.ID, d.ReceivedAt = newID(now), now.UTC()
	}
	h.counts.WithLabelValues(string(d.Provider), string(d.Result)).Inc()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept++
	removed := 0
	err := h.o.Store.Update(func(tx *store.Tx) error {
		removed = 0
		if err := deliveries.Put(tx, d, d.ID); err != nil {
			return err
		}
		if h.kept <= logged {
			return nil
		}
		return deliveries.Scan(tx, nil, func(key []string, old Delivery) error {
			if h.kept-removed <= logged || removed >= atOnce || now.Sub(old.ReceivedAt) <= memory {
				return store.Stop
			}
			removed++
			return deliveries.Delete(tx, key...)
		})
	})
	if err != nil {
		h.kept--
		h.o.Logger.Error("a webhook delivery was not written down", "provider", string(d.Provider), "error", err)
		return d
	}
	if h.kept -= removed; removed > 0 {
		for key, a := range h.seen {
			if now.Sub(a.at) > memory {
				delete(h.seen, key)
			}
		}
	}
	return d
}

// atOnce is how many old deliveries are removed for a new one.
const atOnce = 10

// Filter says which deliveries are wanted. Zero fields want all.
type Filter struct {
	Source   string // id
	Provider webhook.Provider
	Result   Result
	Limit    int // 0 means DefaultLimit
}

// Limits of one list.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Deliveries lists deliveries, the newest first, with the last ones that were refused.
func (h *Hooks) Deliveries(f Filter) ([]Delivery, error) {
	if f.Limit == 0 {
		f.Limit = DefaultLimit
	}
	wanted := func(d Delivery) bool {
		return (f.Source == "" || slices.Contains(d.Sources, f.Source)) && (f.Provider == "" || d.Provider == f.Provider) && (f.Result == "" || d.Result == f.Result)
	}
	var all []Delivery
	h.mu.Lock()
	for _, d := range h.refused {
		if wanted(d) {
			all = append(all, d)
		}
	}
	h.mu.Unlock()
	refused := len(all)
	err := h.o.Store.View(func(tx *store.Tx) error {
		all = all[:refused]
		return deliveries.ScanReverse(tx, nil, "", func(_ []string, d Delivery) error {
			if wanted(d) {
				all = append(all, d)
			}
			if len(all)-refused >= f.Limit {
				return store.Stop
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the log of webhook deliveries: %w", err)
	}
	slices.SortFunc(all, func(a, b Delivery) int { return b.ReceivedAt.Compare(a.ReceivedAt) })
	return all[:min(len(all), f.Limit)], nil
}

// Delivery returns one delivery; the error matches fs.ErrNotExist when there is none.
func (h *Hooks) Delivery(id string) (Delivery, error) {
	h.mu.Lock()
	i := slices.IndexFunc(h.refused, func(d Delivery) bool { return d.ID == id })
	if i >= 0 {
		defer h.mu.Unlock()
		return h.refused[i], nil
	}
	h.mu.Unlock()
	var d Delivery
	err := h.o.Store.View(func(tx *store.Tx) (err error) {
		d, err = deliveries.Get(tx, id)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("read the webhook delivery %s: %w", id, err)
	}
	return d, nil
}

// Replay does again what a delivery led to, with the sources as they are now. One that was refused, or is about nothing,
// cannot be replayed: the error says so and has the method Conflict.
func (h *Hooks) Replay(ctx context.Context, id, by string) (Delivery, error) {
	was, err := h.Delivery(id)
	if err != nil {
		return was, err
	}
	if was.Result != Queued && was.Result != Unmatched {
		return was, &conflict{fmt.Sprintf("the delivery %s was %s, and there is nothing to do again", id, was.Result)}
	}
	d := Delivery{Provider: was.Provider, Delivery: was.Delivery, Event: was.Event, By: by, Replays: id}
	return h.act(ctx, d, webhook.Push{Repositories: was.Repositories, Path: was.Path, Packages: was.Packages, Refs: was.Refs}, nil)
}

type conflict struct{ text string }

func (e *conflict) Error() string  { return e.text }
func (e *conflict) Conflict() bool { return true }

// Resume has sources read that were to be when the program ended. It is called once the sources can be read.
func (h *Hooks) Resume(ctx context.Context) error {
	all, err := h.o.Sources.Sources(ctx)
	if err != nil {
		return fmt.Errorf("find the sources of earlier deliveries: %w", err)
	}
	due := map[string]bool{}
	err = h.o.Store.View(func(tx *store.Tx) error {
		clear(due)
		return deliveries.ScanReverse(tx, nil, "", func(_ []string, d Delivery) error {
			if h.o.Now().Sub(d.ReceivedAt) > memory {
				return store.Stop
			}
			for _, src := range all {
				if slices.Contains(d.Sources, src.ID) && (src.LastRun == nil || src.LastRun.StartedAt.Before(d.ReceivedAt)) {
					due[src.ID] = true
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read the log of webhook deliveries: %w", err)
	}
	for id := range due {
		h.o.Sources.Sync(id, "webhook")
	}
	return nil
}
