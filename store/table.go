package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Table is one kind of record: JSON values of type T in a key family. Tables
// are values; declare them where the records are understood:
//
//	var revisions = store.Table[revision]{Family: store.FamilyRevision, Name: "revision"}
//
// Every value read was checked against its frame; damage is ErrCorrupt.
type Table[T any] struct {
	Family Family
	Name   string // part of the key, and the word for such a record in errors
}

// Get returns the record under key. The error matches fs.ErrNotExist when
// there is none and ErrCorrupt when there is one that cannot be trusted.
func (t Table[T]) Get(tx *Tx, key ...string) (T, error) {
	var v T
	k, err := tableKey(t.Family, t.Name, key)
	if err != nil {
		return v, err
	}
	err = tx.get(k, t.Name, func() string { return spell(key) }, func(body []byte) error {
		return t.decode(tx, body, key, &v)
	})
	return v, err
}

// Has reports whether there is a record under key, without reading it.
func (t Table[T]) Has(tx *Tx, key ...string) (bool, error) {
	k, err := tableKey(t.Family, t.Name, key)
	if err != nil {
		return false, err
	}
	return tx.has(k)
}

// Put writes v under key, over whatever was there.
func (t Table[T]) Put(tx *Tx, v T, key ...string) error {
	k, err := tableKey(t.Family, t.Name, key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", t.Name, spell(key), err)
	}
	return tx.set(k, body)
}

// Delete removes the record under key. Removing what is not there is no error.
func (t Table[T]) Delete(tx *Tx, key ...string) error {
	k, err := tableKey(t.Family, t.Name, key)
	if err != nil {
		return err
	}
	return tx.delete(k)
}

// Scan calls fn for every record below prefix in key order; an empty prefix
// means the whole table. A record whose key is the prefix itself is not below
// it. fn may use the transaction freely and returns Stop to end the scan. The
// first damaged record ends it with ErrCorrupt.
func (t Table[T]) Scan(tx *Tx, prefix []string, fn func(key []string, v T) error) error {
	return t.ScanFrom(tx, prefix, "", fn)
}

// ScanFrom is Scan starting at the first record whose key part after prefix is
// from or later.
func (t Table[T]) ScanFrom(tx *Tx, prefix []string, from string, fn func(key []string, v T) error) error {
	p, err := scanPrefix(t.Family, t.Name, prefix)
	if err != nil {
		return err
	}
	return tx.scan(p, append(bytes.Clone(p), from...), false, t.each(tx, fn))
}

// ScanReverse is Scan backwards, starting at the last record whose key part
// after prefix is from or earlier; from "" starts at the end.
func (t Table[T]) ScanReverse(tx *Tx, prefix []string, from string, fn func(key []string, v T) error) error {
	p, err := scanPrefix(t.Family, t.Name, prefix)
	if err != nil {
		return err
	}
	if from == "" {
		return tx.scanBack(p, after(p), nil, t.each(tx, fn))
	}
	late := func(key []byte) bool {
		part, _, _ := bytes.Cut(key[len(p):], []byte{separator})
		return string(part) > from
	}
	return tx.scanBack(p, append(append(bytes.Clone(p), from...), separator+1), late, t.each(tx, fn))
}

// Keys calls fn for the key of every record below prefix in key order, without
// reading the records. fn may return Stop.
func (t Table[T]) Keys(tx *Tx, prefix []string, fn func(key []string) error) error {
	p, err := scanPrefix(t.Family, t.Name, prefix)
	if err != nil {
		return err
	}
	return tx.scan(p, p, true, func(k, _ []byte) error {
		_, key, ok := splitKey(k)
		if !ok {
			return tx.damaged(t.Name, fmt.Sprintf("%q", k), "the key cannot be read")
		}
		return fn(key)
	})
}

// after is a key past every key that begins with p, which ends in a separator.
func after(p []byte) []byte {
	k := bytes.Clone(p)
	k[len(k)-1] = separator + 1
	return k
}

func (t Table[T]) each(tx *Tx, fn func(key []string, v T) error) func(key, value []byte) error {
	return func(k, value []byte) error {
		_, key, ok := splitKey(k)
		if !ok {
			return tx.damaged(t.Name, fmt.Sprintf("%q", k), "the key cannot be read")
		}
		body, why := unframe(k, value)
		if why != "" {
			return tx.damaged(t.Name, spell(key), why)
		}
		var v T
		if err := t.decode(tx, body, key, &v); err != nil {
			return err
		}
		return fn(key, v)
	}
}

func (t Table[T]) decode(tx *Tx, body []byte, key []string, v *T) error {
	if err := json.Unmarshal(body, v); err != nil {
		return tx.damaged(t.Name, spell(key), err.Error())
	}
	return nil
}

// spell writes key parts for people.
func spell(key []string) string { return strings.Join(key, " ") }
