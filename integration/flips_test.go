package integration_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/integration/promise"
)

// TestFlippedBytesAreNeverHandedOut damages every archive that is kept, by one byte each, and asks for all of them. Damage to
// the facts is tried beside the store (TestFlippedBytes).
func TestFlippedBytesAreNeverHandedOut(t *testing.T) {
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			s, d := pair(t, "STORE_ARCHIVES="+driver)
			n := promise.Rounds(t, 60, 1000)
			sh := stock(t, s, d, n, 20_000)
			d.stop()
			flipped := flipArchives(t, d.env["STORE_PATH"], sh)
			if flipped < n {
				t.Fatalf("%d of %d archives were found on the disk", flipped, n)
			}
			d.start()
			lost := 0
			for i, it := range sh.archives {
				r := d.get(it.path)
				if r.StatusCode != 200 || r.err != nil || digest(r.body) != it.digest {
					t.Errorf("archive %d: %d with %d bytes, %v", i, r.StatusCode, len(r.body), r.err)
					lost++
				}
			}
			metric := d.told(t, "corrupt", "stasis_alert_events_total", `kind="corrupt"`)
			d.stop()
			if out, err := d.run("verify"); err != nil {
				t.Errorf("after they were fetched again: %v\n%s", err, out)
			}
			again := flipArchives(t, d.env["STORE_PATH"], sh)
			out, err := d.run("verify")
			if found := strings.Count(out, "DAMAGED"); err == nil || found < n {
				t.Errorf("stasis verify finds %d of %d flipped bytes: %v\n%.500s", found, again, err, out)
			}
			if out, err := d.run("verify"); err != nil {
				t.Errorf("damaged archives are not dropped: %v\n%.500s", err, out)
			}
			promise.Kept(t, promise.Report{
				Promise: "F7", Did: "a flipped byte in every kept archive, " + driver + " driver", Rounds: n, Lost: lost,
				Seen: "the right bytes, fetched again", Alert: "corrupt", Metric: metric, Figure: "stasis verify finds all of them",
			})
		})
	}
}

// flipArchives changes one byte of the body of every archive on a shelf, wherever below the folder it lies, and returns how
// many it found.
func flipArchives(t testing.TB, folder string, sh *shelf) (flipped int) {
	t.Helper()
	drawn := rand.New(rand.NewPCG(3, 4))
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "facts" {
			return fs.SkipDir
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		changed := false
		for i := range sh.archives {
			// The filler in the middle of an archive is noise, which stands nowhere else.
			archive := sh.bodies[i]
			for from := 0; ; {
				at := bytes.Index(content[from:], archive[1000:1100])
				if at < 0 {
					break
				}
				content[from+at+drawn.IntN(100)] ^= byte(1 + drawn.IntN(255))
				changed = true
				flipped++
				from += at + 100
			}
		}
		if !changed {
			return nil
		}
		return os.WriteFile(name, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return flipped
}
