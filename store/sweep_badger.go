package store

import (
	"context"

	"github.com/dgraph-io/badger/v4"
)

// sweep removes chunks of ids that no body has: leftovers of a crash.
func (d *badgerDriver) sweep(ctx context.Context, limit uint64, owned func(Digest, uint64) bool) (int64, error) {
	type leftover struct {
		id   uint64
		n    uint32
		size int64
	}
	var found []leftover
	err := d.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixChunk}})
		defer it.Close()
		var last leftover
		ours := true
		for it.Rewind(); it.Valid(); it.Next() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			item := it.Item()
			id, i, ok := parseChunkKey(item.Key())
			if !ok {
				continue
			}
			if id > limit {
				break
			}
			if id != last.id {
				if !ours {
					found = append(found, last)
				}
				last, ours = leftover{id: id}, owned(Digest{}, id)
			}
			last.n = i + 1
			last.size += item.EstimatedSize()
		}
		if !ours {
			found = append(found, last)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var bytes int64
	for _, l := range found {
		if err := d.removeChunks(l.id, l.n, l.size); err != nil {
			return bytes, err
		}
		bytes += l.size
	}
	return bytes, nil
}
