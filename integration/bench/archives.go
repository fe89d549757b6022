package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

// The archive drivers that take turns with nginx.
const (
	badgerDriver = "Stasis, badger"
	filesDriver  = "Stasis, files"
)

// body is an archive that is downloaded again and again.
type body struct {
	what        string
	path        string
	connections int
	size        int64
}

// archives measures downloads of archives that are held.
func archives(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "Hot archives"
	s.about = "One archive, downloaded again and again: a real one of about 100 KB over 64 connections, one of 5 MB over 16 and one of " +
		megabytes(b.scale.largest) + " over 4. nginx sends the same files with sendfile. The client reads in large steps (the open-loop client with its loop closed), because wrk's steps of 8 KB make it the slower side."
	up, err := b.registry()
	if err != nil {
		return err
	}
	defer up.Close()
	bodies := []*body{{what: "100 KB", connections: 64, size: 100 << 10}, {what: "5 MB", connections: 16, size: 5 << 20}, {what: megabytes(b.scale.largest), connections: 4, size: b.scale.largest}}
	for i, body := range bodies {
		if body.path, err = up.archive(fmt.Sprintf("bench/archive%d", i), body.size); err != nil {
			return err
		}
	}
	var paths []string
	for _, body := range bodies {
		paths = append(paths, body.path)
	}
	badger, err := b.stasis(ctx, serverCore, up.URL(), "")
	if badger != nil {
		defer join(&err, badger.stop)
	}
	if err != nil {
		return err
	}
	files, err := b.stasis(ctx, serverCore, up.URL(), "", "STORE_ARCHIVES=files")
	if files != nil {
		defer join(&err, files.stop)
	}
	if err != nil {
		return err
	}
	// What follows is twice: the first download fetches from upstream, the
	// second is from the store.
	dir, err := b.folder("mirror")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	for range 2 {
		for _, our := range []*stasis{badger, files} {
			if err := mirrorOf(ctx, our, "127.0.0.1:"+port, dir, paths); err != nil {
				return err
			}
		}
	}
	ngx, err := b.nginx(ctx, serverCore, "", dir, port)
	if ngx != nil {
		defer join(&err, ngx.stop)
	}
	if err != nil {
		return err
	}
	servers := []contestant{{badgerDriver, badger.process, badger.url, ""}, {filesDriver, files.process, files.url, ""}, {mirror, ngx.process, ngx.static, ""}}
	if err := b.downloads(ctx, s, servers, bodies, func() error { return errors.Join(badger.quiet(), files.quiet(), ngx.quiet()) }); err != nil {
		return err
	}
	return b.memoryOfDownloads(ctx, s, servers[:2], bodies[2])
}

// downloads drives every body from every server, in rounds.
func (b *bench) downloads(ctx context.Context, s *section, servers []contestant, bodies []*body, tidy func() error) error {
	var names []string
	for _, c := range servers {
		names = append(names, c.name)
	}
	perCore := s.table("Bytes per second of one core, closed loop", "MB/s", names...)
	plain := s.table("Bytes per second, server and client on one core each", "MB/s", names...)
	for round := range b.rounds {
		for _, body := range bodies {
			for i := range servers {
				c := servers[(i+round)%len(servers)]
				before, err := c.cpu()
				if err != nil {
					return err
				}
				lat, err := b.load(ctx, "-connections", strconv.Itoa(body.connections), "-lasts", b.each.String(), c.url+body.path)
				if err != nil {
					return err
				}
				after, err := c.cpu()
				if err != nil {
					return err
				}
				perCore.add(body.what, c.name, float64(lat.Bytes)/1e6/(after-before).Seconds())
				plain.add(body.what, c.name, float64(lat.Bytes)/1e6/lat.Seconds)
			}
		}
		if err := tidy(); err != nil {
			return err
		}
	}
	for i, body := range bodies {
		small := i == 0
		overBadger := 0.4
		if small {
			overBadger = 0.8
		}
		s.atLeast(body.what+" archive per core, files driver over nginx", 0.8, "×", perCore.ratio(body.what, filesDriver, mirror))
		s.atLeast(body.what+" archive per core, Badger driver over nginx", overBadger, "×", perCore.ratio(body.what, badgerDriver, mirror))
	}
	return nil
}

// crowd is how many clients download the largest archive at once.
const crowd = 20

// memoryOfDownloads lets many clients download slowly and looks at the
// resident memory.
func (b *bench) memoryOfDownloads(ctx context.Context, s *section, servers []contestant, largest *body) error {
	t := s.table(fmt.Sprintf("Growth of resident memory per download, %d at once of %s", crowd, largest.what), "MB", badgerDriver, filesDriver)
	for range b.rounds {
		for _, c := range servers {
			grew, err := b.growthPerDownload(ctx, c, largest.path)
			if err != nil {
				return err
			}
			t.add(largest.what, c.name, float64(grew)/1e6)
		}
	}
	for _, name := range []string{badgerDriver, filesDriver} {
		s.atMost(fmt.Sprintf("memory per concurrent %s download, %s", largest.what, name[len("Stasis, "):]), 2, " MB", t.values(largest.what, name))
	}
	return nil
}

