package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stasis/integration/standin"
)

const adminToken = "integration-admin-token"

// daemon is one `stasis serve`, restartable on the same data and port.
type daemon struct {
	t    testing.TB
	env  map[string]string
	addr string
	url  string

	ready  string   // the probe that tells readiness
	socket *os.File // a listening socket to pass on, as a service manager does
	cmd    *exec.Cmd
	exited chan error
	log    *logBuffer
}

// logBuffer keeps what the program says, to be shown when a test fails.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.WriteString(line + "\n")
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs the program in front of s with settings (NAME=value), waits until
// it is ready, and stops it when the test ends.
func start(t testing.TB, s *standin.Server, settings ...string) *daemon {
	t.Helper()
	d := prepare(t, s, settings...)
	d.start()
	return d
}

// pair starts a fresh stand-in and the program in front of it.
func pair(t testing.TB, settings ...string) (*standin.Server, *daemon) {
	t.Helper()
	s := standin.Start(t, standin.Options{})
	return s, start(t, s, settings...)
}

// revalidating makes every request ask upstream first, so that a test sees at
// once what upstream's state leads to.
var revalidating = []string{"PROXY_METADATA_TTL=0", "PROXY_STALE_WHILE_REVALIDATE=0", "PROXY_NEGATIVE_TTL=0", "PROXY_REVALIDATE_WAIT=30"}

func prepare(t testing.TB, s *standin.Server, settings ...string) *daemon {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = free.Close()
	d := &daemon{t: t, addr: addr, url: "http://" + addr, ready: "/readyz", log: &logBuffer{}, env: map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "HOST": "127.0.0.1", "PORT": port,
		"STORE_PATH": t.TempDir(), "ADMIN_TOKEN": adminToken, "LOG_FORMAT": "json",
		"PROXY_ALLOWED_HOSTS": "127.0.0.1", "PROXY_FEED_INTERVAL": "0",
		"PROXY_USER_AGENT": "Stasis/{version} (integration test; mailto=nobody@example.org)",
	}}
	if s != nil {
		d.env["PROXY_PACKAGIST_URL"] = s.URL()
	}
	d.set(settings...)
	t.Cleanup(func() {
		d.stop()
		if t.Failed() && d.log.String() != "" {
			text := d.log.String()
			if len(text) > 8000 {
				text = "… " + text[len(text)-8000:]
			}
			t.Logf("the program's log:\n%s", text)
		}
	})
	return d
}

// set changes settings for the next start.
func (d *daemon) set(settings ...string) {
	for _, kv := range settings {
		name, value, _ := strings.Cut(kv, "=")
		d.env[name] = value
	}
}

func (d *daemon) environ() []string {
	out := make([]string, 0, len(d.env))
	for k, v := range d.env {
		out = append(out, k+"="+v)
	}
	return out
}

// start runs the program and returns when its readiness probe answers 200.
func (d *daemon) start() {
	d.t.Helper()
	cmd := exec.Command(binary(d.t), "serve")
	if d.socket != nil {
		// The process that listens must find its own id in the environment.
		cmd = exec.Command("/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve`, binary(d.t))
		cmd.ExtraFiles = []*os.File{d.socket}
	}
	cmd.Env = d.environ()
	cmd.Dir = d.env["HOME"]
	stderr, err := cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatalf("stasis serve does not start: %v", err)
	}
	exited := make(chan error, 1)
	d.cmd, d.exited = cmd, exited
	spoke := make(chan struct{}, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			d.log.add(lines.Text())
			select {
			case spoke <- struct{}{}:
			default:
			}
		}
		exited <- cmd.Wait()
		close(exited)
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx := within(d.t)
	for {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, d.probe()+d.ready, nil)
		if resp, err := probing.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-spoke:
		case <-tick.C:
		case err := <-exited:
			d.cmd = nil
			d.t.Fatalf("stasis serve ended before it was ready: %v\n%s", err, d.log)
		case <-ctx.Done():
			d.t.Fatalf("stasis serve was not ready within %s\n%s", patience, d.log)
		}
	}
}

var probing = &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting()}

func (d *daemon) probe() string {
	if d.env["TLS_CERT_FILE"] != "" {
		return "https://" + d.addr
	}
	return "http://" + d.addr
}

// stop ends the program with SIGTERM and waits for it.
func (d *daemon) stop() { d.end(syscall.SIGTERM) }

// kill ends the program as a crash would.
func (d *daemon) kill() { d.end(syscall.SIGKILL) }

func (d *daemon) end(sig syscall.Signal) {
	d.t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(sig)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-d.exited:
		if err != nil && sig == syscall.SIGTERM {
			d.t.Errorf("stasis serve ended with %v after SIGTERM", err)
		}
	case <-timer.C:
		_ = d.cmd.Process.Kill()
		d.t.Errorf("stasis serve did not end within %s after %v", patience, sig)
		<-d.exited
	}
	d.cmd = nil
}

// died reports whether the program has ended by itself.
func (d *daemon) died() bool {
	select {
	case <-d.exited:
		d.cmd = nil
		return true
	default:
		return false
	}
}

func (d *daemon) restart(settings ...string) {
	d.t.Helper()
	d.stop()
	d.set(settings...)
	d.start()
}

// run executes another command of the program with the same settings.
func (d *daemon) run(args ...string) (string, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(d.t), args...)
	cmd.Env = append(d.environ(), "STASIS_URL="+d.url)
	cmd.Dir = d.env["HOME"]
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("stasis %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}

// peakMemory is the largest resident size the program reached, in KiB, or 0
// where the system does not tell.
func (d *daemon) peakMemory() int {
	if d.cmd == nil {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb
		}
	}
	return 0
}
