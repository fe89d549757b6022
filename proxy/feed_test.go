package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
)

const changesFeed = "/metadata/changes.json*"

func (w *rig) poll() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if err := w.p.PollFeed(ctx); err != nil {
		w.Fatalf("poll the feed: %v", err)
	}
}

// followed is a rig that has begun to follow the feed and has acme/lib.
func followed(t testing.TB) *rig {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.poll()
	return w
}

func TestTheFeedKeepsDocumentsFresh(t *testing.T) {
	w := followed(t)
	w.Advance(time.Minute)
	w.publish("1.1.0", "")
	w.up.Publish(standin.Release{Name: "acme/untracked", Version: "1.0.0"})
	w.Advance(time.Minute)
	w.poll()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v", got)
	}
	w.asked("/p2/acme/lib.json", 2)
	w.asked("/p2/acme/untracked*", 0)
	// Nothing new: nothing is fetched, and the next poll goes on from here.
	w.Advance(time.Minute)
	w.poll()
	w.poll()
	w.asked("/p2/acme/lib.json", 2)
}

func TestTheFeedTellsOfDeletions(t *testing.T) {
	w := followed(t)
	w.release(standin.Release{Name: "acme/lib", Version: "dev-main"})
	w.want("/p2/acme/lib~dev.json", 200, missed)
	w.Advance(time.Hour / 2)
	w.up.Delete("acme/lib")
	w.poll()
	w.want(lib, 404, negative)
	w.want("/p2/acme/lib~dev.json", 404, negative)
	w.Advance(time.Minute)
	w.up.Recover("acme/lib")
	w.Advance(time.Minute)
	w.poll()
	w.want(lib, 200, "")
}

func TestAHoleInTheFeedRevalidatesEverything(t *testing.T) {
	w := followed(t)
	w.release(standin.Release{Name: "acme/other", Version: "1.0.0"})
	w.want("/p2/acme/other.json", 200, missed)
	w.Advance(30 * time.Minute)
	w.up.Mute(true)
	w.publish("1.1.0", "")
	w.up.Mute(false)
	w.up.ForgetFeed()
	w.Advance(time.Minute)
	w.poll()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v", got)
	}
	w.asked("/p2/acme/other.json", 2)
	if len(w.alerted(proxy.AlertFeedGap)) != 1 {
		t.Error("nobody was told of the hole")
	}
	w.Advance(time.Minute)
	w.poll()
	w.asked("/p2/acme/other.json", 2)
}

func TestAResyncThatFailsIsTriedAgain(t *testing.T) {
	w := followed(t)
	w.Advance(time.Minute)
	w.up.Mute(true)
	w.publish("1.1.0", "")
	w.up.Mute(false)
	w.up.ForgetFeed()
	w.Advance(time.Minute)
	rule := w.up.Fault("/p2/*", standin.Status(500))
	if err := w.p.PollFeed(t.Context()); err == nil {
		t.Error("a resync that failed counts as done")
	}
	rule.Remove()
	w.Advance(time.Hour)
	w.poll()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v", got)
	}
}

func TestAnOutageOfTheFeedLosesNothing(t *testing.T) {
	w := followed(t)
	w.Advance(time.Minute)
	rule := w.up.Fault(changesFeed, standin.Status(502))
	if err := w.p.PollFeed(t.Context()); err == nil {
		t.Error("a failed poll succeeded")
	}
	w.publish("1.1.0", "")
	rule.Remove()
	w.Advance(time.Minute)
	w.poll()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v", got)
	}
	for fault, f := range map[string]standin.Fault{"a page": standin.HTML(), "cut": standin.Garbage(), "nothing": standin.Empty()} {
		rule := w.up.Fault(changesFeed, f)
		if err := w.p.PollFeed(t.Context()); err == nil {
			t.Errorf("%s: the poll succeeded", fault)
		}
		rule.Remove()
	}
	st, err := w.p.Status(t.Context())
	if err != nil || st.Feed.LastError == "" {
		t.Errorf("status %+v, %v", st.Feed, err)
	}
}

