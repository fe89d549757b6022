package integration_test

import (
	"context"
	"path/filepath"
	"testing"

	"stasis/integration/disk"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// TestAPowerCutLosesNothingThatWasPromised cuts the power of the data folder's disk in the middle of a storm, and lets
// another program look at what is left. Archives may be missing then, never wrong.
func TestAPowerCutLosesNothingThatWasPromised(t *testing.T) {
	disk.Require(t, "mkfs.ext4", "mkfs.xfs")
	for _, driver := range []string{"badger", "files"} {
		t.Run(driver, func(t *testing.T) {
			powered := disk.NewPowered(t, "2G", "8G")
			s := standin.Start(t, standin.Options{})
			st := newStorm(t, s, 30)
			settings := []string{"STORE_ARCHIVES=" + driver, "PROXY_METADATA_TTL=0", "PROXY_STALE_WHILE_REVALIDATE=1", "PROXY_SNAPSHOT_SETTLE=0"}
			d := start(t, s, append(settings, "STORE_PATH="+filepath.Join(powered.Dir, "data"))...)
			ctx, calm := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() { st.blow(ctx, d); close(over) }()
			rounds, lost := promise.Rounds(t, 2, 25), 0
			for round := range rounds {
				if err := st.await(within(t), 20+st.draw(100)); err != nil {
					t.Fatal(err)
				}
				promised := st.promised()
				powered.Cut(t, func(dir string) {
					promised = st.settled(promised)
					left := prepare(t, s, append(settings, "STORE_PATH="+filepath.Join(dir, "data"))...)
					defer left.stop()
					if out, err := left.run("verify"); err != nil {
						t.Errorf("round %d: %v\n%s", round, err, out)
						lost++
					}
					left.start()
					lost += st.lost(left, promised)
					if round == rounds-1 {
						st.whole(left)
					}
				})
			}
			calm()
			<-over
			promise.Kept(t, promise.Report{
				Promise: "F5", Did: "power cuts under mixed load on ext4, " + driver + " driver; stasis verify after each", Rounds: rounds, Lost: lost + st.wrong,
				Seen: "a broken connection, then everything as acknowledged", Metric: d.counted(t, "process_start_time_seconds"),
			})
		})
	}
}
