package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"stasis/store"
)

type note struct {
	Text string
	N    int
}

var (
	notes  = store.Table[note]{Family: store.FamilyMeta, Name: "note"}
	others = store.Table[note]{Family: store.FamilyMeta, Name: "note2"}
)

func TestRecords(t *testing.T) {
	s := open(t, store.Options{})
	update(t, s, func(tx *store.Tx) error {
		if _, err := notes.Get(tx, "a", "b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get of nothing: got %v, want fs.ErrNotExist", err)
		}
		if err := notes.Put(tx, note{"hello", 1}, "a", "b"); err != nil {
			return err
		}
		// A transaction sees its own writes.
		if v, err := notes.Get(tx, "a", "b"); err != nil || v.Text != "hello" {
			t.Errorf("Get in the same transaction: %+v, %v", v, err)
		}
		return others.Put(tx, note{"other", 2}, "a", "b")
	})
	update(t, s, func(tx *store.Tx) error { return notes.Put(tx, note{"again", 3}, "a", "b") })
	view(t, s, func(tx *store.Tx) error {
		v, err := notes.Get(tx, "a", "b")
		if err != nil || v != (note{"again", 3}) {
			t.Errorf("Get: %+v, %v", v, err)
		}
		if has, err := notes.Has(tx, "a", "b"); !has || err != nil {
			t.Errorf("Has: %v, %v", has, err)
		}
		if has, err := notes.Has(tx, "a"); has || err != nil {
			t.Errorf("Has of a prefix: %v, %v", has, err)
		}
		if v, err := others.Get(tx, "a", "b"); err != nil || v.N != 2 {
			t.Errorf("tables of one family are apart: %+v, %v", v, err)
		}
		if err := notes.Put(tx, note{}, "x"); err == nil {
			t.Error("Put in a view is no error")
		}
		if err := notes.Delete(tx, "x"); err == nil {
			t.Error("Delete in a view is no error")
		}
		if _, err := tx.PutDocument([]byte("x")); err == nil {
			t.Error("PutDocument in a view is no error")
		}
		for _, key := range [][]string{{}, {"a\x00b"}, {strings.Repeat("k", 9000)}} {
			if _, err := notes.Get(tx, key...); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get with the key %.20q: got %v, want a complaint about the key", key, err)
			}
		}
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(notes.Delete(tx, "a", "b"), notes.Delete(tx, "never", "there"))
	})
	view(t, s, func(tx *store.Tx) error {
		if _, err := notes.Get(tx, "a", "b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get of what was deleted: got %v, want fs.ErrNotExist", err)
		}
		return nil
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	s := open(t, store.Options{})
	broken := errors.New("broken")
	err := s.Update(func(tx *store.Tx) error {
		if err := notes.Put(tx, note{"x", 1}, "k"); err != nil {
			return err
		}
		if _, err := tx.PutDocument([]byte("document")); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("Update: got %v, want the function's error", err)
	}
	view(t, s, func(tx *store.Tx) error {
		if has, err := notes.Has(tx, "k"); has || err != nil {
			t.Errorf("the record is there: %v, %v", has, err)
		}
		if has, err := tx.HasDocument(store.SumDigest([]byte("document"))); has || err != nil {
			t.Errorf("the document is there: %v, %v", has, err)
		}
		return nil
	})
	if n := s.Usage().Documents; n != 0 {
		t.Errorf("%d documents are counted", n)
	}
}

func TestConflictingUpdatesAllCount(t *testing.T) {
	s := open(t, store.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				err := s.Update(func(tx *store.Tx) error {
					v, err := notes.Get(tx, "counter")
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
					v.N++
					return notes.Put(tx, v, "counter")
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx *store.Tx) error {
		if v, err := notes.Get(tx, "counter"); err != nil || v.N != 80 {
			t.Errorf("got %d, %v, want 80", v.N, err)
		}
		return nil
	})
}

func TestScans(t *testing.T) {
	s := open(t, store.Options{})
	const many = 2000
	update(t, s, func(tx *store.Tx) error {
		for i := range many {
			if err := notes.Put(tx, note{N: i}, "many", store.SeqKey(uint64(i))); err != nil {
				return err
			}
		}
		for i, key := range [][]string{{"a"}, {"a", "1"}, {"a", "1", "x"}, {"a", "2"}, {"a", "2\x01"}, {"a", "2\x01", "y"}, {"a", "3"}, {"a\x01", "1"}, {"ab", "1"}, {"b", "1"}} {
			if err := notes.Put(tx, note{N: i}, key...); err != nil {
				return err
			}
		}
		return others.Put(tx, note{}, "a", "9")
	})
	type scan = func(tx *store.Tx, fn func(key []string, v note) error) error
	forward := func(prefix []string, from string) scan {
		return func(tx *store.Tx, fn func([]string, note) error) error { return notes.ScanFrom(tx, prefix, from, fn) }
	}
	backward := func(prefix []string, from string) scan {
		return func(tx *store.Tx, fn func([]string, note) error) error {
			return notes.ScanReverse(tx, prefix, from, fn)
		}
	}
	keys := func(prefix []string) scan {
		return func(tx *store.Tx, fn func([]string, note) error) error {
			return notes.Keys(tx, prefix, func(key []string) error { return fn(key, note{}) })
		}
	}
	a := []string{"a"}
	for _, c := range []struct {
		name string
		scan scan
		want string
	}{
		{"below a", forward(a, ""), "a 1,a 1 x,a 2,a 2\x01,a 2\x01 y,a 3"},
		{"below a from 2", forward(a, "2"), "a 2,a 2\x01,a 2\x01 y,a 3"},
		{"below a from after 2", forward(a, "2\x00"), "a 2\x01,a 2\x01 y,a 3"},
		{"below a from 4", forward(a, "4"), ""},
		{"below a 1", forward([]string{"a", "1"}, ""), "a 1 x"},
		{"below what is not there", forward([]string{"zz"}, ""), ""},
		{"keys below a", keys(a), "a 1,a 1 x,a 2,a 2\x01,a 2\x01 y,a 3"},
		{"keys below what is not there", keys([]string{"zz"}), ""},
		{"back below a", backward(a, ""), "a 3,a 2\x01 y,a 2\x01,a 2,a 1 x,a 1"},
		{"back below a from 2", backward(a, "2"), "a 2,a 1 x,a 1"},
		{"back below a from 1", backward(a, "1"), "a 1 x,a 1"},
		{"back below a from 0", backward(a, "0"), ""},
		{"back below a from 9", backward(a, "9"), "a 3,a 2\x01 y,a 2\x01,a 2,a 1 x,a 1"},
		{"back below the last", backward([]string{"b"}, ""), "b 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			view(t, s, func(tx *store.Tx) error {
				return c.scan(tx, func(key []string, _ note) error {
					got = append(got, strings.Join(key, " "))
					return nil
				})
			})
			if strings.Join(got, ",") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, ","), c.want)
			}
		})
	}
	for name, scan := range map[string]scan{"forward": forward([]string{"many"}, ""), "backward": backward([]string{"many"}, "")} {
		var got []int
		view(t, s, func(tx *store.Tx) error {
			return scan(tx, func(_ []string, v note) error { got = append(got, v.N); return nil })
		})
		if name == "backward" {
			slices.Reverse(got)
		}
		if len(got) != many || !slices.IsSorted(got) {
			t.Errorf("%s over %d records: got %d, in order %v", name, many, len(got), slices.IsSorted(got))
		}
	}
	all := 0
	view(t, s, func(tx *store.Tx) error {
		return notes.Scan(tx, nil, func([]string, note) error { all++; return nil })
	})
	if all != many+10 {
		t.Errorf("the whole table has %d records, want %d", all, many+10)
	}
}

