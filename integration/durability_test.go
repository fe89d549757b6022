package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stasis/integration/promise"
	"stasis/integration/standin"
)

func TestARestartKeepsEverything(t *testing.T) {
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			s, d := pair(t, "STORE_ARCHIVES="+driver)
			made(s)
			paths := []string{"/packages.json", "/packages/list.json", "/lists/all/summary.json"}
			for _, name := range names(s) {
				paths = append(paths, "/p2/"+name+".json", "/p2/"+name+"~dev.json")
				for _, file := range []string{name, name + "~dev"} {
					for _, v := range d.document(file).Versions {
						if raw := v.Get("dist"); raw != nil && string(raw) != "null" {
							paths = append(paths, strings.TrimPrefix(d.distURL(name, v.Text("version")), d.url))
						}
					}
				}
			}
			want := map[string]*reply{}
			for _, path := range paths {
				want[path] = d.get(path)
				if want[path].StatusCode != 200 {
					t.Fatalf("%s: %d %.200s", path, want[path].StatusCode, want[path].body)
				}
			}
			s.Down()
			d.restart()
			for _, path := range paths {
				r := d.get(path)
				if r.StatusCode != 200 || !bytes.Equal(r.body, want[path].body) || r.Header.Get("Last-Modified") != want[path].Header.Get("Last-Modified") && !strings.HasPrefix(path, "/dist-proxy/") {
					t.Errorf("%s after the restart: %d with %d bytes, before %d bytes", path, r.StatusCode, len(r.body), len(want[path].body))
				}
			}
			if n := s.Total(); n == 0 {
				t.Error("the stand-in counts nothing")
			}
		})
	}
}

// TestAKilledProgramLosesNothingItPromised kills the program in the middle of a storm, again and again, and lets it verify
// its store each time.
func TestAKilledProgramLosesNothingItPromised(t *testing.T) {
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			s := standin.Start(t, standin.Options{})
			st := newStorm(t, s, 30)
			d := start(t, s, "STORE_ARCHIVES="+driver, "PROXY_METADATA_TTL=0", "PROXY_STALE_WHILE_REVALIDATE=1", "PROXY_SNAPSHOT_SETTLE=0")
			rounds, lost, slowest := promise.Rounds(t, 4, 250), 0, time.Duration(0)
			for round := range rounds {
				ctx, calm := context.WithCancel(t.Context())
				over := make(chan struct{})
				go func() { st.blow(ctx, d); close(over) }()
				if err := st.await(within(t), 1+st.draw(200)); err != nil {
					t.Fatal(err)
				}
				d.kill()
				calm()
				<-over
				out, err := d.run("verify")
				if err != nil {
					t.Errorf("round %d: %v\n%s", round, err, out)
					lost++
				}
				began := time.Now()
				d.start()
				slowest = max(slowest, time.Since(began))
				lost += st.lost(d, st.promised())
				st.settle(d)
				if round == rounds-1 {
					t.Logf("stasis verify says: %s", out)
				}
			}
			st.whole(d)
			if promise.Full(t) && slowest > 2*time.Second {
				t.Errorf("the slowest start took %s, want at most 2 s", slowest)
			}
			promise.Kept(t, promise.Report{
				Promise: "F4", Did: "kill -9 under mixed load, " + driver + " driver; stasis verify after each", Rounds: rounds, Lost: lost + st.wrong,
				Seen: "a broken connection, then everything as acknowledged", Metric: d.counted(t, "process_start_time_seconds"),
				Figure: fmt.Sprintf("%d answers and %d promises compared; the slowest start until ready took %s", st.count, len(st.acks), slowest.Round(time.Millisecond)),
			})
		})
	}
}

func TestASecondProgramIsRefused(t *testing.T) {
	s, d := pair(t)
	other := prepare(t, s, "STORE_PATH="+d.env["STORE_PATH"])
	out, err := other.run("serve")
	if err == nil {
		t.Fatal("two programs serve from one folder")
	}
	if !strings.Contains(out, d.env["STORE_PATH"]) {
		t.Errorf("the sentence does not name the folder:\n%s", out)
	}
	made(s)
	if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
		t.Errorf("the first is disturbed: %d", r.StatusCode)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// diskUse is what the files of a folder occupy, as du counts.
func diskUse(t testing.TB, dir string) int64 {
	t.Helper()
	var total int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go while the program runs
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += stat.Blocks * 512
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// TestTheCacheLimitHoldsOnDisk streams ten times the limit through the program
// and measures what its folder settles at.
func TestTheCacheLimitHoldsOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("640 MB through a limit of 64 MB are left out of short runs")
	}
	for driver, factor := range map[string]float64{"badger": 1.6, "files": 1.1} {
		t.Run(driver, func(t *testing.T) {
			s, d := pair(t, "STORE_ARCHIVES="+driver, "PROXY_MAX_CACHE_SIZE=64MB", "PROXY_CLEANUP_INTERVAL=1")
			const limit = 64_000_000
			for i := range 64 {
				name := fmt.Sprintf("bulk/p%d", i)
				p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 10_000_000})
				if r := d.archive(name, "1.0.0"); r.StatusCode != 200 || len(r.body) != len(p.Archive) {
					t.Fatalf("%s: %d with %d bytes", name, r.StatusCode, len(r.body))
				}
				s.RemoveArchive(name, p.Reference)
			}
			peak := diskUse(t, d.env["STORE_PATH"])
			eventually(t, fmt.Sprintf("the folder settles at %.1f times the limit", factor), func() bool {
				if r := d.archive("bulk/p63", "1.0.0"); r.StatusCode != 200 {
					t.Errorf("while settling: %d", r.StatusCode)
				}
				return float64(diskUse(t, d.env["STORE_PATH"])) <= factor*limit
			})
			now := diskUse(t, d.env["STORE_PATH"])
			t.Logf("%s: 640 MB through a limit of 64 MB: %d MB just after, settled at %d MB, %.2f times the limit", driver, peak/1e6, now/1e6, float64(now)/limit)
		})
	}
}
