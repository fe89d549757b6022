package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// bareMain serves, with net/http and nothing else, the ready bytes and headers
// that another server answers at some paths: args are the port, the other
// server's URL, and the paths. It is what Go can do when a program adds nothing.
func bareMain(args []string) int {
	if err := serveBare(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ready is one answer with its header values ready to be assigned.
type ready struct {
	header http.Header
	since  string
	body   []byte
}

func serveBare(args []string) error {
	if len(args) < 3 {
		return errors.New("bare: port, URL and paths are needed")
	}
	answers := map[string]*ready{}
	for _, path := range args[2:] {
		a, err := get(context.Background(), args[1]+path, "Accept-Encoding", "gzip")
		if err != nil {
			return err
		}
		a.header.Del("Date")
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
		answers[path] = &ready{a.header, a.header.Get("Last-Modified"), a.body}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answers[r.URL.Path]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		fresh := r.Header.Get("If-Modified-Since") == a.since
		h := w.Header()
		for k, v := range a.header {
			if fresh && (k == "Content-Length" || k == "Content-Encoding") {
				continue
			}
			h[k] = v
		}
		if fresh {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.body)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	if err != nil {
		return err
	}
	// The timeouts of Stasis, because deadlines are set for every request.
	server := &http.Server{Handler: handler, ErrorLog: log.Default(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	return server.Serve(ln)
}

// bare starts the bare handler for paths of s.
func (b *bench) bare(ctx context.Context, core int, s *stasis, paths ...string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := b.self("bare", core, nil, append([]string{port, s.url}, paths...)...)
	if err != nil {
		return nil, err
	}
	p.url = "http://127.0.0.1:" + port
	return p, p.await(ctx, "/")
}
