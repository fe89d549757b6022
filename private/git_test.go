package private_test

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/private"
	"stasis/proxy"
	"stasis/proxy/composer"
)

func name(t *testing.T, s string) composer.Name {
	t.Helper()
	n, err := composer.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestARepositoryIsPublishedWithItsTagsAndBranches(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	first := r.commit("composer.json", manifest("acme/lib", `,"require":{"php":">=8.1"}`), "src/A.php", "<?php")
	r.git("tag", "v1.0.0")
	second := r.commit("src/A.php", "<?php // two")
	r.git("tag", "1.1.0")
	r.git("branch", "feature/x")
	_, run := w.add(private.Source{Type: private.Git, URL: r.dir, Packages: []string{"acme/*"}})
	if run.Result != "ok" || run.Counts.Published != 4 {
		t.Fatalf("the run is %+v", run)
	}
	stable := w.versions("acme/lib")
	if got := keys(stable); !slices.Equal(got, []string{"1.1.0", "v1.0.0"}) {
		t.Fatalf("the tags are %v", got)
	}
	v := stable["v1.0.0"]
	if v.Normalized != "1.0.0.0" || v.Dist.Reference != first || v.Require["php"] != ">=8.1" || v.Time != "2026-01-02T03:04:05+00:00" && v.Time != "2026-01-02T03:04:05Z" || v.Published == "" || v.Source != nil {
		t.Errorf("v1.0.0 is %+v", v)
	}
	dev := w.versions("acme/lib~dev")
	if got := keys(dev); !slices.Equal(got, []string{"dev-feature/x", "dev-main"}) || !dev["dev-main"].Default || dev["dev-feature/x"].Default {
		t.Errorf("the branches are %+v", dev)
	}
	status, body := w.download("acme/lib", stable["1.1.0"])
	sum := sha1.Sum(body)
	if status != http.StatusOK || hex.EncodeToString(sum[:]) != stable["1.1.0"].Dist.Shasum {
		t.Errorf("the archive of 1.1.0 (%s): status %d, %d bytes, not those of the shasum %q", second, status, len(body), stable["1.1.0"].Dist.Shasum)
	}
	if asked := w.registry.about("acme/lib"); asked != nil {
		t.Errorf("the public registry was asked for %v", asked)
	}
	if _, list := w.get("/packages/list.json"); !strings.Contains(string(list), `"acme/lib"`) {
		t.Errorf("the list has no acme/lib: %.200s", list)
	}
	if _, found := w.get("/search.json?q=ours"); !strings.Contains(string(found), `"acme/lib"`) {
		t.Errorf("the search finds no acme/lib: %.200s", found)
	}
}

func TestAPushIsPublishedAndTheArchiveOfAnOldBranchHeadStays(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	old := r.commit("composer.json", manifest("acme/lib", ""))
	src, _ := w.add(private.Source{Type: private.Git, URL: r.dir})
	before := w.versions("acme/lib~dev")["dev-main"]
	if before.Dist.Reference != old {
		t.Fatalf("dev-main is %+v", before)
	}
	if run := w.sync(src.ID); run.Result != "unchanged" {
		t.Errorf("nothing was pushed and the run is %+v", run)
	}
	head := r.commit("README.md", "# more")
	r.git("tag", "2.0.0")
	if run := w.sync(src.ID); run.Counts.Published != 2 {
		t.Errorf("a push of a commit and a tag gives %+v", run)
	}
	if got := w.versions("acme/lib~dev")["dev-main"].Dist.Reference; got != head {
		t.Errorf("dev-main is at %s, not at %s", got, head)
	}
	if got := keys(w.versions("acme/lib")); !slices.Equal(got, []string{"2.0.0"}) {
		t.Errorf("the tags are %v", got)
	}
	if status, _ := w.download("acme/lib", before); status != http.StatusOK {
		t.Errorf("the archive that an older lock file names: status %d", status)
	}
	// A commit that was never a head, as in dev-main#commit.
	middle := r.commit("a", "a")
	r.commit("b", "b")
	w.sync(src.ID)
	pinned := before
	pinned.Dist.Reference = middle
	if status, body := w.download("acme/lib", pinned); status != http.StatusOK {
		t.Errorf("the archive of a commit between heads: status %d %s", status, body)
	}
	if readme, err := w.service.Readme(t.Context(), name(t, "acme/lib"), ""); err != nil || string(readme) != "# more" {
		t.Errorf("the README is %q, %v", readme, err)
	}
}

func TestAMovedTagIsKeptAtItsFirstCommitAndAlarmed(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	first := r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.0.0")
	src, _ := w.add(private.Source{Type: private.Git, URL: r.dir})
	r.commit("evil.php", "<?php")
	r.git("tag", "-f", "1.0.0")
	run := w.sync(src.ID)
	if !slices.Equal(run.Retagged, []string{"acme/lib 1.0.0"}) {
		t.Errorf("the run says %+v", run)
	}
	if got := w.versions("acme/lib")["1.0.0"].Dist.Reference; got != first {
		t.Errorf("1.0.0 is served at %s, not where it was first seen, %s", got, first)
	}
	alerts, err := w.proxy.Alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(alerts, func(a proxy.Alert) bool { return string(a.Kind) == "retagged" && a.Subject == "acme/lib" }) {
		t.Errorf("no alert tells of it: %+v", alerts)
	}
}

func TestABrokenTagCostsNoOther(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.0.0")
	r.commit("composer.json", `{"name":"acme/lib",`)
	r.git("tag", "1.1.0")
	r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.2.0")
	r.git("tag", "no-version")
	r.commit("composer.json", manifest("acme/lib", `,"require":{"php":"at least eight"}`))
	r.git("tag", "1.3.0")
	r.commit("composer.json", manifest("acme/lib", ""))
	_, run := w.add(private.Source{Type: private.Git, URL: r.dir})
	if got := keys(w.versions("acme/lib")); !slices.Equal(got, []string{"1.0.0", "1.2.0"}) {
		t.Errorf("the versions are %v", got)
	}
	if run.Counts.Skipped != 3 || run.Result != "ok" {
		t.Errorf("the run is %+v", run)
	}
}

func TestAMonorepoHasSeveralPackages(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	r.commit("packages/a/composer.json", manifest("acme/a", ""), "packages/b/composer.json", manifest("acme/b", `,"require":{"acme/a":"self.version"}`), "README.md", "all")
	r.git("tag", "1.0.0")
	_, run := w.add(private.Source{Type: private.Git, URL: r.dir, Paths: []string{"packages/*"}})
	for _, n := range []string{"acme/a", "acme/b"} {
		v := w.versions(n)["1.0.0"]
		if status, body := w.download(n, v); status != http.StatusOK || strings.Contains(string(body), "packages/") {
			t.Errorf("%s: status %d, its archive has folders of the monorepo; run %+v", n, status, run)
		}
	}
}

// TestAPushToAMonorepoMovesWhatItChanges, and a package that it does not touch keeps its reference, time and archive.
func TestAPushToAMonorepoMovesWhatItChanges(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	first := r.commit("packages/a/composer.json", manifest("acme/a", ""), "packages/b/composer.json", manifest("acme/b", ""), "packages/b/tests/t.php", "<?php")
	src, _ := w.add(private.Source{Type: private.Git, URL: r.dir, Paths: []string{"packages/*"}})
	references := func(what string, a, b string) {
		t.Helper()
		for n, want := range map[string]string{"acme/a": a, "acme/b": b} {
			v := w.versions(n + "~dev")["dev-main"]
			if v.Dist.Reference != want {
				t.Errorf("%s: %s is at %s, want %s", what, n, v.Dist.Reference, want)
			}
			if status, body := w.download(n, v); status != http.StatusOK || !strings.Contains(string(body), want[:12]) {
				t.Errorf("%s: the archive of %s: status %d", what, n, status)
			}
		}
	}
	references("at first", first, first)
	second := r.commit("packages/a/new.php", "<?php")
	if run := w.sync(src.ID); run.Counts.Published != 1 {
		t.Errorf("a push to one of two packages: %+v", run)
	}
	references("after a push to a", second, first)
	r.commit("README.md", "all")
	if run := w.sync(src.ID); run.Result != "unchanged" {
		t.Errorf("a push to none: %+v", run)
	}
	references("after a push to none", second, first)
	third := r.commit(".gitattributes", "tests export-ignore\n")
	w.sync(src.ID)
	references("after new attributes", third, third)
	r.git("mv", "packages/b", "packages/c")
	fourth := r.commit()
	w.sync(src.ID)
	references("after a move", third, fourth)
	fifth := r.commit("packages/a/new.php", "<?php // changed", "packages/c/composer.json", manifest("acme/b", `,"type":"library"`))
	w.sync(src.ID)
	references("after a push to both", fifth, fifth)
	// A tag names its commit, whatever changed.
	sixth := r.commit("README.md", "more")
	r.git("tag", "1.0.0")
	w.sync(src.ID)
	references("after a tag", fifth, fifth)
	if got := w.versions("acme/a")["1.0.0"].Dist.Reference; got != sixth {
		t.Errorf("the tag is at %s, want %s", got, sixth)
	}
}

func TestASourceThatFailsTakesNothingAway(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.0.0")
	src, _ := w.add(private.Source{Type: private.Git, URL: r.dir})
	r.git("tag", "-d", "1.0.0")
	r.commit("composer.json", "broken")
	if run := w.sync(src.ID); run.Result != "failed" {
		t.Errorf("a repository without any version: %+v", run)
	}
	r.git("update-ref", "-d", "refs/heads/main")
	w.sync(src.ID)
	if got := keys(w.versions("acme/lib")); !slices.Equal(got, []string{"1.0.0"}) {
		t.Errorf("left are %v", got)
	}
}

func TestPrivateHistoryIsExact(t *testing.T) {
	w := newWorld(t)
	r := newRepo(t)
	r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.0.0")
	src, _ := w.add(private.Source{Type: private.Git, URL: r.dir})
	w.versions("acme/lib")
	between := time.Now().UTC().Truncate(time.Second)
	untilNext(t, between.Add(time.Second))
	r.git("tag", "1.1.0")
	w.sync(src.ID)
	if got := len(w.versions("acme/lib")); got != 2 {
		t.Fatalf("%d versions", got)
	}
	resp, err := http.Get(w.url + "/snapshot/" + between.Format("20060102T150405Z") + "/p2/acme/lib.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Snapshot-Fidelity") != "exact" {
		t.Errorf("the view of the time before: status %d, fidelity %q", resp.StatusCode, resp.Header.Get("X-Snapshot-Fidelity"))
	}
}

// untilNext waits until the clock shows t: dates are no finer than a second.
func untilNext(t *testing.T, at time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
