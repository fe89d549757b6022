package proxy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
)

// newWorldRig is a rig whose registry tells the time of the test, that asks
// upstream for every request, and whose instants are settled at once.
func newWorldRig(tb testing.TB, change ...func(*settings)) *rig {
	tb.Helper()
	w := newRig(tb, append([]func(*settings){func(s *settings) {
		s.proxy.MetadataTTL, s.proxy.StaleWhileRevalidate = 0, 0
	}}, change...)...)
	w.up.Fault("/p2/*", func(rw httpWriter, r *httpRequest, truth httpHandler) {
		rw.Header().Set("Date", w.Now().UTC().Format(http.TimeFormat))
		truth.ServeHTTP(rw, r)
	})
	return w
}

// lives lets Stasis see the present, and some time pass. It returns an instant
// at which the present is known to have been so.
func (w *rig) lives(d time.Duration) string {
	w.Helper()
	w.want(lib, 200, "")
	at := w.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	w.Advance(d)
	return at
}

// dated is a release of acme/lib with the registry's date of its publication.
func (w *rig) dated(version, published string) {
	w.Helper()
	at, err := time.Parse(time.RFC3339, published)
	if err != nil {
		w.Fatal(err)
	}
	w.release(standin.Release{Name: "acme/lib", Version: version, Time: at, Extra: map[string]any{"published-time": published}})
}

func as(user string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":-"))}
}

// TestAViewIsTheSameWhateverHappens after it was first given: to many at once,
// after a purge, under memory pressure, when upstream moves on or dies, through
// freezes, and after a restart.
func TestAViewIsTheSameWhateverHappens(t *testing.T) {
	dir := t.TempDir()
	small := func(s *settings) { s.store.Path, s.proxy.HotSize = dir, 32<<10 }
	first := map[string]answer{}
	var over time.Duration
	t.Run("before", func(t *testing.T) {
		w := newWorldRig(t, small)
		w.dated("1.0.0", "2026-01-10T00:00:00Z")
		w.dated("1.1.0", "2026-02-10T00:00:00Z")
		exact := w.lives(time.Hour)
		gap := w.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339)
		w.dated("1.2.0", w.Now().UTC().Format(time.RFC3339))
		later := w.lives(time.Hour)
		for when, fidelity := range map[string]string{"2026-01-31": "reconstructed", exact: "exact", gap: "gap", later: "exact"} {
			path := "/snapshot/" + when + lib
			answers := make([]answer, 20)
			together(t, len(answers), func(i int) error {
				answers[i] = w.get(path)
				return nil
			})
			first[path] = answers[0]
			if got := answers[0].header.Get("X-Snapshot-Fidelity"); got != fidelity || answers[0].status != 200 {
				t.Errorf("%s: %d, %q, want %s", path, answers[0].status, got, fidelity)
			}
			for _, a := range answers {
				if string(a.body) != string(answers[0].body) || a.header.Get("Last-Modified") != answers[0].header.Get("Last-Modified") {
					t.Errorf("%s: of many at once one gets\n%s %v\nand another\n%s %v", path, answers[0].body, answers[0].header, a.body, a.header)
				}
			}
		}
		unchanged := func(after string) {
			t.Helper()
			for path, want := range first {
				a := w.get(path)
				for _, h := range []string{"Last-Modified", "Etag", "X-Snapshot-Fidelity", "X-Snapshot-Known", "Memento-Datetime"} {
					if a.header.Get(h) != want.header.Get(h) || want.header.Get(h) == "" {
						t.Errorf("after %s, %s: %s is %q and was %q", after, path, h, a.header.Get(h), want.header.Get(h))
					}
				}
				if string(a.body) != string(want.body) {
					t.Errorf("after %s, %s is\n%s\nand was\n%s", after, path, a.body, want.body)
				}
			}
		}
		unchanged("nothing")
		if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{}); err != nil {
			t.Fatal(err)
		}
		unchanged("a purge")
		for i := range 40 {
			other := fmt.Sprintf("acme/other-%d", i)
			w.up.Publish(standin.Release{Name: other, Version: "1.0.0", Description: noise(i, 2000)})
			w.get("/p2/" + other + ".json")
		}
		unchanged("memory was needed elsewhere")
		w.up.Publish(standin.Release{Name: "acme/lib", Version: "1.1.0", Salt: "moved"})
		w.up.DeleteVersion("acme/lib", "1.0.0")
		w.dated("0.9.0", "2026-01-05T00:00:00Z") // submitted late
		w.lives(time.Hour)
		unchanged("upstream moved on")
		if _, err := w.p.Freeze(t.Context(), name("acme/lib"), proxy.FreezeRequest{Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		unchanged("a freeze")
		if _, err := w.p.Unfreeze(t.Context(), name("acme/lib")); err != nil {
			t.Fatal(err)
		}
		unchanged("an end of the freeze")
		w.up.Down()
		unchanged("the end of upstream")
		over = w.Now().Sub(newClock().Now())
	})
	t.Run("after", func(t *testing.T) {
		w := newWorldRig(t, small)
		w.Advance(over)
		w.up.Down()
		for path, want := range first {
			a := w.want(path, 200, "")
			if string(a.body) != string(want.body) || a.header.Get("Last-Modified") != want.header.Get("Last-Modified") {
				t.Errorf("after a restart %s is\n%s %v\nand was\n%s %v", path, a.body, a.header, want.body, want.header)
			}
		}
	})
}

