package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
)

const adminToken = "bench-admin-token"

// stasis is one running `stasis serve`.
type stasis struct {
	*process
	data string // its data folder
}

// stasis starts the program as it is installed: its defaults, an
// administrator's token, and settings (NAME=value) where a measurement needs
// some. data is its folder; without one it gets an empty one.
func (b *bench) stasis(ctx context.Context, core int, upstream, data string, settings ...string) (*stasis, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if data == "" {
		if data, err = b.folder("data"); err != nil {
			return nil, err
		}
	}
	env := append([]string{
		"HOST=127.0.0.1", "PORT=" + port, "STORE_PATH=" + data, "ADMIN_TOKEN=" + adminToken,
		"PROXY_PACKAGIST_URL=" + upstream, "PROXY_ALLOWED_HOSTS=127.0.0.1",
		"PROXY_USER_AGENT=Stasis/{version} (benchmark; mailto=nobody@example.org)",
	}, settings...)
	p, err := b.spawn("stasis", core, env, b.binary, "serve")
	if err != nil {
		return nil, err
	}
	p.url = "http://127.0.0.1:" + port
	return &stasis{p, data}, p.await(ctx, "/readyz")
}

// discard stops it and removes its data folder.
func (s *stasis) discard() error { return errors.Join(s.stop(), os.RemoveAll(s.data)) }

// answered lists the paths that the access log tells were answered with 200.
func (s *stasis) answered() ([]string, error) {
	f, err := os.Open(s.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Msg, Method, Path string
			Status            int
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "request" || line.Method != "GET" || line.Status != 200 || seen[line.Path] {
			continue
		}
		seen[line.Path] = true
		out = append(out, line.Path)
	}
	return out, lines.Err()
}
