package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// What the external tests need of the inside.

var (
	TableKey   = tableKey
	SplitKey   = splitKey
	ScanPrefix = scanPrefix
	Frame      = frame
	Unframe    = unframe
	FrameSize  = frameHeader
	CheckTable = func(name string) error { return checkTable(name, options.Snappy) }

	DecodeBlobRecord   = func(b []byte) bool { _, ok := decodeBlobRecord(b); return ok }
	DecodeDocumentInfo = func(b []byte) bool { _, ok := decodeDocumentInfo(b); return ok }
)

// FormatVersion is the format this package writes.
const FormatVersion = formatVersion

// FillBlobs writes n bodies of one small chunk each, without the syncs that
// make CreateBlob too slow for a hundred thousand. They are visible after
// reopening. Their digests count from 0, so they cannot be verified.
func (s *Store) FillBlobs(n, size int) error {
	driver := s.blobs.driver.(*badgerDriver)
	records, chunks := s.facts.NewWriteBatch(), driver.db.NewWriteBatch()
	body := make([]byte, size)
	for i := range n {
		id := s.blobs.ids.Add(1)
		var d Digest
		// Spread like real digests are.
		binary.BigEndian.PutUint64(d[:], uint64(i)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(d[8:], uint64(i))
		record := blobRecord{driver: s.blobs.kind, id: id, size: int64(size), created: int64(i)}
		key := digestKey(familyBlob, d)
		if err := records.Set(key, frame(key, record.encode())); err != nil {
			return err
		}
		key = digestKey(familyUse, d)
		if err := records.Set(key, frame(key, binary.BigEndian.AppendUint64(nil, uint64(i)))); err != nil {
			return err
		}
		key = chunkKey(id, 0)
		if err := chunks.Set(key, frame(key, body)); err != nil {
			return err
		}
	}
	if err := records.Flush(); err != nil {
		return err
	}
	return chunks.Flush()
}

// CountChunks counts the chunks in the badger driver.
func (s *Store) CountChunks() (n int) {
	s.blobs.driver.(*badgerDriver).db.View(func(txn *badger.Txn) error { //nolint:errcheck // nothing in it fails
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixChunk}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	return n
}

// DamageRecord flips a bit of a table's record below the frame check, as a bad
// disk would. It returns whether the record existed.
func DamageRecord(s *Store, f Family, table string, at int, parts ...string) error {
	key, err := tableKey(f, table, parts)
	if err != nil {
		return err
	}
	return damageKey(s, key, at)
}

// DamageDocument flips a bit of the first part of a document.
func DamageDocument(s *Store, d Digest, at int) error { return damageKey(s, partKey(d, 0), at) }

func damageKey(s *Store, key []byte, at int) error {
	return s.facts.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		val, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		if at < 0 {
			val = val[:len(val)+at]
		} else {
			val[at%len(val)] ^= 0x40
		}
		return txn.Set(key, val)
	})
}

// OrphanParts writes the parts of a large document without its header.
func OrphanParts(s *Store, body []byte) error {
	return s.update(func(tx *Tx) error {
		_, packed := s.codec.pack(body)
		return tx.putPartsAhead(SumDigest(body), packed)
	})
}

// CountParts counts document parts of all documents.
func CountParts(s *Store) (n int) {
	s.view(func(tx *Tx) error { //nolint:errcheck // nothing in it fails
		prefix := []byte{byte(familyDocumentPart)}
		return tx.scan(prefix, prefix, true, func([]byte, []byte) error { n++; return nil })
	})
	return n
}

// Contents lists what a backup has to bring back: every record that travels,
// every document, and the bodies that belong to a backup of these archives.
func Contents(s *Store, archives string) (map[string]string, error) {
	all := map[string]string{}
	err := s.view(func(tx *Tx) error {
		for f := range 255 {
			switch {
			case Family(f) == familyDocument:
				_, err := tx.visit(Family(f), 0, false, func(item *badger.Item) error {
					d, _ := keyDigest(item.Key())
					body, err := tx.Document(d)
					all["document "+d.String()] = SumDigest(body).String()
					return err
				})
				if err != nil {
					return err
				}
			case Family(f).travels():
				_, err := tx.visit(Family(f), 0, false, func(item *badger.Item) error {
					key := item.KeyCopy(nil)
					return tx.read(item, key, "record", func() string { return recordName(key) }, func(body []byte) error {
						if recordName(key) != "totals documents" {
							all["record "+string(key)] = string(body)
						}
						return nil
					})
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.blobs.mu.Lock()
	held := s.blobs.index.all()
	s.blobs.mu.Unlock()
	for _, h := range held {
		if archives == BackupNone || archives == BackupPinned && !s.Pinned(h.digest) {
			continue
		}
		r, err := s.blobs.open(h.digest, 0)
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		if _, err := r.WriteTo(sum); err != nil {
			return nil, err
		}
		r.Close()
		all["archive "+h.digest.String()] = fmt.Sprintf("%x used %d", sum.Sum(nil), h.used)
	}
	return all, nil
}

// Compact makes Badger compact everything, which drops the marks of deleted keys.
func Compact(s *Store) error { return s.facts.Flatten(2) }

// CountRemovals counts the removals that are written down.
func CountRemovals(s *Store) (n int) {
	s.view(func(tx *Tx) error { //nolint:errcheck // nothing in it fails
		n, _ = tx.visit(familyRemoved, 0, false, func(*badger.Item) error { return nil })
		return nil
	})
	return n
}

// DamageChunk flips a bit of a chunk of a body, below its frame.
func DamageChunk(s *Store, d Digest, i uint32) error {
	s.blobs.mu.Lock()
	id := s.blobs.index.get(d).id
	s.blobs.mu.Unlock()
	return s.blobs.driver.(*badgerDriver).db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(chunkKey(id, i))
		if err != nil {
			return err
		}
		val, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		val[len(val)/2] ^= 1
		return txn.Set(chunkKey(id, i), val)
	})
}
