package history_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"stasis/proxy/composer"
)

// registry is an upstream with one package whose whole history is known: the
// truth that views are held against. It behaves as Packagist does: it writes
// both documents some seconds after a change, dates them by the second, dates
// versions by when their row was made and branches by when it last changed.
type registry struct {
	rng   *rand.Rand
	t     time.Time // its clock
	name  composer.Name
	exact bool // every version carries a publication time

	exists     bool
	rows       map[string]*row // by pretty version
	abandoned  bool
	advisories int
	serial     int

	files  [2]timeline // tagged, dev
	feed   []action
	events []time.Time // when something changed
	log    []string

	first  map[string]time.Time // version@reference → first time a row had it
	sneaky map[string]bool      // version@reference whose dates cannot tell that the tag was moved
	heads  map[string][]head    // branch → what it pointed at since when; "" for nothing
}

type row struct {
	ver
	hidden bool
}

type head struct {
	since time.Time
	ref   string
}

// timeline is every state a file had, oldest first.
type timeline []fileState

type fileState struct {
	since    time.Time
	modified time.Time
	body     []byte // nil: there is no such file
}

type action struct {
	file    composer.File
	deleted bool
	time    time.Time // as the feed says it, whole seconds
	written time.Time
}

func newRegistry(rng *rand.Rand, name composer.Name, start time.Time, exact bool) *registry {
	r := &registry{
		rng: rng, t: start, name: name, exact: exact,
		rows: map[string]*row{}, first: map[string]time.Time{}, sneaky: map[string]bool{}, heads: map[string][]head{},
	}
	r.files = [2]timeline{{{since: start.AddDate(-10, 0, 0)}}, {{since: start.AddDate(-10, 0, 0)}}}
	return r
}

