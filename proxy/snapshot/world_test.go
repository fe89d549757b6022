package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// world is an upstream made up for a test, in front of a real history in a
// real store.
type world struct {
	t     testing.TB
	dir   string
	opts  store.Options
	store *store.Store
	hist  *history.History
	snaps *snapshot.Snapshots
	docs  snapshot.Materializer // nil means hist

	mu       sync.Mutex
	now      time.Time
	files    map[string]published // by composer.File
	archives map[string][]byte    // by reference
	held     map[string]store.Digest
	down     bool
	denied   map[string]bool               // references that policies hide
	onFetch  func(context.Context, string) // called outside mu, with the reference
	fetched  int
}

type published struct {
	body     []byte
	modified time.Time
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, change ...func(*store.Options)) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), now: start, files: map[string]published{}, archives: map[string][]byte{},
		held: map[string]store.Digest{}, denied: map[string]bool{},
	}
	w.opts = store.Options{Path: w.dir, MaxCacheSize: 1 << 30, Now: w.clock,
		FreeSpace: func(string) (int64, error) { return 1 << 40, nil }}
	for _, c := range change {
		c(&w.opts)
	}
	w.open()
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(context.Background(), w.opts); err != nil {
		w.t.Fatal(err)
	}
	if w.hist, err = history.New(w.store, w.clock); err != nil {
		w.t.Fatal(err)
	}
	docs := w.docs
	if docs == nil {
		docs = w.hist
	}
	w.snaps, err = snapshot.New(snapshot.Config{Store: w.store, Documents: docs, Now: w.clock, Parallel: 4, TempDir: w.t.TempDir()})
	if err != nil {
		w.t.Fatal(err)
	}
}

// restart closes and opens everything.
func (w *world) restart() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// release is a version to publish.
type release struct {
	version, reference string
	published          time.Time
	members            map[string]any
}

