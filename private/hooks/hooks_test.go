package hooks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private"
	"stasis/private/hooks"
	"stasis/private/webhook"
	"stasis/proxy/composer"
	"stasis/store"
)

// sources stands in for the service that reads them.
type sources struct {
	list     []private.Source
	packages []private.Package

	mu     sync.Mutex
	synced []string
}

func (s *sources) Sources(context.Context) ([]private.Source, error) { return s.list, nil }
func (s *sources) List(context.Context, string, bool) ([]private.Package, error) {
	return s.packages, nil
}
func (s *sources) Sync(id, trigger string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = append(s.synced, id+" by "+trigger)
}

// taken returns what was read since it was asked last.
func (s *sources) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := strings.Join(s.synced, ", ")
	s.synced = nil
	return got
}

type world struct {
	*hooks.Hooks
	sources *sources
	store   *store.Store
	now     time.Time
}

const secret = "hush"

func name(s string) composer.Name {
	n, err := composer.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := &world{store: st, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), sources: &sources{
		list: []private.Source{
			{ID: "one", Type: private.Git, URL: "https://git.example/acme/lib.git"},
			{ID: "two", Type: private.Git, URL: "git@git.example:acme/mono.git"},
			{ID: "three", Type: private.Artifact},
		},
		packages: []private.Package{{Name: name("acme/lib"), Source: "one"}, {Name: name("acme/a"), Source: "two"}, {Name: name("other/b"), Source: "two"}},
	}}
	w.open(t)
	return w
}

func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	w.Hooks, err = hooks.New(hooks.Options{Store: w.store, Sources: w.sources, Now: func() time.Time { return w.now },
		Secrets: map[webhook.Provider][]string{webhook.Gitea: {"old", secret}}})
	if err != nil {
		t.Fatal(err)
	}
}

func push(repository string) []byte {
	return fmt.Appendf(nil, `{"ref":"refs/tags/v1.0","before":"%040d","after":"%040d","repository":{"clone_url":%q}}`, 0, 1, repository)
}

func signed(id string, body []byte) http.Header {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	h := http.Header{}
	h.Set("X-Gitea-Signature", hex.EncodeToString(m.Sum(nil)))
	h.Set("X-Gitea-Delivery", id)
	h.Set("X-Gitea-Event", "push")
	return h
}

func (w *world) receive(t *testing.T, id, repository string) hooks.Delivery {
	t.Helper()
	body := push(repository)
	d, err := w.Receive(t.Context(), webhook.Gitea, signed(id, body), body)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAPushHasItsSourceRead(t *testing.T) {
	w := newWorld(t)
	d := w.receive(t, "1", "ssh://git@git.example/acme/lib.git")
	if got := w.sources.taken(); got != "one by webhook" {
		t.Errorf("read were %q", got)
	}
	if d.Result != hooks.Queued || d.Event != "push" || d.By != hooks.Signature || !slices.Equal(d.Sources, []string{"one"}) || len(d.Refs) != 1 || !d.Refs[0].Tag() {
		t.Errorf("the delivery is %+v", d)
	}
	if d := w.receive(t, "2", "https://git.example/acme/another"); d.Result != hooks.Unmatched || d.Reason == "" || w.sources.taken() != "" {
		t.Errorf("of an unknown repository: %+v", d)
	}
	body := []byte(`{"action":"opened"}`)
	h := signed("3", body)
	h.Set("X-Gitea-Event", "issues")
	if d, err := w.Receive(t.Context(), webhook.Gitea, h, body); err != nil || d.Result != hooks.Ignored || w.sources.taken() != "" {
		t.Errorf("of another event: %+v, %v", d, err)
	}
}

func TestARepeatedDeliveryDoesNothingForADay(t *testing.T) {
	w := newWorld(t)
	first := w.receive(t, "1", "https://git.example/acme/lib")
	for _, restart := range []bool{false, true} {
		if restart {
			w.open(t)
		}
		w.now = w.now.Add(time.Hour)
		w.sources.taken()
		if d := w.receive(t, "1", "https://git.example/acme/lib"); d.Result != hooks.Repeated || d.ID != first.ID || w.sources.taken() != "" {
			t.Errorf("after a restart %v: %+v", restart, d)
		}
	}
	if d := w.receive(t, "2", "https://git.example/acme/lib"); d.Result != hooks.Queued {
		t.Errorf("another delivery: %+v", d)
	}
	w.now = w.now.Add(25 * time.Hour)
	if d := w.receive(t, "1", "https://git.example/acme/lib"); d.Result != hooks.Queued {
		t.Errorf("a day later: %+v", d)
	}
}

// Somebody adds the source and has the provider deliver again.
func TestWhatFoundNoSourceMayBeRepeated(t *testing.T) {
	w := newWorld(t)
	w.receive(t, "1", "https://git.example/acme/new")
	w.sources.list = append(w.sources.list, private.Source{ID: "four", URL: "https://git.example/acme/new"})
	if d := w.receive(t, "1", "https://git.example/acme/new"); d.Result != hooks.Queued || w.sources.taken() != "four by webhook" {
		t.Errorf("got %+v", d)
	}
}

func TestOneOfManyAtOnceIsActedUpon(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { w.receive(t, "1", "https://git.example/acme/lib") })
	}
	group.Wait()
	if got := w.sources.taken(); got != "one by webhook" {
		t.Errorf("read were %q", got)
	}
}

