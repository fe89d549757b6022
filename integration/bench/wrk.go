package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// rate is what a closed-loop client got out of a server.
type rate struct {
	requests  float64       // per second
	perCore   float64       // per second of the server's processor time
	p99       time.Duration // at this rate
	perSecond float64       // bytes per second of the server's processor time
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s+(\d+) requests in ([\d.]+)(m?s|m), ([\d.]+)([KMGT]?B) read`)
	wrkP99     = regexp.MustCompile(`(?m)^\s+99%\s+([\d.]+)(us|ms|s|m)`)
	wrkTrouble = regexp.MustCompile(`(?m)^\s+(Non-2xx.*|Socket errors.*)$`)
)

// wrk drives url from its own core for as long as a measurement lasts.
func (b *bench) wrk(ctx context.Context, server *process, url string, connections int, header ...string) (rate, error) {
	args := []string{"-c", strconv.Itoa(clientCore), "wrk", "-t1", "-c" + strconv.Itoa(connections),
		"-d" + strconv.Itoa(max(1, int(b.each.Seconds()))) + "s", "--timeout", "60s", "--latency"}
	for i := 0; i+1 < len(header); i += 2 {
		args = append(args, "-H", header[i]+": "+header[i+1])
	}
	before, err := server.cpu()
	if err != nil {
		return rate{}, err
	}
	out, err := exec.CommandContext(ctx, "taskset", append(args, url)...).CombinedOutput()
	if err != nil {
		return rate{}, fmt.Errorf("wrk %s: %w\n%s", url, err, out)
	}
	after, err := server.cpu()
	if err != nil {
		return rate{}, err
	}
	total, slow := wrkTotal.FindSubmatch(out), wrkP99.FindSubmatch(out)
	if trouble := wrkTrouble.Find(out); total == nil || slow == nil || trouble != nil {
		return rate{}, fmt.Errorf("wrk %s did not get what it asked for:\n%s", url, out)
	}
	n, _ := strconv.ParseFloat(string(total[1]), 64)
	took := spell(total[2], total[3])
	bytes, _ := strconv.ParseFloat(string(total[4]), 64)
	bytes *= map[string]float64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}[string(total[5])]
	used := (after - before).Seconds()
	if n == 0 || used <= 0 {
		return rate{}, fmt.Errorf("wrk %s: nothing was measured:\n%s", url, out)
	}
	return rate{requests: n / took.Seconds(), perCore: n / used, p99: spell(slow[1], slow[2]), perSecond: bytes / used}, nil
}

// spell reads wrk's durations.
func spell(number, unit []byte) time.Duration {
	f, _ := strconv.ParseFloat(string(number), 64)
	return time.Duration(f * float64(map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute}[string(unit)]))
}
