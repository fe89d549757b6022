package proxy_test

import (
	"bytes"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
	"stasis/proxy/history"
	"stasis/store"
)

const (
	hit      = "Stasis; hit"
	stale    = "Stasis; hit; detail=stale"
	negative = "Stasis; hit; detail=negative"
	missed   = "Stasis; fwd=uri-miss; stored"
	renewed  = "Stasis; fwd=stale; stored"
	passed   = "Stasis; fwd=uri-miss; detail=not-stored"
	local    = "Stasis; hit; detail=local"
)

func TestFreshness(t *testing.T) {
	now := newClock().Now()
	o := proxy.Options{MetadataTTL: time.Hour, StaleWhileRevalidate: 2 * time.Hour, NegativeTTL: 5 * time.Minute}
	some := store.SumDigest([]byte("x"))
	present := func(age time.Duration) history.State {
		return history.State{Seq: 3, Document: some, Checked: now.Add(-age)}
	}
	absent := func(age time.Duration) history.State { return history.State{Seq: 1, Checked: now.Add(-age)} }
	announced := present(0)
	announced.AnnouncedAt = now
	gone := absent(time.Hour)
	gone.Ever = true
	for _, c := range []struct {
		name string
		st   history.State
		want any
	}{
		{"never seen", history.State{}, proxy.FetchFirst},
		{"just fetched", present(0), proxy.Serve},
		{"a moment before its TTL", present(time.Hour - 1), proxy.Serve},
		{"at its TTL", present(time.Hour), proxy.ServeAndRefresh},
		{"a moment before the end of grace", present(3*time.Hour - 1), proxy.ServeAndRefresh},
		{"at the end of grace", present(3 * time.Hour), proxy.RefreshFirst},
		{"years old", present(20000 * time.Hour), proxy.RefreshFirst},
		{"fresh, but the feed announced a change", announced, proxy.ServeAndRefresh},
		{"checked a moment ahead of our clock", present(-20 * time.Second), proxy.Serve},
		{"checked by a clock that was ahead", present(-time.Hour), proxy.RefreshFirst},
		{"found missing by a clock that was ahead", absent(-time.Hour), proxy.RefreshFirst},
		{"just found missing", absent(0), proxy.Serve},
		{"a moment before the negative TTL", absent(5*time.Minute - 1), proxy.Serve},
		{"at the negative TTL", absent(5 * time.Minute), proxy.RefreshFirst},
		{"deleted long ago", gone, proxy.RefreshFirst},
	} {
		if got := proxy.Judge(o, c.st, now); any(got) != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	always := proxy.Options{}
	if got := proxy.Judge(always, present(0), now); got != proxy.RefreshFirst {
		t.Errorf("without a TTL: got %v, want %v", got, proxy.RefreshFirst)
	}
}

func TestFreshAnswersAskNobody(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	first := w.want(lib, 200, missed)
	w.asked("/p2/*", 1)
	w.Advance(59 * time.Minute)
	again := w.want(lib, 200, hit)
	w.asked("/p2/*", 1)
	if string(first.body) != string(again.body) || first.header.Get("Etag") != again.header.Get("Etag") {
		t.Error("the second answer differs from the first")
	}
}

func TestStaleAnswersAreRenewedBehind(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.Advance(2 * time.Hour)
	w.publish("1.1.0", "")
	gate := w.up.Hold("/p2/acme/lib.json")
	if got := versions(t, w.want(lib, 200, stale).body); joined(got) != "1.0.0" {
		t.Errorf("got %v, want the copy at hand", got)
	}
	for range 20 {
		w.want(lib, 200, stale)
	}
	if err := gate.Wait(w.Context(), 1); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	w.await("/p2/acme/lib.json", 2)
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v after the renewal", got)
	}
	w.asked("/p2/acme/lib.json", 2)
	if got := w.up.Records("/p2/acme/lib.json")[1]; got.Header.Get("If-Modified-Since") == "" {
		t.Error("the renewal was not conditional")
	}
}

func TestUnchangedIsConfirmedWithoutABody(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.Advance(8 * time.Hour)
	w.want(lib, 200, renewed)
	if got := w.up.Records("/p2/acme/lib.json")[1].Status; got != 304 {
		t.Errorf("upstream answered %d, want 304", got)
	}
	w.want(lib, 200, hit)
}

