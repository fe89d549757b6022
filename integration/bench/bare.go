package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
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
	file   string // that has the body, too
}

// bySendfile before a path asks for the body to be sent by the kernel.
const bySendfile = "/sendfile"

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
		file := strings.ReplaceAll(path, "/", "_")
		if err := os.WriteFile(file, a.body, 0o600); err != nil {
			return err
		}
		answers[path] = &ready{a.header, a.header.Get("Last-Modified"), a.body, file}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, sendfile := strings.CutPrefix(r.URL.Path, bySendfile)
		a := answers[path]
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
		if sendfile {
			a.copy(w)
			return
		}
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

// copy lets the kernel send the body.
func (a *ready) copy(w io.Writer) {
	f, err := os.Open(a.file)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer f.Close()
	_, _ = io.Copy(w, f)
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
