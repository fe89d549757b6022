package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"stasis/integration/standin"
)

// storm is mixed load on a program that is about to die: clients fetch documents and archives, upstream publishes, and
// operators freeze, block, make snapshots and move channels. It remembers what it was promised.
type storm struct {
	t     testing.TB
	s     *standin.Server
	names []string

	mu     sync.Mutex
	drawn  *rand.Rand
	truth  map[string]map[string]bool // file to the essences of all its states
	bodies map[string]bool            // document bodies that were compared
	sums   map[string]string          // archive path to digest
	fetch  []string                   // archive paths
	acks   map[string]ack             // what operators were told last
	count  int                        // of answers
	wrong  int                        // of answers that were no truth
	moved  chan struct{}              // closed and replaced when count grows
	serial int

	// lenient takes a broken transfer for no reason to go, and a refusal for want of room for an answer.
	lenient bool
}

// ack is what an operator was told about a subject. Unknown is what a request under way may have changed.
type ack struct {
	value   string
	unknown bool
	at      int // grows with each request about the subject
}

func newStorm(t testing.TB, s *standin.Server, packages int) *storm {
	t.Helper()
	st := &storm{t: t, s: s, drawn: rand.New(rand.NewPCG(11, 12)), truth: map[string]map[string]bool{}, bodies: map[string]bool{}, sums: map[string]string{},
		acks: map[string]ack{}, moved: make(chan struct{})}
	for i := range packages {
		st.names = append(st.names, fmt.Sprintf("storm/p%d", i))
		st.publish(i)
	}
	return st
}

// publish gives a package another version.
func (st *storm) publish(i int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.serial++
	name := st.names[i]
	version := fmt.Sprintf("1.0.%d", st.serial)
	p := st.s.Publish(standin.Release{Name: name, Version: version, Size: int64(20_000 + st.drawn.IntN(300_000)), Description: standin.Noise(version, st.drawn.IntN(3000))})
	path := "/dist-proxy/" + name + "/" + version + ".0/" + p.Reference + ".zip"
	st.sums[path] = digest(p.Archive)
	st.fetch = append(st.fetch, path)
	body, _ := st.s.Document(name)
	if st.truth[name] == nil {
		st.truth[name] = map[string]bool{}
	}
	st.truth[name][essence(st.t, body, name)] = true
}

func (st *storm) published() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.fetch)
}

func (st *storm) draw(n int) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.drawn.IntN(n)
}

// blow lets the storm loose on d until ctx ends or d is gone. It returns when everybody has stopped.
func (st *storm) blow(ctx context.Context, d *daemon) {
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for ctx.Err() == nil && st.read(d) {
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil && st.operate(d) {
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil && st.published() < 40*len(st.names) {
			st.publish(st.draw(len(st.names)))
			if err := st.await(ctx, 10); err != nil {
				return
			}
		}
	})
	wg.Wait()
}

// read fetches one document or archive; false when the program is gone.
func (st *storm) read(d *daemon) bool {
	if st.draw(3) == 0 {
		name := st.names[st.draw(len(st.names))]
		r, err := d.try(http.MethodGet, "/p2/"+name+".json", nil)
		if err != nil || r.err != nil {
			return st.goesOn(err)
		}
		st.seen(name, st.rightDocument(name, r), r)
		return true
	}
	st.mu.Lock()
	path := st.fetch[st.drawn.IntN(len(st.fetch))]
	sum := st.sums[path]
	st.mu.Unlock()
	r, err := d.try(http.MethodGet, path, nil)
	if err != nil || r.err != nil {
		return st.goesOn(err)
	}
	// What upstream published a moment ago may not be known yet.
	st.seen(path, r.StatusCode == 404 || r.StatusCode == 200 && digest(r.body) == sum || st.lenient && r.StatusCode == 507, r)
	return true
}

// goesOn reports whether a client stays after a failure: as long as somebody listens.
func (st *storm) goesOn(err error) bool {
	return st.lenient && !errors.Is(err, syscall.ECONNREFUSED)
}

func (st *storm) rightDocument(name string, r *reply) bool {
	if r.StatusCode != 200 {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.bodies[string(r.body)] && st.truth[name][essence(st.t, r.body, name)] {
		st.bodies[string(r.body)] = true
	}
	return st.bodies[string(r.body)]
}

// seen counts an answer.
func (st *storm) seen(what string, right bool, r *reply) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.count++
	close(st.moved)
	st.moved = make(chan struct{})
	if !right {
		st.wrong++
		st.t.Errorf("%s: %d with %d bytes: %.200s", what, r.StatusCode, len(r.body), r.body)
	}
}

// await returns when n more answers have come.
func (st *storm) await(ctx context.Context, n int) error {
	st.mu.Lock()
	until := st.count + n
	for st.count < until {
		moved := st.moved
		st.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		st.mu.Lock()
	}
	st.mu.Unlock()
	return nil
}

