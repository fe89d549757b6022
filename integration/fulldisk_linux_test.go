package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/disk"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// fullDisks are the file systems and drivers whose disks are filled. The short form takes each once.
func fullDisks(t *testing.T, size string, fn func(t *testing.T, fs, driver string, on *disk.Disk)) {
	disk.Require(t, "mkfs.ext4", "mkfs.xfs")
	for _, c := range [][2]string{{"ext4", "badger"}, {"xfs", "files"}, {"xfs", "badger"}, {"ext4", "files"}} {
		if c[0] == "xfs" == (c[1] == "badger") && !promise.Full(t) {
			continue
		}
		t.Run(c[0]+" with "+c[1], func(t *testing.T) { fn(t, c[0], c[1], disk.New(t, c[0], size)) })
	}
}

// TestADiskFilledByUs lets the cache grow as far as the disk allows.
func TestADiskFilledByUs(t *testing.T) {
	fullDisks(t, "320M", func(t *testing.T, fs, driver string, on *disk.Disk) {
		s := standin.Start(t, standin.Options{})
		d := start(t, s, "STORE_ARCHIVES="+driver, "STORE_PATH="+filepath.Join(on.Dir, "data"), "PROXY_MAX_CACHE_SIZE=10GB")
		sh := stock(t, s, d, 20, 50_000)
		rounds, passed, serial := promise.Rounds(t, 1, 10), 0, 0
		for range rounds {
			// Large archives until there is no room for another, then small ones until there is none for anything.
			full := func() bool { return d.freeze("shelf/p1") == 507 }
			for size := int64(4 << 20); !full(); serial++ {
				name := fmt.Sprintf("fill/p%d", serial)
				p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: size})
				r := d.archive(name, "1.0.0")
				if r.StatusCode != 200 || r.err != nil || !bytes.Equal(r.body, p.Archive) {
					t.Fatalf("%s: %d, %d of %d bytes, %v", name, r.StatusCode, len(r.body), len(p.Archive), r.err)
				}
				s.RemoveArchive(name, p.Reference)
				if strings.Contains(r.Header.Get("Cache-Status"), "not-stored") {
					passed++
					size = max(size/4, 16<<10)
				}
				if serial > 3000 {
					t.Fatal("the disk does not get full")
				}
			}
			// What comes now cannot be kept at all.
			for range 20 {
				name := fmt.Sprintf("fill/p%d", serial)
				serial++
				p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 1 << 20})
				if r := d.archive(name, "1.0.0"); r.StatusCode != 200 || r.err != nil || !bytes.Equal(r.body, p.Archive) {
					t.Errorf("%s on the full disk: %d, %d of %d bytes, %v", name, r.StatusCode, len(r.body), len(p.Archive), r.err)
				}
				s.RemoveArchive(name, p.Reference)
			}
			if r := d.get("/readyz"); r.StatusCode != 503 {
				t.Errorf("readyz: %d, want 503", r.StatusCode)
			}
			quick(t, sh.mixed(t, promise.Rounds(t, 100, 2000), promise.Rounds(t, time.Second, 10*time.Second)))
			if r := d.manage(http.MethodPost, "purge", `{"kind":"archives"}`); r.StatusCode != 200 {
				t.Fatalf("purge: %d %.200s", r.StatusCode, r.body)
			}
			eventually(t, "there is room again", func() bool {
				return !full() && d.get("/readyz").StatusCode == 200
			})
			if r := d.manage(http.MethodPost, "unfreeze/shelf/p1", ""); r.StatusCode != 200 {
				t.Errorf("unfreeze: %d %.200s", r.StatusCode, r.body)
			}
			sh.again(t)
		}
		metric := d.told(t, "disk_full", "stasis_alert_events_total", `kind="disk_full"`)
		d.stop()
		if out, err := d.run("verify"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		promise.Kept(t, promise.Report{
			Promise: "F6", Did: "the disk filled by the cache, " + fs + ", " + driver + " driver", Rounds: rounds,
			Seen: "every archive whole, passed on without being kept; 507 for what must be recorded", Alert: "disk_full", Metric: metric,
			Figure: fmt.Sprintf("%d archives, all of them whole, %d passed on; the program never ended", serial, passed+20*rounds),
		})
	})
}

