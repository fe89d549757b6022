package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// describeMachine says what the figures were measured on.
func describeMachine(ctx context.Context) []string {
	nginx, _ := findNginx()
	out := []string{
		fmt.Sprintf("%s, %d cores, %s", field("/proc/cpuinfo", "model name"), runtime.NumCPU(), field("/proc/meminfo", "MemTotal")),
		fmt.Sprintf("%s, kernel %s, %s", strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`), firstLine(ctx, "uname", "-r"), runtime.Version()),
		fmt.Sprintf("%s; %s; %s", firstLine(ctx, nginx, "-v"), firstLine(ctx, "composer", "--version", "--no-ansi"), firstLine(ctx, "php", "--version")),
	}
	if commit := firstLine(ctx, "git", "rev-parse", "--short", "HEAD"); commit != "" {
		out = append(out, "Stasis at commit "+commit)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return append(out, "load of the machine before: "+strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
}

// field reads "name : value" or "name=value" from a file.
func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(rest), ":="))
		}
	}
	return "unknown"
}

func firstLine(ctx context.Context, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "COMPOSER_ALLOW_SUPERUSER=1")
	out, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "PHP Warning") && !strings.HasPrefix(line, "Deprec") {
			return line
		}
	}
	return ""
}