func TestWhatIsNotVerifiedIsRefusedAndSeen(t *testing.T) {
	w := newWorld(t)
	body := push("https://git.example/acme/lib")
	h := signed("1", body)
	for i := range 150 {
		_, err := w.Receive(t.Context(), webhook.Gitea, h, append(body, ' '))
		if !errors.Is(err, webhook.ErrSignature) {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Duration(i) * time.Millisecond)
	}
	if _, err := w.Receive(t.Context(), webhook.GitHub, h, body); !errors.Is(err, webhook.ErrNoSecret) {
		t.Errorf("a provider without a secret: %v", err)
	}
	var wrong interface{ Validation() bool }
	if _, err := w.Receive(t.Context(), webhook.Gitea, signed("1", []byte("<xml>")), []byte("<xml>")); !errors.As(err, &wrong) {
		t.Errorf("a body that cannot be read: %v", err)
	}
	if got := w.sources.taken(); got != "" {
		t.Errorf("read were %q", got)
	}
	all, err := w.Deliveries(hooks.Filter{Result: hooks.Refused, Limit: 1000})
	if err != nil || len(all) != 100 {
		t.Fatalf("%d are kept: %v", len(all), err)
	}
	if d := all[0]; d.Delivery != "" && d.Provider != webhook.Gitea || d.By != "" || !strings.HasSuffix(d.Reason, ".") {
		t.Errorf("the last one is %+v", d)
	}
	if _, err := w.Replay(t.Context(), all[0].ID, "admin"); err == nil {
		t.Error("a refused delivery was replayed")
	}
	// Refusals do not keep the right one from coming.
	if d := w.receive(t, "1", "https://git.example/acme/lib"); d.Result != hooks.Queued {
		t.Errorf("then %+v", d)
	}
}

func TestTheLogIsListedAndReplayed(t *testing.T) {
	w := newWorld(t)
	for i, r := range []string{"lib", "mono", "lib", "none"} {
		w.now = w.now.Add(time.Minute)
		w.receive(t, fmt.Sprint(i), "https://git.example/acme/"+r)
	}
	w.sources.taken()
	list := func(f hooks.Filter) string {
		t.Helper()
		all, err := w.Deliveries(f)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, d := range all {
			ids = append(ids, d.Delivery)
		}
		return strings.Join(ids, " ")
	}
	for _, c := range []struct {
		f    hooks.Filter
		want string
	}{
		{hooks.Filter{}, "3 2 1 0"}, {hooks.Filter{Limit: 2}, "3 2"}, {hooks.Filter{Source: "one"}, "2 0"}, {hooks.Filter{Source: "one", Limit: 1}, "2"},
		{hooks.Filter{Result: hooks.Unmatched}, "3"}, {hooks.Filter{Provider: webhook.GitHub}, ""},
	} {
		if got := list(c.f); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.f, got, c.want)
		}
	}
	all, _ := w.Deliveries(hooks.Filter{Source: "two"})
	d, err := w.Replay(t.Context(), all[0].ID, "admin")
	if err != nil || d.Replays != all[0].ID || d.By != "admin" || d.ID == all[0].ID || w.sources.taken() != "two by webhook" {
		t.Errorf("replayed as %+v, %v", d, err)
	}
	if again, err := w.Replay(t.Context(), all[0].ID, "admin"); err != nil || w.sources.taken() != "two by webhook" {
		t.Errorf("replayed again as %+v, %v", again, err)
	}
	if got, err := w.Delivery(d.ID); err != nil || got.Replays != all[0].ID {
		t.Errorf("it is kept as %+v, %v", got, err)
	}
	if _, err := w.Replay(t.Context(), "dlv_0", "admin"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what never came: %v", err)
	}
}

