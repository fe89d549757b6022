package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/promise"
	"stasis/proxy"
)

// TestTheClockJumps sets our clock wrong and right again, by hours and days, forwards and backwards, also to before the
// last recorded instant, while upstream's goes on and publishes. Nothing is lost, nothing keeps a client from what is new
// once the clock is right, and the past that was recorded is the one that was.
func TestTheClockJumps(t *testing.T) {
	jumps := []time.Duration{-10 * time.Minute, 10 * time.Minute, -time.Hour, time.Hour, -3 * proxy.Day, 3 * proxy.Day, -40 * proxy.Day, 40 * proxy.Day, -300 * proxy.Day, 300 * proxy.Day}
	for _, jump := range jumps {
		t.Run(jump.String(), func(t *testing.T) {
			var off atomic.Int64
			w := newRig(t, func(s *settings) {
				right := s.proxy.Now
				wrong := func() time.Time { return right().Add(time.Duration(off.Load())) }
				s.proxy.Now, s.store.Now, s.upstream.Now = wrong, wrong, wrong
				s.proxy.SnapshotSettle, s.proxy.StaleWhileRevalidate = time.Minute, 0
			})
			at := func() string { return w.Now().UTC().Format(time.RFC3339) }
			true1 := []string{}                    // instants at which 1.0.0 alone was there
			true2, true3 := []string{}, []string{} // with 1.1.0, and with 1.2.0
			see := func(want string) {
				t.Helper()
				w.Advance(2 * time.Hour) // past every freshness
				if got := joined(versions(t, w.want(lib, 200, "").body)); got != want {
					t.Errorf("%s at %s, our clock %s off: %s, want %s", lib, at(), time.Duration(off.Load()), got, want)
				}
			}
			first := w.publish("1.0.0", "")
			see("1.0.0")
			true1 = append(true1, at())
			w.want(distPath("1.0.0.0", first.Reference, "zip"), 200, "")
			w.Advance(time.Hour)
			early := "/snapshot/" + true1[0] + lib
			bound := w.want(early, 200, "")

			off.Store(int64(jump))
			see("1.0.0")
			true1 = append(true1, at())
			w.Advance(time.Hour)
			w.publish("1.1.0", "")
			see("1.1.0 1.0.0")
			true2 = append(true2, at())
			// What would be in the future by the right clock is never decided while ours is wrong.
			for _, day := range []time.Duration{time.Hour, 2 * proxy.Day, 30 * proxy.Day} {
				if a := w.get("/snapshot/" + w.Now().Add(day).UTC().Format(time.RFC3339) + lib); a.status == http.StatusOK {
					t.Errorf("a view of the future is given: %v", a)
				}
			}
			// One that was given stays, unless it is in the future by our clock.
			if a := w.get(early); string(a.body) != string(bound.body) && !(jump < 0 && strings.Contains(string(a.body), "is in the future")) {
				t.Errorf("a view that was given changed: %v", a)
			}
			w.want(distPath("1.0.0.0", first.Reference, "zip"), 200, "")

			off.Store(0)
			see("1.1.0 1.0.0")
			true2 = append(true2, at())
			w.Advance(time.Hour)
			w.publish("1.2.0", "")
			see("1.2.0 1.1.0 1.0.0")
			true3 = append(true3, at())
			w.Advance(time.Hour)
			for want, instants := range map[string][]string{"1.0.0": true1, "1.1.0 1.0.0": true2, "1.2.0 1.1.0 1.0.0": true3} {
				for _, when := range instants {
					a := w.want("/snapshot/"+when+lib, 200, "")
					if got := joined(versions(t, a.body)); got != want {
						t.Errorf("as of %s: %s, want %s", when, got, want)
					}
				}
			}
			revs, err := w.p.History().Revisions(proxy.FileOf("acme/lib"))
			if err != nil || len(revs) != 3 {
				t.Fatalf("%d revisions, %v", len(revs), err)
			}
			for i, r := range revs {
				if r.LastConfirmed.Before(r.ValidFrom) || r.LastConfirmed.After(w.Now()) || i > 0 && !r.ValidFrom.After(revs[i-1].LastConfirmed) {
					t.Errorf("revision %d is said to be from %s to %s; it is %s", i+1, r.ValidFrom, r.LastConfirmed, at())
				}
			}
			// The feed we offer tells those who followed it while the clock was wrong.
			stamp := func(after time.Duration) string { return fmt.Sprint(w.Now().Add(after).UnixMicro() / 100) }
			if a := w.want("/metadata/changes.json?since="+stamp(50*proxy.Day), 200, ""); !strings.Contains(string(a.body), "resync") {
				t.Errorf("who asks from the future on is not told to start anew: %s", a.body)
			}
			promise.Kept(t, promise.Report{
				Promise: "F13", Did: "our clock set wrong by " + jump.String() + " and right again", Rounds: 1,
				Seen: "what upstream has; 503 for views that cannot be decided meanwhile", Figure: "every instant shows what was there then",
			})
		})
	}
}