// TestAClientThatMovesBetweenWorldsIsNeverMisled plays a client with one cache
// that looks at one address in many worlds, by its user name and through a
// channel, while upstream, rules and the channel move: it is told "not
// modified" if and only if its copy is what it would be given.
func TestAClientThatMovesBetweenWorldsIsNeverMisled(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorldRig(t)
		w.dated("1.0.0", "2026-01-10T00:00:00Z")
		instants := []string{"2026-01-31", w.lives(time.Minute)}
		seal := func() {
			name := fmt.Sprintf("s%d", w.Now().Unix())
			if _, err := w.p.CreateSnapshot(t.Context(), snapshot.Request{Name: name, Options: snapshot.Options{Archives: "none"}}); err != nil {
				t.Fatal(err)
			}
			w.p.Settle()
			if _, err := w.p.SetChannel(t.Context(), "prod", name, "", ""); err != nil {
				t.Fatal(err)
			}
		}
		seal()
		rule := ""
		copies := map[string]answer{} // by address: the client's cache
		kept, fetched := 0, 0
		for step := range 250 {
			switch rng.IntN(8) {
			case 0:
				w.up.Publish(standin.Release{Name: "acme/lib", Version: fmt.Sprintf("1.%d.0", rng.IntN(6)), Salt: fmt.Sprint(step)})
				w.Advance(time.Duration(rng.IntN(5)) * time.Second)
				instants = append(instants, w.lives(time.Duration(rng.IntN(3))*time.Second))
			case 1:
				if rule == "" {
					r, err := w.p.AddRule(t.Context(), policy.Rule{Kind: policy.Block, Package: "acme/lib", Versions: fmt.Sprintf("<1.%d", rng.IntN(6)), Reason: "x"})
					if err != nil {
						t.Fatal(err)
					}
					rule = r.ID
					break
				}
				if _, err := w.p.LiftRule(t.Context(), policy.Block, rule, ""); err != nil {
					t.Fatal(err)
				}
				rule = ""
			case 2:
				w.Advance(time.Duration(1+rng.IntN(60)) * time.Second)
				seal()
			default:
				path, headers := lib, []string(nil)
				switch rng.IntN(4) {
				case 0:
					path = "/snapshot/prod" + lib
				case 1:
					headers = as("cooldown=1h")
				case 2:
					headers = as("snapshot=" + instants[rng.IntN(len(instants))])
				}
				held := copies[path]
				conditional := headers
				if held.status != 0 {
					conditional = append(slices.Clone(headers), "If-Modified-Since", held.header.Get("Last-Modified"))
				}
				got, now := w.get(path, conditional...), w.get(path, headers...)
				same := held.status != 0 && string(held.body) == string(now.body)
				switch {
				case now.status != 200:
					t.Fatalf("seed %d, step %d: %s %q: %v", seed, step, path, headers, now)
				case same != (got.status == 304):
					t.Fatalf("seed %d, step %d: %s %q: %d for a copy of %s that is now of %s:\n%s\n%s", seed, step, path, headers, got.status,
						held.header.Get("Last-Modified"), now.header.Get("Last-Modified"), held.body, now.body)
				case same:
					kept++
				default:
					copies[path] = got
					fetched++
				}
			}
		}
		if kept < 20 || fetched < 20 {
			t.Errorf("seed %d: %d copies were kept and %d fetched, which tells little", seed, kept, fetched)
		}
	}
}

