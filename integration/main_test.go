package integration_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestMain keeps every connection of the tests themselves on this machine; the
// program under test is kept there by its own configuration.
func TestMain(m *testing.M) {
	dialer := &net.Dialer{}
	http.DefaultTransport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(addr); err != nil || !net.ParseIP(host).IsLoopback() {
			return nil, fmt.Errorf("a test tried to reach %s, which is not this machine", addr)
		}
		return dialer.DialContext(ctx, network, addr)
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is the binary under test, made when the first test needs it.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.path = os.Getenv("STASIS_BINARY"); built.path != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "stasis-integration-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "stasis")
		// As it is released, which also makes the compiler's work for "make build" count.
		args, cgo := []string{"build", "-trimpath", "-o", built.path}, "CGO_ENABLED=0"
		if os.Getenv("STASIS_RACE") == "1" {
			args, cgo = append(args, "-race"), "CGO_ENABLED=1"
		}
		cmd := exec.Command("go", append(args, "stasis/cmd/stasis")...)
		cmd.Env = append(os.Environ(), cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("the program does not build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// patience bounds every wait: long enough for a loaded machine, short enough
// to name the test that hangs.
const patience = 60 * time.Second

// within gives a context that ends with the test or after patience.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls cond until it holds. It is for states of the running
// program that nothing announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s in vain until %s", patience, what)
		}
	}
}
