package integration_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

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

// TestAKilledProgramLosesNothingItPromised kills the program in the middle of a
// storm of downloads, several times, and lets it verify its store each time.
func TestAKilledProgramLosesNothingItPromised(t *testing.T) {
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			s := standin.Start(t, standin.Options{})
			archives := map[string][]byte{}
			for i := range 60 {
				name := fmt.Sprintf("storm/p%d", i)
				archives[name] = s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: int64(100_000 + i*8_000)}).Archive
			}
			d := start(t, s, "STORE_ARCHIVES="+driver)
			for round := range 3 {
				frozen := fmt.Sprintf("storm/p%d", round)
				_ = d.document(frozen)
				if r := d.do(http.MethodPost, "/api/v1/proxy/freeze/"+frozen, nil, "Authorization", "Bearer "+adminToken); r.StatusCode/100 != 2 {
					t.Fatalf("freeze: %d %s", r.StatusCode, r.body)
				}
				s.Forget()
				var wg sync.WaitGroup
				for worker := range 12 {
					wg.Go(func() {
						for i := range 20 {
							name := fmt.Sprintf("storm/p%d", round*20+(worker*7+i)%20)
							if r, err := d.try(http.MethodGet, "/p2/"+name+".json", nil); err != nil || r.StatusCode != 200 {
								return
							}
							if r, err := d.try(http.MethodGet, "/dist-proxy/"+name+"/1.0.0.0/"+reference(name)+".zip", nil); err != nil || r.StatusCode != 200 {
								return
							}
						}
					})
				}
				if err := s.AwaitDone(within(t), "*/legacy.zip/*", 5+round*3); err != nil {
					t.Fatal(err)
				}
				d.kill()
				wg.Wait()
				if out, err := d.run("verify"); err != nil {
					t.Errorf("round %d: %v\n%s", round, err, out)
				} else if round == 0 {
					t.Logf("stasis verify says:\n%s", out)
				}
				d.start()
				list := d.get("/api/v1/proxy/frozen", "Authorization", "Bearer "+adminToken)
				if !strings.Contains(string(list.body), `"`+frozen+`"`) {
					t.Errorf("round %d: the freeze of %s is lost: %s", round, frozen, list.body)
				}
			}
			for name, want := range archives {
				r := d.archive(name, "1.0.0")
				if r.StatusCode != 200 || !bytes.Equal(r.body, want) {
					t.Errorf("%s after the storms: %d with %d bytes, want %d", name, r.StatusCode, len(r.body), len(want))
				}
			}
		})
	}
}

// reference is the made-up commit of version 1.0.0 of a storm package.
func reference(name string) string { return standin.MadeReference(name, "1.0.0", "") }

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
