package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4"
)

// Problem is damage that Verify found.
type Problem struct {
	Kind    string // "document", "blob", "record", "database"
	Subject string
	Err     error
}

// VerifySummary says what Verify looked at.
type VerifySummary struct {
	Records   int64 // of all tables
	Documents int64
	Blobs     int64
	Bytes     int64 // of documents and blobs, as they are served
	Problems  int64
}

// Verify reads everything that is kept: the frame of every record, the digest
// of every document, the chunks and the digest of every archive body. Damage
// is reported, not repaired; a damaged body is dropped as on any other read.
// It may run beside everything else; an archive evicted meanwhile is passed
// over.
func (s *Store) Verify(ctx context.Context, report func(Problem)) (VerifySummary, error) {
	if err := s.enter(); err != nil {
		return VerifySummary{}, err
	}
	defer s.leave()
	v := &verifier{s: s, ctx: ctx, report: report}
	for _, step := range []func() error{v.databases, v.records, v.documents, v.blobs} {
		if err := step(); err != nil {
			return v.sum, fmt.Errorf("verify the store: %w", err)
		}
	}
	return v.sum, nil
}

type verifier struct {
	s      *Store
	ctx    context.Context
	report func(Problem)
	sum    VerifySummary
}

func (v *verifier) problem(kind, subject string, err error) {
	v.sum.Problems++
	if v.report != nil {
		v.report(Problem{Kind: kind, Subject: subject, Err: err})
	}
}

// databases asks Badger to check its own tables, because a scan ends early and
// without an error at a table that cannot be read.
func (v *verifier) databases() error {
	if err := verifyTables(v.s.facts); err != nil {
		v.problem("database", "facts", err)
	}
	if err := v.s.blobs.driver.verify(); err != nil {
		v.problem("database", "archives", err)
	}
	return v.ctx.Err()
}

// verifyTables reads every block of every table. Badger's own report of a bad
// block is a panic.
func verifyTables(db *badger.DB) (err error) {
	defer recoverDamage(&err)
	return db.VerifyChecksum()
}

func (v *verifier) records() error {
	for f := range 256 {
		if Family(f) == familyDocumentPart {
			continue // read with the documents
		}
		err := v.s.walk([]byte{byte(f)}, false, func(_ *Tx, key, value []byte) error {
			v.sum.Records++
			if _, why := unframe(key, value); why != "" {
				subject := recordName(key)
				v.problem("record", subject, damaged("record", subject, why))
			}
			return v.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recordName spells a key for people.
func recordName(key []byte) string {
	switch Family(key[0]) {
	case familyDocument, familyBlob, familyUse, familyPin:
		if d, ok := keyDigest(key); ok {
			return fmt.Sprintf("%c %s", key[0], d)
		}
	}
	if table, parts, ok := splitKey(key); ok {
		return table + " " + spell(parts)
	}
	return fmt.Sprintf("%q", key)
}

func (v *verifier) documents() error {
	return v.s.walk([]byte{byte(familyDocument)}, true, func(tx *Tx, key, _ []byte) error {
		d, ok := keyDigest(key)
		if !ok {
			return v.ctx.Err()
		}
		v.sum.Documents++
		body, err := tx.Document(d)
		if err != nil {
			v.problem("document", d.String(), err)
		}
		v.sum.Bytes += int64(len(body))
		return v.ctx.Err()
	})
}

func (v *verifier) blobs() error {
	b := v.s.blobs
	b.mu.Lock()
	all := b.index.all()
	b.mu.Unlock()
	for _, h := range all {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		n, err := v.blob(h)
		if err != nil && b.gone(h) && !errors.Is(err, ErrCorrupt) {
			continue
		}
		v.sum.Blobs++
		v.sum.Bytes += n
		if err != nil {
			v.problem("blob", h.digest.String(), err)
		}
	}
	return nil
}

func (v *verifier) blob(h *held) (int64, error) {
	r, err := v.s.blobs.open(h.digest, 0)
	if err != nil {
		return 0, err
	}
	defer r.close() //nolint:errcheck // it was only read
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(readerOf{r}, 0, r.Size()))
	if err != nil {
		return n, err
	}
	var d Digest
	if sum.Sum(d[:0]); d != h.digest {
		err := damaged("blob", h.digest.String(), "it does not match its digest")
		v.s.blobs.dropDamaged(h, err)
		return n, err
	}
	return n, nil
}

// readerOf reads without entering the store again, which Verify has done.
type readerOf struct{ r *blobReader }

func (r readerOf) ReadAt(p []byte, off int64) (int, error) { return r.r.readSome(p, off) }

func (b *blobs) gone(h *held) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return h.gone
}
