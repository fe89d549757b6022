package api_test

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/api"
	"stasis/integration/standin"
	"stasis/private/access"
	"stasis/proxy"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
	"stasis/proxy/upstream"
	"stasis/store"
)

// hand is a clock that is moved by hand.
type hand struct {
	mu sync.Mutex
	at time.Time
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

func (h *hand) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = h.at.Add(d)
}

// machine is a real proxy in front of a scripted registry, with the API on top.
type machine struct {
	*service
	*hand
	up *standin.Server
}

// newMachine starts one whose clock is at noon and begins an hour before in the registry.
func newMachine(t *testing.T) *machine {
	t.Helper()
	clock := &hand{at: noon}
	up := standin.Start(t, standin.Options{Now: clock.now})
	// The registry's answers are dated by its clock, as those of a real one are.
	up.Fault("*", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Date", clock.now().UTC().Format(http.TimeFormat))
		next.ServeHTTP(w, r)
	})
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir(), MaxCacheSize: 1 << 30, MinFreeSpace: 1 << 20, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	var hosts []string
	for _, address := range []string{up.URL(), up.ArchiveURL()} {
		u, _ := url.Parse(address)
		hosts = append(hosts, u.Host)
	}
	client, err := upstream.New(upstream.Options{UserAgent: "Stasis test", AllowedHosts: hosts, Retries: -1, Timeout: 10 * time.Second, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.New(proxy.Options{Store: st, Upstream: client, Enabled: true, PackagistURL: up.URL(), MetadataTTL: time.Minute, RevalidateWait: 10 * time.Second,
		NegativeTTL: time.Minute, SnapshotSettle: 15 * time.Minute, EnforceOnDownload: true, Version: "1.2.3", Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.Start()
	s := serve(t, api.Options{Operator: p, Access: administered(t, access.Options{AdminToken: token}), Now: clock.now})
	p.Register(s.echo)
	return &machine{s, clock, up}
}

// asked asks the API, as its clients do, until an answer says that the work is over.
func asked[T any](m *machine, path string, over func(T) bool) T {
	m.t.Helper()
	tick, patience := time.NewTicker(5*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer patience.Stop()
	for {
		got := data[T](m.t, m.get(path))
		if over(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-patience.C:
			m.t.Fatalf("%s is not over after a minute: %+v", path, got)
		}
	}
}

// finished waits until a snapshot is no longer being built.
func (m *machine) finished(name string) snapshot.Snapshot {
	m.t.Helper()
	return asked(m, "/api/v1/proxy/snapshots/"+name, func(s snapshot.Snapshot) bool { return s.State != snapshot.Building })
}

func (m *machine) get(path string) answer {
	m.t.Helper()
	return m.do("GET", path, "")
}

// ended waits until a job has ended.
func (m *machine) ended(j api.Job) api.Job {
	m.t.Helper()
	return asked(m, "/api/v1/proxy/jobs/"+j.ID, func(j api.Job) bool { return j.State != proxy.JobRunning })
}

func (m *machine) refused(status int, words, method, path, body string) {
	m.t.Helper()
	if a := m.do(method, "/api/v1/proxy/"+path, body); a.StatusCode != status || !strings.Contains(a.message(), words) {
		m.t.Errorf("%s %s %s: %d %s, want %d with %q", method, path, body, a.StatusCode, a.body, status, words)
	}
}

func TestSnapshotsAndChannelsOfTheProxyItself(t *testing.T) {
	m := newMachine(t)
	m.up.Publish(standin.Release{Name: "acme/lib", Version: "1.0.0"})
	m.advance(time.Hour)
	if a := m.get("/p2/acme/lib.json"); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	begun := data[snapshot.Snapshot](t, m.do("POST", "/api/v1/proxy/snapshots", `{"name":"one","archives":"eager","note":"before","by":"ops"}`))
	if begun.Name != "one" || begun.CreatedBy != "ops" {
		t.Errorf("begun %+v", begun)
	}
	one := m.finished("one")
	if one.State != snapshot.Sealed || one.Packages != 1 || one.Archives != 1 {
		t.Fatalf("one is %+v", one)
	}
	manifest := m.get("/api/v1/proxy/snapshots/one/manifest")
	if sum := sha256.Sum256(manifest.body); !slices.Equal(sum[:], one.ID[:]) {
		t.Errorf("the manifest %s hashes to %x, and the id is %s", manifest.body, sum, one.ID)
	}
	if v := data[snapshot.Verification](t, m.do("POST", "/api/v1/proxy/snapshots/one/verify", "")); len(v.Problems) != 0 || v.Archives != 1 {
		t.Errorf("verified %+v", v)
	}
	j := m.ended(data[api.Job](t, m.do("POST", "/api/v1/proxy/snapshots/one/verify?wait=false", "")))
	if v, ok := j.Result.(map[string]any); !ok || v["id"] != one.ID.String() || v["archives"] != 1.0 || j.Subject != "one" || j.Progress.Done != 1 || j.EndedAt.IsZero() {
		t.Errorf("the job ended as %+v", j)
	}
	m.refused(404, "no snapshot", "POST", "snapshots/none/verify?wait=false", "")
	m.refused(404, "no job", "GET", "jobs/none", "")
	if miss := data[api.MissingFrom](t, m.get("/api/v1/proxy/snapshots/one/missing")); miss.Total != 0 || miss.State != snapshot.Sealed {
		t.Errorf("missing %+v", miss)
	}

	m.up.Publish(standin.Release{Name: "acme/lib", Version: "1.1.0"})
	m.advance(time.Hour)
	data[snapshot.Snapshot](t, m.do("POST", "/api/v1/proxy/snapshots", `{"name":"two"}`))
	if two := m.finished("two"); two.State != snapshot.Sealed || two.ID == one.ID {
		t.Fatalf("two is %+v", two)
	}
	data[snapshot.Channel](t, m.do("PUT", "/api/v1/proxy/channels/prod", `{"snapshot":"one"}`))
	data[snapshot.Channel](t, m.do("PUT", "/api/v1/proxy/channels/prod", `{"snapshot":"two","note":"go"}`))
	m.refused(409, "prod", "DELETE", "snapshots/two", "")
	if d := data[snapshot.Difference](t, m.get("/api/v1/proxy/diff?from=one&to=prod")); len(d.Added) != 1 || d.Added[0].Version != "1.1.0" {
		t.Errorf("difference %+v", d)
	}
	if d := data[snapshot.Difference](t, m.do("POST", "/api/v1/proxy/diff?from=one&to=now", `{"packages":[{"name":"acme/other","version":"1.0"}]}`)); len(d.Added) != 0 {
		t.Errorf("a lock file without the package does not limit the difference: %+v", d)
	}
	j = m.ended(data[api.Job](t, m.do("POST", "/api/v1/proxy/diff?from=one&to=two&wait=false", `{"packages":[{"name":"acme/lib","version":"1.0"}]}`)))
	if d, ok := j.Result.(map[string]any); !ok || len(d["added"].([]any)) != 1 || j.Kind != "diff" || j.Progress.Total != 1 {
		t.Errorf("the comparison ended as %+v", j)
	}
	back := data[snapshot.Channel](t, m.do("POST", "/api/v1/proxy/channels/prod/rollback", `{"note":"oh"}`))
	if back.Snapshot != "one" {
		t.Errorf("rolled back to %+v", back)
	}
	if moves := data[[]snapshot.Move](t, m.get("/api/v1/proxy/channels/prod/history")); len(moves) != 3 || !moves[0].Rollback {
		t.Errorf("moves %+v", moves)
	}
	m.refused(400, "rolled back", "POST", "channels/prod/rollback", "")
	data[snapshot.Snapshot](t, m.do("DELETE", "/api/v1/proxy/snapshots/two", ""))
	data[api.Deleted](t, m.do("DELETE", "/api/v1/proxy/channels/prod", ""))
	for _, path := range []string{"snapshots/two", "snapshots/two/manifest", "snapshots/two/export", "snapshots/two/missing", "channels/prod", "channels/prod/history"} {
		m.refused(404, "There is no", "GET", path, "")
	}
	m.refused(409, "already", "POST", "snapshots", `{"name":"one"}`)
	m.refused(400, "name", "POST", "snapshots", `{"name":"2026"}`)
	m.refused(400, "settled", "POST", "snapshots", `{"from":"`+m.now().Add(-time.Minute).Format(time.RFC3339)+`"}`)
	m.refused(400, "archives", "POST", "snapshots", `{"archives":"some"}`)
	m.refused(404, "There is no", "PUT", "channels/prod", `{"snapshot":"none"}`)
	m.refused(400, "", "PUT", "channels/now", `{"snapshot":"one"}`)

	// The bundle travels.
	bundle := m.get("/api/v1/proxy/snapshots/one/export").body
	other := newMachine(t)
	other.advance(3 * time.Hour)
	damaged := slices.Clone(bundle)
	damaged[len(damaged)/2] ^= 1
	other.refused(400, "", "POST", "snapshots/import", string(damaged))
	other.refused(400, "", "POST", "snapshots/import", "")
	if all := data[[]snapshot.Snapshot](t, other.get("/api/v1/proxy/snapshots")); len(all) != 0 {
		t.Errorf("of a damaged bundle there is %+v", all)
	}
	got := data[snapshot.Snapshot](t, other.do("POST", "/api/v1/proxy/snapshots/import?name=far&by=ops", string(bundle)))
	if got.ID != one.ID || got.Name != "far" || got.ImportedBy != "ops" {
		t.Errorf("imported %+v", got)
	}
	if same := other.get("/api/v1/proxy/snapshots/far/manifest"); string(same.body) != string(manifest.body) {
		t.Error("the manifest is another one")
	}
}

func TestSnapshotsOfLockFiles(t *testing.T) {
	m := newMachine(t)
	m.up.Publish(standin.Release{Name: "acme/lib", Version: "1.0.0"})
	m.advance(time.Hour)
	const gone = `{"packages":[{"name":"acme/gone","version":"1.0.0","dist":{"type":"zip","url":"https://example.invalid/x.zip","reference":"0123456789012345678901234567890123456789","shasum":""}}],"packages-dev":[]}`
	data[snapshot.Snapshot](t, m.do("POST", "/api/v1/proxy/snapshots", `{"name":"lost","locks":[`+gone+`]}`))
	if lost := m.finished("lost"); lost.State != snapshot.Incomplete || lost.From != "lock" || lost.Options.Rest != "closed" {
		t.Errorf("lost is %+v", lost)
	}
	if miss := data[api.MissingFrom](t, m.get("/api/v1/proxy/snapshots/lost/missing")); miss.Total != 1 || miss.Missing[0].Package != "acme/gone" {
		t.Errorf("missing %+v", miss)
	}
	m.refused(409, "incomplete", "GET", "snapshots/lost/export", "")
	m.refused(409, "incomplete", "PUT", "channels/prod", `{"snapshot":"lost"}`)
	m.refused(400, "lock file 1", "POST", "snapshots", `{"locks":["not json"]}`)

	past := noon.Add(-24 * time.Hour).Format(time.RFC3339)
	got := data[api.ImportedLock](t, m.do("POST", "/api/v1/proxy/history/import-lock?at="+past, gone))
	if got.Versions != 1 || !slices.Equal(got.Files, []string{"acme/gone"}) {
		t.Errorf("imported %+v", got)
	}
	if again := data[api.ImportedLock](t, m.do("POST", "/api/v1/proxy/history/import-lock?at="+past, gone)); again.Versions != 0 || again.Known != 1 {
		t.Errorf("imported again %+v", again)
	}
	if h := data[proxy.PackageHistory](t, m.get("/api/v1/proxy/packages/acme/gone/history")); len(h.Files) != 1 || h.Files[0].Imported != 1 {
		t.Errorf("history %+v", h)
	}
	m.refused(400, "past", "POST", "history/import-lock?at="+m.now().Add(time.Hour).Format(time.RFC3339), gone)
	m.refused(400, "lock file", "POST", "history/import-lock?at="+past, "{}")
}

func TestRulesAndExplanationsOfTheProxyItself(t *testing.T) {
	m := newMachine(t)
	m.up.Publish(standin.Release{Name: "acme/lib", Version: "1.0.0"})
	m.up.Publish(standin.Release{Name: "acme/lib", Version: "2.0.0"})
	m.advance(time.Hour)
	explain := func(query string) proxy.Explanation {
		t.Helper()
		return data[proxy.Explanation](t, m.get("/api/v1/proxy/packages/acme/lib/explain?"+query))
	}
	if x := explain("version=2.0.0"); !x.Visible || x.Sentence == "" || x.At != "now" {
		t.Errorf("explained %+v", x)
	}
	rule := data[policy.Rule](t, m.do("POST", "/api/v1/proxy/blocks", `{"package":"acme/*","versions":"^2.0","reason":"steals keys"}`))
	if x := explain("version=2.0.0"); x.Visible || x.Rule != "block" || !strings.Contains(x.Sentence, "steals keys") {
		t.Errorf("blocked, it is explained %+v", x)
	}
	if all := data[[]policy.Rule](t, m.get("/api/v1/proxy/blocks")); len(all) != 1 || all[0].ID != rule.ID {
		t.Errorf("blocks %+v", all)
	}
	m.refused(404, "no hold", "DELETE", "holds/"+rule.ID, "")
	if lifted := data[policy.Rule](t, m.do("DELETE", "/api/v1/proxy/blocks/"+rule.ID+"?by=ops", "")); lifted.LiftedBy != "ops" {
		t.Errorf("lifted %+v", lifted)
	}
	m.refused(404, "no block", "DELETE", "blocks/"+rule.ID, "")
	if ended := data[[]policy.Rule](t, m.get("/api/v1/proxy/blocks?all=true")); len(ended) != 1 {
		t.Errorf("blocks that ended: %+v", ended)
	}
	if x := explain("version=2.0.0&at=cooldown%3D7d"); x.Visible {
		t.Errorf("a young release is explained %+v", x)
	}
	m.refused(400, "expiry", "POST", "exemptions", `{"package":"acme/*","reason":"ours"}`)
	m.refused(400, "reason", "POST", "blocks", `{"package":"acme/lib"}`)
	m.refused(400, "constraint", "POST", "holds", `{"package":"acme/lib","reason":"x"}`)
	m.refused(400, "", "GET", "packages/acme/lib/explain?version=2.0.0&at=sometime", "")
	m.refused(400, "version", "GET", "packages/acme/lib/explain?version=a%20b", "")

	h := data[proxy.PackageHistory](t, m.get("/api/v1/proxy/packages/acme/lib/history"))
	if len(h.Files) == 0 || len(h.Files[0].Revisions) != 1 || len(h.References) != 2 {
		t.Errorf("history %+v", h)
	}
	m.refused(404, "Nothing is recorded", "GET", "packages/acme/none/history", "")
	if i := data[proxy.Instants](t, m.get("/api/v1/proxy/instants")); i.Files == 0 || !i.SettledUntil.Equal(m.now().Add(-15*time.Minute)) {
		t.Errorf("instants %+v", i)
	}

	held := data[proxy.Freeze](t, m.do("POST", "/api/v1/proxy/freezes", `{"pattern":"Acme/*","reason":"release week"}`))
	if held.Package != "acme/*" || held.Reason != "release week" {
		t.Errorf("frozen %+v", held)
	}
	if x := explain("version=2.0.0"); !strings.Contains(x.Sentence, "frozen") {
		t.Errorf("frozen, it is explained %+v", x)
	}
	if u := data[api.Unfrozen](t, m.do("DELETE", "/api/v1/proxy/freezes?pattern=acme/*", "")); !u.Unfrozen {
		t.Errorf("unfrozen %+v", u)
	}
	m.refused(400, "pattern", "POST", "freezes", `{"pattern":"acme/lib"}`)

	m.up.Down()
	m.refused(502, "upstream", "GET", "packages/acme/unknown/explain?version=1.0", "")
	m.refused(503, "upstream", "GET", "packages/acme/unknown/explain?version=1.0&at=2026-02-01", "")
}
