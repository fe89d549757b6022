package store

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Scans read in pages: the iterator is closed before the caller's function
// sees the page. So the function may scan, put and delete in the same
// transaction (Badger allows one iterator per writing transaction), and a slow
// function holds no lock of Badger's. The first page is small, because many
// scans stop after a few records.
const (
	firstPage = 16
	lastPage  = 512
	pageBytes = 1 << 20
)

type pair struct{ key, value []byte }

// scan calls fn for every key from "from" on that begins with prefix.
// Values are the raw frames, empty when keysOnly.
func (tx *Tx) scan(prefix, from []byte, keysOnly bool, fn func(key, value []byte) error) error {
	for size := firstPage; ; size = min(size*4, lastPage) {
		page, more, err := tx.page(prefix, from, false, size, keysOnly, nil)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := fn(p.key, p.value); err != nil {
				return stopped(err)
			}
		}
		if !more {
			return nil
		}
		from = append(bytes.Clone(page[len(page)-1].key), 0)
	}
}

// walk calls fn for every key that begins with prefix, each page in a view of
// its own: for long walks, which must not keep one view open (see View).
func (s *Store) walk(prefix []byte, keysOnly bool, fn func(tx *Tx, key, value []byte) error) error {
	for from, more := prefix, true; more; {
		err := s.view(func(tx *Tx) error {
			var page []pair
			var err error
			if page, more, err = tx.page(prefix, from, false, lastPage, keysOnly, nil); err != nil {
				return err
			}
			for _, p := range page {
				if err := fn(tx, p.key, p.value); err != nil {
					return err
				}
				from = append(bytes.Clone(p.key), 0)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// scanBack is scan from the last key with prefix that is not after "from"
// down to the first. skip, when not nil, passes over keys that are too late.
func (tx *Tx) scanBack(prefix, from []byte, skip func(key []byte) bool, fn func(key, value []byte) error) error {
	var last []byte
	for size := firstPage; ; size = min(size*4, lastPage) {
		page, more, err := tx.page(prefix, from, true, size, false, func(k []byte) bool {
			return (last != nil && bytes.Compare(k, last) >= 0) || (skip != nil && skip(k))
		})
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := fn(p.key, p.value); err != nil {
				return stopped(err)
			}
		}
		if !more {
			return nil
		}
		last = page[len(page)-1].key
		from = last
	}
}

// page reads up to size records and reports whether there may be more.
func (tx *Tx) page(prefix, from []byte, reverse bool, size int, keysOnly bool, skip func(key []byte) bool) (page []pair, more bool, err error) {
	defer recoverDamage(&err)
	it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: prefix[:1], Reverse: reverse})
	defer it.Close()
	held := 0
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		k := item.Key()
		if !bytes.HasPrefix(k, prefix) {
			if reverse && bytes.Compare(k, prefix) > 0 {
				continue
			}
			return page, false, nil
		}
		if skip != nil && skip(k) {
			continue
		}
		p := pair{key: item.KeyCopy(nil)}
		if !keysOnly {
			// An unreadable value becomes an empty one, which no frame is.
			p.value, _ = item.ValueCopy(nil)
		}
		page = append(page, p)
		held += len(p.key) + len(p.value)
		if len(page) == size || held >= pageBytes {
			return page, true, nil
		}
	}
	return page, false, nil
}

func stopped(err error) error {
	if errors.Is(err, Stop) {
		return nil
	}
	return err
}

// each visits the items of a family that changed after the version since, 0
// for all. Badger's iterator passes over the rest of a table whose block cannot be read, and does not
// tell. So the keys are counted backwards too: from there it passes over other
// keys. When the counts differ, each visits what either way has, and reports
// that this is not all.
func (tx *Tx) each(f Family, since uint64, fn func(item *badger.Item) error) (all bool, err error) {
	forwards, err := tx.visit(f, since, false, fn)
	if err != nil {
		return false, err
	}
	nothing := func(*badger.Item) error { return nil }
	backwards, err := tx.visit(f, since, true, nothing)
	if err != nil || forwards == backwards {
		return err == nil, err
	}
	seen := make(map[string]bool, forwards)
	if _, err := tx.visit(f, since, false, func(item *badger.Item) error {
		seen[string(item.Key())] = true
		return nil
	}); err != nil {
		return false, err
	}
	_, err = tx.visit(f, since, true, func(item *badger.Item) error {
		if seen[string(item.Key())] {
			return nil
		}
		return fn(item)
	})
	return false, err
}

// visit counts the items of a family and calls fn for each.
func (tx *Tx) visit(f Family, since uint64, reverse bool, fn func(item *badger.Item) error) (n int, err error) {
	defer recoverDamage(&err)
	it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{byte(f)}, SinceTs: since, Reverse: reverse})
	defer it.Close()
	from := []byte{byte(f)}
	if reverse {
		from = []byte{byte(f) + 1}
	}
	for it.Seek(from); it.Valid(); it.Next() {
		n++
		if err := fn(it.Item()); err != nil {
			return n, err
		}
	}
	return n, nil
}
