package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private/audit"
	"stasis/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

type book struct {
	*audit.Log
	t     *testing.T
	store *store.Store
	now   time.Time
	log   bytes.Buffer
}

func open(t *testing.T, retention time.Duration) *book {
	t.Helper()
	st, err := store.Open(context.Background(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b := &book{t: t, store: st, now: noon}
	b.Log = audit.New(audit.Options{Store: st, Retention: retention, Now: func() time.Time { return b.now }, Logger: slog.New(slog.NewJSONHandler(&b.log, nil))})
	return b
}

func (b *book) append(e audit.Entry) audit.Entry {
	b.t.Helper()
	if e.Result == "" {
		e.Result = audit.OK
	}
	e, err := b.Append(e)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *book) list(f audit.Filter) (ids []uint64, more bool) {
	b.t.Helper()
	list, more, err := b.List(context.Background(), f)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids, more
}

func (b *book) verdict() audit.Verdict {
	b.t.Helper()
	v, err := b.Verify(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func TestWhatWasAppendedIsListedTheNewestFirst(t *testing.T) {
	b := open(t, 0)
	if v := b.verdict(); !v.Whole || v.Entries != 0 {
		t.Errorf("an empty log: %+v", v)
	}
	for i, e := range []audit.Entry{
		{Actor: "admin", From: "192.0.2.1", Action: "token.create", Subject: "abc", Details: map[string]string{"role": "read", "name": "ci"}, RequestID: "r1"},
		{Actor: "admin", Action: "token.revoke", Subject: "abc"},
		{Action: "tokens.list", Result: "UNAUTHORIZED"},
		{Actor: "tok1", Action: "token.create", Subject: "def"},
	} {
		b.now = noon.Add(time.Duration(i) * time.Hour)
		if got := b.append(e); got.ID != uint64(i+1) || !got.At.Equal(b.now) {
			t.Errorf("entry %+v", got)
		}
	}
	for what, c := range map[string]struct {
		f    audit.Filter
		want string
		more bool
	}{
		"all":           {audit.Filter{}, "[4 3 2 1]", false},
		"by actor":      {audit.Filter{Actor: "admin"}, "[2 1]", false},
		"by action":     {audit.Filter{Action: "token.create"}, "[4 1]", false},
		"by its family": {audit.Filter{Action: "token"}, "[4 2 1]", false},
		"by subject":    {audit.Filter{Subject: "abc"}, "[2 1]", false},
		"by result":     {audit.Filter{Result: "UNAUTHORIZED"}, "[3]", false},
		"since":         {audit.Filter{Since: noon.Add(time.Hour)}, "[4 3 2]", false},
		"until":         {audit.Filter{Until: noon.Add(time.Hour)}, "[1]", false},
		"a page":        {audit.Filter{Limit: 2}, "[4 3]", true},
		"the next page": {audit.Filter{Limit: 2, Before: 3}, "[2 1]", false},
		"before all":    {audit.Filter{Before: 1}, "[]", false},
		"a page of few": {audit.Filter{Actor: "admin", Limit: 1}, "[2]", true},
	} {
		ids, more := b.list(c.f)
		if fmt.Sprint(ids) != c.want || more != c.more {
			t.Errorf("%s: %v, more %v, want %s, %v", what, ids, more, c.want, c.more)
		}
	}
	v := b.verdict()
	if !v.Whole || v.Entries != 4 || v.First != 1 || v.Last != 4 || v.Head.IsZero() {
		t.Errorf("verdict %+v", v)
	}
	if log := b.log.String(); strings.Count(log, "administrative act") != 4 || !strings.Contains(log, v.Head.String()) {
		t.Errorf("the log does not have every act with its hash: %s", log)
	}
}

func TestTamperingShows(t *testing.T) {
	b := open(t, 0)
	for i := range 10 {
		b.append(audit.Entry{Actor: "admin", Action: "token.create", Subject: fmt.Sprint(i), Details: map[string]string{"b": "2", "a": "1"}})
	}
	// The record as somebody with the data folder could change it: as JSON.
	raw := store.Table[json.RawMessage]{Family: store.FamilyAudit, Name: "entry"}
	ends := store.Table[json.RawMessage]{Family: store.FamilyAudit, Name: "end"}
	for what, tamper := range map[string]func(tx *store.Tx) error{
		"an entry is taken out":         func(tx *store.Tx) error { return raw.Delete(tx, store.SeqKey(5)) },
		"the first entry is taken out":  func(tx *store.Tx) error { return raw.Delete(tx, store.SeqKey(1)) },
		"the newest entry is taken out": func(tx *store.Tx) error { return raw.Delete(tx, store.SeqKey(10)) },
		"the end is moved":              func(tx *store.Tx) error { return ends.Delete(tx, "newest") },
		"an entry takes another's place": func(tx *store.Tx) error {
			e, err := raw.Get(tx, store.SeqKey(4))
			if err != nil {
				return err
			}
			return raw.Put(tx, e, store.SeqKey(5))
		},
		"an actor is changed": func(tx *store.Tx) error {
			e, err := raw.Get(tx, store.SeqKey(5))
			if err != nil {
				return err
			}
			return raw.Put(tx, json.RawMessage(strings.Replace(string(e), `"admin"`, `"nobody"`, 1)), store.SeqKey(5))
		},
	} {
		t.Run(what, func(t *testing.T) {
			var before map[string]json.RawMessage
			err := b.store.Update(func(tx *store.Tx) error {
				before = map[string]json.RawMessage{}
				if err := raw.Scan(tx, nil, func(key []string, v json.RawMessage) error { before[key[0]] = bytes.Clone(v); return nil }); err != nil {
					return err
				}
				var err error
				if before["newest"], err = ends.Get(tx, "newest"); err != nil {
					return err
				}
				return tamper(tx)
			})
			if err != nil {
				t.Fatal(err)
			}
			if v := b.verdict(); v.Whole || v.Problem == "" {
				t.Errorf("nothing is noticed: %+v", v)
			} else {
				t.Log(v.Problem)
			}
			err = b.store.Update(func(tx *store.Tx) error {
				for key, v := range before {
					table := raw
					if key == "newest" {
						table = ends
					}
					if err := table.Put(tx, v, key); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if v := b.verdict(); !v.Whole {
				t.Fatalf("put back as it was: %+v", v)
			}
		})
	}
}

func TestOnlyTheRetentionRemovesEntriesAndSaysSo(t *testing.T) {
	b := open(t, 0)
	b.append(audit.Entry{Action: "x"})
	b.now = b.now.Add(100 * 365 * 24 * time.Hour)
	if err := b.Trim(context.Background()); err != nil {
		t.Fatal(err)
	}
	if ids, _ := b.list(audit.Filter{}); len(ids) != 1 {
		t.Errorf("without a retention entries are removed: %v", ids)
	}

	b = open(t, 24*time.Hour)
	const many = 2*audit.TrimmedPerUpdate + 100 // more than one update removes
	for i := range many {
		if i%100 == 0 {
			b.now = b.now.Add(time.Second)
		}
		b.append(audit.Entry{Action: "x"})
	}
	b.now = b.now.Add(12 * time.Hour)
	last := b.append(audit.Entry{Action: "y"})
	b.now = b.now.Add(13 * time.Hour)
	if err := b.Trim(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, _, err := b.List(context.Background(), audit.Filter{})
	if err != nil || len(list) != 4 || list[3].ID != last.ID || list[0].Action != "audit.trim" || list[0].Details["up_to"] != fmt.Sprint(many) {
		t.Fatalf("kept %+v, %v", list, err)
	}
	if v := b.verdict(); !v.Whole || v.First != last.ID || v.Entries != 4 {
		t.Errorf("verdict %+v", v)
	}
	// What is left are trims in the end, and those are no reason for another entry.
	b.now = b.now.Add(48 * time.Hour)
	for range 3 {
		b.now = b.now.Add(48 * time.Hour)
		if err := b.Trim(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if ids, _ := b.list(audit.Filter{}); len(ids) != 1 {
		t.Errorf("entries %v", ids)
	}
	if v := b.verdict(); !v.Whole {
		t.Errorf("verdict %+v", v)
	}
}

func TestManyActsAtOnceMakeOneChain(t *testing.T) {
	b := open(t, 0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := b.Append(audit.Entry{Actor: fmt.Sprint(i), Action: "x", Result: audit.OK}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v := b.verdict(); !v.Whole || v.Entries != 80 {
		t.Errorf("verdict %+v", v)
	}
}

// A filter that few entries pass reads far, in several views of the store.
func TestAFilterFindsWhatLiesFarBack(t *testing.T) {
	b := open(t, 0)
	b.append(audit.Entry{Action: "rare"})
	for range 2*audit.Scanned + 5 {
		b.append(audit.Entry{Action: "x"})
	}
	if ids, more := b.list(audit.Filter{Action: "rare"}); fmt.Sprint(ids) != "[1]" || more {
		t.Errorf("found %v, more %v", ids, more)
	}
	if v := b.verdict(); !v.Whole || v.Entries != 2*audit.Scanned+6 {
		t.Errorf("verdict %+v", v)
	}
}

// TestWhatIsRemovedFromAFullDiskIsWrittenDown: the floor of free space keeps half of itself for that.
func TestWhatIsRemovedFromAFullDiskIsWrittenDown(t *testing.T) {
	free := int64(1 << 40)
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir(), MinFreeSpace: 1 << 30, FreeSpace: func(string) (int64, error) { return free, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	log := audit.New(audit.Options{Store: st})
	for _, c := range []struct {
		free int64
		ok   bool
	}{{1<<30 - 1, true}, {1<<29 + 2<<20, true}, {1 << 29, false}, {0, false}} {
		free = c.free
		if err := log.Room(); (err == nil) != c.ok || err != nil && !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("with %d bytes free there is room: %v", c.free, err)
		}
		if _, err := log.Append(audit.Entry{Action: "cache.purge", Result: audit.OK}); (err == nil) != c.ok || err != nil && !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("with %d bytes free: %v", c.free, err)
		}
	}
}
