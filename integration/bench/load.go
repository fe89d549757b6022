package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// latencies is what the open-loop client found.
type latencies struct {
	Requests int
	Failures int
	Problem  string // the first of them
	Seconds  float64
	Bytes    int64
	P50      time.Duration
	P99      time.Duration
	P999     time.Duration
}

// loadMain is the open-loop client: requests begin at a fixed rate whether or
// not earlier ones were answered, each takes a free one of a fixed number of
// connections or waits for one, and its latency is counted from the moment at
// which it should have begun. So a stall of the server is felt by every
// request that falls into it. With -rate 0 the loop is closed: each connection
// asks again when it has read everything, in large steps.
func loadMain(args []string) int {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	var l loader
	flags.Float64Var(&l.rate, "rate", 0, "requests per second")
	flags.IntVar(&l.connections, "connections", 64, "connections")
	flags.DurationVar(&l.lasts, "lasts", time.Second, "how long")
	status := flags.Int("status", 200, "the status that is right")
	header := flags.String("header", "", "header lines, separated by |")
	paths := flags.String("paths", "", "a file with one path a line, asked for in turn; without it the URL's")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	out, err := l.run(flags.Arg(0), *paths, *header, *status)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type loader struct {
	rate        float64
	connections int
	lasts       time.Duration

	status   []byte // the status line that is right begins like this
	addr     string
	requests [][]byte
}

func (l *loader) run(target, list, header string, status int) (latencies, error) {
	u, err := url.Parse(target)
	if err != nil {
		return latencies{}, err
	}
	paths := []string{u.RequestURI()}
	if list != "" {
		text, err := os.ReadFile(list)
		if err != nil {
			return latencies{}, err
		}
		paths = strings.Fields(string(text))
	}
	lines := ""
	if header != "" {
		lines = strings.ReplaceAll(header, "|", "\r\n") + "\r\n"
	}
	for _, p := range paths {
		l.requests = append(l.requests, []byte("GET "+p+" HTTP/1.1\r\nHost: "+u.Host+"\r\n"+lines+"\r\n"))
	}
	l.addr, l.status = u.Host, []byte("HTTP/1.1 "+strconv.Itoa(status)+" ")
	return l.drive()
}

// due is a request that should begin at a moment.
type due struct {
	n  int
	at time.Time
}

func (l *loader) drive() (latencies, error) {
	var clients []*client
	for range l.connections {
		c := &client{l: l}
		defer c.close()
		if err := c.connect(); err != nil {
			return latencies{}, err
		}
		clients = append(clients, c)
	}
	// Room for everything, so that the clock is never held up.
	queue := make(chan due, int(l.rate*l.lasts.Seconds())+1)
	began := time.Now()
	end := began.Add(l.lasts)
	var work sync.WaitGroup
	for i, c := range clients {
		work.Go(func() {
			if l.rate > 0 {
				for d := range queue {
					c.ask(d)
				}
				return
			}
			for n := i; ; n += len(clients) { // at least once
				c.ask(due{n, time.Now()})
				if !time.Now().Before(end) {
					return
				}
			}
		})
	}
	if l.rate > 0 {
		if err := l.clock(queue, began); err != nil {
			return latencies{}, err
		}
	}
	close(queue)
	work.Wait()
	return collect(clients, time.Since(began)), nil
}

// clock puts requests into the queue at their times.
func (l *loader) clock(queue chan<- due, began time.Time) error {
	every := time.Duration(float64(time.Second) / l.rate)
	t, err := newTicker(every)
	if err != nil {
		return err
	}
	defer t.close()
	for n := 0; time.Duration(n)*every < l.lasts; {
		ticks, err := t.wait()
		if err != nil {
			return err
		}
		for range ticks {
			queue <- due{n, began.Add(time.Duration(n+1) * every)}
			if n++; n == cap(queue) {
				return nil
			}
		}
	}
	return nil
}

func collect(clients []*client, took time.Duration) latencies {
	out := latencies{Seconds: took.Seconds()}
	var all []time.Duration
	for _, c := range clients {
		all = append(all, c.took...)
		out.Bytes += c.bytes
		out.Failures += c.failures
		if out.Problem == "" && c.problem != nil {
			out.Problem = c.problem.Error()
		}
	}
	out.Requests = len(all)
	if len(all) == 0 {
		return out
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(int(q*float64(len(all))), len(all)-1)] }
	out.P50, out.P99, out.P999 = at(.5), at(.99), at(.999)
	return out
}

// client is one connection, spoken to in plain HTTP/1.1.
type client struct {
	l        *loader
	conn     net.Conn
	in       *bufio.Reader
	took     []time.Duration
	bytes    int64
	failures int
	problem  error
}

func (c *client) connect() error {
	conn, err := net.Dial("tcp", c.l.addr)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 256<<10)
	return nil
}

func (c *client) close() { _ = c.conn.Close() }

func (c *client) ask(d due) {
	if err := c.exchange(c.l.requests[d.n%len(c.l.requests)]); err != nil {
		c.failures++
		if c.problem == nil {
			c.problem = err
		}
		c.close()
		_ = c.connect() // if it fails, the next request says so
		return
	}
	c.took = append(c.took, time.Since(d.at))
}

var contentLength = []byte("content-length:")

func (c *client) exchange(request []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	length := int64(0)
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, c.l.status) {
			return fmt.Errorf("%q in place of %q", bytes.TrimSpace(line), c.l.status)
		}
		if len(line) <= 2 {
			break
		}
		if n := len(contentLength); len(line) > n && bytes.EqualFold(line[:n], contentLength) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[n:])), 10, 64); err != nil {
				return err
			}
		}
	}
	n, err := c.in.Discard(int(length))
	c.bytes += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// load runs the client on its own core. A single failure makes the figures
// worthless.
func (b *bench) load(ctx context.Context, args ...string) (latencies, error) {
	path, err := os.Executable()
	if err != nil {
		return latencies{}, err
	}
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(clientCore), path}, args...)...)
	// More threads than cores, so that the clock's is not kept waiting.
	cmd.Env = append(os.Environ(), childVariable+"=load", "GOMAXPROCS=4")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return latencies{}, fmt.Errorf("the open-loop client: %w\n%s", err, stderr.Bytes())
	}
	var found latencies
	if err := json.Unmarshal(out, &found); err != nil {
		return found, fmt.Errorf("the open-loop client said %q: %w", out, err)
	}
	if found.Failures > 0 || found.Requests == 0 {
		return found, fmt.Errorf("the open-loop client (%s) had %d requests answered and %d not: %s",
			strings.Join(args, " "), found.Requests, found.Failures, found.Problem)
	}
	return found, nil
}
