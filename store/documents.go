package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// A document is stored as a header and parts. The header alone is small, so
// documents can be counted and walked without touching their bodies.
//
// header body: codec (1), raw size (8), packed size (8), parts (4).
const (
	documentHeader = 1 + 8 + 8 + 4
	documentPart   = 256 << 10

	// Documents up to this packed size are written inside the caller's
	// transaction. Larger ones would fill it (see factsMemTable), so their
	// parts go ahead in transactions of their own; until the header is
	// committed nobody sees them.
	documentInline = 64 << 10
)

type documentInfo struct {
	codec  byte
	size   int64
	packed int64
	parts  uint32
}

func (h documentInfo) encode() []byte {
	b := make([]byte, 0, documentHeader)
	b = append(b, h.codec)
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b = binary.BigEndian.AppendUint64(b, uint64(h.packed))
	return binary.BigEndian.AppendUint32(b, h.parts)
}

func decodeDocumentInfo(b []byte) (documentInfo, bool) {
	if len(b) != documentHeader {
		return documentInfo{}, false
	}
	h := documentInfo{
		codec:  b[0],
		size:   int64(binary.BigEndian.Uint64(b[1:])),
		packed: int64(binary.BigEndian.Uint64(b[9:])),
		parts:  binary.BigEndian.Uint32(b[17:]),
	}
	ok := h.size >= 0 && h.size <= maxDocument && h.packed >= 0 && h.packed <= h.size &&
		int64(h.parts) == (h.packed+documentPart-1)/documentPart
	return h, ok
}

// PutDocument keeps body, verbatim, and returns its digest. Keeping the same
// body again costs a look-up.
func (tx *Tx) PutDocument(body []byte) (Digest, error) {
	d := SumDigest(body)
	if len(body) > maxDocument {
		return d, fmt.Errorf("document of %d bytes: the limit is %d", len(body), maxDocument)
	}
	if !tx.write {
		return d, errors.New("put a document in a view: use Update")
	}
	held, err := tx.has(digestKey(familyDocument, d))
	if err != nil && !errors.Is(err, ErrCorrupt) { // what cannot be read is written anew
		return d, err
	}
	spoiled := tx.s.damage.spoiled(d)
	if held && !spoiled {
		return d, nil
	}
	codec, packed := tx.s.codec.pack(body)
	info := documentInfo{codec: codec, size: int64(len(body)), packed: int64(len(packed)),
		parts: uint32((len(packed) + documentPart - 1) / documentPart)}
	if len(packed) > documentInline {
		if err := tx.putPartsAhead(d, packed); err != nil {
			return d, fmt.Errorf("put document %s: %w", d, err)
		}
	} else if info.parts > 0 {
		if err := tx.set(partKey(d, 0), packed); err != nil {
			return d, err
		}
	}
	if err := tx.set(digestKey(familyDocument, d), info.encode()); err != nil {
		return d, err
	}
	if spoiled {
		tx.healed = append(tx.healed, d)
	}
	if !held {
		tx.documents.n++
		tx.documents.size += info.size
		tx.documents.packed += info.packed
	}
	return d, nil
}

// putPartsAhead makes the parts of a large document durable before the
// transaction that will point to them. Nothing is swept until it is over.
func (tx *Tx) putPartsAhead(d Digest, packed []byte) error {
	s := tx.s
	if !tx.ahead {
		tx.ahead = true
		s.documents.ahead.RLock()
	}
	for i := uint32(0); len(packed) > 0; i++ {
		n := min(len(packed), documentPart)
		if err := s.space.need(int64(n)); err != nil {
			return err
		}
		key := partKey(d, i)
		err := s.facts.Update(func(txn *badger.Txn) error { return txn.Set(key, frame(key, packed[:n])) })
		if err != nil {
			return writeError(err)
		}
		packed = packed[n:]
	}
	return s.sync.sync()
}

// releaseParts is called when a transaction is over.
func (tx *Tx) releaseParts() {
	if tx.ahead {
		tx.ahead = false
		tx.s.documents.ahead.RUnlock()
	}
}

// Document returns the document with digest d. The bytes were compared with
// the digest; when they do not match, the error is ErrCorrupt, and the next
// PutDocument writes the document anew.
func (tx *Tx) Document(d Digest) ([]byte, error) {
	_, _, body, err := tx.readDocument(d)
	return body, err
}

