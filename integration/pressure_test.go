package integration_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/integration/load"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// quick holds the latency of a long run against the promise. A short run shares the machine with other tests, and says so
// by saying nothing.
func quick(t testing.TB, r *load.Result) {
	t.Helper()
	if r.Failed > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", r.Failed, r.Sent, r.First)
	}
	if !promise.Full(t) {
		return
	}
	if p99 := r.Quantile(0.99); p99 > 10*time.Millisecond {
		t.Errorf("p99 is %s, want at most 10 ms", p99)
	}
	if p999 := r.Quantile(0.999); p999 > 50*time.Millisecond {
		t.Errorf("p99.9 is %s, want at most 50 ms", p999)
	}
}

func TestHitsAreQuickAtAFixedRate(t *testing.T) {
	s, d := pair(t)
	sh := stock(t, s, d, promise.Rounds(t, 50, 500), 50_000)
	rate := promise.Rounds(t, 500, 2000)
	r := sh.mixed(t, rate, promise.Rounds(t, 4*time.Second, 10*time.Minute))
	quick(t, r)
	promise.Kept(t, promise.Report{
		Promise: "L2", Did: fmt.Sprintf("%d requests a second, open loop: 80 %% answered by 304, 15 %% documents, 5 %% archives", rate), Rounds: r.Sent, Lost: r.Failed,
		Seen: "every answer, compared byte by byte", Metric: d.counted(t, "stasis_http_request_duration_seconds_count"), Figure: r.String(),
	})
}

// TestAHungUpstreamDoesNotSlowHits measures hits with and without clients that wait for an upstream that says nothing,
// one after the other in several rounds.
func TestAHungUpstreamDoesNotSlowHits(t *testing.T) {
	s, d := pair(t)
	sh := stock(t, s, d, 50, 50_000)
	const waiting = 200
	rate := promise.Rounds(t, 300, 1000)
	length := promise.Rounds(t, time.Second, 20*time.Second)
	var without, with []time.Duration
	failed := 0
	for round := range promise.Rounds(t, 1, 7) {
		r := sh.mixed(t, rate, length)
		without = append(without, r.Quantile(0.99))
		failed += r.Failed

		hung := s.Hang("/p2/hung/*")
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan struct{}, waiting)
		for i := range waiting {
			go func() {
				defer func() { gone <- struct{}{} }()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/p2/hung/r%dp%d.json", d.url, round, i), nil)
				if resp, err := wire.RoundTrip(req); err == nil {
					_ = resp.Body.Close()
				}
			}()
		}
		eventually(t, "the misses hang", func() bool { return d.metric("stasis_http_requests_in_flight") > waiting })
		r = sh.mixed(t, rate, length)
		with = append(with, r.Quantile(0.99))
		if failed += r.Failed; r.Failed > 0 {
			t.Errorf("%d hits failed, the first: %v", r.Failed, r.First)
		}
		leave()
		for range waiting {
			<-gone
		}
		hung.Remove()
		d.restart() // the breaker would leave the hung upstream alone, and the next round with it
	}
	slices.Sort(without)
	slices.Sort(with)
	a, b := without[len(without)/2], with[len(with)/2]
	// A client on the same two cores does not tell differences below a millisecond.
	if promise.Full(t) && b > a*11/10 && b-a > time.Millisecond {
		t.Errorf("the p99 of hits goes from %s to %s", a, b)
	}
	promise.Kept(t, promise.Report{
		Promise: "L8", Did: fmt.Sprintf("%d clients wait for a silent upstream while %d hits a second are served", waiting, rate), Rounds: len(with), Lost: failed,
		Seen: "hits as ever", Metric: "stasis_http_requests_in_flight", Figure: fmt.Sprintf("median p99 of hits %s without, %s with them", a, b),
	})
}

// resident is the memory of the program's own that is in use, in KiB, and its resident size, which includes what it maps
// from files; nothing once it has ended.
func (d *daemon) resident() (anonymous, all int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &anonymous)
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &all)
	}
	return anonymous, all
}

// peak samples the memory of the program until stop is called, which returns the highest.
func (d *daemon) peak() (stop func() int) {
	done, highest := make(chan struct{}), make(chan int)
	go func() {
		top := 0
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n, _ := d.resident()
				top = max(top, n)
			case <-done:
				highest <- top
				return
			}
		}
	}()
	return func() int { close(done); return <-highest }
}

