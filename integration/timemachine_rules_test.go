package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// fresh is a release that is published now.
func fresh(name, version string) standin.Release {
	return dated(name, version, time.Now().UTC().Format(time.RFC3339))
}

func has(t testing.TB, doc *standin.Document, pretty string) bool {
	t.Helper()
	for _, v := range doc.Versions {
		if v.Text("version") == pretty {
			return true
		}
	}
	return false
}

// view fetches a p2 file below the root of a world.
func (d *daemon) view(root, file string) *standin.Document {
	d.t.Helper()
	r := d.get(root + "/p2/" + file + ".json")
	if r.StatusCode != http.StatusOK {
		d.t.Fatalf("%s of %s: %d %s", file, root, r.StatusCode, r.body)
	}
	doc, err := standin.ParseDocument(r.body, strings.TrimSuffix(file, "~dev"))
	if err != nil {
		d.t.Fatal(err)
	}
	return doc
}

// TestAFreezeIsAnUpperBoundInEveryWorld holds one package and a pattern, and
// lets them go again.
func TestAFreezeIsAnUpperBoundInEveryWorld(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		for _, how := range []string{"package", "pattern"} {
			s := standin.Start(t, standin.Options{})
			past(s)
			d := start(t, s, watching...)
			before := d.observe("acme/a", "acme/a~dev", "acme/b", "acme/b~dev")
			old := d.get("/snapshot/" + before + "/p2/acme/b.json")
			if how == "package" {
				asked[any](d, http.MethodPost, "freeze/acme/b", map[string]string{"reason": "release week"})
			} else {
				asked[any](d, http.MethodPost, "freezes", map[string]string{"pattern": "acme/*", "reason": "release week"})
			}
			held := d.observe("acme/b")
			publish(s, fresh("acme/b", "1.2.0"))
			d.get("/cooldown/1s/p2/acme/b.json") // sees it, if anything does
			later := d.observe("acme/b")
			need := requiring("acme/b", "^1.0")
			c := clientOf(t, command, d.url)
			for _, world := range []string{d.url, d.at(later), d.at(held), d.url + "/cooldown/1s"} {
				c.use(world)
				expectLocked(t, how+" frozen, "+world, c.locked(need, "--no-install"), "acme/b 1.1.0")
			}
			say(t, "explain", d.explain("acme/b", "1.1.0", "").Sentence, "frozen", "release week")
			if how == "package" {
				asked[any](d, http.MethodPost, "unfreeze/acme/b", nil)
			} else {
				asked[any](d, http.MethodDelete, "freezes?pattern="+url.QueryEscape("acme/*"), nil)
			}
			d.observe() // until the second of the lifting is over
			lifted := d.observe("acme/b")
			for world, want := range map[string]string{
				d.url: "1.2.0", d.at(lifted): "1.2.0", d.at(later): "1.1.0", d.at(before): "1.1.0",
			} {
				c.use(world)
				expectLocked(t, how+" unfrozen, "+world, c.locked(need, "--no-install"), "acme/b "+want)
			}
			same(t, "the view from before the freeze", d.get("/snapshot/"+before+"/p2/acme/b.json").body, old.body)
			body, _ := s.Document("acme/b")
			now := d.document("acme/b")
			if doc, err := standin.ParseDocument(body, "acme/b"); err != nil || len(doc.Versions) != len(now.Versions) {
				t.Errorf("unfrozen, the document has %d versions: %v", len(now.Versions), err)
			}
		}
	})
}

