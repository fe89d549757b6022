package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// fill is how much a data folder holds.
type fill struct {
	packages, archives int
	small              bool // the archives are of the smaller half
}

func (f fill) String() string {
	return number(float64(f.packages)) + " documents, " + number(float64(f.archives)) + " archives"
}

// unlimited lets the data folder hold more archives than it does by default.
const unlimited = "PROXY_MAX_CACHE_SIZE=1TiB"

// starts measures how long it takes until a Stasis that holds much is ready.
func starts(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "Start"
	s.about = "From the start of the process until `/readyz` answers 200, and the resident memory then. The data folder was filled through the store, with real documents of at most " +
		fmt.Sprint(modestly) + " versions and real archives under other names, and closed. Its files are in the page cache."
	m, err := b.multitude("http://127.0.0.1:1")
	if err != nil {
		return err
	}
	t := measuredStarts{
		ready:  s.table("Until it is ready", "ms", "time"),
		memory: s.table("Resident memory when it is ready", "MiB", "memory"),
		disk:   s.table("The data folder", "GB", "archives", "disk"),
	}
	for _, want := range b.scale.starts {
		if err := b.startsWith(ctx, m, want, t); err != nil {
			return err
		}
	}
	for i, want := range b.scale.starts {
		limit := 1000.
		if i > 0 {
			limit = 2000
			s.atMost("memory when ready, "+want.String(), 300, " MiB", t.memory.values(want.String(), "memory"))
		}
		s.atMost("ready with "+want.String(), limit, " ms", t.ready.values(want.String(), "time"))
	}
	return nil
}

type measuredStarts struct{ ready, memory, disk *table }

// startsWith fills a folder and starts with it, in rounds.
func (b *bench) startsWith(ctx context.Context, m *multitude, want fill, t measuredStarts) (err error) {
	dir, archives, err := b.filled(ctx, m, want)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err != nil {
		return err
	}
	used, err := diskUse(ctx, dir)
	if err != nil {
		return err
	}
	t.disk.add(want.String(), "archives", float64(archives)/1e9)
	t.disk.add(want.String(), "disk", float64(used)/1e9)
	for range b.rounds {
		if err := b.started(ctx, m, dir, want, t); err != nil {
			return err
		}
	}
	return nil
}

// started starts once, and makes sure that what was filled in is there.
func (b *bench) started(ctx context.Context, m *multitude, dir string, want fill, t measuredStarts) (err error) {
	began := time.Now()
	our, err := b.stasis(ctx, anyCore, m.origin, dir, unlimited)
	took := time.Since(began)
	if our != nil {
		defer join(&err, our.stop)
	}
	if err != nil {
		return err
	}
	rss, err := our.status("VmRSS")
	if err != nil {
		return err
	}
	t.ready.add(want.String(), "time", milliseconds(took))
	t.memory.add(want.String(), "memory", float64(rss)/(1<<20))
	a, err := get(ctx, our.url+m.metadataPath(want.packages-1))
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("the last document that was filled in is answered with %d", a.status)
	}
	return err
}

// filled makes a data folder that holds so much, and says how many bytes of
// archives that is.
func (b *bench) filled(ctx context.Context, m *multitude, want fill) (dir string, archives int64, err error) {
	if dir, err = b.folder("data"); err != nil {
		return dir, 0, err
	}
	quick, err := os.MkdirTemp(b.quick, "filled-")
	if err != nil {
		return dir, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(quick)) }()
	if archives, err = m.fill(ctx, quick, want); err != nil {
		return dir, 0, err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-r", "--sparse=always", quick+"/.", dir).CombinedOutput(); err != nil {
		return dir, 0, fmt.Errorf("copy the data folder: %w\n%s", err, out)
	}
	return dir, archives, nil
}

// fillers is how many write at once: commits that happen together share a sync.
const fillers = 128

// fill makes a folder hold so much, through the store, as serving clients would
// have.
func (m *multitude) fill(ctx context.Context, dir string, want fill) (archives int64, err error) {
	s, err := store.Open(ctx, store.Options{Path: dir})
	if err != nil {
		return 0, err
	}
	defer join(&err, s.Close)
	h, err := history.New(s, nil)
	if err != nil {
		return 0, err
	}
	var bytes atomic.Int64
	group, filling := errgroup.WithContext(ctx)
	group.SetLimit(fillers)
	for i := 0; i < want.packages && filling.Err() == nil; i++ {
		group.Go(func() error {
			f, err := composer.ParseFile(m.name(i))
			if err != nil {
				return err
			}
			_, err = h.Observe(f, history.Observation{
				AskedAt: time.Now(), Body: m.document(i), LastModified: longPublished.Format(http.TimeFormat), Via: history.Demand,
			})
			return err
		})
	}
	for i := 0; i < want.archives && filling.Err() == nil; i++ {
		group.Go(func() error {
			body, err := m.archive(i, want.small)
			if err != nil {
				return err
			}
			w, err := s.CreateBlob(int64(len(body)))
			if err != nil {
				return err
			}
			bytes.Add(int64(len(body)))
			if _, err := w.Write(body); err != nil {
				return errors.Join(err, w.Abort())
			}
			_, err = w.Commit()
			return err
		})
	}
	err = errors.Join(group.Wait(), ctx.Err())
	return bytes.Load(), err
}