func TestAWorldSaysWhatItIs(t *testing.T) {
	w := newWorldRig(t)
	w.dated("1.0.0", "2026-01-10T00:00:00Z")
	w.release(standin.Release{Name: "acme/gone", Version: "1.0.0"})
	w.want("/p2/acme/gone.json", 200, "")
	w.up.Delete("acme/gone")
	w.Advance(time.Hour)
	w.get("/p2/acme/gone.json")
	at := w.lives(time.Hour)
	if _, err := w.p.CreateSnapshot(t.Context(), snapshot.Request{Name: "march"}); err != nil {
		t.Fatal(err)
	}
	w.p.Settle()
	snap, err := w.p.Snapshot(t.Context(), "march")
	if err != nil || snap.State != snapshot.Sealed {
		t.Fatalf("%+v, %v", snap, err)
	}
	moment, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	for world, want := range map[string]map[string]string{
		"/snapshot/" + at:             {"X-Snapshot-Instant": at, "Memento-Datetime": moment.Format(http.TimeFormat), "X-Snapshot-Id": ""},
		"/snapshot/" + at + ",strict": {"X-Snapshot-Instant": at, "Memento-Datetime": moment.Format(http.TimeFormat), "X-Snapshot-Id": ""},
		"/snapshot/march":             {"X-Snapshot-Id": snap.ID.String()},
		"/s/" + snap.ID.String():      {"X-Snapshot-Id": snap.ID.String()},
		"/cooldown/1h":                {"X-Snapshot-Instant": "", "X-Snapshot-Id": ""},
	} {
		root, doc := w.want(world+"/packages.json", 200, ""), w.want(world+lib, 200, "")
		for _, a := range []answer{root, doc} {
			for name, value := range want {
				if got := a.header.Get(name); got != value {
					t.Errorf("%s: %s is %q, want %q", world, name, got, value)
				}
			}
		}
		if root.header.Get("Last-Modified") != "" {
			t.Errorf("%s: a client with a copy of the root would not print the notice", world)
		}
		var top struct {
			MetadataURL string `json:"metadata-url"`
			Infos       []struct{ Message string }
		}
		if err := json.Unmarshal(root.body, &top); err != nil || len(top.Infos) != 1 || !strings.HasPrefix(top.Infos[0].Message, "Stasis: ") {
			t.Errorf("%s: the root is %s, %v", world, root.body, err)
		}
		// One run sees one world, even if a channel or a snapshot's name moves.
		if id := "/s/" + snap.ID.String(); want["X-Snapshot-Id"] != "" && !strings.Contains(top.MetadataURL, id) {
			t.Errorf("%s: documents are at %s, not below %s", world, top.MetadataURL, id)
		}
		if known := doc.header.Get("X-Snapshot-Known"); strings.HasPrefix(world, "/snapshot/2") {
			if from, until, ok := strings.Cut(known, "/"); !ok || from > at || until < at {
				t.Errorf("%s: it is known from and until %q", world, known)
			}
		}
		for _, list := range []string{"/list.json", "/packages/list.json"} {
			if a := w.want(world+list, 200, ""); !strings.Contains(string(a.body), `"acme/lib"`) {
				t.Errorf("%s%s: %s", world, list, a.body)
			}
		}
		if a := w.want(world+"/list.json?vendor=other", 200, ""); string(a.body) != `{"packageNames":[]}` {
			t.Errorf("%s: another vendor has %s", world, a.body)
		}
		if a := w.get(world + "/p2/acme/gone.json"); a.status != 404 {
			t.Errorf("%s: what had vanished by then: %v", world, a)
		}
	}
}

