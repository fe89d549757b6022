package snapshot

import (
	"errors"
	"io/fs"
	"strings"

	"stasis/store"
)

// shortID is the least number of digits that stand for an id.
const shortID = 8

// find reads the record that a name or an id stands for.
func find(tx *store.Tx, ref string) (record, error) {
	id, byID := strings.CutPrefix(ref, "@")
	if !byID {
		r, err := records.Get(tx, ref)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	if len(id) < shortID || strings.Trim(id, "0123456789abcdef") != "" {
		return record{}, noSnapshot(ref)
	}
	var found []string // the id and the first name that has it
	err := names.ScanFrom(tx, nil, id, func(key []string, _ mark) error {
		switch {
		case !strings.HasPrefix(key[0], id):
			return store.Stop
		case found == nil:
			found = key
		case key[0] != found[0]:
			return problemf(ErrInvalid, "several snapshots have an id that begins with %q", id)
		}
		return nil
	})
	if err != nil {
		return record{}, err
	}
	if found == nil {
		return record{}, noSnapshot(ref)
	}
	return records.Get(tx, found[1])
}

// named returns the names of the sealed snapshots with an id, at least one.
func named(tx *store.Tx, id store.Digest) ([]string, error) {
	var list []string
	err := names.Scan(tx, []string{id.String()}, func(key []string, _ mark) error {
		list = append(list, key[1])
		return nil
	})
	if err == nil && len(list) == 0 {
		err = noSnapshot(id.String())
	}
	return list, err
}
