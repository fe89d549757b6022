package audit

import (
	"context"
	"fmt"
	"time"

	"stasis/store"
)

// Filter says which entries are wanted. Zero fields want all.
type Filter struct {
	Actor   string
	Action  string // whole, or up to a dot: "token" wants "token.create" and "token.revoke"
	Subject string
	Result  string
	Since   time.Time // inclusive
	Until   time.Time // exclusive
	Before  uint64    // entries with a smaller id; 0 means from the newest on
	Limit   int       // how many at most; 0 means DefaultLimit
}

// Limits of one List.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

func (f Filter) wants(e Entry) bool {
	return (f.Actor == "" || f.Actor == e.Actor) &&
		(f.Action == "" || f.Action == e.Action || len(e.Action) > len(f.Action) && e.Action[:len(f.Action)+1] == f.Action+".") &&
		(f.Subject == "" || f.Subject == e.Subject) && (f.Result == "" || f.Result == e.Result) &&
		(f.Since.IsZero() || !e.At.Before(f.Since)) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// scanned is how many entries are looked at in one view of the store, which must be short.
const scanned = 500

// List returns what the filter wants, the newest first, and whether there is more.
func (l *Log) List(ctx context.Context, f Filter) (list []Entry, more bool, err error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	f.Limit = min(f.Limit, MaxLimit)
	list = []Entry{}
	for from := f.Before; ; {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		start, looked, done := "", 0, true
		if from > 0 {
			start = store.SeqKey(from - 1)
		}
		err := l.o.Store.View(func(tx *store.Tx) error {
			return entries.ScanReverse(tx, nil, start, func(_ []string, e Entry) error {
				switch {
				case !f.Since.IsZero() && e.At.Before(f.Since):
					return store.Stop
				case looked == scanned:
					from, done = e.ID+1, false
					return store.Stop
				case f.wants(e) && len(list) == f.Limit:
					more = true
					return store.Stop
				case f.wants(e):
					list = append(list, e)
				}
				looked++
				return nil
			})
		})
		if err != nil {
			return nil, false, fmt.Errorf("read the audit log: %w", err)
		}
		if done || more {
			return list, more, nil
		}
	}
}

// Verdict is what Verify found.
type Verdict struct {
	// Entries is how many there are.
	Entries uint64 `json:"entries"`
	// First and Last are the ids of the oldest and the newest one; 0 when there is none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Head is the hash of the newest one, to compare with one that was noted elsewhere.
	Head store.Digest `json:"head"`
	// Whole is whether the chain is.
	Whole bool `json:"whole"`
	// Problem says what is wrong with the chain, and at which entry.
	Problem string `json:"problem,omitempty"`
}

// Verify reads the whole chain. A broken chain is no error but a Verdict.
func (l *Log) Verify(ctx context.Context) (Verdict, error) {
	var v Verdict
	var before end
	err := l.o.Store.View(func(tx *store.Tx) (err error) {
		before, err = endOf(tx, oldest)
		return err
	})
	for more := true; err == nil && more && v.Problem == ""; {
		if err = ctx.Err(); err == nil {
			err = l.o.Store.View(func(tx *store.Tx) error {
				before, more, err = v.follow(tx, before)
				return err
			})
		}
	}
	if err != nil {
		return v, fmt.Errorf("read the audit log: %w", err)
	}
	if v.Entries > 0 {
		v.Last, v.Head = before.ID, before.Hash
	}
	v.Whole = v.Problem == ""
	return v, nil
}

// follow checks the entries after before, as many as one view should look at. It returns the last one, and whether
// there are more.
func (v *Verdict) follow(tx *store.Tx, before end) (last end, more bool, err error) {
	looked := 0
	err = entries.ScanFrom(tx, nil, store.SeqKey(before.ID+1), func(key []string, e Entry) error {
		if more = looked == scanned; more {
			return store.Stop
		}
		if v.Problem = problem(key[0], before, e); v.Problem != "" {
			return store.Stop
		}
		if v.First == 0 {
			v.First = e.ID
		}
		v.Entries++
		looked++
		before = end{e.ID, e.Hash}
		return nil
	})
	if err != nil || more || v.Problem != "" {
		return before, more, err
	}
	newest, err := endOf(tx, newest)
	switch {
	case err != nil:
	case newest.ID > before.ID:
		v.Problem = fmt.Sprintf("the entries after %d are missing; there were %d", before.ID, newest.ID)
	case newest != before:
		v.Problem = fmt.Sprintf("entry %d is not the one that was written last", before.ID)
	}
	return before, false, err
}

// problem says what is wrong with e as the one that follows before.
func problem(key string, before end, e Entry) string {
	sum, err := e.digest()
	switch {
	case key != store.SeqKey(e.ID) || e.ID != before.ID+1:
		return fmt.Sprintf("entry %d is missing or was moved", before.ID+1)
	case e.Previous != before.Hash:
		return fmt.Sprintf("entry %d does not follow the one before it", e.ID)
	case err != nil || sum != e.Hash:
		return fmt.Sprintf("entry %d was changed", e.ID)
	}
	return ""
}
