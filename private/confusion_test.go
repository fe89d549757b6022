package private_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"stasis/private"
)

// The public registry has a package of every name, in a higher version. None of
// it may be asked for, or served, under a name of ours.

func (w *world) neverPublic(what, name string, files ...string) {
	w.t.Helper()
	for _, path := range append(files,
		"/p2/"+name+".json", "/p2/"+name+"~dev.json",
		"/packages/"+name+".json", "/providers/"+name+".json",
		"/dist-proxy/"+name+"/99.0.0.0/"+strings.Repeat("0", 39)+"9.zip",
		"/cooldown/1s/p2/"+name+".json", "/snapshot/2026-02-01/p2/"+name+".json",
		"/p2/"+strings.ToUpper(name)+".json",
	) {
		status, body := w.get(path)
		if bytes.Contains(body, []byte("99.0.0")) && status == http.StatusOK || bytes.Contains(body, []byte("stranger")) {
			w.t.Errorf("%s: %s gives (%d) what a stranger published: %.200s", what, path, status, body)
		}
		if status >= 500 {
			w.t.Errorf("%s: %s: status %d: %.200s", what, path, status, body)
		}
	}
	if asked := w.registry.about(strings.ToLower(name)); asked != nil {
		w.t.Errorf("%s: the public registry was asked for %v", what, asked)
	}
}

func TestNamesOfOursAreNeverTakenFromThePublicRegistry(t *testing.T) {
	w := newWorld(t, "reserved")
	r := newRepo(t)
	r.commit("composer.json", manifest("acme/lib", `,"replace":{"acme/old-lib":"self.version"},"provide":{"psr/log-implementation":"1.0"}`))
	r.git("tag", "1.0.0")
	src, _ := w.add(private.Source{Type: private.Git, Name: "lib", URL: r.dir, Packages: []string{"acme/*"}})
	ctx := t.Context()
	lib := name(t, "acme/lib")

	w.neverPublic("a package of ours", "acme/lib")
	w.neverPublic("a name that nothing of ours has, but matches a pattern", "acme/absent")
	w.neverPublic("a name that a package of ours replaces", "acme/old-lib")
	w.neverPublic("a reserved vendor", "reserved/anything")

	if err := os.Rename(r.dir, r.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if run := w.sync(src.ID); run.Result != "failed" {
		t.Errorf("a repository that is not there: %+v", run)
	}
	w.neverPublic("its source is down", "acme/lib")
	if _, ok := w.versions("acme/lib")["1.0.0"]; !ok {
		t.Error("a source that is down took its package away")
	}
	if err := os.Rename(r.dir+".away", r.dir); err != nil {
		t.Fatal(err)
	}

	if _, err := w.service.Delete(ctx, lib); err != nil {
		t.Fatal(err)
	}
	w.neverPublic("deleted", "acme/lib")
	if got := w.versions("acme/lib"); got != nil {
		t.Errorf("a deleted package has %v", keys(got))
	}
	if run := w.sync(src.ID); run.Counts.Skipped == 0 || w.versions("acme/lib") != nil {
		t.Errorf("a deleted package came back by itself: %+v", run)
	}
	if _, err := w.service.Restore(ctx, lib); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.versions("acme/lib")["1.0.0"]; !ok {
		t.Error("a restored package is not there")
	}

	// Renamed at its source: the old name stays ours.
	r.commit("composer.json", manifest("acme/renamed", ""))
	r.git("tag", "2.0.0")
	w.sync(src.ID)
	w.neverPublic("renamed, the old name", "acme/lib")
	w.neverPublic("renamed, the new name", "acme/renamed")

	if _, err := w.service.DeleteSource(ctx, src.ID); err != nil {
		t.Fatal(err)
	}
	w.neverPublic("its source was deleted", "acme/lib")
	if _, ok := w.versions("acme/lib")["1.0.0"]; !ok {
		t.Error("the package went with its source")
	}
}

func TestAPackageOnceTakenFromTheRegistryIsNotServedWhenItsNameBecomesOurs(t *testing.T) {
	w := newWorld(t)
	if got := keys(w.versions("acme/lib")); len(got) != 1 || got[0] != "99.0.0" {
		t.Fatalf("the public package has %v", got)
	}
	asked := len(w.registry.about("acme/lib"))
	r := newRepo(t)
	r.commit("composer.json", manifest("acme/lib", ""))
	r.git("tag", "1.0.0")
	w.add(private.Source{Type: private.Git, URL: r.dir, Packages: []string{"acme/*"}})
	if got := keys(w.versions("acme/lib")); len(got) != 1 || got[0] != "1.0.0" {
		t.Errorf("now it has %v", got)
	}
	w.versions("acme/lib~dev")
	status, body := w.get("/snapshot/2026-02-01/p2/acme/lib.json")
	if bytes.Contains(body, []byte("99.0.0")) {
		t.Errorf("a view of the past (%d) shows the stranger's: %.200s", status, body)
	}
	if status, _ := w.get("/dist-proxy/acme/lib/99.0.0.0/" + strings.Repeat("0", 39) + "9.zip"); status != http.StatusNotFound {
		t.Errorf("the stranger's archive: status %d", status)
	}
	if now := len(w.registry.about("acme/lib")); now != asked {
		t.Errorf("the registry was asked %d more times", now-asked)
	}
	if why, err := w.proxy.Explain(t.Context(), name(t, "acme/lib"), "1.0.0", ""); err != nil || !strings.Contains(why.Sentence, "source") {
		t.Errorf("explain says %+v, %v", why, err)
	}
}

func TestOnePackageComesFromTheFirstSourceThatHasIt(t *testing.T) {
	w := newWorld(t)
	first, second := newRepo(t), newRepo(t)
	for _, r := range []*repo{first, second} {
		r.commit("composer.json", manifest("acme/lib", ""))
	}
	first.git("tag", "1.0.0")
	second.git("tag", "2.0.0")
	w.add(private.Source{Type: private.Git, Name: "late", URL: second.dir, Priority: 20})
	if got := keys(w.versions("acme/lib")); len(got) != 1 || got[0] != "2.0.0" {
		t.Fatalf("versions %v", got)
	}
	w.add(private.Source{Type: private.Git, Name: "early", URL: first.dir, Priority: 10})
	if got := keys(w.versions("acme/lib")); len(got) != 1 || got[0] != "1.0.0" {
		t.Errorf("a source that is asked first has 1.0.0, and the versions are %v", got)
	}
	src, err := w.service.Source(t.Context(), "late")
	if err != nil {
		t.Fatal(err)
	}
	if run := w.sync(src.ID); run.Counts.Skipped != 1 || run.Result == "failed" {
		t.Errorf("the later source: %+v", run)
	}
	if got := keys(w.versions("acme/lib")); len(got) != 1 || got[0] != "1.0.0" {
		t.Errorf("the later source got through: %v", got)
	}
}
