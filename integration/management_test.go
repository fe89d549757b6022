package integration_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"stasis/integration/standin"
)

// manage calls the management API with the admin token.
func (d *daemon) manage(method, path, body string) *reply {
	d.t.Helper()
	return d.do(method, "/api/v1/proxy/"+path, []byte(body), "Authorization", "Bearer "+adminToken, "Content-Type", "application/json")
}

func TestTheManagementAPIWantsItsToken(t *testing.T) {
	s, d := pair(t)
	made(s)
	for _, token := range []string{"", "Bearer wrong", "Basic " + adminToken, "Bearer " + adminToken + "x"} {
		r := d.get("/api/v1/proxy/status", "Authorization", token)
		if r.StatusCode != 401 || !json.Valid(r.body) {
			t.Errorf("with %q: %d %.200s", token, r.StatusCode, r.body)
		}
	}
	d.restart("ADMIN_TOKEN=")
	r := d.get("/api/v1/proxy/status", "Authorization", "Bearer "+adminToken)
	if r.StatusCode != 401 || !strings.Contains(string(r.body), "ADMIN_TOKEN") {
		t.Errorf("without a token configured: %d %.200s", r.StatusCode, r.body)
	}
	if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
		t.Errorf("the proxy itself: %d", r.StatusCode)
	}
}

func TestAFrozenPackageStandsStillForClients(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s, d := pair(t, revalidating...)
		made(s)
		update := func() string {
			t.Helper()
			dir := project(t, requiring("acme/b", "^1.0"))
			clientOf(t, command, d.url).run(dir, "update", "--no-progress")
			return readLock(t, filepath.Join(dir, "composer.lock")).identity()
		}
		before := update()
		if out, err := d.run("freeze", "acme/b", "--reason", "release week"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.Publish(standin.Release{Name: "acme/b", Version: "1.5.0"})
		if got := update(); got != before {
			t.Errorf("frozen, it moved:\n%s", diff(got, before))
		}
		d.restart()
		if got := update(); got != before {
			t.Errorf("frozen, it moved with a restart:\n%s", diff(got, before))
		}
		if r := d.manage(http.MethodGet, "frozen", ""); !strings.Contains(string(r.body), "release week") {
			t.Errorf("frozen: %s", r.body)
		}
		if out, err := d.run("unfreeze", "acme/b"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got := update(); !strings.Contains(got, "acme/b 1.5.0") {
			t.Errorf("unfrozen, it does not move:\n%s", got)
		}
	})
}

func TestAPurgeLeavesTheRecordAlone(t *testing.T) {
	s, d := pair(t)
	made(s)
	document := d.get("/p2/acme/a.json")
	archive := d.archive("acme/a", "v1.0.0")
	if r := d.manage(http.MethodPost, "freeze/acme/b", ""); r.StatusCode/100 != 2 {
		t.Fatalf("freeze: %d %s", r.StatusCode, r.body)
	}
	if out, err := d.run("purge", "--all"); err != nil {
		if r := d.manage(http.MethodPost, "purge", ""); r.StatusCode/100 != 2 {
			t.Fatalf("purge: %d %s; and by the command: %v\n%s", r.StatusCode, r.body, err, out)
		}
	}
	s.Forget()
	if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 || !bytes.Equal(r.body, document.body) {
		t.Errorf("the document after the purge: %d", r.StatusCode)
	}
	if r := d.archive("acme/a", "v1.0.0"); r.StatusCode != 200 || !bytes.Equal(r.body, archive.body) {
		t.Errorf("the archive after the purge: %d", r.StatusCode)
	}
	if n := s.Requests("*/legacy.zip/*"); n != 1 {
		t.Errorf("the purged archive was fetched %d times, want once", n)
	}
	if r := d.manage(http.MethodGet, "frozen", ""); !strings.Contains(string(r.body), "acme/b") {
		t.Errorf("the freeze went with the purge: %s", r.body)
	}
	if out, err := d.run("status", "--json"); err != nil || !json.Valid([]byte(out)) {
		t.Errorf("status: %v\n%s", err, out)
	}
}

func TestAMovedReferenceRaisesAnAlert(t *testing.T) {
	s, d := pair(t, revalidating...)
	first := s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	same(t, "the first archive", d.archive("acme/a", "1.0.0").body, first.Archive)
	link := expand(d.distURL("acme/a", "1.0.0"), "acme/a", nil, first.Reference, "zip")
	second := s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0", Salt: "moved"})
	// A tagged version keeps what it stood for first; the move is only told.
	same(t, "the archive after the move", d.archive("acme/a", "1.0.0").body, first.Archive)
	r := d.manage(http.MethodGet, "alerts", "")
	if !strings.Contains(string(r.body), first.Reference) || !strings.Contains(string(r.body), second.Reference) {
		t.Errorf("no alert names both references: %s", r.body)
	}
	// Other bytes under a reference that is recorded are never taken.
	s.SetArchive("acme/a", first.Reference, standin.Zip(map[string]string{"acme-a/evil.php": "<?php"}))
	if out := d.manage(http.MethodPost, "purge", `{"kind":"archives"}`); out.StatusCode/100 != 2 {
		t.Fatalf("purge: %d %s", out.StatusCode, out.body)
	}
	if r, err := d.try(http.MethodGet, link, nil); err == nil && r.err == nil && r.StatusCode == 200 {
		t.Errorf("other content was delivered under a recorded reference (%d bytes)", len(r.body))
	}
}

// TestBelowTheFloorOfFreeSpaceItServesWithoutKeeping sets the floor above what
// any disk has.
func TestBelowTheFloorOfFreeSpaceItServesWithoutKeeping(t *testing.T) {
	for _, driver := range []string{"badger", "files"} {
		s := standin.Start(t, standin.Options{})
		made(s)
		d := prepare(t, s, "STORE_ARCHIVES="+driver, "STORE_MIN_FREE_SPACE=4000TB")
		d.ready = "/healthz" // it lives and serves, but is not ready for what must be kept
		d.start()
		want := odd(s)["v1.0.0"]
		for range 2 {
			if r := d.get("/p2/acme/a.json"); r.StatusCode != 200 {
				t.Fatalf("%s: the document: %d %.300s", driver, r.StatusCode, r.body)
			}
			r := d.archive("acme/odd", "v1.0.0")
			if r.StatusCode != 200 || r.err != nil {
				t.Fatalf("%s: the archive: %d %.300s %v", driver, r.StatusCode, r.body, r.err)
			}
			same(t, driver+": the archive", r.body, want.Archive)
		}
		if r := d.manage(http.MethodPost, "freeze/acme/a", ""); r.StatusCode != http.StatusInsufficientStorage {
			t.Errorf("%s: freeze: %d %.200s, want 507", driver, r.StatusCode, r.body)
		}
		if r := d.get("/readyz"); r.StatusCode != 503 {
			t.Errorf("%s: readyz: %d, want 503", driver, r.StatusCode)
		}
	}
}

func TestMetricsAreServed(t *testing.T) {
	s, d := pair(t)
	made(s)
	_ = d.archive("acme/a", "v1.0.0")
	r := d.get("/metrics")
	if r.StatusCode != 200 {
		t.Fatalf("%d %.200s", r.StatusCode, r.body)
	}
	for _, family := range []string{"http_requests_total", "upstream_requests_total", "cache_answers_total", "documents", "archives", "disk_free_bytes"} {
		if !strings.Contains(string(r.body), "\nstasis_"+family) {
			t.Errorf("no metric of the family stasis_%s", family)
		}
	}
}
