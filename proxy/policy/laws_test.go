package policy_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

var (
	seed      = flag.Uint64("seed", 0, "seed of the random histories; 0 takes one from the clock")
	histories = flag.Int("histories", 1500, "how many random histories to live through")
)

// past is a made-up history of one package: what upstream said, day by day,
// and what somebody who looks every time has recorded of it.
type past struct {
	r       *rand.Rand
	name    composer.Name
	now     time.Time
	docs    [2][]*composer.Document // every document observed, oldest first
	since   [2][]time.Time          // when each was observed
	states  [2]map[string]release   // version to what it is now
	seen    map[string]*history.Reference
	objects map[string][]observed
	made    int
	extras  extras
}

// observed is a version as a document had it.
type observed struct {
	at     time.Time
	object composer.Object
}

func newPast(r *rand.Rand, n composer.Name) *past {
	p := &past{r: r, name: n, now: start, seen: map[string]*history.Reference{}, objects: map[string][]observed{}}
	p.states = [2]map[string]release{{}, {}}
	for range 1 + r.IntN(4) {
		p.change()
	}
	p.observe()
	return p
}

var (
	tags     = []string{"0.9.0", "1.0.0", "1.0.1", "1.1.0-beta1", "1.1.0", "1.2.0", "2.0.0", "2.0.1"}
	branches = []string{"dev-main", "dev-fix/it", "1.x-dev"}
)

// moment is a date as somebody may write it: missing, honest, or a lie.
func (p *past) moment() time.Time {
	switch p.r.IntN(5) {
	case 0:
		return time.Time{}
	case 1:
		return p.now.AddDate(0, 0, -p.r.IntN(900))
	case 2:
		return p.now.AddDate(0, 0, p.r.IntN(30))
	}
	return p.now.Add(-time.Duration(p.r.IntN(3600)) * time.Second)
}

// change lets upstream do something.
func (p *past) change() {
	dev := p.r.IntN(3) == 0
	names, state := tags, p.states[0]
	if dev {
		names, state = branches, p.states[1]
	}
	v := names[p.r.IntN(len(names))]
	if _, there := state[v]; there && p.r.IntN(4) == 0 {
		delete(state, v)
		return
	}
	p.made++
	ref := fmt.Sprintf("%04x", p.made)
	if p.made > 3 && p.r.IntN(8) == 0 {
		ref = fmt.Sprintf("%04x", 1+p.r.IntN(p.made)) // moved back, or the same commit by another name
	}
	state[v] = release{version: v, reference: ref, published: p.moment(), time: p.moment()}
}

// observe records what upstream says now, as package history does.
func (p *past) observe() {
	for i, state := range p.states {
		var list []release
		for _, v := range slices.Sorted(mapKeys(state)) {
			list = append(list, state[v])
		}
		doc := document(p.name, nil, list...)
		index, err := doc.Index()
		if err != nil {
			panic(err)
		}
		current := map[string]bool{}
		for j, o := range doc.Expanded() {
			v := index[j]
			key := v.Normalized + " " + v.SourceReference
			current[key] = true
			ref := p.seen[key]
			if ref == nil {
				ref = &history.Reference{FirstSeen: p.now, Initial: len(p.docs[i]) == 0, Via: history.Demand}
				p.seen[key] = ref
			}
			ref.Version, ref.Normalized, ref.Reference, ref.Type = v.Pretty, v.Normalized, v.SourceReference, "zip"
			ref.Time, ref.Published, ref.GoneAt = v.Time, v.Published, time.Time{}
			p.objects[key] = append(p.objects[key], observed{p.now, o})
		}
		for key, ref := range p.seen {
			if composer.IsDev(ref.Normalized) == (i == 1) && !current[key] && ref.GoneAt.IsZero() {
				ref.GoneAt = p.now
			}
		}
		p.docs[i] = append(p.docs[i], doc)
		p.since[i] = append(p.since[i], p.now)
	}
}

func mapKeys(m map[string]release) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// live lets time and upstream go on.
func (p *past) live() {
	for range 1 + p.r.IntN(5) {
		p.now = p.now.Add(time.Duration(1+p.r.IntN(9*24*3600)) * time.Second)
		for range p.r.IntN(4) {
			p.change()
		}
		p.observe()
	}
	p.now = p.now.Add(time.Duration(p.r.IntN(9*24*3600)) * time.Second)
	if p.r.IntN(2) == 0 {
		p.extras = extras{"security-advisories": `[{"advisoryId":"P","affectedVersions":"` + tags[p.r.IntN(len(tags))] + `|<1.0.1"}]`}
	}
}