func TestMemoryDoesNotGrowWithTheSizeOfArchives(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system does not tell the memory of another process")
	}
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			s, d := pair(t, "STORE_ARCHIVES="+driver)
			size := promise.Rounds(t, int64(40<<20), int64(1<<30))
			sh := stock(t, s, d, 20, 100_000)
			p := s.Publish(standin.Release{Name: "acme/large", Version: "1.0.0", Size: size})
			want := digest(p.Archive)
			link := d.distURL("acme/large", "1.0.0")
			_ = sh.mixed(t, 200, 500*time.Millisecond)
			before, _ := d.resident()
			const clients = 20
			var grew [2]int
			for i := range grew { // cold, then held
				stop := d.peak()
				replies := d.crowd(clients, link)
				for range clients {
					if r := <-replies; r.err != nil || r.status != 200 || r.digest != want {
						t.Errorf("a client got %d, %d bytes, %v", r.status, r.size, r.err)
					}
				}
				grew[i] = (stop() - before) >> 10
			}
			if limit := 64; grew[0] > limit || grew[1] > limit {
				t.Errorf("memory grew by %d MiB cold and %d MiB held, want at most %d", grew[0], grew[1], limit)
			}
			promise.Kept(t, promise.Report{
				Promise: "L5", Did: fmt.Sprintf("%d clients of one archive of %d MiB, %s driver, cold and held", clients, size>>20, driver), Rounds: 2,
				Seen: "the whole archive", Metric: d.counted(t, "process_resident_memory_bytes"),
				Figure: fmt.Sprintf("grew by %d MiB cold, %d MiB held", grew[0], grew[1]),
			})
		})
	}
}

func TestIdleConnectionsCostLittle(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system does not tell the memory of another process")
	}
	s, d := pair(t)
	sh := stock(t, s, d, 20, 10_000)
	n := promise.Rounds(t, 1000, 10_000)
	before, _ := d.resident()
	conns := make([]net.Conn, n)
	report(t, "connections", together(50, func(worker int) error {
		for i := worker; i < n; i += 50 {
			conn, err := net.Dial("tcp", d.addr)
			if err != nil {
				return err
			}
			conns[i] = conn
			if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			if _, err := conn.Read(make([]byte, 1024)); err != nil {
				return err
			}
		}
		return nil
	}))
	after, _ := d.resident()
	r := sh.mixed(t, promise.Rounds(t, 200, 2000), promise.Rounds(t, time.Second, 30*time.Second))
	quick(t, r)
	for _, conn := range conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	each := float64(after-before) / float64(n)
	if each > 20.48 { // 200 MiB for 10,000
		t.Errorf("each of %d idle connections takes %.1f KiB", n, each)
	}
	promise.Kept(t, promise.Report{
		Promise: "L5", Did: "idle connections kept open", Rounds: n, Lost: r.Failed, Seen: "hits as ever", Metric: d.counted(t, "go_goroutines"),
		Figure: fmt.Sprintf("%.1f KiB each; meanwhile %s", each, r),
	})
}

// TestSlowHeadersHoldNobodyUp opens connections that send a byte of a header now and then, as long as they are let.
func TestSlowHeadersHoldNobodyUp(t *testing.T) {
	s, d := pair(t)
	sh := stock(t, s, d, 50, 50_000)
	n := promise.Rounds(t, 300, 2000)
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	cut := make(chan struct{}, n)
	for _, conn := range conns {
		go func() {
			// Each is its own clock: a byte a second, until it is cut off.
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			if _, err := io.WriteString(conn, "GET /packages.json HTTP/1.1\r\nHost: x\r\nX-Slow: "); err == nil {
				for range tick.C {
					_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
					_, err := conn.Read(make([]byte, 1))
					if closed := err != nil && !os.IsTimeout(err); closed {
						break
					}
					if _, err := io.WriteString(conn, "x"); err != nil {
						break
					}
				}
			}
			cut <- struct{}{}
		}()
	}
	r := sh.mixed(t, promise.Rounds(t, 300, 2000), promise.Rounds(t, 2*time.Second, 8*time.Second))
	quick(t, r)
	ctx := within(t)
	for i := range n {
		select {
		case <-cut:
		case <-ctx.Done():
			t.Fatalf("%d of %d slow connections are still open", n-i, n)
		}
	}
	promise.Kept(t, promise.Report{
		Promise: "B11", Did: "connections that send a header byte a second (slow loris)", Rounds: n, Lost: r.Failed,
		Seen: "the slow ones are cut off after 10 s, the others are served as ever", Metric: d.counted(t, "process_open_fds"), Figure: r.String(),
	})
}
