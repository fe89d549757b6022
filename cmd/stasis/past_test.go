package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/config"
	"stasis/integration/standin"
)

const (
	sealedID     = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	options      = `"options":{"rest":"instant","archives":"eager","advisories":"asof","private":"asof"}`
	sealedData   = `{"name":"march","id":"` + sealedID + `","state":"sealed","from":"now","instant":"2026-03-01T23:59:59Z",` + options + `,"created_at":"2026-03-02T00:00:00Z","created_by":"ops","note":"before the release","packages":3,"files":6,"fidelity":{"exact":5,"gap":1},"archives":2,"bytes":2048}`
	buildingData = `{"name":"march","state":"building","from":"now","instant":"2026-03-01T23:59:59Z",` + options + `,"created_at":"2026-03-02T00:00:00Z","packages":0,"files":0,"archives":0,"bytes":0,"progress":{"phase":"archives","done":1,"total":2,"bytes":5}}`
	partialData  = `{"name":"march","state":"incomplete","from":"lock","instant":"2026-03-01T23:59:59Z",` + options + `,"created_at":"2026-03-02T00:00:00Z","packages":0,"files":0,"archives":0,"bytes":0,"missing":[{"package":"acme/lib","version":"1.0","reason":"its archive is gone"}],"missing_total":1}`
	channelData  = `{"name":"prod","id":"` + sealedID + `","snapshot":"march","at":"2026-03-02T00:00:00Z","by":"ops","note":"go","move":2}`
	ruleData     = `{"id":"7","kind":"block","package":"acme/*","versions":"^1.0","reference":"0123456789abcdef","reason":"steals keys","owner":"ops","created_at":"2026-03-02T00:00:00Z"}`
	frozenData   = `{"package":"acme/*","at":"2026-01-31T00:00:00Z","created_at":"2026-02-01T00:00:00Z","documents":[]}`
	changesData  = `{"added":[{"package":"acme/lib","version":"1.1","reference":"new"}],"removed":[],"retagged":[{"package":"acme/lib","version":"1.0","reference":"bbb","old_reference":"aaa"}],"denied":[{"package":"acme/x","version":"2.0","reason":"it steals keys"}],"allowed":[],"fidelity":[{"file":"acme/lib~dev","from":"","to":"exact"}],"files":4}`
	explainData  = `{"package":"acme/lib","version":"1.0","at":"now","visible":false,"rule":"block","sentence":"acme/lib 1.0 is blocked: it steals keys"}`
	historyData  = `{"package":"acme/lib","files":[
		{"file":"acme/lib","imported":1,"revisions":[{"seq":1,"document":"` + sealedID + `","valid_from":"2026-01-05T00:00:00Z","first_seen":"2026-01-10T00:00:00Z","last_confirmed":"2026-01-12T00:00:00Z","via":"demand"},
			{"seq":2,"document":"","valid_from":"2026-01-14T00:00:00Z","first_seen":"2026-01-14T00:00:00Z","last_confirmed":"2026-01-14T00:00:00Z","via":"feed"}],
		 "instants":{"known":[{"from":"2026-01-05T00:00:00Z","until":"2026-01-12T00:00:00Z"}],"imported":"2025-12-01T00:00:00Z"}},
		{"file":"acme/lib~dev","imported":0,"revisions":[{"seq":1,"document":"","valid_from":"2026-01-10T00:00:00Z","first_seen":"2026-01-10T00:00:00Z","last_confirmed":"2026-01-12T00:00:00Z","via":"demand"}],"instants":{"known":[]}}],
		"references":[
		{"version":"1.10","normalized":"1.10.0.0","reference":"a","type":"zip","url":"","published":"2026-01-05T00:00:00Z","first_seen":"2026-01-10T00:00:00Z","initial":true,"via":"demand"},
		{"version":"1.9","normalized":"1.9.0.0","reference":"b","type":"zip","url":"","time":"2026-01-05T00:00:00Z","first_seen":"2026-01-10T00:00:00Z","gone_at":"2026-01-12T00:00:00Z","initial":true,"via":"demand"},
		{"version":"0.9","normalized":"0.9.0.0","reference":"b","type":"zip","url":"","first_seen":"2025-12-01T00:00:00Z","via":"import"},
		{"version":"dev-main","normalized":"dev-main","reference":"first","type":"zip","url":"","published":"2026-01-04T00:00:00Z","first_seen":"2026-01-10T00:00:00Z","gone_at":"2026-01-11T00:00:00Z","initial":true,"via":"demand"},
		{"version":"dev-main","normalized":"dev-main","reference":"0123456789abcdef","type":"zip","url":"","first_seen":"2026-01-11T00:00:00Z","via":"feed"},
		{"version":"2.0","normalized":"2.0.0.0","reference":"c","type":"zip","url":"","first_seen":"2026-01-12T00:00:00Z","via":"feed"}],
		"retags":[{"package":"acme/lib","version":"1.10.0.0","old":"a","new":"z","at":"2026-01-13T00:00:00Z"}],
		"freeze":{"package":"acme/*","at":"2026-01-13T00:00:00Z","created_at":"2026-01-13T00:00:00Z","reason":"release week","documents":[]},
		"archives":[{"reference":"a","type":"zip","sha256":"` + sealedID + `","size":1,"first_seen":"2026-01-10T00:00:00Z","held":true},{"reference":"b","type":"zip","sha256":"` + sealedID + `","size":1,"first_seen":"2026-01-10T00:00:00Z","held":false}]}`
)