// TestYoungReleasesAreHeldBack by a cooldown in the address and by one for
// everybody, on archives as well.
func TestYoungReleasesAreHeldBack(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		d.observe("acme/b", "acme/b~dev")
		// Its author back-dates the commit; that gains nothing.
		young := fresh("acme/b", "1.2.0")
		young.Time = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		publish(s, young)
		need := requiring("acme/b", "^1.0")
		c := clientOf(t, command, d.url)
		elsewhere := c.locked(need)
		expectLocked(t, "without a cooldown", elsewhere, "acme/b 1.2.0")
		c.use(d.url + "/cooldown/7d")
		out := c.run(project(t, need), "update", "--no-progress", "--no-install")
		say(t, "the notice", out.String(), "Stasis: releases younger than 7d are held back.")
		expectLocked(t, "with a cooldown", c.locked(need), "acme/b 1.1.0")
		if x := d.explain("acme/b", "1.2.0", "cooldown=7d"); x.Visible || x.Rule != "cooldown" {
			t.Errorf("explain: %+v", x)
		}

		d.restart("PROXY_MIN_RELEASE_AGE=7d")
		c.use(d.url)
		expectLocked(t, "with a cooldown for everybody", c.locked(need), "acme/b 1.1.0")
		c.cool()
		if err := os.RemoveAll(filepath.Join(elsewhere, "vendor")); err != nil {
			t.Fatal(err)
		}
		refused, err := c.try(elsewhere, "install", "--no-progress", "--prefer-dist")
		if err == nil {
			t.Error("a lock made elsewhere brings the young release in")
		}
		say(t, "the refusal", refused.String(), "acme/b 1.2.0 is held back until", "releases have to be 7 days old")
		expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		asked[any](d, http.MethodPost, "exemptions", map[string]string{"package": "acme/*", "reason": "our own", "expires_at": expires})
		c.run(elsewhere, "install", "--no-progress", "--prefer-dist")
		expectLocked(t, "exempt", c.locked(need, "--no-install"), "acme/b 1.2.0")
	})
}

const evil = "<?php // steals"

// bad is a release that takes the place of another under the same name.
func bad(name, version string) standin.Release {
	r := fresh(name, version)
	r.Salt, r.Files = "moved", map[string]string{"src/evil.php": evil}
	return r
}

func clean(t testing.TB, what, dir string) {
	t.Helper()
	if text := tree(t, filepath.Join(dir, "vendor")); strings.Contains(text, "evil.php") {
		t.Errorf("%s: the bad content was installed:\n%s", what, text)
	}
}

// TestAMovedTagKeepsWhatItFirstStoodFor under the default policy, and not
// under the one that follows upstream.
func TestAMovedTagKeepsWhatItFirstStoodFor(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		first := past(s)["acme/b 1.1.0"]
		d := start(t, s, watching...)
		d.observe("acme/b", "acme/b~dev")
		second := s.Publish(bad("acme/b", "1.1.0"))
		need := requiring("acme/b", "^1.0")
		dir := clientOf(t, command, d.url).locked(need)
		clean(t, "keep-first", dir)
		if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); !strings.Contains(got, first.Reference) {
			t.Errorf("the lock has another reference:\n%s", got)
		}
		if x := d.explain("acme/b", "1.1.0", ""); !x.Visible || x.Rule != "retag" || x.Reference != first.Reference {
			t.Errorf("explain: %+v", x)
		}
		say(t, "explain", d.explain("acme/b", "1.1.0", "").Sentence, first.Reference[:12], second.Reference[:12])
		r := d.get("/dist-proxy/acme/b/1.1.0.0/" + second.Reference + ".zip")
		if r.StatusCode != http.StatusUnavailableForLegalReasons {
			t.Errorf("the archive that the tag was moved to: %d", r.StatusCode)
		}
		d.restart("PROXY_RETAG_POLICY=follow")
		dir = clientOf(t, command, d.url).locked(need)
		if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); !strings.Contains(got, second.Reference) {
			t.Errorf("following upstream, the lock has:\n%s", got)
		}
	})
}

