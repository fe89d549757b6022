package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// composer is one Composer installation with a home and a cache of its own,
// so that every client starts cold.
type composer struct {
	t       testing.TB
	command []string
	home    string
	cache   string
	extra   []string // further environment
}

// composers are the commands the client tests run: the one in PATH and those
// of STASIS_COMPOSERS.
func composers(t testing.TB) []string {
	t.Helper()
	var out []string
	if path, err := exec.LookPath("composer"); err == nil {
		out = append(out, path)
	}
	for _, line := range strings.FieldsFunc(os.Getenv("STASIS_COMPOSERS"), func(r rune) bool { return r == '\n' || r == ';' }) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		if os.Getenv("STASIS_REQUIRE_COMPOSER") == "1" {
			t.Fatal("Composer is not installed, and STASIS_REQUIRE_COMPOSER=1 asks for it")
		}
		t.Skip("Composer is not installed: what real clients see is not tested here")
	}
	return out
}

// client makes a cold Composer whose only repository is at url.
func client(t testing.TB, url string) *composer {
	t.Helper()
	return clientOf(t, composers(t)[0], url)
}

func clientOf(t testing.TB, command, url string) *composer {
	t.Helper()
	c := &composer{t: t, command: strings.Fields(command), home: t.TempDir(), cache: t.TempDir()}
	c.use(url)
	return c
}

// use makes url the packagist.org of this client.
func (c *composer) use(url string) {
	c.t.Helper()
	config, err := json.Marshal(map[string]any{
		"config":       map[string]any{"secure-http": false, "allow-plugins": false, "autoloader-suffix": "Integration"},
		"repositories": map[string]any{"packagist.org": map[string]any{"type": "composer", "url": url}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.home, "config.json"), config, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// cool empties the client's cache.
func (c *composer) cool() {
	c.t.Helper()
	if err := os.RemoveAll(c.cache); err != nil {
		c.t.Fatal(err)
	}
}

// output is what a run of Composer printed.
type output struct{ stdout, stderr string }

func (o output) String() string { return o.stdout + o.stderr }

// try runs a Composer command in dir.
func (c *composer) try(dir string, args ...string) (output, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 4*patience)
	defer cancel()
	args = append(append(c.command[1:len(c.command):len(c.command)], args...), "--no-interaction", "--no-plugins", "--no-ansi")
	cmd := exec.CommandContext(ctx, c.command[0], args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "COMPOSER_HOME=" + c.home, "COMPOSER_CACHE_DIR=" + c.cache,
		"COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_ROOT_VERSION=1.0.0", "COMPOSER_NO_AUDIT=1", "LC_ALL=C.UTF-8", "TZ=UTC",
	}, c.extra...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return output{stdout.String(), stderr.String()}, err
}

// run is try that must succeed.
func (c *composer) run(dir string, args ...string) output {
	c.t.Helper()
	out, err := c.try(dir, args...)
	if err != nil {
		c.t.Fatalf("composer %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// project makes a folder with a composer.json and returns its path.
func project(t testing.TB, composerJSON string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "composer.json"), []byte(composerJSON))
	return dir
}

// requiring is a composer.json that requires packages (name, constraint, …).
func requiring(pairs ...string) string {
	require := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		require[pairs[i]] = pairs[i+1]
	}
	b, _ := json.Marshal(map[string]any{"name": "acme/project", "require": require})
	return string(b)
}

func write(t testing.TB, path string, body []byte) {
	t.Helper()
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
