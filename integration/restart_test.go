package integration_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"stasis/integration/load"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// TestNobodyIsRefusedDuringARestart restarts the program under load while somebody else holds its socket, as systemd does
// with stasis.socket: those who come meanwhile wait.
func TestNobodyIsRefusedDuringARestart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no socket activation on Windows")
	}
	s := standin.Start(t, standin.Options{})
	d := prepare(t, s)
	socket, err := net.Listen("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if d.socket, err = socket.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	defer d.socket.Close()
	d.start()
	sh := stock(t, s, d, 20, 100_000)

	rounds := promise.Rounds(t, 2, 20)
	each := promise.Rounds(t, 3*time.Second, 6*time.Second)
	ended := make(chan *load.Result, 1)
	go func() { ended <- sh.mixed(t, 500, time.Duration(rounds)*each+time.Second) }()
	var slowest time.Duration
	next := time.NewTicker(each)
	defer next.Stop()
	for range rounds {
		<-next.C
		began := time.Now()
		d.restart()
		slowest = max(slowest, time.Since(began))
	}
	result := <-ended
	if result.Failed > 0 {
		t.Errorf("%d requests failed, the first: %v", result.Failed, result.First)
	}
	promise.Kept(t, promise.Report{
		Promise: "F8", Did: "restarts under 500 requests a second, the socket held by the service manager", Rounds: rounds, Lost: result.Failed,
		Seen: "a wait while the program is away", Metric: d.counted(t, "process_start_time_seconds"),
		Figure: fmt.Sprintf("%s; the slowest restart took %s", result, slowest.Round(time.Millisecond)),
	})
}

// TestRunningDownloadsFinishBeforeTheEnd stops the program while clients are in the middle of a cold download.
func TestRunningDownloadsFinishBeforeTheEnd(t *testing.T) {
	s, d := pair(t)
	size := promise.Rounds(t, int64(64<<20), int64(1<<30))
	p := s.Publish(standin.Release{Name: "acme/large", Version: "1.0.0", Size: size})
	link := d.distURL("acme/large", "1.0.0")
	gate := s.HoldAfter("*/legacy.zip/*", int(size/2))
	replies := d.crowd(3, link)
	if err := gate.Wait(within(t), 1); err != nil {
		t.Fatal(err)
	}
	ended := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		d.stop()
		ended <- time.Since(began)
	}()
	eventually(t, "no new connections are taken", func() bool {
		_, err := probing.RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/healthz", nil)))
		return err != nil
	})
	gate.Open()
	lost := 0
	for range 3 {
		if r := <-replies; r.err != nil || r.digest != digest(p.Archive) {
			t.Errorf("a client was cut off by the shutdown: %+v", r)
			lost++
		}
	}
	took := <-ended
	if limit := 30 * time.Second; took > limit {
		t.Errorf("it took %s to end, want at most %s", took, limit)
	}
	promise.Kept(t, promise.Report{
		Promise: "F8", Did: "stop during a cold download by three clients", Rounds: 1, Lost: lost, Seen: "the whole archive",
		Figure: fmt.Sprintf("%d MiB; ended %.1f s after SIGTERM", size>>20, took.Seconds()),
	})
}
