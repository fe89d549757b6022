package integration_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var fenced = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

// chapter is a block of commands and what the document says that they print.
type chapter struct{ commands, prints string }

// story reads the chapters below a heading of a document.
func story(t testing.TB, path, heading string) []chapter {
	t.Helper()
	_, text, ok := strings.Cut(string(read(t, path)), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", path, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var out []chapter
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		switch {
		case m[1] == "sh":
			out = append(out, chapter{commands: m[2]})
		case len(out) == 0 || out[len(out)-1].prints != "":
			t.Fatalf("this output belongs to no commands:\n%s", m[2])
		default:
			out[len(out)-1].prints = m[2]
		}
	}
	return out
}

// printed reports whether text is what a pattern says, "…" standing for anything.
func printed(pattern, text string) bool {
	parts := strings.Split(strings.TrimSpace(pattern), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	body := strings.TrimSpace(strings.ReplaceAll(text, "\r", ""))
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, `.*`) + `\z`).MatchString(body)
}

// TestTheStoryOfTheTimeMachine runs the story of docs/time-machine.md from the
// text of the document, on other ports, and compares what it prints.
func TestTheStoryOfTheTimeMachine(t *testing.T) {
	composers(t)
	chapters := story(t, filepath.Join("..", "docs", "time-machine.md"), "## A story to run")
	home, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(binary(t), filepath.Join(bin, "stasis")); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -e\n")
	for i, c := range chapters {
		fmt.Fprintf(&script, "exec > %s 2>&1\n%s", filepath.Join(home, fmt.Sprintf("chapter-%d", i)), c.commands)
	}
	text := script.String()
	for _, port := range []string{"8100", "8080"} {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, other, _ := net.SplitHostPort(free.Addr().String())
		_ = free.Close()
		text = strings.ReplaceAll(text, port, other)
	}
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir = home
	cmd.Env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "HOST=127.0.0.1", "LC_ALL=C.UTF-8", "TZ=UTC",
		"COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_NO_INTERACTION=1", "COMPOSER_NO_AUDIT=1", "GIT_CONFIG_NOSYSTEM=1",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }() // what a broken story left running
	err := cmd.Wait()
	for i, c := range chapters {
		body, missing := os.ReadFile(filepath.Join(home, fmt.Sprintf("chapter-%d", i)))
		if missing != nil {
			t.Errorf("the story broke off before:\n%s", c.commands)
			break
		}
		if c.prints != "" && !printed(c.prints, string(body)) {
			t.Errorf("these commands:\n%s\nprint:\n%s\nwant:\n%s", c.commands, body, c.prints)
		} else if i == len(chapters)-1 || err != nil {
			t.Logf("the end: %s", body)
		}
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(home, "stasis-story", "stasis.log"))
		t.Errorf("the story ended with %v: %s\n%s", err, said.String(), log)
	}
}
