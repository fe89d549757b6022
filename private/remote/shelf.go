package remote

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// maxKept bounds the compressed packages of one repository.
const maxKept = 256 << 20

// piece is what one document says about one package: its versions as they came,
// compressed to a tenth.
type piece struct {
	data []byte
	sum  digest
	err  error // why they cannot be read
}

// newPiece keeps no more than the compressed bytes: the compressor's own slice
// has room for a value that cannot be compressed.
func newPiece(value []byte) piece {
	return piece{data: bytes.Clone(s2.EncodeBetter(nil, value)), sum: sha256.Sum256(value)}
}

// shelve keeps the versions of one entry of packages under their own names,
// which count more than the key of the entry. What no client can ask for is
// left out.
func (c *content) shelve(shelf map[composer.Name][]piece, key string, value json.RawMessage) error {
	put := func(n composer.Name, p piece) error {
		shelf[n] = append(shelf[n], p)
		if c.kept += int64(len(p.data)) + 64; c.kept > maxKept {
			return fmt.Errorf("its packages take more than %d MiB even when they are compressed", maxKept>>20)
		}
		return nil
	}
	versions, err := composer.ParseVersions(value)
	byName := map[composer.Name][]composer.Object{}
	for _, v := range versions {
		if n, err := composer.ParseName(v.Text("name")); err == nil {
			byName[n] = append(byName[n], v)
		}
	}
	if len(byName) == 0 {
		n, nameErr := composer.ParseName(key)
		if nameErr != nil || err == nil && len(versions) == 0 {
			return nil
		}
		if err == nil {
			err = errors.New("none of its versions has a name")
		}
		return put(n, piece{err: err})
	}
	for n, list := range byName {
		if len(byName) > 1 {
			value = encodeList(list)
		}
		if err := put(n, newPiece(value)); err != nil {
			return err
		}
	}
	return nil
}

// versions reads the versions of n out of pieces, in their order.
func versionsIn(pieces []piece, n composer.Name) ([]composer.Object, error) {
	var all []composer.Object
	for _, p := range pieces {
		if p.err != nil {
			return nil, p.err
		}
		value, err := s2.Decode(nil, p.data)
		if err != nil {
			return nil, err
		}
		versions, err := composer.ParseVersions(value)
		if err != nil {
			return nil, err
		}
		all = append(all, named(versions, n)...)
	}
	return all, nil
}

// named keeps the versions that are of package n.
func named(versions []composer.Object, n composer.Name) []composer.Object {
	kept := versions[:0:0]
	for _, v := range versions {
		if name, err := composer.ParseName(v.Text("name")); err == nil && name == n {
			kept = append(kept, v)
		}
	}
	return kept
}

// fromRoot answers from what the root and its includes hold.
func (r *Repository) fromRoot(cat *catalog, q question, pieces []piece) (history.Observation, error) {
	sum := sha256.New()
	for _, p := range pieces {
		sum.Write(p.sum[:])
	}
	of := hex.EncodeToString(sum.Sum(nil))
	obs := history.Observation{AskedAt: cat.asked, ETag: cat.mark(of)}
	if q.ours && !q.past && madeOf(q.prev.ETag) == of {
		obs.Unchanged = true
		return obs, nil
	}
	versions, err := versionsIn(pieces, q.file.Name)
	if err == nil {
		obs.Body, err = r.document(cat, q.file, versions)
	}
	if err != nil {
		return obs, bad(cat.base, fmt.Errorf("%s: %w", q.file.Name, err))
	}
	return obs, nil
}

func encodeList(list []composer.Object) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encode(v))
	}
	b.WriteByte(']')
	return b.Bytes()
}

// encode writes a value known to be valid.
func encode(o composer.Object) []byte {
	b, err := o.MarshalJSON()
	if err != nil {
		panic(err) // it holds only what was read as JSON
	}
	return b
}
