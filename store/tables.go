package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// openDatabase opens a Badger database whose tables can be read. Badger opens
// each table in a goroutine of its own and panics there when the file was cut
// short or the lengths in it are damaged, which nobody can recover. Opening
// them here first turns that into ErrCorrupt.
func openDatabase(o badger.Options) (*badger.DB, error) {
	if err := checkTables(o); err != nil {
		return nil, err
	}
	return badger.Open(o)
}

// checkTables opens every table the manifest names: it checks the index and
// the last block of each.
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
	for id, t := range manifest.Tables {
		name := table.NewFilename(id, o.Dir)
		if err := checkTable(name, t.Compression); err != nil {
			return damaged("table", name, err.Error())
		}
	}
	return nil
}

func checkTable(name string, compression options.CompressionType) (err error) {
	defer recoverDamage(&err)
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(file, table.Options{
		ReadOnly:    true,
		BlockSize:   4 << 10,
		Compression: compression,
		ChkMode:     options.OnBlockRead,
	})
	if err != nil {
		return errors.Join(err, file.Close(-1))
	}
	return t.Close(-1)
}
