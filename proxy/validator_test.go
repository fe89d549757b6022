package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestNoTwoBodiesShareADate: Composer knows a body by its date alone.
func TestNoTwoBodiesShareADate(t *testing.T) {
	w := newRig(t, func(s *settings) { s.proxy.MetadataTTL, s.proxy.StaleWhileRevalidate = 0, 0 })
	seen := map[string]string{}
	at := w.Now().Truncate(time.Second)
	for i := range 10 {
		// All within one second of upstream's clock.
		body := fmt.Sprintf(`{"packages":{"acme/lib":[{"name":"acme/lib","version":"1.0.%d","version_normalized":"1.0.%d.0"}]},"minified":"composer/2.0"}`, i, i)
		w.up.Heal()
		w.up.Fault("/p2/acme/lib.json*", func(rw httpWriter, _ *httpRequest, _ httpHandler) {
			rw.Header().Set("Last-Modified", at.Format(http.TimeFormat))
			_, _ = rw.Write([]byte(body))
		})
		a := w.want(lib, 200, "")
		lm := a.header.Get("Last-Modified")
		if _, err := http.ParseTime(lm); err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[lm]; taken && other != string(a.body) {
			t.Errorf("two bodies are dated %s", lm)
		}
		seen[lm] = string(a.body)
		w.Advance(time.Second)
	}
	if len(seen) != 10 {
		t.Errorf("%d dates for 10 bodies", len(seen))
	}
}

func TestNotModifiedMeansEqual(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	a := w.want(lib, 200, missed)
	lm, err := http.ParseTime(a.header.Get("Last-Modified"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, since string
		status      int
	}{
		{"the same", lm.Format(http.TimeFormat), 304},
		{"the same in another format", lm.Format(time.RFC850), 304},
		{"a second earlier", lm.Add(-time.Second).Format(http.TimeFormat), 200},
		{"a second later", lm.Add(time.Second).Format(http.TimeFormat), 200},
		{"nonsense", "yesterday", 200},
	} {
		if got := w.get(lib, "If-Modified-Since", c.since); got.status != c.status {
			t.Errorf("%s: got %d, want %d", c.name, got.status, c.status)
		}
	}
	// A tag counts before a date.
	w.want(lib, 200, hit, "If-None-Match", `"other"`, "If-Modified-Since", lm.Format(http.TimeFormat))
	w.want(lib, 304, hit, "If-None-Match", `W/`+a.header.Get("Etag"))
	w.want(lib, 304, hit, "If-None-Match", "*")
}

func TestARestartKeepsDatesAndBodies(t *testing.T) {
	dir := t.TempDir()
	same := func(s *settings) { s.store.Path = dir }
	var before, root answer
	t.Run("before", func(t *testing.T) {
		w := newRig(t, same)
		w.publish("1.0.0", "")
		before = w.want(lib, 200, missed)
		root = w.want("/packages.json", 200, "")
	})
	t.Run("after", func(t *testing.T) {
		w := newRig(t, same)
		w.up.Down()
		after := w.want(lib, 200, hit)
		if string(after.body) != string(before.body) || after.header.Get("Last-Modified") != before.header.Get("Last-Modified") || after.header.Get("Etag") != before.header.Get("Etag") {
			t.Error("the document is another after a restart")
		}
		if a := w.want("/packages.json", 200, ""); string(a.body) != string(root.body) {
			t.Errorf("the root is another after a restart:\n%s\n%s", root.body, a.body)
		}
	})
}
