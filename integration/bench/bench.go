package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"stasis/integration/standin"
)

// part is one chapter of the measurements.
type part struct {
	name  string
	run   func(ctx context.Context, b *bench, s *section) error
	apart bool // only measured when it is named
}

var parts = []part{
	{name: "metadata", run: metadata},
	{name: "archives", run: archives},
	{name: "applications", run: applications},
	{name: "jobs", run: jobs},
	{name: "firstbyte", run: firstByte},
	{name: "start", run: starts},
	{name: "growth", run: growth, apart: true},
}

func partNames() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

func choose(only string) ([]part, error) {
	var out []part
	if only == "" {
		for _, p := range parts {
			if !p.apart {
				out = append(out, p)
			}
		}
		return out, nil
	}
next:
	for name := range strings.SplitSeq(only, ",") {
		for _, p := range parts {
			if p.name == strings.TrimSpace(name) {
				out = append(out, p)
				continue next
			}
		}
		return nil, fmt.Errorf("there is no part %q; there are %s", name, partNames())
	}
	return out, nil
}

// bench is one run.
type bench struct {
	options
	dir   string // of this run, removed at its end
	quick string // likewise, in memory where the system has such a place
}

// serverCore and clientCore are where "per core" measurements put the two sides.
const (
	anyCore    = -1
	serverCore = 0
	clientCore = 1
)

// measure runs the parts. A part that fails is told in the report, and the
// others are still measured.
func measure(ctx context.Context, o options, selected []part) (*report, error) {
	b := &bench{options: o}
	if err := b.require(); err != nil {
		return nil, err
	}
	var err error
	if b.dir, err = os.MkdirTemp(o.scratch, "stasis-bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // nginx reads in it as somebody else
		return nil, err
	}
	b.quick = b.dir
	if dir, err := os.MkdirTemp(memoryDisk, "stasis-bench-"); err == nil {
		defer os.RemoveAll(dir)
		b.quick = dir
	}
	if b.binary == "" {
		if b.binary, err = b.build(ctx); err != nil {
			return nil, err
		}
	}
	r := &report{options: o, machine: describeMachine(ctx), began: time.Now()}
	var failed error
	for _, p := range selected {
		s := r.section(p.name)
		began := time.Now()
		if s.err = p.run(ctx, b, s); s.err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, s.err))
		}
		s.took = time.Since(began)
		fmt.Fprintf(os.Stderr, "bench: %s took %s\n", p.name, s.took.Round(time.Second))
	}
	r.took = time.Since(r.began)
	return r, failed
}

// require looks for everything that the measurements need.
func (b *bench) require() error {
	if missing := missingTools(); len(missing) > 0 {
		return fmt.Errorf("these are needed and not installed: %s (on Debian: apt-get install composer nginx-light php-cli unzip wrk)", strings.Join(missing, ", "))
	}
	if b.slice != "" {
		return nil
	}
	var ok bool
	if b.slice, ok = standin.SliceDir(); !ok {
		return errors.New("the real slice of the registry (../shared/packagist) is not beside the repository; its documents and archives are what is served")
	}
	return nil
}

func missingTools() (missing []string) {
	if _, err := findNginx(); err != nil {
		missing = append(missing, "nginx")
	}
	for _, tool := range []string{"wrk", "composer", "php", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	return missing
}

// build makes the program as it is released.
func (b *bench) build(ctx context.Context) (string, error) {
	path := filepath.Join(b.dir, "stasis")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "stasis/cmd/stasis")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the program does not build: %w\n%s", err, out)
	}
	return path, nil
}

// memoryDisk is where what clients write goes, so that what is measured does
// not depend on how busy the disk is with that, and where data folders are
// filled that are then copied: on a disk that takes longer than all the rest.
const memoryDisk = "/dev/shm"

// folder makes a new folder in that of this run.
func (b *bench) folder(name string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
