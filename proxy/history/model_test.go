package history_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

var (
	histories = flag.Int("histories", 0, "how many random histories the model test plays; 0 = by -short")
	seed      = flag.Uint64("seed", 0, "play the history with this seed alone")
)

// TestViewsAgreeWithTheTruth plays random histories of a package on a made
// registry, lets a recorder watch them imperfectly, asks for views at random
// instants and compares what it says with what was.
//
// A history that breaks a law is played again with fewer and fewer steps, and
// the shortest that still breaks one is shown with all that happened in it.
// What such a history taught is told again, in few words, by a test of
// counterexamples_test.go.
func TestViewsAgreeWithTheTruth(t *testing.T) {
	n := *histories
	switch {
	case *seed != 0:
		n = 1
	case n != 0:
	case testing.Short():
		n = 200
	default:
		n = 2000
	}
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	b := &bench{t: t, dir: fast(t), epoch: at("2027-01-01T00:00:00Z")}
	b.open()
	fidelities := map[history.Fidelity]int{}
	for i := range uint64(n) {
		p := b.play(first+i, 60)
		for f, k := range p.seen {
			fidelities[f] += k
		}
		if p.broken == nil {
			continue
		}
		for steps := 1; steps < 60; steps++ {
			if q := b.play(first+i, steps); q.broken != nil {
				p = q
				break
			}
		}
		t.Fatalf("seed %d, %d steps: %v\n%s", p.seed, p.steps, p.broken, strings.Join(p.up.log, "\n"))
	}
	t.Logf("%d histories from seed %d; views: %v", n, first, fidelities)
	for _, f := range []history.Fidelity{history.Exact, history.Gap, history.Reconstructed, history.Estimated, history.Absent} {
		if *seed == 0 && fidelities[f] == 0 {
			t.Errorf("no view was %s, so nothing was tested about it", f)
		}
	}
}

// bench has one store for many histories: each has a package and a time of its
// own.
type bench struct {
	t     *testing.T
	dir   string
	store *store.Store
	epoch time.Time
	count int
}

func (b *bench) open() {
	b.store = openStore(b.t, b.dir)
}