func TestOldAnswersWaitForUpstreamALittle(t *testing.T) {
	const wait = 300 * time.Millisecond
	w := newRig(t, func(s *settings) { s.proxy.RevalidateWait = wait })
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.Advance(24 * time.Hour)
	w.publish("1.1.0", "")
	held := w.up.Hang("/p2/acme/lib.json")
	begun := time.Now()
	a := w.want(lib, 200, stale)
	if waited := time.Since(begun); waited < wait {
		t.Errorf("the first client waited %v, want RevalidateWait", waited)
	}
	if a.header.Get("Warning") == "" {
		t.Error("an old answer has no Warning")
	}
	// The others do not pay again, whatever they ask for.
	begun = time.Now()
	for range 20 {
		w.want(lib, 200, stale)
	}
	if waited := time.Since(begun); waited > 10*wait {
		t.Errorf("20 further clients waited %v together", waited)
	}
	w.asked("/p2/acme/lib.json", 2)
	// When the pause is over, one client finds out that upstream is still slow.
	w.Advance(time.Minute)
	var slow atomic.Int64
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			begun := time.Now()
			w.want(lib, 200, stale)
			if time.Since(begun) >= wait {
				slow.Add(1)
			}
		})
	}
	clients.Wait()
	if n := slow.Load(); n != 1 {
		t.Errorf("%d of 20 clients waited, want 1", n)
	}
	held.Remove()
	w.await("/p2/acme/lib.json", 2)
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v after upstream woke up", got)
	}
}