// freeze asks for a freeze that was never asked for before, and returns the status.
func (d *daemon) freeze(name string) int {
	d.t.Helper()
	return d.manage(http.MethodPost, "freeze/"+name, fmt.Sprintf(`{"reason":"at %d"}`, time.Now().UnixNano())).StatusCode
}

// again fetches the archives anew, so that they are held once more.
func (sh *shelf) again(t testing.TB) {
	t.Helper()
	for _, it := range sh.archives {
		if r := sh.d.get(it.path); r.StatusCode != 200 || digest(r.body) != it.digest {
			t.Errorf("%s: %d with %d bytes", it.path, r.StatusCode, len(r.body))
		}
	}
}

// TestADiskFilledByOthers takes the last block away in the middle of a storm. That may end the program, which a supervisor
// then starts again; the disk stays full.
func TestADiskFilledByOthers(t *testing.T) {
	fullDisks(t, "320M", func(t *testing.T, fs, driver string, on *disk.Disk) {
		rounds, ends, lost, slowest, metric := promise.Rounds(t, 1, 10), 0, 0, time.Duration(0), ""
		for round := range rounds {
			s := standin.Start(t, standin.Options{})
			st := newStorm(t, s, 20)
			st.lenient = true
			folder := filepath.Join(on.Dir, fmt.Sprintf("data%d", round))
			d := prepare(t, s, "STORE_ARCHIVES="+driver, "STORE_PATH="+folder, "PROXY_METADATA_TTL=0", "PROXY_STALE_WHILE_REVALIDATE=1")
			d.ready = "/healthz"
			d.start()
			ctx, calm := context.WithTimeout(t.Context(), 3*time.Second)
			over := make(chan struct{})
			go func() { st.blow(ctx, d); close(over) }()
			if err := st.await(within(t), 20+st.draw(100)); err != nil {
				t.Fatal(err)
			}
			filler := on.Fill(t)
			<-over
			calm()
			began := time.Now()
			if d.died() {
				ends++
				d.start()
			}
			if r := d.get("/p2/" + st.names[0] + ".json"); r.StatusCode != 200 {
				t.Errorf("round %d: a document on the full disk: %d %.200s", round, r.StatusCode, r.body)
			}
			slowest = max(slowest, time.Since(began))
			lost += st.lost(d, st.promised())
			st.whole(d)
			if code := d.freeze(st.names[0]); code != 507 {
				t.Errorf("round %d: a freeze on the full disk: %d, want 507", round, code)
			}
			metric = d.told(t, "disk_full", "stasis_alert_events_total", `kind="disk_full"`)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			eventually(t, "there is room again", func() bool {
				return d.freeze(st.names[0]) == 200 && d.get("/readyz").StatusCode == 200
			})
			lost += st.wrong
			d.stop()
			if out, err := d.run("verify"); err != nil {
				t.Errorf("round %d: %v\n%s", round, err, out)
				lost++
			}
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
		}
		if slowest > 10*time.Second {
			t.Errorf("it took %s until something was served again, want at most 10 s", slowest)
		}
		promise.Kept(t, promise.Report{
			Promise: "F6", Did: "the disk filled by others, " + fs + ", " + driver + " driver", Rounds: rounds, Lost: lost,
			Seen: "what is held, after a restart if the program ended; 507 for what must be recorded", Alert: "disk_full", Metric: metric,
			Figure: fmt.Sprintf("the program ended %d times; serving again on the full disk after %s at most", ends, slowest.Round(time.Millisecond)),
		})
	})
}
