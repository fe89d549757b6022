package store_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"stasis/store"
)

// TestMain lets tests run this binary again as another process.
func TestMain(m *testing.M) {
	if job := os.Getenv("STORE_TEST_CHILD"); job != "" {
		if err := children[job](os.Getenv("STORE_TEST_FOLDER")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// children are what this binary can do as another process.
var children = map[string]func(folder string) error{}

// open opens a store that is closed when the test ends.
func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	if o.Path == "" {
		o.Path = t.TempDir()
	}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func keep(s *store.Store, body []byte) (store.Digest, error) {
	w, err := s.CreateBlob(int64(len(body)))
	if err != nil {
		return store.Digest{}, err
	}
	if _, err := w.Write(body); err != nil {
		return store.Digest{}, errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// someDay is a fixed instant for injected clocks.
var someDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type counted struct {
	N    int
	Blob store.Digest
	Doc  store.Digest
}

var countedTable = store.Table[counted]{Family: store.FamilyMeta, Name: "counted"}