// TestAMassRetagStopsThePackage re-tags so many versions at once that it looks
// like an attack: the package stays where it was, whatever else it releases.
func TestAMassRetagStopsThePackage(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		var good []string
		for i := range 8 {
			r := s.Publish(dated("acme/b", fmt.Sprintf("1.%d.0", i), fmt.Sprintf("2024-03-0%dT00:00:00Z", i+1)))
			good = append(good, r.Reference)
		}
		d := start(t, s, watching...)
		d.observe("acme/b", "acme/b~dev")
		// One document with all of the changes, as an attacker's tool makes it.
		other := standin.Start(t, standin.Options{})
		for i := range 8 {
			other.Publish(bad("acme/b", fmt.Sprintf("1.%d.0", i)))
		}
		other.Publish(bad("acme/b", "1.9.0"))
		body, _ := other.Document("acme/b")
		s.SetDocument("acme/b", []byte(strings.ReplaceAll(string(body), other.URL(), s.URL())))
		d.observe("acme/b")

		dir := clientOf(t, command, d.url).locked(requiring("acme/b", "^1.0"))
		expectLocked(t, "after the attack", dir, "acme/b 1.7.0")
		clean(t, "after the attack", dir)
		if got := readLock(t, filepath.Join(dir, "composer.lock")).identity(); !strings.Contains(got, good[7]) {
			t.Errorf("the lock has another reference:\n%s", got)
		}
		frozen := d.manage(http.MethodGet, "frozen", "")
		say(t, "the list of freezes", string(frozen.body), `"package":"acme/b"`, "changed their reference at once", "last good revision")
		say(t, "the alerts", string(d.manage(http.MethodGet, "alerts", "").body), "8 tagged versions of acme/b changed their reference at once")
	})
}

// TestABlockCountsEverywhereAtOnce denies a version in the live world, in a
// dated view that was bound before, in a sealed snapshot and as an archive;
// lifting it restores identical bytes.
func TestABlockCountsEverywhereAtOnce(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		lists := atLeast(t, release(t, command), "2.10.0")
		_, d := seasons(t)
		need := requiring("acme/a", "^1.0")
		c := clientOf(t, command, d.at(summer))
		dir := c.locked(need, "--no-install")
		expectLocked(t, "before", dir, "acme/a 1.1.0", "acme/b 1.1.0")
		worlds := []string{"", "/snapshot/" + summer, "/snapshot/summer", "/cooldown/7d"}
		var before [][]byte
		for _, w := range worlds {
			before = append(before, d.get(w+"/p2/acme/b.json").body)
		}
		archive := d.distURL("acme/b", "1.1.0")
		const reason = "it mines coins"
		rule := asked[struct{ ID string }](d, http.MethodPost, "blocks", map[string]string{"package": "acme/b", "versions": "1.1.0", "reason": reason})
		for _, w := range worlds {
			r := d.get(w + "/p2/acme/b.json") // sent as an older client
			if has(t, d.view(w, "acme/b"), "1.1.0") {
				t.Errorf("%q: %d %s", w, r.StatusCode, r.body)
			}
			if denied := r.Header.Get("X-Snapshot-Denied"); strings.HasPrefix(w, "/snapshot") && denied != "1" {
				t.Errorf("%q: X-Snapshot-Denied is %q", w, denied)
			}
		}
		r := d.get(archive)
		if r.StatusCode != http.StatusUnavailableForLegalReasons || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the archive: %d %s", r.StatusCode, r.Header.Get("Content-Type"))
		}
		say(t, "the refusal", into[map[string]string](t, r)["warning"], reason)
		for _, w := range []string{d.url, d.at(summer), d.at("summer")} {
			c.use(w)
			expectLocked(t, "blocked in "+w, c.locked(need, "--no-install"), "acme/a 1.0.0", "acme/b 1.0.0")
		}
		// A lock from before.
		c.use(d.at(summer))
		out, err := c.try(dir, "install", "--no-progress", "--prefer-dist")
		if err == nil {
			t.Error("a lock from before the block installs the blocked version")
		}
		if !lists || !strings.Contains(out.String(), "acme/b") {
			say(t, "the refusal to install", out.String(), reason)
		}
		// A client that knows filter lists says why.
		out, err = c.try(project(t, requiring("acme/b", "1.1.0")), "update", "--no-progress", "--no-install")
		if err == nil {
			t.Error("the blocked version resolves")
		}
		if lists {
			say(t, "a client with filter lists", out.String(), reason)
		}
		x := d.explain("acme/b", "1.1.0", summer)
		if x.Visible || x.Rule != "block" {
			t.Errorf("explain: %+v", x)
		}
		say(t, "explain", x.Sentence, reason)

		asked[any](d, http.MethodDelete, "blocks/"+rule.ID, nil)
		for i, w := range worlds {
			same(t, "after lifting, "+w, d.get(w+"/p2/acme/b.json").body, before[i])
		}
		c.use(d.at(summer))
		c.run(dir, "install", "--no-progress", "--prefer-dist")
	})
}

