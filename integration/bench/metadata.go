package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// contestants are the servers that answer the same request.
const (
	ours   = "Stasis"
	gonet  = "bare net/http"
	gofile = "bare net/http, sendfile"
	mirror = "nginx static"
	cached = "nginx proxy_cache"
)

// metadata measures answers from memory.
func metadata(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "Hot metadata"
	s.about = "One document, asked for again and again over 64 connections with `Accept-Encoding: gzip`: a real one of about 5 KB, one of about 200 KB, and the former with the `If-Modified-Since` that gives 304. " +
		"The static mirror has Stasis' own answers as files, compressed beforehand (`gzip_static`); the proxy cache has what the stand-in answers."
	up, err := b.registry()
	if err != nil {
		return err
	}
	defer up.Close()
	small := up.documentOf(5 << 10)
	large, err := up.largeDocument("bench/large", 200<<10)
	if err != nil {
		return err
	}
	our, err := b.stasis(ctx, serverCore, up.URL(), "")
	if our != nil {
		defer join(&err, our.stop)
	}
	if err != nil {
		return err
	}
	for _, path := range []string{small, large} {
		if _, err := get(ctx, our.url+path, "Accept-Encoding", "gzip"); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	dir, err := b.folder("mirror")
	if err != nil {
		return err
	}
	if err := mirrorOf(ctx, our, "127.0.0.1:"+port, dir, []string{small, large}); err != nil {
		return err
	}
	ngx, err := b.nginx(ctx, serverCore, up.URL(), dir, port)
	if ngx != nil {
		defer join(&err, ngx.stop)
	}
	if err != nil {
		return err
	}
	plain, err := b.bare(ctx, serverCore, our, small, large)
	if plain != nil {
		defer join(&err, plain.stop)
	}
	if err != nil {
		return err
	}
	servers := []contestant{
		{ours, our.process, our.url, ""}, {gonet, plain, plain.url, ""}, {gofile, plain, plain.url + bySendfile, "200 KB"},
		{mirror, ngx.process, ngx.static, ""}, {cached, ngx.process, ngx.cache, ""},
	}
	loads := []hotLoad{
		{what: "5 KB", path: small, status: http.StatusOK, rate: 4000, overNginx: 0.5},
		{what: "200 KB", path: large, status: http.StatusOK, rate: 1000, overNginx: 0.7},
		{what: "304", path: small, status: http.StatusNotModified, rate: 4000, overNginx: 0.42},
	}
	s.note("At 200 KB most of the work is copying the body into the socket. \"%s\" is the experiment that shows what Go can reach: the same bytes from a file, which the kernel sends without that copy.", gofile)
	return b.hot(ctx, s, servers, loads, func() error { return errors.Join(our.quiet(), ngx.quiet()) })
}

// contestant is a server under one of its addresses.
type contestant struct {
	name string
	*process
	url  string
	only string // the one load that it is for; empty for all
}

type hotLoad struct {
	what      string
	path      string
	status    int
	rate      float64 // of the open loop, requests per second
	overNginx float64 // the goal
}

// headers are what a client sends that wants this status from this server,
// which is asked first so that it is hot.
func (l hotLoad) headers(ctx context.Context, c contestant) ([]string, int, error) {
	headers := []string{"Accept-Encoding", "gzip", "User-Agent", "Composer/2.8.1 (Linux; 6.1.0; PHP 8.3.1; cURL 8.5.0)"}
	a, err := get(ctx, c.url+l.path, headers...)
	if err != nil {
		return nil, 0, err
	}
	if l.status == http.StatusNotModified {
		headers = append(headers, "If-Modified-Since", a.header.Get("Last-Modified"))
		if a, err = get(ctx, c.url+l.path, headers...); err != nil {
			return nil, 0, err
		}
	}
	if a.status != l.status {
		return nil, 0, fmt.Errorf("%s answers %d at %s, not %d", c.name, a.status, l.path, l.status)
	}
	return headers, len(a.body), nil
}

// hot drives every load against every server, in rounds.
func (b *bench) hot(ctx context.Context, s *section, servers []contestant, loads []hotLoad, tidy func() error) error {
	var names []string
	for _, c := range servers {
		names = append(names, c.name)
	}
	size := s.table("Body as it is sent", "bytes", names...)
	perCore := s.table("Requests per second of one core, closed loop, 64 connections", "1/s", names...)
	closed := s.table("99th percentile in the closed loop, each at its own rate", "ms", names...)
	open := s.table("99th percentile at a fixed arrival rate, 64 connections", "ms", names...)
	middle := s.table("Median at a fixed arrival rate, 64 connections", "ms", names...)
	for round := range b.rounds {
		for _, l := range loads {
			for i := range servers {
				c := servers[(i+round)%len(servers)]
				if c.only != "" && c.only != l.what {
					continue
				}
				headers, n, err := l.headers(ctx, c)
				if err != nil {
					return err
				}
				r, err := b.wrk(ctx, c.process, c.url+l.path, 64, headers...)
				if err != nil {
					return err
				}
				lat, err := b.arriving(ctx, l, c.url+l.path, headers)
				if err != nil {
					return err
				}
				size.add(l.what, c.name, float64(n))
				perCore.add(l.what, c.name, r.perCore)
				closed.add(l.what, c.name, milliseconds(r.p99))
				row := fmt.Sprintf("%s, %.0f/s", l.what, l.rate)
				open.add(row, c.name, milliseconds(lat.P99))
				middle.add(row, c.name, milliseconds(lat.P50))
			}
		}
		if err := tidy(); err != nil {
			return err
		}
	}
	for _, l := range loads {
		row := fmt.Sprintf("%s, %.0f/s", l.what, l.rate)
		s.atLeast(l.what+" per core, over bare net/http", 0.95, "×", perCore.ratio(l.what, ours, gonet))
		s.atLeast(l.what+" per core, over nginx static", l.overNginx, "×", perCore.ratio(l.what, ours, mirror))
		s.atMost(l.what+", 99th percentile at "+number(l.rate)+"/s over 64 connections, over nginx static", 1.5, "×", open.ratio(row, ours, mirror))
	}
	return nil
}

// arriving is one run of the open-loop client.
func (b *bench) arriving(ctx context.Context, l hotLoad, url string, headers []string) (latencies, error) {
	return b.load(ctx, "-rate", strconv.FormatFloat(l.rate, 'f', -1, 64), "-connections", "64", "-lasts", b.each.String(),
		"-status", strconv.Itoa(l.status), "-header", headerLines(headers), url)
}

func headerLines(pairs []string) string {
	out := ""
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			out += "|"
		}
		out += pairs[i] + ": " + pairs[i+1]
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// join adds what a deferred call returns to an error.
func join(err *error, end func() error) { *err = errors.Join(*err, end()) }