func (b *bench) growthPerDownload(ctx context.Context, c contestant, path string) (int64, error) {
	before, err := c.status("VmRSS")
	if err != nil {
		return 0, err
	}
	if err := c.forgetPeak(); err != nil {
		return 0, err
	}
	if _, err := b.load(ctx, "-connections", strconv.Itoa(crowd), "-lasts", "1ms", c.url+path); err != nil {
		return 0, err
	}
	peak, err := c.status("VmHWM")
	return max(0, peak-before) / crowd, err
}

// firstByte measures how long clients of a large archive that is not held wait
// for its first byte.
func firstByte(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "First byte of a cold archive"
	s.about = fmt.Sprintf("An archive of %s that Stasis does not hold, from an origin that takes %s to answer each of its two requests (the redirect and the archive). Five clients ask at the same moment, a sixth when the first has its first byte.",
		megabytes(b.scale.largest), b.scale.delay)
	up, err := b.registry()
	if err != nil {
		return err
	}
	defer up.Close()
	t := s.table("Time to the first byte", "ms", "origin, directly", "first client", "fifth client", "client that comes later")
	for _, driver := range []string{"badger", "files"} {
		for round := range b.rounds {
			name := fmt.Sprintf("bench/cold%s%d", driver, round)
			path, err := up.archive(name, b.scale.largest)
			if err != nil {
				return err
			}
			if err := b.coldDownload(ctx, t, up, driver, name, path); err != nil {
				return err
			}
		}
	}
	for _, driver := range t.rows {
		for _, c := range t.columns[1:] {
			var over []float64
			origin, got := t.values(driver, t.columns[0]), t.values(driver, c)
			for i := range got {
				base := origin[i]
				if c == t.columns[3] {
					base = 0
				}
				over = append(over, got[i]-base)
			}
			text := fmt.Sprintf("first byte of a cold %s archive over the origin's, %s, %s", megabytes(b.scale.largest), driver, c)
			if c == t.columns[3] {
				text = fmt.Sprintf("first byte of a %s archive that is being fetched, %s", megabytes(b.scale.largest), driver)
			}
			s.atMost(text, 20, " ms", over)
		}
	}
	return nil
}

func (b *bench) coldDownload(ctx context.Context, t *table, up *registry, driver, name, path string) (err error) {
	our, err := b.stasis(ctx, anyCore, up.URL(), "", "STORE_ARCHIVES="+driver)
	if our != nil {
		defer os.RemoveAll(our.data)
		defer join(&err, our.stop)
	}
	if err != nil {
		return err
	}
	// Composer has asked for the metadata before it asks for archives.
	if _, err := get(ctx, our.url+"/p2/"+name+".json"); err != nil {
		return err
	}
	slow := up.slow(b.scale.delay)
	defer slow.Remove()
	direct, err := ttfb(ctx, up.origin(name), nil)
	if err != nil {
		return err
	}
	type result struct {
		took time.Duration
		err  error
	}
	results := make(chan result, 6)
	began := make(chan struct{}, 5)
	for range 5 {
		go func() {
			took, err := ttfb(ctx, our.url+path, began)
			results <- result{took, err}
		}()
	}
	select {
	case <-began:
	case <-ctx.Done():
		return ctx.Err()
	}
	later, err := ttfb(ctx, our.url+path, nil)
	var first, last time.Duration
	for i := range 5 {
		r := <-results
		err = errors.Join(err, r.err)
		if i == 0 || r.took < first {
			first = r.took
		}
		last = max(last, r.took)
	}
	if err != nil {
		return err
	}
	for i, d := range []time.Duration{direct, first, last, later} {
		t.add(driver, t.columns[i], milliseconds(d))
	}
	return nil
}

// ttfb is the time until the first byte of an archive, which is then read to
// its end. begun hears of the first byte.
func ttfb(ctx context.Context, url string, begun chan<- struct{}) (time.Duration, error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	buf := make([]byte, 256<<10)
	n, err := resp.Body.Read(buf)
	took := time.Since(began)
	if begun != nil {
		begun <- struct{}{}
	}
	size := int64(n)
	for err == nil {
		n, err = resp.Body.Read(buf)
		size += int64(n)
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength >= 0 && size != resp.ContentLength {
		return 0, fmt.Errorf("GET %s: status %d, %d of %d bytes: %w", url, resp.StatusCode, size, resp.ContentLength, err)
	}
	return took, nil
}

func megabytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MB" }
