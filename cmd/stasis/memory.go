package main

import (
	"io/fs"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"stasis/config"
)

// limitMemory tells the Go runtime how much memory there is, so that it collects garbage before the kernel kills. What
// GOMEMLIMIT says holds when the setting is 0, because the runtime has obeyed it already.
func limitMemory(setting config.Size, root fs.FS, logger *slog.Logger) {
	limit := int64(setting)
	if limit == 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		limit = cgroupMemory(root) / 10 * 9
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
		logger.Debug("memory limit", "bytes", limit)
	}
}

// cgroupMemory returns the smallest memory limit of the control groups this process is in, or 0 without one. The root
// is that of the file system.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(0)
	consider := func(file string) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		// Version 1 says "no limit" with a number close to the largest, version 2 with "max".
		if err == nil && n > 0 && n < math.MaxInt64/2 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // 0::/system.slice/stasis.service, or 4:memory:/docker/…
		if len(parts) != 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if parts[0] != "0" {
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		// In a container the path may be the host's and the file at the top; limits of parents hold too.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			consider(path.Join(base, dir, file))
			if dir == "/" {
				break
			}
		}
	}
	return limit
}