func TestCommandsAboutThePastAskAndShow(t *testing.T) {
	asksAndShows(t, []exchange{
		{[]string{"snapshot", "list"}, "GET snapshots", "[" + sealedData + "]", []string{"march sealed 2026-03-01 23:59:59 3 2 2.0 KiB 0a1b2c3d4e5f before the release"}},
		{[]string{"snapshot", "list"}, "GET snapshots", "[]", []string{"no snapshots"}},
		{[]string{"snapshot", "show", "@0a1b2c3d"}, "GET snapshots/@0a1b2c3d", sealedData, []string{sealedID, "files 6 5 exact, 1 gap", "by ops"}},
		{[]string{"snapshot", "show", "march"}, "GET snapshots/march", partialData, []string{"missing 1", "acme/lib 1.0 its archive is gone"}},
		{[]string{"snapshot", "verify", "march"}, "POST snapshots/march/verify?wait=false", finishedJob(`{"id":"` + sealedID + `","documents":6,"archives":2,"bytes":2048,"problems":[]}`), []string{"documents 6", "problems 0"}},
		{[]string{"snapshot", "delete", "march"}, "DELETE snapshots/march", sealedData, []string{"march is deleted"}},
		{[]string{"snapshot", "create", "march", "--from", "2026-03-01", "--archives", "eager", "--note", "n", "--by", "ops"},
			`POST snapshots {"name":"march","from":"2026-03-01","archives":"eager","note":"n","by":"ops"}`, sealedData, []string{"state sealed"}},
		{[]string{"snapshot", "create", "--detach"}, `POST snapshots {}`, buildingData, []string{"progress archives, 1 of 2"}},
		{[]string{"snapshot", "diff", "2026-01-01", "prod", "--package", "Acme/Lib,acme/x"}, "GET diff?from=2026-01-01&package=acme%2Flib%2Cacme%2Fx&to=prod&wait=false", finishedJob(changesData),
			[]string{"added acme/lib 1.1 new", "re-tagged acme/lib 1.0 aaa -> bbb", "denied acme/x 2.0 it steals keys", "fidelity acme/lib~dev unknown -> exact"}},
		{[]string{"snapshot", "diff", "a", "b"}, "GET diff?from=a&to=b&wait=false", finishedJob(`{"added":[],"files":4}`), []string{"no difference in 4 files"}},
		{[]string{"channel", "set", "prod", "march", "--note", "go"}, `PUT channels/prod {"snapshot":"march","note":"go"}`, channelData, []string{"prod points at march 0a1b2c3d4e5f"}},
		{[]string{"channel", "rollback", "prod", "--by", "ops"}, `POST channels/prod/rollback {"by":"ops"}`, channelData, []string{"prod points at march"}},
		{[]string{"channel", "list"}, "GET channels", "[" + channelData + "]", []string{"prod march 0a1b2c3d4e5f", "ops go"}},
		{[]string{"channel", "history", "prod"}, "GET channels/prod/history", `[{"number":3,"id":"` + sealedID + `","snapshot":"march","at":"2026-03-02T00:00:00Z","rollback":true}]`, []string{"march (rolled back)"}},
		{[]string{"channel", "delete", "prod"}, "DELETE channels/prod", `{"name":"prod"}`, []string{"prod is deleted"}},
		{[]string{"explain", "Acme/Lib", "1.0", "--at", "cooldown=7d"}, "GET packages/acme/lib/explain?at=cooldown%3D7d&version=1.0", explainData, []string{"acme/lib 1.0 is blocked: it steals keys"}},
		{[]string{"history", "acme/lib"}, "GET packages/acme/lib/history", historyData, []string{
			"2025-12-01 Mon in a lock file 0.9", "2026-01-04 Sun published dev-main", "2026-01-05 Mon published 1.9, 1.10", "2026-01-10 Sat first seen acme/lib",
			"2026-01-11 Sun moved dev-main to 0123456789ab", "2026-01-12 Mon appeared 2.0 gone 1.9", "2026-01-13 Tue re-tagged 1.10.0.0 from a to z",
			"2026-01-14 Wed absent upstream acme/lib", "acme/lib known exactly from 2026-01-05 00:00:00 to 2026-01-12 00:00:00 UTC",
			"proven by lock files 1 versions, from 2025-12-01", "archives held 1 of 2", "frozen at 2026-01-13 00:00:00 UTC: release week"}},
		{[]string{"history"}, "GET instants", `{"first":"2026-01-10T00:00:00Z","files":3,"holes":[{"from":"2026-01-11T00:00:00Z","until":"2026-01-12T00:00:00Z"}],"feed_until":"2026-01-13T00:00:00Z","settled_until":"2026-01-14T00:00:00Z"}`,
			[]string{"files recorded 3", "recorded since 2026-01-10 00:00:00", "settled until 2026-01-14 00:00:00", "feed not followed from 2026-01-11 00:00:00 to 2026-01-12 00:00:00 UTC"}},
		{[]string{"block", "add", "acme/*", "^1.0", "--reason", "steals keys", "--reference", "abc"}, `POST blocks {"package":"acme/*","versions":"^1.0","reference":"abc","reason":"steals keys"}`, ruleData,
			[]string{"7 acme/* ^1.0 0123456789ab", "steals keys"}},
		{[]string{"block", "list", "--all"}, "GET blocks?all=true", "[" + ruleData + "]", []string{"7 acme/*"}},
		{[]string{"block", "lift", "7", "--by", "ops"}, "DELETE blocks/7?by=ops", ruleData, []string{"7 acme/*"}},
		{[]string{"waive", "add", "acme/lib", "1.0", "--reference", "abc", "--reason", "read it", "--expires", "2026-06-01"},
			`POST waivers {"package":"acme/lib","versions":"1.0","reference":"abc","reason":"read it","expires_at":"2026-06-01T00:00:00Z"}`, ruleData, []string{"7"}},
		{[]string{"exempt", "add", "acme/*", "--reason", "ours", "--owner", "ops"}, `POST exemptions {"package":"acme/*","reason":"ours","owner":"ops"}`, ruleData, []string{"7"}},
		{[]string{"exempt", "list"}, "GET exemptions", "[]", []string{"no exemptions"}},
		{[]string{"hold", "add", "acme/lib", "<2.0", "--reason", "not yet"}, `POST holds {"package":"acme/lib","versions":"\u003c2.0","reason":"not yet"}`, ruleData, []string{"7"}},
		{[]string{"freeze", "Acme/*", "--at", "2026-01-31"}, `POST freezes {"pattern":"acme/*","at":"2026-01-31T00:00:00Z"}`, frozenData, []string{"acme/*"}},
		{[]string{"unfreeze", "acme/*"}, "DELETE freezes?pattern=acme%2F%2A", `{"package":"acme/*","unfrozen":true}`, []string{"acme/* follows upstream again"}},
	})
}

