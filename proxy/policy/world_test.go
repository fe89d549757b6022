package policy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/store"
)

const day = 24 * time.Hour

// start is when every test's world begins.
var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is a policy over a real history in a real store, with a clock of its own.
type world struct {
	t       testing.TB
	now     time.Time
	store   *store.Store
	history *history.History
	policy  *policy.Policy
	name    composer.Name
	options policy.Options
}

func newWorld(t testing.TB, o policy.Options) *world {
	t.Helper()
	w := &world{t: t, now: start}
	w.name = name(t, "acme/a")
	clock := func() time.Time { return w.now }
	var err error
	if w.store, err = store.Open(context.Background(), store.Options{Path: t.TempDir(), Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if w.history, err = history.New(w.store, clock); err != nil {
		t.Fatal(err)
	}
	o.Store, o.Now = w.store, clock
	w.options = o
	w.reopen()
	return w
}

// reopen makes a new policy from what is stored.
func (w *world) reopen() {
	w.t.Helper()
	var err error
	if w.policy, err = policy.New(w.options); err != nil {
		w.t.Fatal(err)
	}
}

func name(t testing.TB, s string) composer.Name {
	t.Helper()
	n, err := composer.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// release is one version of a document.
type release struct {
	version, reference string
	published          time.Time
	time               time.Time
}

// extras are further top-level keys of a document.
type extras map[string]string

func document(n composer.Name, x extras, list ...release) *composer.Document {
	objects := make([]composer.Object, 0, len(list))
	for _, r := range list {
		normalized, err := composer.NormalizeVersion(r.version)
		if err != nil {
			panic(err)
		}
		o := composer.Object{}
		set := func(key string, value any) {
			text, err := json.Marshal(value)
			if err != nil {
				panic(err)
			}
			o = o.With(key, text)
		}
		set("name", n.String())
		set("description", "made for "+r.reference)
		set("version", r.version)
		set("version_normalized", normalized)
		if r.reference != "" {
			set("source", map[string]string{"type": "git", "url": "https://example.org/a.git", "reference": r.reference})
			set("dist", map[string]string{"type": "zip", "url": "https://example.org/a/" + r.reference + ".zip", "reference": r.reference, "shasum": ""})
		}
		if !r.time.IsZero() {
			set("time", r.time.Format(time.RFC3339))
		}
		if !r.published.IsZero() {
			set("published-time", r.published.Format(time.RFC3339))
		}
		objects = append(objects, o)
	}
	doc := composer.NewDocument(n, objects)
	for _, key := range []string{"security-advisories", "filter"} {
		if value := x[key]; value != "" {
			doc = doc.WithTop(key, json.RawMessage(value))
		}
	}
	return doc
}

// file names one of the two documents of the world's package.
func (w *world) file(dev bool) composer.File { return composer.File{Name: w.name, Dev: dev} }

// observe lets the history see a document now.
func (w *world) observe(dev bool, doc *composer.Document) history.Change {
	w.t.Helper()
	c, err := w.history.Observe(w.file(dev), history.Observation{
		AskedAt: w.now, Body: doc.Encode(), LastModified: w.now.UTC().Format(http.TimeFormat), Via: history.Demand,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// sees observes the tagged versions.
func (w *world) sees(list ...release) *composer.Document {
	w.t.Helper()
	doc := document(w.name, nil, list...)
	w.observe(false, doc)
	return doc
}

// gone lets the history see that the package has vanished.
func (w *world) gone() {
	w.t.Helper()
	if _, err := w.history.Observe(w.file(false), history.Observation{AskedAt: w.now, Via: history.Demand}); err != nil {
		w.t.Fatal(err)
	}
}

// facts are what is gathered for a view.
func (w *world) facts(v policy.View) policy.Facts {
	w.t.Helper()
	facts, err := w.policy.Gather(w.history, w.name, v)
	if err != nil {
		w.t.Fatal(err)
	}
	return facts
}

// current is the newest recorded document.
func (w *world) current(dev bool) *composer.Document {
	w.t.Helper()
	st, err := w.history.State(w.file(dev))
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := w.history.Document(st.Document)
	if err != nil {
		w.t.Fatal(err)
	}
	doc, err := composer.ParseDocument(body, w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

func (w *world) apply(dev bool, doc *composer.Document, v policy.View) policy.Result {
	w.t.Helper()
	v.Now = w.now
	res, err := w.policy.Apply(w.file(dev), doc, w.facts(v), v)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// shows returns version@reference of everything in the view of the current
// tagged versions.
func (w *world) shows(v policy.View) []string {
	w.t.Helper()
	return listing(w.t, w.apply(false, w.current(false), v).Doc)
}

func listing(t testing.TB, doc *composer.Document) []string {
	t.Helper()
	index, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, v := range index {
		list = append(list, v.Pretty+"@"+v.SourceReference)
	}
	return list
}

func (w *world) archive(version, reference string, v policy.View) *policy.Denial {
	w.t.Helper()
	v.Now = w.now
	d, err := w.policy.Archive(w.name, version, reference, w.facts(v), v)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) add(r policy.Rule) policy.Rule {
	w.t.Helper()
	if r.Package == "" {
		r.Package = "acme/a"
	}
	if r.Reason == "" {
		r.Reason = "because of a test"
	}
	added, err := w.policy.Add(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return added
}

func (w *world) lift(r policy.Rule) {
	w.t.Helper()
	if _, err := w.policy.Lift(r.Kind, r.ID, "tester"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) explain(dev bool, doc *composer.Document, version string, v policy.View) policy.Explanation {
	w.t.Helper()
	v.Now = w.now
	x, err := w.policy.Explain(w.file(dev), doc, version, w.facts(v), v)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}