// facts are what is recorded; old documents are at hand.
func (p *past) facts() policy.Facts {
	f := policy.Facts{FirstModified: start, FirstModifiedDev: start}
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range p.seen {
			if !yield(k) {
				return
			}
		}
	}) {
		f.References = append(f.References, *p.seen[key])
	}
	f.Entry = func(r history.Reference, before time.Time) (composer.Object, error) {
		for _, o := range slices.Backward(p.objects[r.Normalized+" "+r.Reference]) {
			if o.at.Before(before) {
				return o.object, nil
			}
		}
		return nil, nil
	}
	docs := p.docs[0]
	f.Live = docs[len(docs)-1]
	for k, v := range p.extras {
		f.Live = f.Live.WithTop(k, []byte(v))
	}
	return f
}

// each lives through many random histories.
func each(t *testing.T, o policy.Options, law func(t *testing.T, w *world, p *past)) {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	n := *histories
	if testing.Short() {
		n /= 10
	}
	t.Logf("seed %d, %d histories", s, n)
	var w *world
	for i := range n {
		if i%100 == 0 {
			w = newWorld(t, o)
		}
		p := newPast(rand.New(rand.NewPCG(s, uint64(i))), w.name)
		p.live()
		w.now = p.now
		law(t, w, p)
		if t.Failed() {
			t.Fatalf("history %d of seed %d", i, s)
		}
	}
}

func (p *past) view() policy.View {
	v := policy.View{Now: p.now, Legacy: p.r.IntN(2) == 0}
	switch p.r.IntN(3) {
	case 0:
		v.At = start.Add(time.Duration(p.r.Int64N(int64(p.now.Sub(start)) + 1)))
	case 1:
		v.MinAge = time.Duration(1+p.r.IntN(14)) * day
	}
	return v
}

// document is the one that a view without policy shows.
func (p *past) document(dev bool, v policy.View) *composer.Document {
	i := 0
	if dev {
		i = 1
	}
	at := p.now
	if !v.At.IsZero() {
		at = v.At
	}
	n := len(p.docs[i]) - 1
	for n > 0 && p.since[i][n].After(at) {
		n--
	}
	if i == 0 && n == len(p.docs[0])-1 {
		return p.facts().Live
	}
	return p.docs[i][n]
}

