package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// jobs measures many CI jobs that begin at the same moment.
func jobs(ctx context.Context, b *bench, s *section) (err error) {
	app := b.scale.jobsOf
	s.title = fmt.Sprintf("%d CI jobs at once", b.scale.jobs)
	s.about = fmt.Sprintf("%d runs of `composer update` of %s begin at the same moment, each with an empty Composer cache and without a lock file, through a Stasis that holds nothing, through one that holds everything, and from nginx's static mirror. "+
		"All jobs run on this machine, so that most of the time is Composer's own.", b.scale.jobs, app)
	up, err := b.registry()
	if err != nil {
		return err
	}
	defer up.Close()
	warm, err := b.stasis(ctx, anyCore, up.URL(), "")
	if warm != nil {
		defer join(&err, warm.stop)
	}
	if err != nil {
		return err
	}
	up.Forget()
	if _, err := b.crowd(ctx, warm.url, app, 1); err != nil {
		return err
	}
	one := float64(up.Total())
	ngx, err := b.mirrored(ctx, warm)
	if ngx != nil {
		defer join(&err, ngx.stop)
	}
	if err != nil {
		return err
	}
	took := s.table("Until the last job has ended", "s", ours, unheld, mirror)
	asked := s.table("Requests to the registry and the archives' origin", "number", "one job", "all jobs")
	row := fmt.Sprintf("%d jobs", b.scale.jobs)
	cold := func() (d time.Duration, err error) {
		our, err := b.stasis(ctx, anyCore, up.URL(), "")
		if our != nil {
			defer join(&err, our.discard)
		}
		if err != nil {
			return 0, err
		}
		up.Forget()
		d, err = b.crowd(ctx, our.url, app, b.scale.jobs)
		asked.add(row, "one job", one)
		asked.add(row, "all jobs", float64(up.Total()))
		return d, err
	}
	near := func(url string) func() (time.Duration, error) {
		return func() (time.Duration, error) { return b.crowd(ctx, url, app, b.scale.jobs) }
	}
	runs := []struct {
		column string
		run    func() (time.Duration, error)
	}{{ours, near(warm.url)}, {mirror, near(ngx.static)}, {unheld, cold}}
	for round := range b.rounds {
		for i := range runs {
			r := runs[(i+round)%len(runs)]
			d, err := r.run()
			if err != nil {
				return err
			}
			took.add(row, r.column, d.Seconds())
		}
	}
	s.atMost(row+" at once ask upstream as often as one, through cold Stasis", 1, "×", asked.ratio(row, "all jobs", "one job"))
	s.atMost(row+" at once through warm Stasis over nginx static", 1.3, "×", took.ratio(row, ours, mirror))
	s.atMost(row+" at once through cold Stasis over nginx static", 1.3, "×", took.ratio(row, unheld, mirror))
	return nil
}

// crowd runs n jobs at once and says how long it takes until the last one ends.
func (b *bench) crowd(ctx context.Context, url, app string, n int) (took time.Duration, err error) {
	var clients []*user
	for range n {
		c, err := b.user(url)
		if err != nil {
			return 0, err
		}
		defer join(&err, c.discard)
		clients = append(clients, c)
	}
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, c := range clients {
		group.Go(func() error {
			_, _, err := b.timed(ctx, c, app, "update", "")
			return err
		})
	}
	err = group.Wait()
	return time.Since(began), err
}
