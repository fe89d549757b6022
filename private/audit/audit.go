// Package audit keeps the log of administrative acts.
//
// It owns the entries and their chain: every entry carries the SHA-256 of the one before, so that an entry that was
// changed, taken out or put in shows. It promises that an entry is durable when Append returns, that the entries are
// numbered without gaps, and that nothing here changes one. Entries older than the retention are removed from the old
// end, which is itself an entry; by default none is.
//
// What it cannot promise is that somebody who can write the data folder has not written a new chain from some point
// on. Against that the hash of every entry goes into the program's log, which should be kept elsewhere.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"stasis/store"
)

// Options configure a Log. Only Store is required.
type Options struct {
	Store *store.Store
	// Retention is how long entries are kept; 0 keeps all.
	Retention time.Duration
	Now       func() time.Time // nil means time.Now
	Logger    *slog.Logger     // nil discards; it should be kept elsewhere
}

// Log is the audit log of one store. It is safe for concurrent use.
type Log struct {
	o  Options
	mu sync.Mutex // held from reading the end of the chain to having replaced it
}

// end is where the chain begins or ends: the last entry, or the last one that was removed.
type end struct {
	ID   uint64       `json:"id"`
	Hash store.Digest `json:"hash"`
}

var (
	entries = store.Table[Entry]{Family: store.FamilyAudit, Name: "entry"}
	ends    = store.Table[end]{Family: store.FamilyAudit, Name: "end"}
)

const (
	newest = "newest" // of ends: the last entry
	oldest = "oldest" // of ends: the last entry that was removed
)

// New opens the log.
func New(o Options) *Log {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Log{o: o}
}

// Append writes e at the end of the chain, with a number, the time and the hashes. It returns when the entry is
// durable. What can be done on a full disk can be written down there, too.
func (l *Log) Append(e Entry) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.o.Store.Update(func(tx *store.Tx) (err error) {
		tx.UseSpare()
		e, err = l.append(tx, e)
		return err
	})
	if err != nil {
		return Entry{}, fmt.Errorf("write to the audit log: %w", err)
	}
	l.note(e)
	return e, nil
}

// Room is an error that matches store.ErrNoSpace when the next entry could not be written.
func (l *Log) Room() error {
	if err := l.o.Store.SpareRoom(); err != nil {
		return fmt.Errorf("write to the audit log: %w", err)
	}
	return nil
}

func (l *Log) append(tx *store.Tx, e Entry) (Entry, error) {
	last, err := endOf(tx, newest)
	if err != nil {
		return e, err
	}
	e.ID, e.At, e.Previous = last.ID+1, l.o.Now().UTC(), last.Hash
	if e.Hash, err = e.digest(); err != nil {
		return e, err
	}
	if err := entries.Put(tx, e, store.SeqKey(e.ID)); err != nil {
		return e, err
	}
	return e, ends.Put(tx, end{e.ID, e.Hash}, newest)
}

func (l *Log) note(e Entry) {
	l.o.Logger.LogAttrs(context.Background(), slog.LevelInfo, "administrative act",
		slog.Uint64("audit_id", e.ID), slog.String("actor", e.Actor), slog.String("from", e.From), slog.String("action", e.Action),
		slog.String("subject", e.Subject), slog.String("result", e.Result), slog.String("request_id", e.RequestID),
		slog.String("hash", e.Hash.String()))
}

// endOf is an end of the chain; the zero one when there is none yet.
func endOf(tx *store.Tx, which string) (end, error) {
	e, err := ends.Get(tx, which)
	if errors.Is(err, fs.ErrNotExist) {
		return end{}, nil
	}
	return e, err
}

// trimmed is the action of the entry that says what Trim removed.
const trimmed = "audit.trim"

// trimmedPerUpdate keeps the removal of entries well below what a transaction holds.
const trimmedPerUpdate = 500

// Trim removes what is older than the retention, and appends an entry that says so.
func (l *Log) Trim(ctx context.Context) error {
	if l.o.Retention == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.o.Now().Add(-l.o.Retention)
	for ctx.Err() == nil {
		removed, appended := 0, Entry{}
		err := l.o.Store.Update(func(tx *store.Tx) error {
			removed = 0
			var last end
			var doomed []string
			acts := 0 // other than earlier trims, which are no reason for another
			err := entries.Scan(tx, nil, func(key []string, e Entry) error {
				if !e.At.Before(before) || len(doomed) == trimmedPerUpdate {
					return store.Stop
				}
				doomed, last = append(doomed, key[0]), end{e.ID, e.Hash}
				if e.Action != trimmed {
					acts++
				}
				return nil
			})
			if err != nil || acts == 0 {
				return err
			}
			for _, key := range doomed {
				if err := entries.Delete(tx, key); err != nil {
					return err
				}
			}
			if err := ends.Put(tx, last, oldest); err != nil {
				return err
			}
			removed = len(doomed)
			appended, err = l.append(tx, Entry{Actor: "stasis", Action: trimmed, Result: OK,
				Details: map[string]string{"removed": fmt.Sprint(removed), "up_to": fmt.Sprint(last.ID), "hash": last.Hash.String()}})
			return err
		})
		if err != nil {
			return fmt.Errorf("trim the audit log: %w", err)
		}
		if removed > 0 {
			l.note(appended)
		}
		if removed < trimmedPerUpdate {
			return nil
		}
	}
	return ctx.Err()
}
