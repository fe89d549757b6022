package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// openDatabase opens a Badger database whose tables can be read. Badger reads
// a table's index in a goroutine of its own and panics there when the file was
// cut short or its last bytes are damaged; looking first turns that into
// ErrCorrupt.
func openDatabase(o badger.Options) (*badger.DB, error) {
	if err := checkTables(o); err != nil {
		return nil, err
	}
	db, err := badger.Open(o)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, y.ErrChecksumMismatch):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	default:
		return nil, err
	}
}

// checkTables checks the index of every table the manifest names. It reads the
// indexes only, which opening does anyway.
func checkTables(o badger.Options) error {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new database
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return damaged("manifest of", o.Dir, err.Error())
	}
	for id := range manifest.Tables {
		if err := checkTable(table.NewFilename(id, o.Dir)); err != nil {
			return err
		}
	}
	return nil
}

// checkTable compares a table's index with its checksum. A table ends in:
// index, its length (4, BE), its checksum (a protobuf), that one's length (4,
// BE).
func checkTable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return damaged("table", name, err.Error())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	// back reads the n bytes before end and moves end to their start.
	back := func(n int64) ([]byte, error) {
		if n < 0 || n > end {
			return nil, damaged("table", name, "a length in it reaches beyond it")
		}
		b := make([]byte, n)
		end -= n
		if _, err := f.ReadAt(b, end); err != nil {
			return nil, damaged("table", name, err.Error())
		}
		return b, nil
	}
	length := func() (int64, error) {
		b, err := back(4)
		if err != nil {
			return 0, err
		}
		return int64(int32(y.BytesToU32(b))), nil
	}
	block := func() ([]byte, error) {
		n, err := length()
		if err != nil {
			return nil, err
		}
		return back(n)
	}
	b, err := block()
	if err != nil {
		return err
	}
	var sum pb.Checksum
	if err := proto.Unmarshal(b, &sum); err != nil {
		return damaged("table", name, err.Error())
	}
	if sum.Algo != pb.Checksum_CRC32C && sum.Algo != pb.Checksum_XXHash64 {
		return damaged("table", name, "its checksum is of an unknown kind")
	}
	if b, err = block(); err != nil {
		return err
	}
	if err := y.VerifyChecksum(b, &sum); err != nil {
		return damaged("table", name, err.Error())
	}
	return nil
}