// operate sends one management request that changes something; false when the program is gone.
func (st *storm) operate(d *daemon) bool {
	name := st.names[st.draw(len(st.names))]
	switch st.draw(10) {
	case 0, 1, 2:
		return st.ask(d, "freeze "+name, "frozen", http.MethodPost, "freeze/"+name, nil, http.StatusOK)
	case 3, 4:
		return st.ask(d, "freeze "+name, "", http.MethodPost, "unfreeze/"+name, nil, http.StatusOK)
	case 5, 6:
		reason := fmt.Sprintf("storm %d", st.draw(1000)) // a version that nobody has, so that nothing disappears
		return st.ask(d, "block "+reason, "blocked", http.MethodPost, "blocks", map[string]string{"package": name, "versions": "99.0.0", "reason": reason}, http.StatusOK, http.StatusCreated, http.StatusConflict)
	case 7:
		snap := fmt.Sprintf("snap-%d", st.draw(30))
		return st.ask(d, "snapshot "+snap, "made", http.MethodPost, "snapshots", map[string]any{"name": snap, "archives": "none"}, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusConflict)
	}
	snap := fmt.Sprintf("snap-%d", st.draw(30))
	return st.ask(d, "channel prod", snap, http.MethodPut, "channels/prod", map[string]string{"snapshot": snap}, http.StatusOK, http.StatusCreated)
}

// ask sends a change and notes what becomes of it. Another change of the same subject waits.
func (st *storm) ask(d *daemon, subject, value, method, path string, body any, ok ...int) bool {
	st.mu.Lock()
	before := st.acks[subject]
	if before.unknown {
		st.mu.Unlock()
		return true // somebody else is at it
	}
	st.acks[subject] = ack{before.value, true, before.at + 1}
	st.mu.Unlock()
	text, err := json.Marshal(body)
	if err != nil {
		st.t.Error(err)
		return false
	}
	if body == nil {
		text = nil
	}
	r, err := d.try(method, "/api/v1/proxy/"+path, text, "Authorization", "Bearer "+adminToken, "Content-Type", "application/json")
	if err != nil || r.err != nil {
		return st.goesOn(err) // it stays unknown
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	now := ack{before.value, false, before.at + 2}
	for _, code := range ok {
		if r.StatusCode == code {
			now.value = value
			// Snapshots of the same content are one under several names; the answer says which the channel goes by.
			var moved struct{ Data struct{ Snapshot string } }
			if strings.HasPrefix(subject, "channel ") && json.Unmarshal(r.body, &moved) == nil {
				now.value = moved.Data.Snapshot
			}
		}
	}
	if st.lenient && r.StatusCode == 500 && strings.Contains(string(r.body), "The change was made") {
		now.value = value // the last block went between the change and the audit log
	} else if r.StatusCode >= 500 && !(st.lenient && r.StatusCode == 507) {
		st.t.Errorf("%s %s: %d %.200s", method, path, r.StatusCode, r.body)
	}
	st.acks[subject] = now
	st.count++
	close(st.moved)
	st.moved = make(chan struct{})
	return true
}

// promised is what must be found if the program ended now.
func (st *storm) promised() map[string]ack {
	st.mu.Lock()
	defer st.mu.Unlock()
	return maps.Clone(st.acks)
}

// settled leaves of earlier promises those that no request has touched since.
func (st *storm) settled(earlier map[string]ack) map[string]ack {
	now := st.promised()
	for subject, a := range earlier {
		if a.at != now[subject].at {
			a.unknown = true
			earlier[subject] = a
		}
	}
	return earlier
}

// lost counts the promises that d does not keep.
func (st *storm) lost(d *daemon, promised map[string]ack) (lost int) {
	st.t.Helper()
	found := st.found(d)
	for subject, a := range promised {
		if got := found[subject]; !a.unknown && got != a.value {
			st.t.Errorf("%s: found %q, promised %q", subject, got, a.value)
			lost++
		}
	}
	return lost
}

// settle takes what d has for the truth about requests that were never answered.
func (st *storm) settle(d *daemon) {
	found := st.found(d)
	st.mu.Lock()
	defer st.mu.Unlock()
	for subject, a := range st.acks {
		if a.unknown {
			st.acks[subject] = ack{found[subject], false, a.at + 1}
		}
	}
}

// found reads back everything that operators may have changed.
func (st *storm) found(d *daemon) map[string]string {
	st.t.Helper()
	out := map[string]string{}
	for _, f := range asked[[]struct{ Package string }](d, http.MethodGet, "frozen", nil) {
		out["freeze "+f.Package] = "frozen"
	}
	for _, b := range asked[[]struct{ Reason string }](d, http.MethodGet, "blocks", nil) {
		out["block "+b.Reason] = "blocked"
	}
	for _, s := range asked[[]struct{ Name string }](d, http.MethodGet, "snapshots", nil) {
		out["snapshot "+s.Name] = "made"
	}
	for _, c := range asked[[]struct{ Name, Snapshot string }](d, http.MethodGet, "channels", nil) {
		out["channel "+c.Name] = c.Snapshot
	}
	return out
}

// whole fetches every document and every archive and compares it.
func (st *storm) whole(d *daemon) {
	st.t.Helper()
	for _, name := range st.names {
		r := d.get("/p2/" + name + ".json")
		st.seen(name, st.rightDocument(name, r), r)
	}
	st.mu.Lock()
	sums := maps.Clone(st.sums)
	st.mu.Unlock()
	for path, sum := range sums {
		r := d.get(path)
		st.seen(path, digest(r.body) == sum || r.StatusCode == 404 && strings.Contains(string(r.body), "no archive"), r)
	}
}