func (w *world) see(f composer.File, doc *composer.Document, facts policy.Facts, v policy.View) policy.Result {
	w.t.Helper()
	res, err := w.policy.Apply(f, doc, facts, v)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// No version is shown whose content was not seen here for the age, unless it
// was there before us or an advisory justifies it; and what authors write into
// "time" has no say in it.
func TestLawCooldown(t *testing.T) {
	const grace = 2 * day
	each(t, policy.Options{SecurityGrace: grace}, func(t *testing.T, w *world, p *past) {
		v := policy.View{Now: p.now, MinAge: time.Duration(1+p.r.IntN(14)) * day, Legacy: true}
		facts := p.facts()
		for _, dev := range []bool{false, true} {
			f := composer.File{Name: p.name, Dev: dev}
			doc := p.document(dev, v)
			res := w.see(f, doc, facts, v)
			shown, err := res.Doc.Index()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range shown {
				ref := p.seen[s.Normalized+" "+s.SourceReference]
				if ref == nil {
					t.Errorf("%s is shown at %s, where it never was", s.Pretty, s.SourceReference)
					continue
				}
				age := p.now.Sub(ref.FirstSeen)
				if age >= v.MinAge || ref.Initial {
					continue
				}
				if dev || age < grace || !justified(facts.Live, s, shown) {
					t.Errorf("%s at %s is shown at the age of %s; %s are wanted", s.Pretty, s.SourceReference, age, v.MinAge)
				}
			}
			again := w.see(f, redate(doc, p.moment()), facts, v)
			if a, b := listing(t, res.Doc), listing(t, again.Doc); !slices.Equal(a, b) {
				t.Errorf("with other dates of commits the view shows %v instead of %v", b, a)
			}
			// Nothing changes by itself before the result says so.
			if res.Until.IsZero() {
				v.Now = p.now.Add(1000 * day)
			} else {
				v.Now = res.Until.Add(-time.Second)
			}
			if a, b := listing(t, res.Doc), listing(t, w.see(f, doc, facts, v).Doc); !res.Until.IsZero() && !slices.Equal(a, b) {
				t.Errorf("before %s the view changes from %v to %v", res.Until, a, b)
			}
			v.Now = p.now
		}
	})
}

// justified repeats in its own words when a young version may be shown.
func justified(live *composer.Document, young composer.Version, shown []composer.Version) bool {
	if composer.Stability(young.Normalized) != "stable" {
		return false
	}
	series := young.Normalized[:strings.Index(young.Normalized, ".")+1]
	affected := false
	for _, a := range live.Advisories() {
		if a.Affects(young.Normalized) {
			return false
		}
		for _, s := range shown {
			affected = affected || strings.HasPrefix(s.Normalized, series) && s.Normalized != young.Normalized && a.Affects(s.Normalized)
		}
	}
	return affected
}

// redate writes another "time" into every version.
func redate(doc *composer.Document, at time.Time) *composer.Document {
	list := doc.Expanded()
	for i, o := range list {
		list[i] = o.With("time", []byte(`"`+at.Format(time.RFC3339)+`"`))
	}
	return doc.With(list)
}

// A stable version is shown where it was first seen, or not at all, in live and
// in dated views alike.
func TestLawKeepFirst(t *testing.T) {
	each(t, policy.Options{}, func(t *testing.T, w *world, p *past) {
		v := p.view()
		facts := p.facts()
		doc := p.document(false, v)
		shown, err := w.see(composer.File{Name: p.name}, doc, facts, v).Doc.Index()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shown {
			for _, r := range facts.References {
				if r.Normalized == s.Normalized && r.FirstSeen.Before(p.seen[s.Normalized+" "+s.SourceReference].FirstSeen) {
					t.Errorf("%s is shown at %s although it was seen at %s before", s.Pretty, s.SourceReference, r.Reference)
				}
			}
			if v.MinAge == 0 {
				if d, err := w.policy.Archive(p.name, s.Normalized, s.SourceReference, facts, v); err != nil || d != nil {
					t.Errorf("%s is shown, but its archive is refused: %+v, %v", s.Pretty, d, err)
				}
			}
		}
		if want, err := doc.Index(); err != nil || v.MinAge == 0 && len(shown) != len(want) {
			t.Errorf("%d of %d versions are shown, %v", len(shown), len(want), err)
		}
	})
}

// What a dated view shows does not depend on when it is looked at, nor on
// anything that was recorded after its instant was settled.
func TestLawPastIsSettled(t *testing.T) {
	each(t, policy.Options{}, func(t *testing.T, w *world, p *past) {
		v := policy.View{At: p.now.Add(-time.Duration(p.r.IntN(1000)) * time.Minute), Legacy: p.r.IntN(2) == 0}
		var before [2][]byte
		f := composer.File{Name: p.name}
		doc := [2]*composer.Document{p.document(false, v), p.document(true, v)}
		for i := range doc {
			f.Dev = i == 1
			v.Now = p.now
			before[i] = w.see(f, doc[i], p.facts(), v).Doc.Encode()
		}
		top := p.facts().Live.Top
		p.live()
		p.extras = extras{
			"security-advisories": string(top.Get("security-advisories")),
			"filter":              `{"malware":[{"constraint":"9.9.9","reason":"of no concern"}],"other":[{"constraint":"dev-main"}]}`,
		}
		for i := range doc {
			f.Dev = i == 1
			v.Now = p.now
			if after := w.see(f, doc[i], p.facts(), v).Doc.Encode(); !bytes.Equal(before[i], after) {
				t.Errorf("the past was %s and is %s", before[i], after)
			}
		}
	})
}

// A denial takes its versions out of every view and their archives away, and
// nothing else; lifting it restores every byte.
func TestLawDenial(t *testing.T) {
	each(t, policy.Options{}, func(t *testing.T, w *world, p *past) {
		type seen struct {
			file composer.File
			doc  *composer.Document
			view policy.View
			body []byte
		}
		facts := p.facts()
		var all []seen
		for range 3 {
			v, dev := p.view(), p.r.IntN(2) == 0
			s := seen{composer.File{Name: p.name, Dev: dev}, p.document(dev, v), v, nil}
			s.body = w.see(s.file, s.doc, facts, v).Doc.Encode()
			all = append(all, s)
		}
		rule := policy.Rule{Kind: policy.Block}
		switch p.r.IntN(3) {
		case 0:
			rule.Versions = []string{"^1.0", "<1.1", "dev-main", "1.x-dev || 2.0.0", "*"}[p.r.IntN(5)]
		case 1:
			if n := len(facts.References); n > 0 { // a history may have none
				rule.Reference = facts.References[p.r.IntN(n)].Reference
			}
		}
		constraint, err := composer.ParseConstraint(orAll(rule.Versions))
		if err != nil {
			t.Fatal(err)
		}
		named := func(normalized, reference string) bool {
			return constraint.Matches(normalized) && (rule.Reference == "" || rule.Reference == reference)
		}
		blocked := func(v composer.Version) bool {
			// By its own name, or as the content of a tagged version.
			return named(v.Normalized, v.SourceReference) || slices.ContainsFunc(facts.References, func(r history.Reference) bool {
				return r.Reference == v.SourceReference && !composer.IsDev(r.Normalized) && named(r.Normalized, r.Reference)
			})
		}
		rule = w.add(rule)
		for _, s := range all {
			res := w.see(s.file, s.doc, facts, s.view)
			entries := res.Doc.Filters()["malware"]
			index, err := res.Doc.Index()
			if err != nil {
				t.Fatal(err)
			}
			left := []composer.Version{}
			for _, v := range index {
				told := slices.ContainsFunc(entries, func(e composer.FilterEntry) bool { return e.Names(v.Normalized) })
				if !blocked(v) {
					left = append(left, v)
					if told {
						t.Errorf("clients are told to refuse %s, which is not blocked", v.Pretty)
					}
					continue
				}
				if s.view.Legacy || s.file.Dev || !told {
					t.Errorf("%s at %s is blocked and shown", v.Pretty, v.SourceReference)
				}
				d, err := w.policy.Archive(p.name, v.Normalized, v.SourceReference, facts, s.view)
				if err != nil || d == nil {
					t.Errorf("the archive of %s is handed out, %v", v.Pretty, err)
				}
			}
			if s.view.MinAge > 0 {
				continue // an older head or fix may take a blocked one's place
			}
			was, err := composer.ParseDocument(s.body, p.name)
			if err != nil {
				t.Fatal(err)
			}
			index, err = was.Index()
			if err != nil {
				t.Fatal(err)
			}
			rest := slices.DeleteFunc(index, blocked)
			if len(rest) != len(left) {
				t.Errorf("%d versions are left that are not blocked, of %d", len(left), len(rest))
			}
		}
		w.lift(rule)
		for _, s := range all {
			if body := w.see(s.file, s.doc, facts, s.view).Doc.Encode(); !bytes.Equal(body, s.body) {
				t.Errorf("%s became %s", s.body, body)
			}
		}
	})
}

func orAll(constraint string) string {
	if constraint == "" {
		return "*"
	}
	return constraint
}

// What Gather reads from a real history, though it reads only what the view
// asks for, says the same as the made-up one that has everything: about
// documents and about archives, with a block and without.
func TestGatherAgreesWithTheRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 12 {
		w := newWorld(t, policy.Options{EnforceOnDownload: true, Retag: []policy.Mode{policy.KeepFirst, policy.Hide, policy.Follow}[round%3]})
		p := newPast(r, w.name)
		for range 2 {
			p.live()
		}
		p.extras = nil
		for i := range p.docs[0] {
			for dev := range 2 {
				w.now = p.since[dev][i]
				w.observe(dev == 1, p.docs[dev][i])
			}
		}
		w.now = p.now
		compare := func() {
			t.Helper()
			for _, v := range []policy.View{{Now: w.now}, {Now: w.now, MinAge: 5 * day}, {Now: w.now, At: w.now.Add(-5 * day)}} {
				for _, dev := range []bool{false, true} {
					doc := p.document(dev, v)
					want := w.see(w.file(dev), doc, p.facts(), v)
					got := w.see(w.file(dev), doc, w.facts(v), v)
					if !bytes.Equal(got.Doc.Encode(), want.Doc.Encode()) || !reflect.DeepEqual(got.Hidden, want.Hidden) {
						t.Fatalf("%s shows\n%s\n%v\nwith the facts gathered and\n%s\n%v\nwith those made up", w.file(dev), got.Doc.Encode(), got.Hidden, want.Doc.Encode(), want.Hidden)
					}
				}
				for _, ref := range p.facts().References {
					want, err := w.policy.Archive(p.name, ref.Normalized, ref.Reference, p.facts(), v)
					if err != nil {
						t.Fatal(err)
					}
					got, err := w.policy.Archive(p.name, ref.Normalized, ref.Reference, w.facts(v), v)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Fatalf("the archive of %s at %s: %v, %v with the facts gathered, %v with those made up", ref.Version, ref.Reference, got, err, want)
					}
				}
			}
		}
		compare()
		refs := p.facts().References
		w.add(policy.Rule{Kind: policy.Block, Reference: refs[r.IntN(len(refs))].Reference})
		compare()
	}
}
