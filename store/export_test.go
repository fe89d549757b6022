package store

import (
	"encoding/binary"

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
