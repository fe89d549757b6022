package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// sync makes everything durable that was written to the archives since value
// log file number first was the current one: these files, the logs of the
// memtables, and their names. DB.Sync would not do, it passes over files that
// were completed meanwhile.
//
// Syncing a file syncs all of it, so what is durable of a log is always a
// prefix, and Badger, which cuts a log at its first damaged entry, cannot cut
// off anything that was synced. A log that disappears here was turned into a
// table, which Badger syncs itself before it removes the log.
func (d *badgerDriver) sync(first int) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		base, isLog := strings.CutSuffix(name, ".vlog")
		if n, err := strconv.Atoi(base); !(isLog && err == nil && n >= first) && filepath.Ext(name) != ".mem" {
			continue
		}
		if err := syncFile(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync archives: %w", fileError(err))
		}
	}
	return syncFolder(d.dir)
}

// settleGroup lets archives that become whole at the same time share one sync.
type settleGroup struct {
	group syncGroup

	mu    sync.Mutex
	first int // the oldest value log file that was not synced yet; guarded by mu
}

const allSettled = math.MaxInt

func newSettleGroup(d *badgerDriver) *settleGroup {
	g := &settleGroup{first: allSettled}
	g.group.run = func() error {
		first := g.take()
		if first == allSettled {
			return nil // the round before had it all
		}
		err := d.sync(first)
		if err != nil {
			g.note(first) // the next round tries again
		}
		return err
	}
	return g
}

func (g *settleGroup) note(first int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.first = min(g.first, first)
}

func (g *settleGroup) take() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.first
	g.first = allSettled
	return first
}

// settle returns when everything is durable that its caller wrote since value
// log file number first was the current one.
func (g *settleGroup) settle(first int) error {
	g.note(first)
	return g.group.sync()
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// collectDurably lets Badger rewrite the value log file with the most garbage.
// Badger removes the old file as soon as the copies are written, synced or
// not, unless an iterator is open; so one is, until we have synced them.
func (d *badgerDriver) collectDurably(garbage float64) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.vlog.reserve(0); err != nil {
		return err
	}
	first := d.vlog.current()
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixFiller}})
	defer it.Close()
	if err := d.db.RunValueLogGC(garbage); err != nil {
		return err
	}
	d.places.prune()
	return d.sync(first)
}
