package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// user is somebody who uses Composer, with a home and a cache of their own.
type user struct{ home, cache string }

// user makes one for whom url is packagist.org.
func (b *bench) user(url string) (*user, error) {
	home, err := os.MkdirTemp(b.quick, "home-")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"config":       map[string]any{"secure-http": false},
		"repositories": map[string]any{"packagist.org": map[string]any{"type": "composer", "url": url}},
	})
	if err != nil {
		return nil, err
	}
	return &user{home, filepath.Join(home, "cache")}, os.WriteFile(filepath.Join(home, "config.json"), config, 0o600)
}

// cool empties the cache.
func (c *user) cool() error { return os.RemoveAll(c.cache) }

// discard removes the user.
func (c *user) discard() error { return os.RemoveAll(c.home) }

// run runs a command of Composer in a project and says how long it took.
func (c *user) run(ctx context.Context, project, command string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "composer", command, "--no-interaction", "--no-progress", "--no-ansi", "--no-scripts", "--no-plugins", "--working-dir="+project)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "COMPOSER_HOME=" + c.home, "COMPOSER_CACHE_DIR=" + c.cache,
		"COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_ROOT_VERSION=1.0.0", "LC_ALL=C.UTF-8", "TZ=UTC",
	}
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = dieTogether()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("composer %s: %w\n%s", command, err, tail(out.Bytes()))
	}
	took := time.Since(began)
	if strings.Contains(out.String(), "could not be fully loaded") {
		return 0, fmt.Errorf("composer %s did not get everything:\n%s", command, tail(out.Bytes()))
	}
	return took, nil
}

func tail(text []byte) []byte { return text[max(0, len(text)-4000):] }

// project makes a folder with an application of the slice, and with a lock file
// unless that is empty.
func (b *bench) project(application, lock string) (string, error) {
	dir, err := os.MkdirTemp(b.quick, "project-")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(b.slice, "projects", application, "composer.json"))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "composer.json"), text, 0o644); err != nil || lock == "" {
		return dir, err
	}
	return dir, os.WriteFile(filepath.Join(dir, "composer.lock"), []byte(lock), 0o644)
}

// timed is one run of Composer in a new project of an application, which is
// removed afterwards. It returns the lock file as well.
func (b *bench) timed(ctx context.Context, c *user, application, command, lock string) (took time.Duration, locked string, err error) {
	dir, err := b.project(application, lock)
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	if took, err = c.run(ctx, dir, command); err != nil {
		return 0, "", fmt.Errorf("%s: %w", application, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "composer.lock"))
	return took, string(text), err
}