// A scan's function may use the transaction as it likes.
func TestScanFunctionsAreFree(t *testing.T) {
	s := open(t, store.Options{})
	update(t, s, func(tx *store.Tx) error {
		for i := range 100 {
			if err := notes.Put(tx, note{N: i}, "x", store.SeqKey(uint64(i))); err != nil {
				return err
			}
		}
		return nil
	})
	stop, seen := errors.New("stop with an error"), 0
	update(t, s, func(tx *store.Tx) error {
		err := notes.Scan(tx, []string{"x"}, func(key []string, v note) error {
			seen++
			if v.N%2 == 0 {
				return notes.Delete(tx, key...)
			}
			inner := 0
			return notes.Scan(tx, []string{"x"}, func([]string, note) error {
				if inner++; inner == 3 {
					return store.Stop
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		if err := notes.Scan(tx, []string{"x"}, func([]string, note) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Scan: got %v, want the function's error", err)
		}
		return nil
	})
	if seen != 100 {
		t.Errorf("the scan saw %d records, want 100", seen)
	}
	left := 0
	view(t, s, func(tx *store.Tx) error {
		return notes.Scan(tx, []string{"x"}, func(_ []string, v note) error {
			if left++; v.N%2 == 0 {
				t.Errorf("record %d was deleted and is there", v.N)
			}
			return nil
		})
	})
	if left != 50 {
		t.Errorf("%d records are left, want 50", left)
	}
}

func TestDamagedRecordIsNeverAValue(t *testing.T) {
	s := open(t, store.Options{})
	for at := -20; at < 40; at++ { // negative: cut short by that much
		update(t, s, func(tx *store.Tx) error { return notes.Put(tx, note{"a text of some length", 7}, "k", "l") })
		if err := store.DamageRecord(s, store.FamilyMeta, "note", at, "k", "l"); err != nil {
			t.Fatal(err)
		}
		view(t, s, func(tx *store.Tx) error {
			if v, err := notes.Get(tx, "k", "l"); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Get after damage at %d: got %+v, %v, want ErrCorrupt", at, v, err)
			}
			err := notes.Scan(tx, nil, func(_ []string, v note) error { t.Errorf("Scan delivers %+v", v); return nil })
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Scan: got %v, want ErrCorrupt", err)
			}
			return nil
		})
	}
	var found []string
	if _, err := s.Verify(t.Context(), func(p store.Problem) { found = append(found, p.Subject) }); err != nil || len(found) != 1 || found[0] != "note k l" {
		t.Errorf("Verify finds %q, %v", found, err)
	}
}

func TestUpdateTooLargeSaysSo(t *testing.T) {
	s := open(t, store.Options{})
	err := s.Update(func(tx *store.Tx) error {
		for i := range 100_000 {
			if err := notes.Put(tx, note{N: i}, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "too much for one transaction") {
		t.Errorf("got %v", err)
	}
}