func TestTokensMaySayWhatTheyMayRead(t *testing.T) {
	w := newWorld(t)
	only := func(pattern string) func(composer.Name) bool {
		return func(n composer.Name) bool { return strings.HasPrefix(n.String(), pattern) }
	}
	for _, c := range []struct {
		body    string
		names   []composer.Name
		allowed func(composer.Name) bool
		want    string
	}{
		{`{"repository":{"url":"https://git.example/acme/lib"}}`, nil, nil, "one by webhook"},
		{`{"repository":{"url":"https://git.example/acme/lib"}}`, nil, only("acme/"), "one by webhook"},
		{`{"repository":{"url":"https://git.example/acme/lib"}}`, nil, only("other/"), ""},
		{`{"repository":{"url":"https://git.example/acme/mono"}}`, nil, only("other/"), "two by webhook"},
		{`{"composer":{"package_name":["acme/a","acme/lib"]}}`, nil, nil, "one by webhook, two by webhook"},
		{``, []composer.Name{name("other/b")}, nil, "two by webhook"},
		{``, []composer.Name{name("nobody/here")}, nil, ""},
	} {
		d, err := w.Push(t.Context(), "tok", http.Header{}, []byte(c.body), c.names, c.allowed)
		if got := w.sources.taken(); err != nil || got != c.want || d.By != "tok" || d.Provider != webhook.Generic {
			t.Errorf("%s %v: read were %q; %+v, %v", c.body, c.names, got, d, err)
		}
	}
	h := http.Header{}
	h.Set("X-GitHub-Event", "push")
	if d, err := w.Push(t.Context(), "tok", h, push("https://git.example/acme/lib"), nil, nil); err != nil || d.Provider != webhook.GitHub || w.sources.taken() != "one by webhook" {
		t.Errorf("what GitHub sends, with a token: %+v, %v", d, err)
	}
}

func TestWhatWasAcceptedIsDoneAfterACrash(t *testing.T) {
	w := newWorld(t)
	before, after := w.now.Add(-time.Minute), w.now.Add(time.Minute)
	w.receive(t, "1", "https://git.example/acme/lib")
	w.receive(t, "2", "https://git.example/acme/mono")
	w.sources.taken()
	w.sources.list[0].LastRun = &private.Run{StartedAt: before}
	w.sources.list[1].LastRun = &private.Run{StartedAt: after}
	w.open(t)
	if err := w.Resume(t.Context()); err != nil || w.sources.taken() != "one by webhook" {
		t.Errorf("then read were others: %v", err)
	}
	w.now = w.now.Add(48 * time.Hour) // then its turn came anyway
	if err := w.Resume(t.Context()); err != nil || w.sources.taken() != "" {
		t.Errorf("long ago pushed, and read: %v", err)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 1100 {
		w.receive(t, fmt.Sprint("a", i), "https://git.example/acme/lib")
	}
	count := func() int {
		n := 0
		err := w.store.View(func(tx *store.Tx) error {
			n = 0
			return store.Table[hooks.Delivery]{Family: store.FamilyDelivery, Name: "delivery"}.Keys(tx, nil, func([]string) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 1100 {
		t.Errorf("of a busy day, %d are kept", n)
	}
	w.now = w.now.Add(25 * time.Hour)
	for i := range 20 {
		w.receive(t, fmt.Sprint("b", i), "https://git.example/acme/lib")
	}
	if n := count(); n != 1000 {
		t.Errorf("a day later, %d are kept", n)
	}
}