func TestAnEdgeBehindItsFeedIsTriedAgain(t *testing.T) {
	w := followed(t)
	w.Advance(time.Minute)
	w.publish("1.1.0", "")
	w.Advance(time.Minute)
	edge := w.up.Fault("/p2/acme/lib.json*", w.up.StaleEdge("acme/lib"))
	ctx, cancel := context.WithCancel(t.Context())
	polled := make(chan error, 1)
	go func() { polled <- w.p.PollFeed(ctx) }()
	w.await("/p2/acme/lib.json*", 2)
	cancel() // what it pauses for, in the field, is two seconds
	<-polled
	// Meanwhile the copy is known to be behind: it is served, and asked about.
	edge.Remove()
	w.want(lib, 200, stale)
	w.Advance(time.Second)
	w.poll()
	w.p.Settle()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.1.0 1.0.0" {
		t.Errorf("got %v", got)
	}
}

// changes reads our own feed.
func (w *rig) changes(since int64) (actions []string, timestamp int64) {
	w.Helper()
	var c struct {
		Actions   []struct{ Type, Package string }
		Timestamp int64
	}
	a := w.get(fmt.Sprintf("/metadata/changes.json?since=%d", since))
	if err := json.Unmarshal(a.body, &c); err != nil || a.status != 200 {
		w.Fatalf("our feed: %v, %v", a, err)
	}
	for _, x := range c.Actions {
		actions = append(actions, x.Type+" "+x.Package)
	}
	return actions, c.Timestamp
}

func TestOurOwnFeed(t *testing.T) {
	w := newRig(t)
	a := w.get("/metadata/changes.json")
	var begin struct{ Timestamp int64 }
	if err := json.Unmarshal(a.body, &begin); err != nil || a.status != 400 || begin.Timestamp == 0 {
		t.Fatalf("without since: %v", a)
	}
	at := begin.Timestamp
	w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	w.Advance(time.Second)
	got, at := w.changes(at)
	if joined(got) != "update acme/lib" {
		t.Errorf("got %v", got)
	}
	if got, _ := w.changes(at); len(got) != 0 {
		t.Errorf("nothing happened, and got %v", got)
	}
	w.Advance(24 * time.Hour / 2)
	w.publish("1.1.0", "")
	w.want("/p2/acme/none.json", 404, negative) // never was: no news
	w.want(lib, 200, renewed)
	w.up.Delete("acme/lib")
	w.Advance(8 * time.Hour)
	w.want(lib, 404, negative)
	w.Advance(time.Second)
	if got, _ := w.changes(at); joined(got) != "update acme/lib delete acme/lib" && joined(got) != "delete acme/lib" {
		t.Errorf("got %v", got)
	}
	w.Advance(48 * time.Hour)
	if got, _ := w.changes(at); joined(got) != "resync *" {
		t.Errorf("after two days: %v", got)
	}
	if err := w.p.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.changes(w.Now().Add(-time.Hour).UnixMicro() / 100); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestAnAnnouncedRollbackSettles: a document that went back to an older date
// than its announcement must not count as behind for ever.
func TestAnAnnouncedRollbackSettles(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	w.publish("1.1.0", "")
	w.want(lib, 200, missed)
	w.poll()
	w.Advance(10 * time.Minute)
	if err := w.up.Rollback("acme/lib"); err != nil {
		t.Fatal(err)
	}
	w.Advance(5 * time.Minute)
	w.poll()
	w.p.Settle()
	if got := versions(t, w.want(lib, 200, hit).body); joined(got) != "1.0.0" {
		t.Errorf("got %v", got)
	}
	n := w.up.Requests("/p2/*")
	w.Advance(time.Minute)
	w.poll()
	w.want(lib, 200, hit)
	w.asked("/p2/*", n)
}
