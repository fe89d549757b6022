package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"stasis/store"
)

// TestPowerCut takes instant images of a block device while a child writes to
// the store on it, which is what a power cut leaves: only what was written to
// the device, not what sits in the page cache. The device is an ext4 image on
// an xfs that can share blocks between copies; both are loop mounts, so the
// test needs root, and is asked for by STORE_TEST_POWER_CUT=<rounds>.
func TestPowerCut(t *testing.T) {
	rounds := 0
	if _, err := fmt.Sscan(os.Getenv("STORE_TEST_POWER_CUT"), &rounds); err != nil {
		t.Skip("STORE_TEST_POWER_CUT does not say how many rounds to run")
	}
	base := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	mount := func(image, at string) func() {
		t.Helper()
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		run("mount", "-o", "loop", image, at)
		return func() { run("umount", at) }
	}
	outer := filepath.Join(base, "outer.img")
	run("truncate", "-s", "6G", outer)
	run("mkfs.xfs", "-q", "-m", "reflink=1", outer)
	host := filepath.Join(base, "host")
	t.Cleanup(mount(outer, host))
	for _, c := range []struct {
		name, driver string
		limit        int64
	}{
		{"badger", store.DriverBadger, 1e9},
		{"badger-evicting", store.DriverBadger, 8e6},
		{"files", store.DriverFiles, 1e9},
		{"files-evicting", store.DriverFiles, 8e6},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := filepath.Join(host, c.name+".img")
			run("truncate", "-s", "1G", device)
			run("mkfs.ext4", "-q", device)
			disk := filepath.Join(base, "disk-"+c.name)
			unmount := mount(device, disk)
			defer unmount()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "STORE_TEST_CHILD=write", "STORE_TEST_FOLDER="+filepath.Join(disk, "store"), "STORE_TEST_DRIVER="+c.driver, fmt.Sprint("STORE_TEST_LIMIT=", c.limit))
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				child.Process.Kill() //nolint:errcheck // it has no other end
				child.Wait()         //nolint:errcheck // killed
			}()
			acknowledged := map[[2]int]bool{}
			lines := bufio.NewScanner(out)
			for round := range rounds {
				for range 23 + round%5*11 {
					var ack [2]int
					if !lines.Scan() {
						t.Fatal("the writer ended")
					}
					if _, err := fmt.Sscan(lines.Text(), &ack[0], &ack[1]); err != nil {
						t.Fatal(err)
					}
					acknowledged[ack] = true
				}
				image := filepath.Join(host, fmt.Sprintf("%s-%d.img", c.name, round))
				run("cp", "--reflink=always", device, image)
				func() {
					copied := filepath.Join(base, fmt.Sprintf("copy-%s-%d", c.name, round))
					defer os.Remove(image)
					defer mount(image, copied)()
					s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(copied, "store"), Archives: c.driver, MaxCacheSize: c.limit})
					if err != nil {
						t.Fatal(err)
					}
					wantAcknowledged(t, s, acknowledged, c.limit < 1e9)
					sum, err := s.Verify(t.Context(), func(p store.Problem) { t.Errorf("round %d: %s %s: %v", round, p.Kind, p.Subject, p.Err) })
					t.Logf("round %d: %d acknowledged, %+v, %v", round, len(acknowledged), sum, err)
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
			}
		})
	}
}