func (r release) object(name string) composer.Object {
	m := map[string]any{
		"name": name, "version": r.version,
		"source": map[string]any{"type": "git", "url": "https://git.test/" + name, "reference": r.reference},
		"dist":   map[string]any{"type": "zip", "url": "https://dist.test/" + r.reference, "reference": r.reference, "shasum": ""},
	}
	m["version_normalized"], _ = composer.NormalizeVersion(r.version)
	if !r.published.IsZero() {
		m["published-time"] = r.published.Format(time.RFC3339)
		m["time"] = r.published.Format(time.RFC3339)
	}
	for k, v := range r.members {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	var o composer.Object
	if err := o.UnmarshalJSON(text); err != nil {
		panic(err)
	}
	return o
}

// ref makes up a commit id.
func ref(n int) string { return fmt.Sprintf("%040x", n) }

// publish makes a file be these releases from now on, each with an archive.
func (w *world) publish(file string, releases ...release) {
	w.t.Helper()
	f := parseFile(w.t, file)
	var list []composer.Object
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range releases {
		list = append(list, r.object(f.Name.String()))
		if w.archives[r.reference] == nil {
			w.archives[r.reference] = bytes.Repeat([]byte("archive "+r.reference), 20)
		}
	}
	w.files[file] = published{composer.NewDocument(f.Name, list).Encode(), w.now.Truncate(time.Second)}
}

func (w *world) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// observe asks upstream about a file.
func (w *world) observe(f composer.File) error {
	w.mu.Lock()
	p, ok := w.files[f.String()]
	now, down := w.now, w.down
	w.mu.Unlock()
	if down {
		return errors.New("upstream cannot be reached")
	}
	o := history.Observation{AskedAt: now, Via: history.Demand}
	if ok {
		o.Body, o.LastModified = p.body, p.modified.Format(http.TimeFormat)
	}
	_, err := w.hist.Observe(f, o)
	return err
}

// watch observes files, so that they are tracked.
func (w *world) watch(files ...string) {
	w.t.Helper()
	for _, f := range files {
		if err := w.observe(parseFile(w.t, f)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) Files(context.Context) ([]composer.File, error) {
	var list []composer.File
	err := w.hist.Files(func(f composer.File, _ history.State) error {
		list = append(list, f)
		return nil
	})
	return list, err
}

func (w *world) Bind(_ context.Context, at time.Time, f composer.File) (history.Binding, error) {
	if b, ok, err := w.hist.Bound(at, f); ok || err != nil {
		return b, err
	}
	b, err := w.hist.Decide(at, f)
	if errors.Is(err, history.ErrUnknown) || errors.Is(err, history.ErrUnconfirmed) {
		if err := w.observe(f); err != nil {
			return history.Binding{}, err
		}
		b, err = w.hist.Decide(at, f)
	}
	if err != nil {
		return history.Binding{}, err
	}
	return w.hist.Bind(f, b)
}

func (w *world) Recorded(_ context.Context, f composer.File, normalized, reference string) (composer.Object, bool, error) {
	revs, err := w.hist.Revisions(f)
	for i := len(revs) - 1; i >= 0 && err == nil; i-- {
		if revs[i].Absent() {
			continue
		}
		var body []byte
		if body, err = w.hist.Document(revs[i].Document); err != nil {
			break
		}
		doc, err := composer.ParseDocument(body, f.Name)
		if err != nil {
			return nil, false, err
		}
		index, err := doc.Index()
		if err != nil {
			return nil, false, err
		}
		for j, v := range index {
			if v.Normalized == normalized && v.SourceReference == reference {
				return doc.Expanded()[j], true, nil
			}
		}
	}
	return nil, false, err
}

func (w *world) Allowed(_ context.Context, _ composer.File, doc *composer.Document, _ time.Time) ([]composer.Version, error) {
	index, err := doc.Index()
	var list []composer.Version
	for _, v := range index {
		w.mu.Lock()
		if v.Dist == nil || !w.denied[v.Dist.Reference] {
			list = append(list, v)
		}
		w.mu.Unlock()
	}
	return list, err
}

func (w *world) Held(_ context.Context, _ composer.Name, v composer.Version) (snapshot.Body, bool, error) {
	w.mu.Lock()
	d, ok := w.held[v.Dist.Reference]
	body := w.archives[v.Dist.Reference]
	w.mu.Unlock()
	return snapshot.Body{Digest: d, Content: "c1-" + v.Dist.Reference, Size: int64(len(body))}, ok && w.store.HasBlob(d), nil
}

func (w *world) Fetch(ctx context.Context, n composer.Name, v composer.Version) (snapshot.Body, error) {
	if w.onFetch != nil {
		w.onFetch(ctx, v.Dist.Reference)
	}
	if err := ctx.Err(); err != nil {
		return snapshot.Body{}, err
	}
	if b, ok, err := w.Held(ctx, n, v); ok || err != nil {
		return b, err
	}
	w.mu.Lock()
	body, down := w.archives[v.Dist.Reference], w.down
	w.fetched++
	w.mu.Unlock()
	if down {
		return snapshot.Body{}, errors.New("the archive host cannot be reached")
	}
	if body == nil {
		return snapshot.Body{}, fmt.Errorf("the archive of %s %s does not exist any more", n, v.Pretty)
	}
	blob, err := w.store.CreateBlob(int64(len(body)))
	if err != nil {
		return snapshot.Body{}, err
	}
	defer blob.Abort() //nolint:errcheck // after Commit it does nothing
	if _, err := blob.Write(body); err != nil {
		return snapshot.Body{}, err
	}
	d, err := blob.Commit()
	if err != nil {
		return snapshot.Body{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[v.Dist.Reference] = d
	return snapshot.Body{Digest: d, Content: "c1-" + v.Dist.Reference, Size: int64(len(body))}, nil
}

// Adopt takes over archives of a bundle.
func (w *world) Adopt(_ context.Context, archives []snapshot.Archive) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range archives {
		w.held[a.Reference] = a.SHA256
	}
	return nil
}

// seal makes a snapshot that must be sealed.
func (w *world) seal(req snapshot.Request) snapshot.Snapshot {
	w.t.Helper()
	snap, err := w.snaps.Create(context.Background(), req, w)
	if err != nil {
		w.t.Fatalf("create %q: %v", req.Name, err)
	}
	if snap.State != snapshot.Sealed {
		w.t.Fatalf("%q is %s, missing %+v", snap.Name, snap.State, snap.Missing)
	}
	return snap
}

// versions lists "version reference" of a file in a snapshot; nil when it is
// not listed, and one "absent" when it is absent.
func (w *world) versions(id store.Digest, file string) []string {
	w.t.Helper()
	doc, e, ok, err := w.snaps.Document(id, parseFile(w.t, file))
	switch {
	case err != nil:
		w.t.Fatalf("%s: %v", file, err)
	case !ok:
		return nil
	case e.Absent():
		return []string{"absent"}
	}
	index, err := doc.Index()
	if err != nil {
		w.t.Fatal(err)
	}
	list := []string{}
	for _, v := range index {
		list = append(list, v.Pretty+" "+strings.TrimLeft(v.SourceReference, "0"))
	}
	return list
}

func (w *world) want(id store.Digest, file string, versions ...string) {
	w.t.Helper()
	if got := w.versions(id, file); fmt.Sprint(got) != fmt.Sprint(versions) {
		w.t.Errorf("%s has %q, want %q", file, got, versions)
	}
}

// wantPinned checks that exactly the archives with these references are pinned.
func (w *world) wantPinned(references ...string) {
	w.t.Helper()
	want := int64(0)
	for _, r := range references {
		body := w.archives[r]
		want += int64(len(body))
		if !w.store.Pinned(store.SumDigest(body)) {
			w.t.Errorf("the archive of %s is not pinned", r)
		}
	}
	if u := w.store.Usage(); u.PinnedBytes != want {
		w.t.Errorf("%d bytes are pinned, want %d", u.PinnedBytes, want)
	}
}

// archive reads an archive back.
func (w *world) archive(d store.Digest) ([]byte, error) {
	b, err := w.store.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}

func parseFile(t testing.TB, s string) composer.File {
	t.Helper()
	f, err := composer.ParseFile(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lockFile writes a composer.lock.
func lockFile(t testing.TB, packages map[string]release) []byte {
	t.Helper()
	var list []composer.Object
	for name, r := range packages {
		o := r.object(name).Without("version_normalized").Without("published-time")
		list = append(list, o.With("notification-url", json.RawMessage(`"https://upstream.test/downloads/"`)))
	}
	text, err := json.Marshal(map[string]any{"packages": list, "packages-dev": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func wantError(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("the error is %v, want one of the kind %q", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q does not mention %q", err, word)
		}
	}
}

var errNotThere = fs.ErrNotExist
