package store

import (
	"encoding/binary"
	"time"
)

// useGrain is how often the last use of a body is written at most. Order of
// use lives in memory; what is on disk only has to be right enough after a
// kill. Close writes it exactly.
const useGrain = time.Hour

// flushUses writes the uses that are not on disk: all of them, or those that
// are older than the grain.
func (b *blobs) flushUses(all bool) error {
	type use struct {
		d Digest
		t int64
	}
	var due []use
	b.mu.Lock()
	for _, h := range b.index.all() {
		if h.used > h.saved && (all || h.used-h.saved >= int64(useGrain)) {
			due = append(due, use{h.digest, h.used})
			h.saved = h.used
		}
	}
	b.mu.Unlock()
	for from := 0; from < len(due); from += forgetBatch {
		batch := due[from:min(len(due), from+forgetBatch)]
		err := b.s.update(func(tx *Tx) error {
			for _, u := range batch {
				if err := tx.set(digestKey(familyUse, u.d), binary.BigEndian.AppendUint64(nil, uint64(u.t))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// uses returns the last use of every body that facts know of. A damaged one is
// passed over: its body counts as last used when it was made.
func (tx *Tx) uses() (map[Digest]int64, error) {
	uses := map[Digest]int64{}
	err := tx.scan([]byte{byte(familyUse)}, []byte{byte(familyUse)}, false, func(key, value []byte) error {
		d, ok := keyDigest(key)
		body, why := unframe(key, value)
		if ok && why == "" && len(body) == 8 {
			uses[d] = int64(binary.BigEndian.Uint64(body))
		}
		return nil
	})
	return uses, err
}
