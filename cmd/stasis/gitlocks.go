package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	lockName    = "composer.lock"
	maxLockFile = 32 << 20 // bytes of one revision
)

// walkLocks calls take with every revision of the composer.lock in a folder of a git repository, the oldest first, each
// content once.
//
// The repository may be a stranger's. Only plumbing commands are run, which look at objects and run nothing that the
// repository's configuration names: no hooks, filters, pagers, signature checks or transports.
func walkLocks(ctx context.Context, folder string, take func(lockRevision) error) error {
	if info, err := os.Stat(folder); err != nil {
		return err
	} else if !info.IsDir() {
		return usageError("%s is not a folder", folder)
	}
	list, err := runGit(ctx, folder, "rev-list", "--reverse", "--format=%H %ct", "HEAD", "--", lockName)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		commit, seconds, ok := strings.Cut(lines.Text(), " ")
		if !ok || commit == "commit" {
			continue // the heading of what follows
		}
		unix, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return fmt.Errorf("git gives the commit %s the date %q, which is none", commit, seconds)
		}
		blob, err := lockBlob(ctx, folder, commit)
		if err != nil {
			return err
		}
		if blob == "" || seen[blob] {
			continue // deleted there, or as it was before
		}
		seen[blob] = true
		body, err := runGit(ctx, folder, "cat-file", "blob", blob)
		if err != nil {
			return err
		}
		if err := take(lockRevision{What: commit, At: time.Unix(unix, 0).UTC(), Body: body}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// lockBlob finds the file in a commit; "" when there is none, or none that can be read as a lock file.
func lockBlob(ctx context.Context, folder, commit string) (string, error) {
	entry, err := runGit(ctx, folder, "ls-tree", "-l", commit, "--", lockName)
	if err != nil {
		return "", err
	}
	// "100644 blob <object> <size>\tcomposer.lock"; a link or a submodule has another mode.
	fields := strings.Fields(string(entry))
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "100") || fields[1] != "blob" {
		return "", nil
	}
	if size, err := strconv.ParseInt(fields[3], 10, 64); err != nil || size > maxLockFile {
		return "", fmt.Errorf("the %s of the commit %s is too large (%s bytes)", lockName, commit, fields[3])
	}
	return fields[2], nil
}

// runGit runs git in a folder and returns what it prints.
func runGit(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"--no-pager", "--no-replace-objects", "--literal-pathspecs",
		"-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull, "-c", "protocol.allow=never"}, args...)...)
	cmd.Dir = folder
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "GIT_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	// A repository may lack objects and name a program to fetch them with.
	cmd.Env = append(cmd.Env, "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	var complaint bytes.Buffer
	cmd.Stderr = &limited{w: &complaint, left: 4096}
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the program git is needed for this, and is not installed")
	}
	if err != nil && ctx.Err() == nil {
		reason, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return nil, fmt.Errorf("git %s fails in %s: %w (%s)", args[0], folder, err, printable(reason))
	}
	return out, err
}

// limited passes on the beginning of what is written and drops the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
