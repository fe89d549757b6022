package store_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"stasis/store"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b) //nolint:errcheck // never fails
	return b
}

func BenchmarkGet(b *testing.B) {
	s := open(b, store.Options{})
	for n := 0; n < 10_000; n += 1000 {
		update(b, s, func(tx *store.Tx) error {
			for i := range 1000 {
				if err := notes.Put(tx, note{"some text of a record", n + i}, "key", store.SeqKey(uint64(n+i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		view(b, s, func(tx *store.Tx) error {
			_, err := notes.Get(tx, "key", store.SeqKey(n*7919%10_000))
			return err
		})
	}
}

// BenchmarkUpdate shows what a durable commit costs, alone and when many
// commit at once and share syncs.
func BenchmarkUpdate(b *testing.B) {
	s := open(b, store.Options{})
	var n atomic.Uint64
	one := func() error {
		i := n.Add(1)
		return s.Update(func(tx *store.Tx) error { return notes.Put(tx, note{"x", int(i)}, "k", store.SeqKey(i)) })
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if err := one(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sixteen at once", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := one(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkDocument uses the sizes of a common and of a large package's
// document, uncompressed.
func BenchmarkDocument(b *testing.B) {
	for _, size := range []int{40 << 10, 2 << 20} {
		s := open(b, store.Options{})
		body := make([]byte, 0, size)
		for i := 0; len(body) < size; i++ {
			body = fmt.Appendf(body, `{"version":"%d.%d.0","dist":{"reference":"%016x%016x"},"require":{"php":">=8.1"}},`, i/10, i%10, rand.Uint64(), rand.Uint64())
		}
		b.Run(fmt.Sprintf("put %d KiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			n := 0
			for b.Loop() {
				n++
				copy(body, fmt.Sprintf("%020d", n))
				update(b, s, func(tx *store.Tx) error { _, err := tx.PutDocument(body); return err })
			}
		})
		d := store.SumDigest(body)
		b.Run(fmt.Sprintf("get %d KiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				view(b, s, func(tx *store.Tx) error { _, err := tx.Document(d); return err })
			}
		})
	}
}

// BenchmarkBlob compares the drivers on a small, a common and a large archive.
func BenchmarkBlob(b *testing.B) {
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		for _, size := range []int{100 << 10, 8 << 20} {
			s := open(b, store.Options{Archives: driver, MaxCacheSize: 256 << 20})
			body := noise(size)
			b.Run(fmt.Sprintf("%s/write %d KiB", driver, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				n := 0
				for b.Loop() {
					n++
					copy(body, fmt.Sprintf("%020d", n))
					if _, err := keep(s, body); err != nil {
						b.Fatal(err)
					}
				}
			})
			d, err := keep(s, body)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/read %d KiB", driver, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r, err := s.OpenBlob(d)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := r.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
			})
			s.Close()
		}
	}
}