func TestWrongUseOfTheCommandsAboutThePast(t *testing.T) {
	api := newScriptedAPI(t, nil)
	for _, args := range [][]string{
		{"snapshot", "fly"}, {"snapshot", "show"}, {"snapshot", "diff", "a"}, {"snapshot", "diff", "a", "b", "--package", "nonsense"},
		{"channel", "set", "prod"}, {"explain", "nonsense", "1.0"}, {"explain", "a/b"}, {"history", "a/b", "c/d"}, {"history", "nonsense"},
		{"history", "import-lock", "composer.lock"}, {"history", "import-lock", ".", "--git", "--at", "2026-01-01"}, {"history", "import-lock", "x", "--at", "soon"},
		{"waive", "add", "a/b"}, {"hold", "add", "a/b"}, {"exempt", "add", "a/b", "1.0"}, {"block", "lift"}, {"block", "add", "a/b", "--expires", "soon"}, {"export"}, {"import"},
	} {
		if got := stasis(t, api.environ(), "", args...); got.code != exitUsage || got.stderr == "" {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	if len(api.asked) != 0 {
		t.Errorf("asked %q", api.asked)
	}
}

func TestASnapshotIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		last string
		code int
	}{{sealedData, exitOK}, {partialData, exitFailure}} {
		asked := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			data := buildingData
			if asked++; asked == 3 {
				data = test.last
			}
			fmt.Fprintf(w, `{"data":%s,"error":null}`, data)
		}))
		got := stasis(t, []string{"STASIS_URL=" + srv.URL}, "", "snapshot", "create", "march", "--json")
		srv.Close()
		if got.code != test.code || asked != 3 || compact(t, got.stdout) != compact(t, test.last) || got.stderr != "" {
			t.Errorf("after %d requests: got %+v", asked, got)
		}
	}
}