func (b *bench) reopen() {
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

func (b *bench) play(seed uint64, steps int) *play {
	b.count++
	b.epoch = b.epoch.AddDate(1, 0, 0)
	if b.epoch.Year() > 2200 {
		// Times are kept until 2262: a new store begins again.
		b.store.Close()
		os.RemoveAll(b.dir)
		b.dir, b.epoch = fast(b.t), at("2027-01-01T00:00:00Z")
		b.open()
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	name, err := composer.ParseName(fmt.Sprintf("acme/h%d", b.count))
	if err != nil {
		b.t.Fatal(err)
	}
	p := &play{
		seed: seed, steps: steps, rng: rng, bench: b, start: b.epoch,
		up:   newRegistry(rng, name, b.epoch, rng.IntN(3) > 0),
		seen: map[history.Fidelity]int{}, served: map[string]served{},
		monotone: rng.IntN(4) == 0, followed: rng.IntN(3) > 0,
	}
	if rng.IntN(3) == 0 {
		p.skew = time.Duration(rng.Int64N(int64(40*time.Second))) - 20*time.Second
	}
	p.restart()
	p.broken = p.run()
	return p
}

const settle = 15 * time.Minute

// play is one history and its recorder.
type play struct {
	seed     uint64
	steps    int
	rng      *rand.Rand
	bench    *bench
	start    time.Time
	up       *registry
	h        *history.History
	skew     time.Duration // how far our clock is ahead of the registry's
	monotone bool          // nothing is ever deleted or moved
	followed bool          // the change feed is read

	down   bool // upstream does not answer
	polled time.Time
	seen   map[history.Fidelity]int
	served map[string]served
	order  []string
	broken error
}

// served is a view that was bound.
type served struct {
	file     composer.File
	at       time.Time
	fidelity history.Fidelity
	body     string
	versions []string
}

func (p *play) now() time.Time { return p.up.t.Add(p.skew) }

func (p *play) restart() {
	h, err := history.New(p.bench.store, p.now)
	if err != nil {
		p.bench.t.Fatal(err)
	}
	p.h = h
}

func (p *play) run() error {
	for range p.rng.IntN(6) {
		p.up.change(p.monotone)
		p.pass()
	}
	if p.followed {
		// A feed of its own: that of the history before is over.
		st := history.FeedState{Since: p.now(), Until: p.now(), Cursor: 1}
		if err := p.h.SetFeed(st); err != nil {
			return err
		}
		p.polled = p.up.t
	}
	for range p.steps {
		if err := p.step(); err != nil {
			return err
		}
	}
	if p.rng.IntN(50) == 0 {
		p.bench.reopen()
	}
	p.restart()
	return p.laws()
}

func (p *play) step() error {
	switch p.rng.IntN(12) {
	case 0, 1, 2:
		// A recorder that is switched off for long has read the feed before.
		if p.followed {
			if err := p.poll(); err != nil {
				return err
			}
		}
		p.pass()
	case 3, 4:
		p.up.change(p.monotone)
	case 5, 6:
		return p.fetch(p.file(), history.Demand)
	case 7:
		if p.followed {
			return p.poll()
		}
	case 8:
		if p.followed {
			if err := p.poll(); err != nil {
				return err
			}
		}
		p.down = !p.down && p.rng.IntN(2) == 0
		p.up.say("upstream down: %t", p.down)
	case 9:
		if p.rng.IntN(5) == 0 {
			p.restart()
		}
	default:
		return p.view()
	}
	return nil
}

func (p *play) file() composer.File { return p.up.both()[p.rng.IntN(2)] }

// pass lets time pass: a moment, or days.
func (p *play) pass() {
	most := []time.Duration{time.Second, 10 * time.Second, 2 * time.Minute, time.Hour, 8 * time.Hour, 40 * time.Hour}[p.rng.IntN(6)]
	p.up.t = p.up.t.Add(time.Duration(p.rng.Int64N(int64(most))).Truncate(time.Millisecond))
}

// fetch asks upstream as the proxy does. The registry may change while the
// question is under way.
func (p *play) fetch(f composer.File, via history.Via) error {
	if p.down {
		return nil
	}
	st, err := p.h.State(f)
	if err != nil {
		return err
	}
	o := history.Observation{AskedAt: p.now(), Via: via}
	since := ""
	if st.Conditional(p.now()) {
		since = st.LastModified
	}
	p.up.t = p.up.t.Add(time.Duration(p.rng.Int64N(int64(time.Second))).Truncate(time.Millisecond))
	if p.rng.IntN(6) == 0 {
		p.up.change(p.monotone)
	}
	o.Body, o.LastModified, o.Unchanged = p.up.get(f, since)
	o.Date = p.up.t.Truncate(time.Second)
	c, err := p.h.Observe(f, o)
	p.up.say("asked for %s at %s: unchanged=%t new=%t, valid from %s", f, o.AskedAt.UTC().Format("15:04:05.000"), o.Unchanged, c.New, c.State.ValidFrom.Format("15:04:05.000"))
	return err
}

// poll reads the feed as the proxy does.
func (p *play) poll() error {
	if p.down {
		return nil
	}
	st := p.h.Feed()
	asked := p.now()
	now := p.up.t
	p.up.say("read the feed from %s", p.polled.UTC().Format("2006-01-02T15:04:05.000"))
	until := now
	if until.After(asked) {
		until = asked
	}
	from := p.polled
	p.polled = now
	if now.Sub(from) > 24*time.Hour {
		st.Since, st.Until, st.Cursor = asked, asked, st.Cursor+1
		if err := p.h.SetFeed(st); err != nil {
			return err
		}
		for _, f := range p.up.both() {
			if err := p.fetch(f, history.Poll); err != nil {
				return err
			}
		}
		return nil
	}
	var pending []composer.File
	for _, a := range p.up.feed {
		if a.written.Before(from) || !a.written.Before(now) {
			continue
		}
		fresh, err := p.h.Announce(a.file, a.time, a.deleted)
		if err != nil {
			return err
		}
		if fresh && !slices.Contains(pending, a.file) {
			pending = append(pending, a.file)
		}
	}
	st.Until, st.Cursor = until, st.Cursor+1
	if err := p.h.SetFeed(st); err != nil {
		return err
	}
	for _, f := range pending {
		if p.rng.IntN(8) > 0 {
			if err := p.fetch(f, history.Feed); err != nil {
				return err
			}
		}
	}
	return nil
}

// instant picks an instant to look at, often near one at which something
// changed, and always settled.
func (p *play) instant() time.Time {
	last := p.now().Add(-settle)
	d := p.start.Add(time.Duration(p.rng.Int64N(int64(last.Sub(p.start)) + int64(48*time.Hour)))).Add(-24 * time.Hour)
	if n := len(p.up.events); n > 0 && p.rng.IntN(2) == 0 {
		d = p.up.events[p.rng.IntN(n)].Add(time.Duration(p.rng.IntN(9)-4) * time.Second)
	}
	if d.After(last) {
		d = last
	}
	return d.Truncate(time.Second)
}

// view asks for a dated view as the proxy serves it, and checks the answer.
func (p *play) view() error {
	// The loop that reads the feed does so more often than instants settle.
	if p.followed {
		if err := p.poll(); err != nil {
			return err
		}
	}
	f, d := p.file(), p.instant()
	b, bound, err := p.h.Bound(d, f)
	if err != nil {
		return err
	}
	if !bound {
		b, err = p.h.Decide(d, f)
		if errors.Is(err, history.ErrUnknown) || errors.Is(err, history.ErrUnconfirmed) {
			if err := p.fetch(f, history.Demand); err != nil {
				return err
			}
			b, err = p.h.Decide(d, f)
		}
		if errors.Is(err, history.ErrUnknown) || errors.Is(err, history.ErrUnconfirmed) {
			if !p.down && !p.waiting(f) {
				return fmt.Errorf("%s at %s cannot be told although upstream answers: %w", f, stamp(d), err)
			}
			if _, bound, _ := p.h.Bound(d, f); bound {
				return fmt.Errorf("%s at %s was bound although it could not be told", f, stamp(d))
			}
			return nil
		}
		if err != nil {
			return err
		}
		if b, err = p.h.Bind(f, b); err != nil {
			return err
		}
	}
	got, err := p.read(f, b)
	if err != nil {
		return err
	}
	key := stamp(d) + " " + f.String()
	if old, ok := p.served[key]; ok {
		if old.body != got.body || old.fidelity != got.fidelity {
			return fmt.Errorf("%s was %s %s and is %s %s", key, old.fidelity, old.body, got.fidelity, got.body)
		}
		return nil
	}
	p.served[key] = got
	p.order = append(p.order, key)
	p.seen[b.Fidelity]++
	p.up.say("view of %s at %s: %s %v", f, stamp(d), b.Fidelity, got.versions)
	return p.check(got)
}

// waiting reports whether a file waits for what the feed announced.
func (p *play) waiting(f composer.File) bool {
	st, err := p.h.State(f)
	return err == nil && !st.AnnouncedAt.IsZero()
}

func (p *play) read(f composer.File, b history.Binding) (served, error) {
	got := served{file: f, at: b.At, fidelity: b.Fidelity}
	doc, err := p.h.Materialize(f, b)
	if err != nil || doc == nil {
		return got, err
	}
	got.body = string(doc.Encode())
	again, err := composer.ParseDocument([]byte(got.body), f.Name)
	if err != nil {
		return got, err
	}
	a, z := doc.Expanded(), again.Expanded()
	if len(a) != len(z) {
		return got, fmt.Errorf("%s at %s: %d versions, %d when read back", f, stamp(b.At), len(a), len(z))
	}
	for i := range a {
		if !equal(a[i], z[i]) {
			return got, fmt.Errorf("%s at %s: a version is %v, and %v when read back", f, stamp(b.At), a[i], z[i])
		}
	}
	index, err := doc.Index()
	for _, v := range index {
		got.versions = append(got.versions, v.Pretty+"@"+v.SourceReference)
	}
	return got, err
}

// equal compares versions without regard to the order of their members.
func equal(a, b composer.Object) bool {
	for _, m := range a {
		if string(b.Get(m.Key)) != string(m.Value) {
			return false
		}
	}
	return len(a) == len(b)
}

// check holds a view against the truth. Clocks that differ by some seconds
// cannot tell seconds apart.
func (p *play) check(v served) error {
	slack := p.skew.Abs()
	from, until := v.at.Add(-slack), v.at.Add(time.Second-time.Nanosecond+slack)
	i := 0
	if v.file.Dev {
		i = 1
	}
	truth := p.up.files[i].during(from, until)
	where := fmt.Sprintf("%s at %s, %s", v.file, stamp(v.at), v.fidelity)
	switch v.fidelity {
	case history.Exact:
		if !slices.ContainsFunc(truth, func(s fileState) bool { return s.body != nil && string(s.body) == v.body }) {
			return fmt.Errorf("%s: %s\nbut it was %s", where, v.body, truth[0].body)
		}
		return nil
	case history.Absent:
		revs, err := p.h.Revisions(v.file)
		if err != nil {
			return err
		}
		never := !slices.ContainsFunc(revs, func(r history.Revision) bool { return !r.Absent() })
		// Without the feed nobody knows of a package that came and went
		// between two answers that there is none.
		if !never && p.followed && !slices.ContainsFunc(truth, func(s fileState) bool { return s.body == nil }) {
			return fmt.Errorf("%s, but it was %s", where, truth[0].body)
		}
		return nil
	case history.Estimated:
		if p.up.exact {
			return fmt.Errorf("%s, although every version has a publication time", where)
		}
		return nil
	}
	for _, entry := range v.versions {
		first, ok := p.up.first[entry]
		if !ok || first.After(until) && !p.up.sneaky[entry] {
			return fmt.Errorf("%s: %s is from the future: %s", where, entry, stamp(first))
		}
		version, ref, _ := strings.Cut(entry, "@")
		if v.fidelity == history.Reconstructed && v.file.Dev && !p.up.pointed(version, ref, from, until) {
			return fmt.Errorf("%s: %s was not the head then: %v", where, entry, p.up.heads[version])
		}
	}
	return nil
}

// laws are what must hold for all views together, after a restart.
func (p *play) laws() error {
	for _, key := range p.order {
		old := p.served[key]
		b, ok, err := p.h.Bound(old.at, old.file)
		if err != nil || !ok {
			return fmt.Errorf("%s is no longer bound: %v", key, err)
		}
		got, err := p.read(old.file, b)
		if err != nil {
			return err
		}
		if got.body != old.body || got.fidelity != old.fidelity {
			return fmt.Errorf("%s was %s %s and is %s %s", key, old.fidelity, old.body, got.fidelity, got.body)
		}
	}
	if !p.monotone || p.skew != 0 {
		return nil
	}
	views := make([]served, 0, len(p.served))
	for _, key := range p.order {
		if v := p.served[key]; !v.file.Dev && v.fidelity != history.Absent && v.fidelity != history.Estimated {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b served) int { return a.at.Compare(b.at) })
	for i := 1; i < len(views); i++ {
		for _, entry := range views[i-1].versions {
			if !slices.Contains(views[i].versions, entry) {
				return fmt.Errorf("%s had %s, %s has not: %v", stamp(views[i-1].at), entry, stamp(views[i].at), views[i].versions)
			}
		}
	}
	return nil
}