func TestUpstreamFailuresServeTheLastGoodCopy(t *testing.T) {
	for fault, f := range map[string]standin.Fault{
		"500": standin.Status(500), "503": standin.Status(503), "429": standin.Status(429, "Retry-After", "60"), "403": standin.Status(403),
		"a page": standin.HTML(), "cut JSON": standin.Garbage(), "nothing": standin.Empty(), "a cut body": standin.CutAt(10, standin.Short),
		"a reset": standin.CutAt(10, standin.Reset), "304 to everybody": standin.Unconditional304(),
	} {
		t.Run(fault, func(t *testing.T) {
			w := newRig(t)
			w.publish("1.0.0", "")
			w.release(standin.Release{Name: "acme/unseen", Version: "1.0.0"})
			before := w.want(lib, 200, missed)
			w.Advance(90 * 24 * time.Hour)
			w.publish("1.1.0", "")
			w.up.Fault("/p2/*", f)
			after := w.want(lib, 200, "")
			if string(after.body) != string(before.body) {
				t.Errorf("got %v", after)
			}
			if fault != "304 to everybody" {
				if after.cache() != stale || after.header.Get("Warning") == "" {
					t.Errorf("got %q and the warning %q", after.cache(), after.header.Get("Warning"))
				}
				if len(w.alerted(proxy.AlertUpstreamFailure)) == 0 {
					t.Error("nobody was alerted")
				}
			}
			cold := w.get("/p2/acme/unseen.json")
			if cold.status < 502 || cold.status > 504 {
				t.Errorf("a package never seen: %v, want 502 to 504", cold)
			}
			if fault != "304 to everybody" && cold.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

func TestUnknownNamesAreRememberedShortly(t *testing.T) {
	w := newRig(t)
	for range 3 {
		w.want("/p2/acme/none.json", 404, negative)
	}
	w.asked("/p2/acme/none.json", 1)
	w.Advance(6 * time.Minute)
	w.want("/p2/acme/none.json", 404, negative)
	w.asked("/p2/acme/none.json", 2)
	w.up.Publish(standin.Release{Name: "acme/none", Version: "1.0.0"})
	w.want("/p2/acme/none.json", 404, negative)
	w.Advance(6 * time.Minute)
	w.want("/p2/acme/none.json", 200, "")
	w.up.Down()
	w.Advance(time.Hour)
	w.want("/p2/acme/none.json", 200, stale)
}

// Composer asks for virtual packages in every update and needs the 404: what
// upstream last said counts while it is down, as for documents. A name that
// upstream was never asked for is another matter.
func TestAnOldNotFoundCountsWhileUpstreamIsDown(t *testing.T) {
	w := newRig(t)
	w.want("/p2/acme/none.json", 404, negative)
	w.Advance(time.Hour)
	w.up.Down()
	a := w.get("/p2/acme/none.json")
	if a.status != 404 || a.header.Get("Warning") == "" {
		t.Errorf("got %v, want 404 with a warning that it is old", a)
	}
	if a := w.get("/p2/acme/never-asked.json"); a.status < 502 || a.status > 504 {
		t.Errorf("got %v, want 502 to 504", a)
	}
}

func TestADeletionIsConfirmed(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.want("/packages.json", 200, "")

	// A broken edge says 404; past its cache the document is there.
	w.Advance(24 * time.Hour)
	edge := w.up.Fault("/p2/acme/lib.json", func(rw httpWriter, r *httpRequest, next httpHandler) {
		if r.URL.RawQuery == "" {
			standin.Status(404)(rw, r, next)
			return
		}
		next.ServeHTTP(rw, r)
	})
	w.want(lib, 200, renewed)
	if n := w.up.Requests("/p2/acme/lib.json?fresh=*"); n != 1 {
		t.Errorf("upstream's cache was bypassed %d times, want once", n)
	}
	edge.Remove()

	// The whole registry says 404 to everything: it is not believed.
	w.Advance(24 * time.Hour)
	all := w.up.Fault("*", standin.Status(404))
	if a := w.get(lib); a.status != 200 || a.cache() != stale {
		t.Errorf("a registry without a root deleted a package: %v", a)
	}
	all.Remove()

	// A real deletion.
	w.Advance(24 * time.Hour)
	w.up.Delete("acme/lib")
	w.want(lib, 404, negative)
	w.want(lib, 404, negative)
	revs, err := w.p.History().Revisions(proxy.FileOf("acme/lib"))
	if err != nil || len(revs) != 2 || revs[0].Absent() || !revs[1].Absent() {
		t.Errorf("revisions %+v, %v", revs, err)
	}
	w.up.Recover("acme/lib")
	w.Advance(time.Hour)
	w.want(lib, 200, renewed)
}

func TestAnEdgeThatIsBehindIsAskedPast(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.Advance(time.Minute)
	w.publish("1.1.0", "")
	w.want(lib, 200, missed)
	w.Advance(24 * time.Hour)
	rule := w.up.Fault("/p2/acme/lib.json", standin.When(func(r *httpRequest) bool { return r.URL.RawQuery == "" }, w.up.StaleEdge("acme/lib")))
	if got := versions(t, w.want(lib, 200, "").body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v from an edge that is behind", got)
	}
	rule.Remove()
	// The same older document from the origin itself is a rollback, and believed.
	w.Advance(24 * time.Hour)
	older, err := time.Parse(http.TimeFormat, w.up.Modified("acme/lib").Add(-time.Hour).Format(http.TimeFormat))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := w.up.Document("acme/lib")
	w.up.Fault("/p2/acme/lib.json*", func(rw httpWriter, _ *httpRequest, _ httpHandler) {
		rw.Header().Set("Last-Modified", older.Format(http.TimeFormat))
		_, _ = rw.Write(bytes.ReplaceAll(body, []byte("1.1.0"), []byte("1.0.9")))
	})
	if got := versions(t, w.want(lib, 200, "").body); joined(got) != "1.0.9 1.0.0" {
		t.Errorf("got %v after a rollback", got)
	}
}

func TestADeadUpstreamCostsNothingAfterAWhile(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.Advance(24 * time.Hour)
	w.up.Fault("*", standin.Status(500))
	for range 10 {
		w.want(lib, 200, stale)
	}
	asked := w.up.Total()
	if asked > 8 {
		t.Errorf("%d requests reached a failing upstream", asked)
	}
	for range 50 {
		w.want(lib, 200, stale)
		if a := w.get("/p2/acme/unseen.json"); a.status != 503 {
			t.Fatalf("got %v, want 503 while the way is closed", a)
		}
	}
	if n := w.up.Total(); n != asked {
		t.Errorf("%d more requests after the breaker opened", n-asked)
	}
	w.up.Heal()
	w.Advance(10 * time.Minute)
	w.want(lib, 200, renewed)
}
