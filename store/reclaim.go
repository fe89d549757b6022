package store

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Badger gives the space of a removed value back in two steps: compaction has
// to meet the deletion, which counts the value's bytes as garbage of its file,
// and then RunValueLogGC rewrites files with enough garbage. Chunks are large
// and keys few, so compaction would come too rarely by itself; about a
// memtable of filler keys makes it come. The figures below held 1.1 to 1.4
// times the live bytes while archives streamed through.
const (
	fillerKey  = 960 // bytes; the filler has no values, which would go to the value log
	fillerKeys = archivesMemTable * 11 / 10 / fillerKey

	// A file is rewritten when this much of it is garbage. Files that are nearly
	// all garbage come first: they need no room for copies, so that a full disk
	// can get out of it. The lower shares are for a disk that holds well more
	// than it should: they cost more copying.
	allGarbage   = 0.95
	easyGarbage  = 0.5
	hardGarbage  = 0.3
	worstGarbage = 0.15

	settleStep  = 10 * time.Millisecond
	settleLimit = 5 * time.Second
)

// threshold is how many dead bytes are worth a pass.
func (d *badgerDriver) threshold() int64 {
	return min(max(d.s.opts.MaxCacheSize/8, minValueLog*2), 64<<20)
}

// buried counts bytes that were removed and wakes the reclaimer.
func (d *badgerDriver) buried(n int64) {
	if d.dead.Add(n) >= d.threshold() {
		select {
		case d.background.kick <- struct{}{}:
		default:
		}
	}
}

// throttle makes a writer wait while the reclaimer is two passes behind, so
// that a fast stream of new archives cannot fill the disk with dead ones.
func (d *badgerDriver) throttle() {
	if d.dead.Load() < 3*d.threshold() {
		return
	}
	d.reclaiming.Lock()
	d.reclaiming.Unlock() //nolint:staticcheck // only waits for the pass that runs
}

func (d *badgerDriver) startReclaiming() {
	ctx, stop := context.WithCancel(context.Background())
	d.background.stop = stop
	d.background.kick = make(chan struct{}, 1)
	d.background.done = make(chan struct{})
	go func() {
		defer close(d.background.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.background.kick:
			}
			if err := d.reclaim(ctx); err != nil && ctx.Err() == nil {
				d.s.log.Warn("space of removed archives could not be reclaimed", "error", err)
			}
		}
	}()
}

// reclaim runs one pass.
func (d *badgerDriver) reclaim(ctx context.Context) error {
	d.reclaiming.Lock()
	defer d.reclaiming.Unlock()
	d.dead.Store(0)
	if d.tidy(1.1) || !d.s.space.has(8*archivesMemTable) {
		return nil
	}
	filled, err := d.rotate()
	if err != nil {
		return err
	}
	d.settle(ctx, filled)
	return d.collect(ctx)
}

// settle waits until the memtable whose log is filled is a table, and that
// table merged into the levels below, where its deletions meet what they
// delete. Badger tells neither, so both are looked for.
func (d *badgerDriver) settle(ctx context.Context, filled string) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	tick := time.NewTicker(settleStep)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(filled); errors.Is(err, fs.ErrNotExist) && d.compacted() {
			return
		}
		select {
		case <-ctx.Done():
			return // collect what there is
		case <-tick.C:
		}
	}
}

// rotate writes a memtable full of filler over the filler of last time, and
// returns the name of the log that this completed.
func (d *badgerDriver) rotate() (filled string, err error) {
	d.writing.RLock()
	defer d.writing.RUnlock()
	if err := d.mem.reserve(archivesMemTable / 2); err != nil {
		return "", err
	}
	filled = d.mem.name(d.mem.current())
	batch := d.db.NewWriteBatch()
	defer batch.Cancel()
	for i := range fillerKeys {
		key := make([]byte, fillerKey)
		key[0] = prefixFiller
		binary.BigEndian.PutUint32(key[fillerKey-4:], uint32(i))
		if err := batch.Set(key, nil); err != nil {
			return "", writeError(err)
		}
	}
	return filled, writeError(batch.Flush())
}

// compacted reports whether level 0 has been merged away.
func (d *badgerDriver) compacted() bool {
	levels := d.db.Levels()
	return len(levels) > 0 && levels[0].NumTables == 0
}

// collect rewrites files until none has enough garbage.
func (d *badgerDriver) collect(ctx context.Context) error {
	for _, step := range []struct{ enough, garbage float64 }{{0, allGarbage}, {0, easyGarbage}, {1.3, hardGarbage}, {1.4, worstGarbage}} {
		if step.enough > 0 && d.tidy(step.enough) || step.garbage < allGarbage && !d.s.space.has(2*d.files) {
			return nil
		}
		for ctx.Err() == nil {
			err := d.collectDurably(step.garbage)
			if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
				break
			}
			if err != nil {
				return writeError(err)
			}
		}
	}
	return nil
}

// tidy reports whether the files take at most factor times the live bytes,
// give or take the two files that are always open.
func (d *badgerDriver) tidy(factor float64) bool {
	used, err := valueLogUsage(d.dir)
	return err != nil || float64(used) <= float64(d.live())*factor+float64(2*reserveStep)
}

func valueLogUsage(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".vlog" {
			continue
		}
		if info, err := e.Info(); err == nil {
			sum += diskUsage(info)
		}
	}
	return sum, nil
}