// readDocument is Document, which also returns what is stored.
func (tx *Tx) readDocument(d Digest) (info documentInfo, packed, body []byte, err error) {
	if info, packed, err = tx.packedDocument(d); err == nil {
		body, err = tx.s.codec.unpack(info.codec, packed, info.size)
		switch {
		case err != nil:
			err = tx.damaged("document", d.String(), err.Error())
		case SumDigest(body) != d:
			err = tx.damaged("document", d.String(), "it does not match its digest")
		}
	}
	if errors.Is(err, ErrCorrupt) {
		tx.s.damage.spoil(d)
	}
	if err != nil {
		return info, nil, nil, err
	}
	return info, packed, body, nil
}

func (tx *Tx) packedDocument(d Digest) (documentInfo, []byte, error) {
	info, err := tx.documentInfo(d)
	if err != nil {
		return info, nil, err
	}
	packed := make([]byte, 0, info.packed)
	for i := range info.parts {
		err := tx.get(partKey(d, i), "document", d.String, func(body []byte) error {
			if int64(len(packed)+len(body)) > info.packed {
				return tx.damaged("document", d.String(), "its parts are longer than its header says")
			}
			packed = append(packed, body...)
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			return info, nil, tx.damaged("document", d.String(), "a part is missing")
		}
		if err != nil {
			return info, nil, err
		}
	}
	if int64(len(packed)) != info.packed {
		return info, nil, tx.damaged("document", d.String(), "its parts are shorter than its header says")
	}
	return info, packed, nil
}

// HasDocument reports whether a document is held, without reading it.
func (tx *Tx) HasDocument(d Digest) (bool, error) {
	return tx.has(digestKey(familyDocument, d))
}

func (tx *Tx) documentInfo(d Digest) (documentInfo, error) {
	var info documentInfo
	err := tx.get(digestKey(familyDocument, d), "document", d.String, func(body []byte) error {
		var ok bool
		if info, ok = decodeDocumentInfo(body); !ok {
			return tx.damaged("document", d.String(), "its header cannot be read")
		}
		return nil
	})
	return info, err
}

// orphanParts returns the keys of parts whose document has no header.
func (s *Store) orphanParts(ctx context.Context) ([][]byte, error) {
	var orphans [][]byte
	var last Digest
	orphan := false
	err := s.walk([]byte{byte(familyDocumentPart)}, true, func(tx *Tx, key, _ []byte) error {
		d, ok := keyDigest(key)
		if !ok {
			return ctx.Err()
		}
		if d != last {
			held, err := tx.has(digestKey(familyDocument, d))
			if err != nil {
				return err
			}
			last, orphan = d, !held
		}
		if orphan {
			orphans = append(orphans, key)
		}
		return ctx.Err()
	})
	return orphans, err
}

// removeParts removes what orphanParts found and still has no header. While a
// large document is being written it does nothing: Maintain comes again.
func (s *Store) removeParts(keys [][]byte) error {
	if !s.documents.ahead.TryLock() {
		return nil
	}
	defer s.documents.ahead.Unlock()
	for _, key := range keys {
		d, _ := keyDigest(key)
		err := s.update(func(tx *Tx) error {
			if held, err := tx.has(digestKey(familyDocument, d)); held || err != nil {
				return err
			}
			return tx.delete(key)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// docCounter sums documents.
type docCounter struct{ n, size, packed int64 }

// documentCount knows how many documents there are without walking them. It
// is saved at Close and counted afresh by Maintain, because a killed process
// does not save it.
type documentCount struct {
	mu  sync.Mutex // guards sum
	sum docCounter

	// ahead is held for reading from the first part that is written ahead of
	// its header until the header's transaction is over, and for writing while
	// parts without headers are removed.
	ahead sync.RWMutex
}

type documentTotals struct{ Count, Size, Packed int64 }

var totals = Table[documentTotals]{Family: FamilyMeta, Name: "totals"}

func (c *documentCount) load(db *badger.DB) error {
	txn := db.NewTransaction(false)
	defer txn.Discard()
	t, err := totals.Get(&Tx{txn: txn}, "documents")
	if err == nil {
		c.sum = docCounter{t.Count, t.Size, t.Packed}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		return nil // Maintain counts
	}
	return err
}

func (c *documentCount) save(db *badger.DB) error {
	now := c.get()
	return writeError(db.Update(func(txn *badger.Txn) error {
		return totals.Put(&Tx{txn: txn, write: true}, documentTotals{now.n, now.size, now.packed}, "documents")
	}))
}

func (c *documentCount) add(d docCounter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.n += d.n
	c.sum.size += d.size
	c.sum.packed += d.packed
}

func (c *documentCount) set(d docCounter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum = d
}

func (c *documentCount) get() docCounter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}
