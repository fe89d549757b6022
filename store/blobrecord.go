package store

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"github.com/dgraph-io/badger/v4"
)

// blobRecord is what facts know of a body.
type blobRecord struct {
	driver  byte
	id      uint64
	size    int64
	created int64
	sums    []uint32 // CRC-32C of each chunk, when the chunks do not carry their own
}

const blobRecordHeader = 1 + 8 + 8 + 8

func (r blobRecord) encode() []byte {
	b := make([]byte, 0, blobRecordHeader+4*len(r.sums))
	b = append(b, r.driver)
	b = binary.BigEndian.AppendUint64(b, r.id)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = binary.BigEndian.AppendUint64(b, uint64(r.created))
	for _, sum := range r.sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

func decodeBlobRecord(b []byte) (blobRecord, bool) {
	if len(b) < blobRecordHeader || (len(b)-blobRecordHeader)%4 != 0 {
		return blobRecord{}, false
	}
	r := blobRecord{
		driver:  b[0],
		id:      binary.BigEndian.Uint64(b[1:]),
		size:    int64(binary.BigEndian.Uint64(b[9:])),
		created: int64(binary.BigEndian.Uint64(b[17:])),
	}
	for b = b[blobRecordHeader:]; len(b) > 0; b = b[4:] {
		r.sums = append(r.sums, binary.BigEndian.Uint32(b))
	}
	return r, r.size >= 0 && (len(r.sums) == 0 || len(r.sums) == chunks(r.size))
}

// blobRecord returns what facts say of a body.
func (tx *Tx) blobRecord(d Digest) (blobRecord, error) {
	key := digestKey(familyBlob, d)
	item, err := tx.item(key)
	if errors.Is(err, fs.ErrNotExist) {
		return blobRecord{}, missing("blob", d.String())
	}
	if err != nil {
		return blobRecord{}, tx.damaged("blob", d.String(), err.Error())
	}
	return tx.readBlobRecord(item, d)
}

func (tx *Tx) readBlobRecord(item *badger.Item, d Digest) (blobRecord, error) {
	var r blobRecord
	err := tx.read(item, item.KeyCopy(nil), "blob", d.String, func(body []byte) error {
		var ok bool
		if r, ok = decodeBlobRecord(body); !ok {
			return tx.damaged("blob", d.String(), "its record cannot be read")
		}
		return nil
	})
	return r, err
}
