package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that is measured from outside.
type process struct {
	name   string
	url    string
	log    string // what it says, its access log included
	cmd    *exec.Cmd
	exited chan struct{}
}

// spawn starts a command, on one core if core is not anyCore. What it says goes
// to a file.
func (b *bench) spawn(name string, core int, env []string, argv ...string) (*process, error) {
	if core != anyCore {
		argv = append([]string{"taskset", "-c", strconv.Itoa(core)}, argv...)
	}
	dir, err := b.folder(name)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	// Appended, so that the file can be emptied meanwhile.
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env, p.cmd.Dir = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...), dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = dieTogether()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// await returns when path is answered at all, or with 200 if it is a probe.
func (p *process) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := probe(ctx, p.url+path); err == nil && status < 500 {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("%s ended before it answered:\n%s", p.name, p.said())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer at %s:\n%s", p.name, p.url+path, p.said()), p.stop())
		}
	}
}

var probing = &http.Transport{DisableKeepAlives: true}

func probe(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := probing.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// said is the end of what the process said.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// stop ends the process with SIGTERM, or harder if that does not help.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(40 * time.Second)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not end after SIGTERM", p.name)
	}
}

// pids are the process and its children, such as nginx's workers.
func (p *process) pids() []int {
	pid := p.cmd.Process.Pid
	out := []int{pid}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			out = append(out, child)
		}
	}
	return out
}

// cpu is the processor time used so far, in steps of 10 ms.
func (p *process) cpu() (time.Duration, error) {
	var total time.Duration
	for _, pid := range p.pids() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
		}
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		total += time.Duration(user+system) * 10 * time.Millisecond
	}
	return total, nil
}

// status is a line of /proc/PID/status that counts KiB, in bytes.
func (p *process) status(name string) (int64, error) {
	pid := p.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no line %s", pid, name)
}

// forgetPeak lets VmHWM begin anew.
func (p *process) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// quiet empties the log, so that long runs do not fill the disk.
func (p *process) quiet() error { return os.Truncate(p.log, 0) }

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// self runs this program as one of its children.
func (b *bench) self(child string, core int, env []string, args ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.spawn(child, core, append(env, childVariable+"="+child), append([]string{path}, args...)...)
}