func (r *registry) say(format string, args ...any) {
	r.log = append(r.log, r.t.UTC().Format("2006-01-02T15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *registry) ref() string {
	r.serial++
	return fmt.Sprintf("r%d", r.serial)
}

// point lets a version's row have a reference from now on.
func (r *registry) point(v *row, ref string) {
	v.ref = ref
	key := v.version + "@" + ref
	if _, ok := r.first[key]; !ok {
		r.first[key] = r.t
	}
	r.head(v.version, ref)
}

func (r *registry) head(version, ref string) {
	if composer.IsDev(version) {
		r.heads[version] = append(r.heads[version], head{r.t, ref})
	}
}

// add makes a row. Commits are up to a month older than their publication;
// some authors write any date at all.
func (r *registry) add(version string) {
	v := &row{ver: ver{version: version}}
	switch commit := r.t.Add(-time.Duration(r.rng.Int64N(int64(30 * 24 * time.Hour)))); r.rng.IntN(8) {
	case 0:
		v.time = "" // no date
	case 1:
		v.time = stamp(commit.AddDate(-r.rng.IntN(10), 0, 0))
	case 2:
		if !r.exact {
			v.time = stamp(commit.AddDate(0, 0, r.rng.IntN(400)))
			break
		}
		fallthrough
	default:
		v.time = stamp(commit)
	}
	if r.exact || r.rng.IntN(2) == 0 {
		v.published = stamp(r.t)
	}
	r.rows[version] = v
	r.point(v, r.ref())
}

// touch is what happens to the rows of branches when they are written again.
func (r *registry) touch(v *row) {
	if v.published != "" {
		v.published = stamp(r.t)
	}
}

// pick returns a random row of the wanted kind, or nil.
func (r *registry) pick(want func(*row) bool) *row {
	var names []string
	for name, v := range r.rows {
		if want(v) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return r.rows[names[r.rng.IntN(len(names))]]
}

func stable(v *row) bool  { return !composer.IsDev(v.version) && !v.hidden }
func hidden(v *row) bool  { return v.hidden }
func branch(v *row) bool  { return composer.IsDev(v.version) && !v.hidden }
func visible(v *row) bool { return !v.hidden }

// change does one random thing to the package. With monotone, nothing is
// deleted or moved.
func (r *registry) change(monotone bool) {
	if !r.exists {
		r.create()
		return
	}
	n := 12
	if monotone {
		n = 7
	}
	switch r.rng.IntN(n) {
	case 0, 1, 2:
		version := fmt.Sprintf("%d.%d.%d", r.rng.IntN(3), r.rng.IntN(4), len(r.rows))
		r.say("publish %s", version)
		r.add(version)
	case 3:
		if v := r.pick(branch); v != nil && r.rng.IntN(4) > 0 {
			v.time = stamp(r.t.Add(-time.Duration(r.rng.Int64N(int64(72 * time.Hour)))))
			r.touch(v)
			r.point(v, r.ref())
			r.say("push %s to %s", v.version, v.ref)
		} else {
			version := fmt.Sprintf("dev-b%d", len(r.rows))
			r.say("branch %s", version)
			r.add(version)
		}
	case 4:
		r.abandoned = !r.abandoned
		r.say("abandoned: %t", r.abandoned)
		for _, v := range r.rows {
			if branch(v) {
				r.touch(v)
			}
		}
	case 5:
		r.advisories++
		r.say("advisory %d", r.advisories)
	case 6:
		r.say("write the same again")
		r.write(true)
		return
	case 7, 8:
		if v := r.pick(stable); v != nil {
			r.move(v)
		}
	case 9:
		if v := r.pick(visible); v != nil {
			r.say("hide %s", v.version)
			v.hidden = true
			r.head(v.version, "")
		}
	case 10:
		if v := r.pick(hidden); v != nil {
			v.hidden = false
			if composer.IsDev(v.version) {
				r.touch(v)
			}
			if r.rng.IntN(3) == 0 {
				r.move(v)
			} else {
				r.point(v, v.ref)
			}
			r.say("recover %s with %s", v.version, v.ref)
		}
	case 11:
		r.say("delete the package")
		r.exists = false
		for _, v := range r.rows {
			if branch(v) {
				r.head(v.version, "")
			}
		}
	}
	r.write(false)
}

// create submits the package, sometimes long after its versions were made, or
// again after it was deleted.
func (r *registry) create() {
	r.exists = true
	for range 1 + r.rng.IntN(3) {
		version := fmt.Sprintf("%d.%d.%d", r.rng.IntN(3), r.rng.IntN(4), len(r.rows))
		r.add(version)
	}
	for _, name := range r.names() {
		v := r.rows[name]
		if v.published != "" {
			v.published = stamp(r.t)
		}
		r.point(v, v.ref)
	}
	r.add(fmt.Sprintf("dev-b%d", len(r.rows)))
	r.say("submit the package with %d versions", len(r.rows))
	r.write(false)
}

func (r *registry) names() []string {
	var names []string
	for name := range r.rows {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// move lets a tag point elsewhere. Its row's publication time stays; only the
// date of a new commit can tell.
func (r *registry) move(v *row) {
	v.ref = r.ref()
	published, err := time.Parse(time.RFC3339, v.published)
	if r.rng.IntN(2) == 0 {
		v.time = stamp(r.t)
	}
	if v.time != stamp(r.t) || err != nil || r.t.Sub(published) < 25*time.Hour {
		r.sneaky[v.version+"@"+v.ref] = true
	}
	r.point(v, v.ref)
	r.say("move %s to %s", v.version, v.ref)
}

// write writes both files, as far as they differ from what is there or force
// is set, and announces them.
func (r *registry) write(force bool) {
	r.events = append(r.events, r.t)
	switch r.rng.IntN(4) {
	case 0: // at once: two changes may fall into one second
	default:
		r.t = r.t.Add(time.Duration(r.rng.Int64N(int64(20 * time.Second))))
	}
	r.events = append(r.events, r.t)
	for i, f := range r.both() {
		now := fileState{since: r.t, modified: r.t.Truncate(time.Second), body: r.body(f)}
		held := r.files[i][len(r.files[i])-1]
		if string(held.body) == string(now.body) && !(force && now.body != nil) {
			continue
		}
		r.files[i] = append(r.files[i], now)
		a := action{file: f, deleted: now.body == nil, time: now.modified, written: r.t}
		r.feed = append(r.feed, a)
		r.say("written: %s, %d bytes", f, len(now.body))
	}
}

func (r *registry) both() [2]composer.File {
	return [2]composer.File{{Name: r.name}, {Name: r.name, Dev: true}}
}

func (r *registry) body(f composer.File) []byte {
	if !r.exists {
		return nil
	}
	var list []composer.Object
	names := r.names()
	slices.Reverse(names)
	for _, name := range names {
		v := *r.rows[name]
		if v.hidden || composer.IsDev(v.version) != f.Dev {
			continue
		}
		if r.abandoned {
			v.more = `,"abandoned":true`
		}
		list = append(list, v.object(f.Name))
	}
	return composer.NewDocument(f.Name, list).WithTop("security-advisories", fmt.Appendf(nil, "[%d]", r.advisories)).Encode()
}

// get is the answer to a request for a file now.
func (r *registry) get(f composer.File, since string) (body []byte, modified string, unchanged bool) {
	i := 0
	if f.Dev {
		i = 1
	}
	now := r.files[i][len(r.files[i])-1]
	if now.body == nil {
		return nil, "", false
	}
	if modified = httpTime(now.modified); modified == since {
		return nil, modified, true
	}
	return now.body, modified, false
}

// during returns every state a file had between two times, both included.
func (tl timeline) during(from, until time.Time) []fileState {
	var out []fileState
	for i, s := range tl {
		if !s.since.After(until) && (i == len(tl)-1 || tl[i+1].since.After(from)) {
			out = append(out, s)
		}
	}
	return out
}

// pointed reports whether a branch pointed at ref at some time between two.
func (r *registry) pointed(version, ref string, from, until time.Time) bool {
	list := r.heads[version]
	for i, h := range list {
		if h.ref == ref && !h.since.After(until) && (i == len(list)-1 || list[i+1].since.After(from)) {
			return true
		}
	}
	return false
}