// finishedJob is a job that has ended with a result.
func finishedJob(result string) string {
	return `{"id":"j1","kind":"verify","subject":"march","state":"done","progress":{"phase":"archives","done":2,"total":2,"bytes":2048},
		"started_at":"2026-03-02T00:00:00Z","ended_at":"2026-03-02T00:00:00Z","result":` + result + `}`
}

func TestAJobIsWaitedFor(t *testing.T) {
	const running = `{"id":"j1","kind":"verify","subject":"march","state":"running","progress":{"phase":"archives","done":1,"total":2,"bytes":5},"started_at":"2026-03-02T00:00:00Z"}`
	damaged := `{"id":"` + sealedID + `","documents":6,"archives":1,"bytes":2048,"problems":[{"package":"acme/lib","reason":"its archive is damaged"}]}`
	for _, test := range []struct {
		last, says string
		code       int
	}{
		{finishedJob(damaged), "its archive is damaged", exitFailure},
		{`{"id":"j1","kind":"verify","subject":"march","state":"failed","progress":{"phase":"metadata","done":0,"total":2,"bytes":0},"started_at":"2026-03-02T00:00:00Z","problem":{"code":"NOT_FOUND","message":"There is no such thing here."}}`,
			"There is no such thing here (NOT_FOUND)", exitFailure},
		{`{"id":"j1","state":"done"}`, "another version of Stasis", exitFailure},
		{finishedJob(`{"id":"` + sealedID + `","documents":6,"archives":2,"bytes":2048,"problems":[]}`), "documents", exitOK},
	} {
		var asked []string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data := running
			if asked = append(asked, r.Method+" "+r.URL.RequestURI()); len(asked) == 3 {
				data = test.last
			}
			fmt.Fprintf(w, `{"data":%s,"error":null}`, data)
		}))
		got := stasis(t, []string{"STASIS_URL=" + srv.URL}, "", "snapshot", "verify", "march")
		srv.Close()
		if got.code != test.code || !strings.Contains(got.stdout+got.stderr, test.says) || !strings.Contains(got.stderr, "archives: 2 to do") {
			t.Errorf("got %+v", got)
		}
		if want := "POST /api/v1/proxy/snapshots/march/verify?wait=false, GET /api/v1/proxy/jobs/j1, GET /api/v1/proxy/jobs/j1"; strings.Join(asked, ", ") != want {
			t.Errorf("asked %s", strings.Join(asked, ", "))
		}
	}
}

