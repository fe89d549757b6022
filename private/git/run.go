package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// call is one run of git.
type call struct {
	args    []string
	dir     string // the repository; "" for none
	env     []string
	config  []setting
	secrets []string // never to be seen in an error
}

// failure is git's own account of what went wrong, made presentable.
type failure struct {
	reason string
	code   int
}

func (f *failure) Error() string { return f.reason }

// patience is how long git may take to end after it was told to.
const patience = 5 * time.Second

// run starts git and lets talk write to it and read all of what it says. When talk returns an error, or the
// context ends, git and everything it started are killed; talk's error, or the context's cause, is
// then the one returned.
func (g *Git) run(ctx context.Context, c call, talk func(in io.WriteCloser, out io.Reader) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(inner, g.binary, c.args...)
	cmd.Dir = g.o.Dir
	cmd.Env = slices.Concat(g.environ, c.env, configured(slices.Concat(always, c.config)...))
	if c.dir != "" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+c.dir)
	}
	cmd.WaitDelay = patience
	ownGroup(cmd)
	var stderr tail
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	talked := talk(in, out)
	in.Close()
	// When git hung up, it says itself why.
	hungUp := errors.Is(talked, io.EOF) || errors.Is(talked, io.ErrUnexpectedEOF)
	if talked != nil && !hungUp {
		cancel()
	}
	err = cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		killGroup(cmd) // git ended, and something it started did not
	}
	switch {
	case talked == nil && err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case talked != nil && (!hungUp || err == nil):
		return talked
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return &failure{reason: explain(stderr.String(), c.secrets), code: code}
}

// output runs git for its answer, which is short.
func (g *Git) output(ctx context.Context, c call) (string, error) {
	var answer []byte
	err := g.run(ctx, c, func(in io.WriteCloser, out io.Reader) (err error) {
		in.Close()
		answer, err = io.ReadAll(io.LimitReader(out, 64<<10))
		return err
	})
	return string(answer), err
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-tailSize):]...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.b, []byte("?"))) }

// known are the ways in which git and ssh say what operators meet most, and what to make of them.
var known = []struct{ says, means string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "the server's host key is not the one that is known; if it was changed on purpose, give the new one"},
	{"Host key verification failed", "the server's host key is not among the known hosts"},
	{"Permission denied (", "the server does not accept the ssh key"},
	{"cannot run ssh", "ssh is not installed"},
	{"error in libcrypto", "the ssh key cannot be used"},
	{"terminal prompts disabled", "the server asks for credentials, or does not accept those it was given"},
	{"Authentication failed", "the server does not accept the credentials"},
	{"returned error: 401", "the server does not accept the credentials"},
	{"returned error: 403", "the server refuses access (403)"},
	{"returned error: 404", "there is no such repository, or it is not shown to these credentials"},
	{"returned error: 429", "the server asks for patience (429)"},
	{"returned error: 30", "the server says that the repository lies elsewhere; give its new address, which often is the old one with .git behind it"},
	{"does not appear to be a git repository", "there is no git repository at that address"},
	{"' not found", "there is no such repository, or it is not shown to these credentials"},
	{"Repository not found", "there is no such repository, or it is not shown to these credentials"},
	{"repository not exported", "the server does not serve that repository"},
	{"Connection timed out", "the server does not answer"},
	{"Connection refused", "the server refuses connections"},
	{"Operation too slow", "the server sends too slowly"},
	{"No space left on device", "there is no space left on the disk"},
}

// explain makes a sentence of what git wrote to its standard error.
func explain(said string, secrets []string) string {
	for _, secret := range secrets {
		said = strings.ReplaceAll(said, secret, "…")
	}
	detail := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(unprinting.ReplaceAllString(line, " "))
		for _, prefix := range []string{"fatal: ", "error: ", "remote: "} {
			if text, ok := strings.CutPrefix(line, prefix); ok && (detail == "" || prefix == "fatal: ") {
				detail = text
			}
		}
	}
	for _, k := range known {
		if strings.Contains(said, k.says) {
			return k.means
		}
	}
	if detail == "" {
		detail = "git failed without saying why"
		if lines := strings.TrimSpace(unprinting.ReplaceAllString(said, " ")); lines != "" {
			detail = lines
		}
	}
	return clip(detail)
}

// clip bounds a text that comes from outside.
func clip(s string) string {
	const enough = 300
	if len(s) <= enough {
		return s
	}
	return strings.ToValidUTF8(s[:enough], "") + "…"
}