// TestAStrictViewLetsNobodyPast: older clients fall back to the source of a
// version when its archive is refused.
func TestAStrictViewLetsNobodyPast(t *testing.T) {
	w := newWorldRig(t)
	w.release(standin.Release{Name: "acme/lib", Version: "1.0.0"})
	w.release(standin.Release{Name: "acme/lib", Version: "1.1.0", Dist: "null"})
	at := w.lives(time.Hour)
	sources := func(world string) (n int) {
		doc, err := composer.ParseDocument(w.want(world+lib, 200, "").body, name("acme/lib"))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range doc.Expanded() {
			if o.Has("source") {
				n++
			}
		}
		return n
	}
	if n := sources("/snapshot/" + at); n != 2 {
		t.Errorf("the view has %d sources", n)
	}
	if n := sources("/snapshot/" + at + ",strict"); n != 1 {
		t.Errorf("the strict view has %d sources; only what has no archive needs one", n)
	}
	a := w.want("/snapshot/2026-01-31,strict"+lib, http.StatusConflict, "")
	for _, phrase := range []string{"acme/lib at 2026-01-31T23:59:59Z", "not exact", "strict"} {
		if !strings.Contains(string(a.body), phrase) {
			t.Errorf("the refusal does not say %q: %s", phrase, a.body)
		}
	}
}

// reserving takes the vendor acme for private, when it is on.
type reserving struct {
	proxy.NoSources
	on bool
}

func (r *reserving) Reserved(n composer.Name) bool {
	return r.on && strings.HasPrefix(n.String(), "acme/")
}

// TestPrivateNamesInNoWorldAskUpstream, not even for what was public once.
func TestPrivateNamesInNoWorldAskUpstream(t *testing.T) {
	ours := &reserving{}
	w := newWorldRig(t, func(s *settings) { s.proxy.Sources = ours })
	w.dated("1.0.0", "2026-01-10T00:00:00Z")
	at := w.lives(time.Hour)
	ours.on = true
	w.p.Rerouted()
	asked := w.up.Total()
	for _, world := range []string{"", "/snapshot/2026-01-31", "/snapshot/" + at, "/snapshot/" + at + ",strict", "/cooldown/1h"} {
		for _, file := range []string{"lib", "lib~dev", "never"} {
			if a := w.get(world + "/p2/acme/" + file + ".json"); a.status != 404 || strings.Contains(string(a.body), "1.0.0") {
				t.Errorf("%s/p2/acme/%s.json: %v", world, file, a)
			}
		}
	}
	if n := w.up.Total(); n != asked {
		t.Errorf("upstream was asked %d times: %v", n-asked, w.up.Records("/p2/*"))
	}
}

// TestPinnedArchivesOutliveACacheFilledTenTimes, and what has to go leaves its
// digest behind.
func TestPinnedArchivesOutliveACacheFilledTenTimes(t *testing.T) {
	const size, room = 64 << 10, 512 << 10
	w := newWorldRig(t, func(s *settings) { s.store.MaxCacheSize = room })
	old := w.release(standin.Release{Name: "acme/lib", Version: "1.0.0", Size: size})
	w.want(lib, 200, "")
	if _, err := w.p.CreateSnapshot(t.Context(), snapshot.Request{Name: "march", Options: snapshot.Options{Archives: "eager"}}); err != nil {
		t.Fatal(err)
	}
	w.p.Settle()
	w.Advance(time.Hour)
	for i := range 10 * room / size {
		r := w.release(standin.Release{Name: "acme/lib", Version: fmt.Sprintf("2.%d.0", i), Size: size})
		w.want(lib, 200, "")
		if a, err := w.download(distPath(fmt.Sprintf("2.%d.0.0", i), r.Reference, "zip")); err != nil || a.status != 200 {
			t.Fatalf("%v, %v", a, err)
		}
	}
	usage := w.store.Usage()
	if usage.Bytes > room || usage.PinnedBytes < size {
		t.Errorf("%d bytes are kept and %d pinned", usage.Bytes, usage.PinnedBytes)
	}
	h, err := w.p.PackageHistory(t.Context(), name("acme/lib"))
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, a := range h.Archives {
		if a.SHA256 == "" || a.Content == "" {
			t.Errorf("the digest of %s is lost: %+v", a.Reference, a)
		}
		if a.Held {
			held++
		}
	}
	if len(h.Archives) != 1+10*room/size || held == len(h.Archives) {
		t.Errorf("%d archives are remembered, %d of them held", len(h.Archives), held)
	}
	w.up.Down()
	if a, err := w.download(distPath("1.0.0.0", old.Reference, "zip")); err != nil || string(a.body) != string(old.Archive) {
		t.Errorf("what a snapshot pinned: %v, %v", a, err)
	}
}
