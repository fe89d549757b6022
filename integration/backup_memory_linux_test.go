package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"stasis/store"
)

// remark is a record of the test's own.
type remark struct {
	Text string `json:"text"`
}

// gather fills a data folder with 128 MiB of archives and 96 MiB of documents and records.
func gather(folder string) error {
	s, err := store.Open(context.Background(), store.Options{Path: folder})
	if err != nil {
		return err
	}
	remarks := store.Table[remark]{Family: store.FamilyMeta, Name: "remark"}
	r := rand.NewChaCha8([32]byte{1})
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = r.Read(b)
		return b
	}
	for range 2 {
		body := random(64 << 20)
		w, err := s.CreateBlob(int64(len(body)))
		if err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return errors.Join(err, w.Abort())
		}
		if _, err := w.Commit(); err != nil {
			return err
		}
	}
	for i := range 150 {
		err := s.Update(func(tx *store.Tx) error {
			for n := range 10 {
				d, err := tx.PutDocument(random(48 << 10))
				if err != nil {
					return err
				}
				for k := range 16 {
					if err := remarks.Put(tx, remark{fmt.Sprintf("%s %x", d, random(400))}, fmt.Sprint(10*i+n), fmt.Sprint(k)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.Close()
}

// TestMemoryDoesNotGrowWithBackups bounds the memory of a full backup of 220 MiB, which a running Stasis makes while Badger puts
// in order what was just written, and that of a restore. What is mapped from files is not counted: it can be dropped at once.
func TestMemoryDoesNotGrowWithBackups(t *testing.T) {
	s, d := pair(t)
	d.stop()
	if err := gather(d.env["STORE_PATH"]); err != nil {
		t.Fatal(err)
	}
	d.start()
	file := filepath.Join(t.TempDir(), "backup")
	stop := d.peak()
	if out, err := d.run("backup", "--archives", "all", "-o", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	backing := stop()
	d.stop()

	far := prepare(t, s, "STORE_PATH="+filepath.Join(t.TempDir(), "data"))
	restore := exec.Command(binary(t), "restore", file)
	restore.Env = far.environ()
	far.cmd = restore
	if err := restore.Start(); err != nil {
		t.Fatal(err)
	}
	stop = far.peak()
	err := restore.Wait()
	restoring := stop()
	far.cmd = nil
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("KiB: %d with the backup, %d restoring", backing, restoring)
	if backing == 0 || backing > 192<<10 {
		t.Errorf("with a backup Stasis has %d KiB, which is more than 192 MiB", backing)
	}
	if restoring == 0 || restoring > 320<<10 {
		t.Errorf("the restore has %d KiB, which is more than 320 MiB", restoring)
	}
}