// machine is a Stasis in this process, in front of a scripted registry.
func machine(t *testing.T, up *standin.Server) (environ []string) {
	t.Helper()
	c := testConfig(t)
	c.Admin.Token = config.NewSecret(apiToken)
	c.Proxy.PackagistURL = up.URL()
	archives, err := url.Parse(up.ArchiveURL())
	if err != nil {
		t.Fatal(err)
	}
	c.Proxy.AllowedHosts = []string{archives.Host}
	r := serveForTest(t, c, discard)
	return []string{"STASIS_URL=http://" + r.addr.String(), "ADMIN_TOKEN=" + apiToken}
}

func TestTheTimeMachineOfTheProgramItself(t *testing.T) {
	up := standin.Start(t, standin.Options{})
	published := up.Publish(standin.Release{Name: "acme/lib", Version: "1.0.0", Time: time.Now().Add(-time.Hour)})
	environ := machine(t, up)
	dir := t.TempDir()
	lock := filepath.Join(dir, "composer.lock")
	text := fmt.Sprintf(`{"packages":[{"name":"acme/lib","version":"1.0.0","dist":{"type":"zip","url":%q,"reference":%q,"shasum":""}}],"packages-dev":[]}`, published.DistURL, published.Reference)
	if err := os.WriteFile(lock, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(environ []string, args ...string) outcome {
		t.Helper()
		got := stasis(t, environ, "", args...)
		if got.code != exitOK {
			t.Errorf("%q: got %+v", args, got)
		}
		return got
	}
	says := func(words string, args ...string) {
		t.Helper()
		if got := do(environ, args...); !strings.Contains(got.stdout, words) {
			t.Errorf("%q does not say %q:\n%s", args, words, got.stdout)
		}
	}
	says("acme/lib", "warm", lock)
	says("sealed", "snapshot", "create", "one", "--archives", "eager")
	says("sealed", "snapshot", "create", "locked", "--lock", lock)
	says("one", "snapshot", "list")
	says("problems", "snapshot", "verify", "one")
	says("points at one", "channel", "set", "prod", "one")
	says("no difference", "snapshot", "diff", "one", "prod", "--lock", lock)
	says("1.0.0", "history", "acme/lib")
	says("acme/lib", "explain", "acme/lib", "1.0.0", "--at", "prod")
	says("steals keys", "block", "add", "acme/*", "--reason", "steals keys")
	says("steals keys", "explain", "acme/lib", "1.0.0")
	says("lifted", "block", "lift", "1")
	says("acme/*", "freeze", "acme/*", "--reason", "release week")
	says("follows", "unfreeze", "acme/*")
	says("AT (UTC)", "history", "import-lock", lock, "--at", "2026-01-01")

	bundle := filepath.Join(dir, "one.bundle")
	says("one.bundle has", "export", "one", "--output", bundle)
	if got := stasis(t, environ, "", "export", "one", "--output", bundle); got.code != exitFailure {
		t.Errorf("a file is written over: %+v", got)
	}
	whole, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(environ, "export", "prod"); got.stdout != string(whole) {
		t.Errorf("on standard output the bundle is another one, of %d bytes and not %d", len(got.stdout), len(whole))
	}
	missing := filepath.Join(dir, "none.bundle")
	if got := stasis(t, environ, "", "export", "none", "--output", missing); got.code != exitFailure || !strings.Contains(got.stderr, "no snapshot") {
		t.Errorf("what is not there is exported: %+v", got)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a failed export leaves a file")
	}

	far := machine(t, standin.Start(t, standin.Options{}))
	if got := stasis(t, far, string(whole[:len(whole)-9]), "import", "-"); got.code != exitFailure {
		t.Errorf("part of a bundle: got %+v", got)
	}
	id := func(environ []string, name string) string {
		t.Helper()
		var s struct{ ID string }
		if err := json.Unmarshal([]byte(do(environ, "snapshot", "show", name, "--json").stdout), &s); err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	do(far, "import", bundle, "--name", "far")
	if here, there := id(environ, "one"), id(far, "far"); here != there || here == "" {
		t.Errorf("the id is %q here and %q there", here, there)
	}
}