// TestUpstreamsMalwareListReachesThePast: a view of a date keeps nothing alive
// that upstream has flagged since; a reviewed reference can be waived.
func TestUpstreamsMalwareListReachesThePast(t *testing.T) {
	s, d := seasons(t)
	archive := d.distURL("acme/b", "1.1.0")
	dist := object(t, version(t, d.document("acme/b"), "1.1.0"), "dist")
	s.Flag("malware", "acme/b", "1.1.0")
	d.observe("acme/b")
	for _, w := range []string{"", "/snapshot/" + summer, "/snapshot/summer"} {
		if doc := d.view(w, "acme/b"); has(t, doc, "1.1.0") || !has(t, doc, "1.0.0") {
			t.Errorf("%q lists 1.1.0: %t, 1.0.0: %t", w, has(t, doc, "1.1.0"), has(t, doc, "1.0.0"))
		}
	}
	if r := d.get(archive); r.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("the archive: %d", r.StatusCode)
	}
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	asked[any](d, http.MethodPost, "waivers", map[string]string{
		"package": "acme/b", "versions": "1.1.0", "reference": dist.Text("reference"), "reason": "reviewed: a false alarm", "expires_at": expires,
	})
	if doc := d.view("/snapshot/"+summer, "acme/b"); !has(t, doc, "1.1.0") {
		t.Error("a waiver does not let it through")
	}
	if r := d.get(archive); r.StatusCode != http.StatusOK {
		t.Errorf("the archive of a waived version: %d %s", r.StatusCode, r.body)
	}
}

// TestWarmClientsOfADateFollowADenial: their copy is older than the block, and
// an error status would make them use it.
func TestWarmClientsOfADateFollowADenial(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		_, d := seasons(t)
		c := clientOf(t, command, d.at(summer))
		need := requiring("acme/b", "^1.0")
		expectLocked(t, "before", c.locked(need, "--no-install"), "acme/b 1.1.0")
		rule := asked[struct{ ID string }](d, http.MethodPost, "blocks", map[string]string{"package": "acme/*", "versions": "^1.1", "reason": "under review"})
		expectLocked(t, "blocked", c.locked(need, "--no-install"), "acme/b 1.0.0")
		asked[any](d, http.MethodDelete, "blocks/"+rule.ID, nil)
		expectLocked(t, "lifted", c.locked(need, "--no-install"), "acme/b 1.1.0")
	})
}

// TestHistoryAndDifferencesAreTold by the API, as far as people rely on them.
func TestHistoryAndDifferencesAreTold(t *testing.T) {
	s, d := seasons(t)
	s.Publish(bad("acme/b", "1.1.0"))
	publish(s, fresh("acme/b", "1.2.0"))
	s.DeleteVersion("acme/b", "1.0.0")
	d.observe("acme/b")
	type change struct{ Package, Version string }
	diff := asked[struct{ Added, Removed, Retagged []change }](d, http.MethodGet, "diff?from=spring&to=summer", nil)
	if len(diff.Added) != 2 || len(diff.Removed)+len(diff.Retagged) != 0 {
		t.Errorf("from spring to summer: %+v", diff)
	}
	diff = asked[struct{ Added, Removed, Retagged []change }](d, http.MethodGet, "diff?from=summer&to=now&package=acme/b", nil)
	if len(diff.Added) != 1 || len(diff.Removed) != 1 {
		t.Errorf("from summer to now: %+v", diff)
	}
	h := asked[struct {
		Files  []struct{ Revisions []any }
		Retags []struct{ Old, New string }
	}](d, http.MethodGet, "packages/acme/b/history", nil)
	if len(h.Files) != 2 || len(h.Files[0].Revisions) < 2 || len(h.Retags) != 1 {
		t.Errorf("the history: %+v", h)
	}
	if x := d.explain("acme/b", "1.1.0", spring); x.Visible {
		t.Errorf("explain: %+v", x)
	} else {
		say(t, "explain", x.Sentence, "is not visible at 2024-04-01T23:59:59Z: it appeared on 2024-06-01T11:00:00Z")
	}
	if x := d.explain("acme/b", "1.0.0", ""); x.Visible {
		t.Errorf("explain: %+v", x)
	}
}
