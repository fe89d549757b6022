package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"stasis/store"
)

// documents on both sides of every boundary: empty, incompressible,
// compressible, larger than a part, larger than a transaction.
func someDocuments() map[string][]byte {
	noise := func(n int) []byte {
		b := make([]byte, n)
		rand.NewChaCha8([32]byte{byte(n)}).Read(b) //nolint:errcheck // never fails
		return b
	}
	return map[string][]byte{
		"empty":                     {},
		"one byte":                  {7},
		"text":                      []byte(strings.Repeat(`{"packages":{"a/b":[{"version":"1.0.0"}]}}`, 100)),
		"large text":                []byte(strings.Repeat(`{"packages":{"a/b":[{"version":"1.0.0"}]}}`, 400_000)),
		"noise":                     noise(1000),
		"noise of the inline limit": noise(64 << 10),
		"noise of one part":         noise(256 << 10),
		"noise of many parts":       noise(5<<20 + 1),
	}
}

func TestDocuments(t *testing.T) {
	folder := t.TempDir()
	s := open(t, store.Options{Path: folder})
	docs := someDocuments()
	var size int64
	for name, body := range docs {
		size += int64(len(body))
		for range 2 { // putting again changes nothing
			update(t, s, func(tx *store.Tx) error {
				d, err := tx.PutDocument(body)
				if err != nil || d != store.SumDigest(body) {
					t.Errorf("PutDocument of %s: %s, %v", name, d, err)
				}
				return nil
			})
		}
	}
	check := func() {
		t.Helper()
		view(t, s, func(tx *store.Tx) error {
			for name, body := range docs {
				got, err := tx.Document(store.SumDigest(body))
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("Document %s: %d bytes, %v, want %d", name, len(got), err, len(body))
				}
			}
			if _, err := tx.Document(store.SumDigest([]byte("never"))); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Document that is not held: got %v, want fs.ErrNotExist", err)
			}
			return nil
		})
		if u := s.Usage(); u.Documents != int64(len(docs)) || u.DocumentBytes != size || u.PackedBytes <= 0 || u.PackedBytes >= size {
			t.Errorf("Usage: %+v, want %d documents of %d bytes", u, len(docs), size)
		}
	}
	check()
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, store.Options{Path: folder})
	check()
	sum, err := s.Verify(t.Context(), func(p store.Problem) { t.Errorf("%s %s: %v", p.Kind, p.Subject, p.Err) })
	if err != nil || sum.Documents != int64(len(docs)) || sum.Bytes != size {
		t.Errorf("Verify: %+v, %v", sum, err)
	}
}

func TestOneDocumentPutByMany(t *testing.T) {
	s := open(t, store.Options{})
	body := someDocuments()["noise of many parts"]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Update(func(tx *store.Tx) error { _, err := tx.PutDocument(body); return err }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.Usage().Documents; n != 1 {
		t.Errorf("%d documents are counted, want 1", n)
	}
}

func TestPartsWithoutDocumentAreSwept(t *testing.T) {
	s := open(t, store.Options{})
	whole, orphan := someDocuments()["noise of many parts"], someDocuments()["noise of one part"]
	update(t, s, func(tx *store.Tx) error { _, err := tx.PutDocument(whole); return err })
	before := store.CountParts(s)
	if err := store.OrphanParts(s, orphan); err != nil {
		t.Fatal(err)
	}
	if n := store.CountParts(s); n <= before {
		t.Fatalf("%d parts, want more than %d", n, before)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := store.CountParts(s); n != before {
		t.Errorf("%d parts are left, want %d", n, before)
	}
	// Parts of a transaction that is still open stay.
	update(t, s, func(tx *store.Tx) error {
		open := append([]byte("x"), orphan...)
		if _, err := tx.PutDocument(open); err != nil {
			return err
		}
		if err := s.Maintain(t.Context()); err != nil {
			return err
		}
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		_, err := tx.Document(store.SumDigest(append([]byte("x"), orphan...)))
		return err
	})
}

func TestDamagedDocumentIsNeverDelivered(t *testing.T) {
	alerts := map[string]int{}
	s := open(t, store.Options{Alert: func(kind, subject, _ string) { alerts[kind+" "+subject]++ }})
	docs := someDocuments()
	delete(docs, "empty")
	put := func(body []byte) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error { _, err := tx.PutDocument(body); return err })
	}
	for name, body := range docs {
		put(body)
		if err := store.DamageDocument(s, store.SumDigest(body), 20); err != nil {
			t.Fatal(err)
		}
		view(t, s, func(tx *store.Tx) error {
			for range 2 {
				if got, err := tx.Document(store.SumDigest(body)); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s: got %d bytes, %v, want ErrCorrupt", name, len(got), err)
				}
			}
			return nil
		})
	}
	if len(alerts) != len(docs) || alerts["corrupt document "+store.SumDigest(docs["text"]).String()] != 1 {
		t.Errorf("alerts: %v, want one for each of %d documents", alerts, len(docs))
	}
	problems := func() (n int) {
		t.Helper()
		if _, err := s.Verify(t.Context(), func(p store.Problem) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := problems(); n != len(docs) {
		t.Errorf("Verify finds %d problems, want %d", n, len(docs))
	}
	for name, body := range docs {
		put(body)
		view(t, s, func(tx *store.Tx) error {
			if got, err := tx.Document(store.SumDigest(body)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s, put again: %d bytes, %v", name, len(got), err)
			}
			return nil
		})
	}
	if n := problems(); n != 0 {
		t.Errorf("Verify finds %d problems after healing", n)
	}
	if u := s.Usage(); u.Documents != int64(len(docs)) {
		t.Errorf("%d documents are counted, want %d", u.Documents, len(docs))
	}
}
