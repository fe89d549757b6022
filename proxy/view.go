package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// view is how one file looks in one world: what memory keeps beside the ready
// bytes so that they can be made again.
type view struct {
	in      world
	file    composer.File
	binding history.Binding // of a dated world or a snapshot
	st      history.State   // of a cooldown
	listed  bool            // in the manifest of a snapshot
	// advisories is which security advisories a snapshot's documents carry.
	advisories string
	until      time.Time // when to look again; zero: never
	pkg        *packageState
	gen        uint64 // of pkg when this was made
	headers    [][2]string
}

// serveView answers GET …/p2/{file}.json in a world that is not the live one.
func (p *Proxy) serveView(w http.ResponseWriter, r *http.Request, in world, file string) {
	v, err := p.variant(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	f, err := composer.ParseFile(file)
	if err != nil {
		refuse(w, r, http.StatusNotFound, "there is no package with this name: "+err.Error(), 0)
		return
	}
	if v, err = v.audience(p.readerOf(r), f.Name); err != nil {
		p.hide(w, r, in, f.Name)
		return
	}
	cache := cacheHit
	key := in.prefix() + " " + f.String()
	e := p.hot.get(key)
	if e == nil || !p.holds(e.view) {
		if e, cache, err = p.look(r.Context(), in, f, key); err != nil {
			p.stats.count(KindMetadata, failed, 0, f.Name.String())
			p.fail(w, r, err)
			return
		}
	}
	e.view.tell(w.Header())
	if in.strict && e.view.binding.Fidelity != history.Exact && e.view.binding.Fidelity != history.Absent {
		refuse(w, r, http.StatusConflict, fmt.Sprintf("%s at %s is %s, not exact, and this view is strict; it was recorded from %s on",
			f, in.at.Format(time.RFC3339), e.view.binding.Fidelity, e.view.binding.ValidFrom.Format(time.RFC3339)), 0)
		return
	}
	if p.answer(w, r, e, v, cache) {
		return
	}
	if err := p.renderOnce(r.Context(), e, v, func() (*rendition, error) { return p.renderView(e.view, v) }); err != nil {
		p.fail(w, r, err)
		return
	}
	if !p.answer(w, r, e, v, cache) {
		p.fail(w, r, fmt.Errorf("render %s: the rendition was lost", f))
	}
}

// holds reports whether a view is still right: nothing that denials depend on
// has changed, and its time is not over.
func (p *Proxy) holds(v *view) bool {
	return v.pkg.gen.Load() == v.gen && (v.until.IsZero() || p.now().Before(v.until))
}

// look decides how a file looks in a world.
func (p *Proxy) look(ctx context.Context, in world, f composer.File, key string) (*entry, []string, error) {
	pkg := p.packageState(f.Name)
	vw := &view{in: in, file: f, pkg: pkg, gen: pkg.gen.Load()}
	cache := cacheHit
	var st history.State
	switch {
	case in.kind == cooldown && p.heldByView(f) != nil:
		b, err := p.bind(ctx, p.heldByView(f).At, f)
		if err != nil {
			return nil, nil, err
		}
		vw.binding = b
		vw.until = p.now().Add(cooldownStep)
	case in.kind == cooldown:
		live, how, err := p.current(ctx, f, p.hot.get(f.String()))
		if err != nil {
			return nil, nil, err
		}
		st, cache = *live.state.Load(), how
		vw.st = st
		vw.until = p.now().Add(min(cooldownStep, p.o.MetadataTTL))
	case in.kind == sealed:
		if err := p.lookSealed(ctx, vw); err != nil {
			return nil, nil, err
		}
	default:
		b, err := p.bind(ctx, in.at, f)
		if err != nil {
			return nil, nil, err
		}
		vw.binding = b
	}
	if vw.bound() {
		vw.describe()
		st = history.State{Seq: 1, ValidFrom: vw.binding.ValidFrom}
		if vw.binding.Kind != history.AbsentDocument {
			st.Document = store.Digest{1} // something is there
		}
	}
	e := newEntry(key, st)
	e.view = vw
	return e, cache, nil
}

// lookSealed finds a file in a snapshot. One that the manifest does not list
// does not exist in a closed world, and elsewhere looks as at its instant.
func (p *Proxy) lookSealed(ctx context.Context, vw *view) error {
	m, err := p.snapshots.Manifest(vw.in.id)
	if err != nil {
		return err
	}
	vw.advisories = m.Options.Advisories
	entry, listed := m.Entry(vw.file)
	switch {
	case listed:
		vw.listed = true
		vw.binding = entry.Binding()
		vw.binding.At = vw.in.at
		if entry.Absent() {
			vw.binding.Kind = history.AbsentDocument
		}
	case m.Options.Rest == snapshot.RestInstant:
		vw.binding, err = p.bind(ctx, vw.in.at, vw.file)
	default:
		vw.binding = neverThere(vw.in)
	}
	return err
}

// neverThere is how a file looks that a world has nothing of.
func neverThere(in world) history.Binding {
	return history.Binding{At: in.at, Kind: history.AbsentDocument, Fidelity: history.Absent}
}

// hide answers a request for a package that its reader does not see: like one
// for a package that nobody has heard of.
func (p *Proxy) hide(w http.ResponseWriter, r *http.Request, in world, n composer.Name) {
	if in.kind == dated || in.kind == sealed {
		vw := view{in: in, binding: neverThere(in)}
		vw.describe()
		vw.tell(w.Header())
	}
	unheardOf(w, r, n.String())
}

// cooldownStep is how often a cooldown looks whether a version has come of age,
// and whether what it is made of is fresh.
const cooldownStep = time.Minute

// describe makes the headers that say what is known about a view.
func (v *view) describe() {
	b := v.binding
	if v.in.kind == sealed {
		v.headers = append(v.headers, [2]string{"X-Snapshot-Id", v.in.id.String()})
	}
	if !b.At.IsZero() {
		v.headers = append(v.headers,
			[2]string{"Memento-Datetime", b.At.UTC().Format(http.TimeFormat)},
			[2]string{"X-Snapshot-Instant", b.At.UTC().Format(time.RFC3339)})
	}
	v.headers = append(v.headers, [2]string{"X-Snapshot-Fidelity", string(b.Fidelity)})
	if !b.ValidFrom.IsZero() && b.Kind != history.AbsentDocument {
		v.headers = append(v.headers, [2]string{"X-Snapshot-Known", b.ValidFrom.UTC().Format(time.RFC3339) + "/" + b.LastConfirmed.UTC().Format(time.RFC3339)})
	}
}

func (v *view) tell(h http.Header) {
	for _, line := range v.headers {
		h[line[0]] = []string{line[1]}
	}
}

// bind returns the decision what a file looked like at an instant, making it
// if need be. When upstream has to be asked first and cannot be, nothing is
// decided: the answer is "not now", never "not there".
func (p *Proxy) bind(ctx context.Context, at time.Time, f composer.File) (history.Binding, error) {
	at, held, err := p.heldAt(at, f)
	if err != nil {
		return history.Binding{}, err
	}
	if held != nil {
		return *held, nil
	}
	if b, ok, err := p.history.Bound(at, f); err != nil || ok {
		return b, err
	}
	var b history.Binding
	if err = p.displaced(f); err == nil {
		b, err = p.history.Decide(at, f)
	}
	if errors.Is(err, history.ErrUnconfirmed) || errors.Is(err, history.ErrUnknown) {
		_, failure := p.refresh(ctx, f, history.Demand, whatever)
		if errors.Is(failure, fs.ErrNotExist) {
			return b, failure
		}
		if failure != nil {
			return b, &unavailable{
				message: fmt.Sprintf("what %s looked like at %s cannot be told while upstream does not answer, and nothing was decided", f, at.Format(time.RFC3339)),
				retry:   retrySoon, err: failure,
			}
		}
		b, err = p.history.Decide(at, f)
	}
	if errors.Is(err, history.ErrUnconfirmed) || errors.Is(err, history.ErrUnknown) {
		return b, &unavailable{message: fmt.Sprintf("%s cannot be told at %s yet: %v", f, at.Format(time.RFC3339), err), retry: retrySoon}
	}
	if err != nil {
		return b, err
	}
	if skew := time.Duration(p.skew.Load()); skew > maxSkew || skew < -maxSkew {
		return b, &unavailable{message: fmt.Sprintf("the clock of this machine and that of the registry differ by %s; nothing is decided about the past until they agree", skew.Round(time.Second)), retry: retrySoon}
	}
	return p.history.Bind(f, b)
}

// maxSkew is how far our clock may be off for intervals to mean anything.
const maxSkew = 30 * time.Second

// noteSkew compares our clock with the registry's.
func (p *Proxy) noteSkew(date string, asked time.Time) {
	if t, ok := history.ParseHTTPTime(date); ok {
		// The header has whole seconds and was written after asked.
		skew := asked.Sub(t)
		if skew < 0 && p.now().After(t) {
			skew = 0
		}
		p.skew.Store(int64(skew))
	}
}

// renderView makes the ready answer of a view.
func (p *Proxy) renderView(vw *view, v variant) (*rendition, error) {
	doc, err := p.contentOf(vw)
	if err != nil {
		return nil, err
	}
	if vw.in.kind == sealed && vw.advisories != snapshot.AsOf {
		if doc, err = p.otherAdvisories(vw, doc); err != nil {
			return nil, err
		}
	}
	return p.renderContent(vw.file, doc, vw.validFrom(), vw.in, v)
}

// otherAdvisories gives a snapshot's document today's advisories, or none.
func (p *Proxy) otherAdvisories(vw *view, doc *composer.Document) (*composer.Document, error) {
	const key = "security-advisories"
	out := *doc
	out.Top = doc.Top.Without(key)
	if vw.advisories == snapshot.AdvisoriesOff && !vw.file.Dev {
		// Without the key clients ask the API, which tells today's.
		out.Top = out.Top.With(key, json.RawMessage("[]"))
	}
	if vw.advisories == snapshot.Live && !vw.file.Dev {
		now, err := p.newest(vw.file)
		if err != nil {
			return nil, err
		}
		if now != nil && now.Top.Has(key) {
			out.Top = out.Top.With(key, now.Top.Get(key))
		}
	}
	return &out, nil
}

func (v *view) validFrom() time.Time {
	if !v.bound() {
		return v.st.ValidFrom
	}
	return v.binding.ValidFrom
}

// bound reports whether the view is that of an instant; else it is the newest
// state.
func (v *view) bound() bool { return v.binding.Kind != "" }

// contentOf makes the document of a view.
func (p *Proxy) contentOf(vw *view) (*composer.Document, error) {
	switch {
	case !vw.bound():
		return p.recorded(vw.file, vw.st.Document)
	case vw.listed:
		doc, _, _, err := p.snapshots.Document(vw.in.id, vw.file)
		return doc, err
	}
	return p.history.Materialize(vw.file, vw.binding)
}

// recorded reads a recorded document.
func (p *Proxy) recorded(f composer.File, d store.Digest) (*composer.Document, error) {
	raw, err := p.history.Document(d)
	if err != nil {
		return nil, fmt.Errorf("read the document of %s: %w", f, err)
	}
	doc, err := composer.ParseDocument(raw, f.Name)
	if err != nil {
		return nil, fmt.Errorf("read the document of %s: %w", f, err)
	}
	return doc, nil
}

// serveViewRoot answers GET …/packages.json of a world. It has no
// Last-Modified, so that clients print its notice every time.
func (p *Proxy) serveViewRoot(w http.ResponseWriter, r *http.Request, in world) {
	v, err := p.variant(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var upstreamRoot []byte
	if e, _, err := p.currentAnswer(r.Context(), p.rootQuestion()); err == nil {
		upstreamRoot = e.sourceOr(p, rootKey)
	}
	root, err := parseRoot(upstreamRoot)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	o := p.rootOptions()
	o.World = in.prefix()
	notice, err := p.notice(in)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	o.Infos = append(o.Infos, composer.Message{Text: notice})
	h := w.Header()
	if in.kind == dated {
		h.Set("Memento-Datetime", in.at.UTC().Format(http.TimeFormat))
		h.Set("X-Snapshot-Instant", in.at.UTC().Format(time.RFC3339))
	}
	if in.kind == sealed {
		h.Set("X-Snapshot-Id", in.id.String())
	}
	p.writeJSON(w, r, root.Rewrite(v.base, o), cacheLocal)
}

// notice is what Composer prints when it uses a world.
func (p *Proxy) notice(in world) (string, error) {
	switch in.kind {
	case sealed:
		snap, err := p.snapshots.Get("@" + in.id.String())
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("Stasis: snapshot %s of %s (id %.12s).", snap.Name, snap.Instant.Format(time.RFC3339), snap.ID), nil
	case cooldown:
		return fmt.Sprintf("Stasis: releases younger than %s are held back.", ageText(in.age)), nil
	}
	span, err := p.history.Span()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("Stasis: packages as of %s.", in.at.Format(time.RFC3339))
	switch {
	case span.First.IsZero():
		text += " Nothing was recorded yet, so all of it is reconstructed."
	case in.at.Before(span.First):
		text += fmt.Sprintf(" Recording began %s; this is reconstructed from publication dates.", span.First.Format(time.RFC3339))
	default:
		text += fmt.Sprintf(" Recorded since %s.", span.First.Format(time.RFC3339))
	}
	return text, nil
}

// ageText writes an age as people do.
func ageText(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	return d.String()
}

// serveViewList answers GET …/list.json of a world: the names known here that
// are not known to be absent from it.
func (p *Proxy) serveViewList(w http.ResponseWriter, r *http.Request, in world) {
	var names []string
	var err error
	if in.kind == sealed {
		names, err = p.snapshotNames(in.id)
	} else {
		err = p.history.Files(func(f composer.File, st history.State) error {
			if !f.Dev && st.Ever && (in.kind == cooldown && st.Present() || in.kind == dated) {
				names = append(names, f.Name.String())
			}
			return nil
		})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	names = seenBy(p.readerOf(r), names)
	if filter := r.URL.Query(); len(filter) > 0 {
		names = matching(names, filter.Get("vendor"), filter.Get("filter"))
	}
	if names == nil {
		names = []string{}
	}
	body, err := json.Marshal(map[string][]string{"packageNames": names})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.writeJSON(w, r, body, cacheLocal)
}

// snapshotNames lists the packages of a snapshot.
func (p *Proxy) snapshotNames(id store.Digest) ([]string, error) {
	m, err := p.snapshots.Manifest(id)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range m.Files {
		if !e.Absent() && !strings.HasSuffix(e.File, "~dev") {
			names = append(names, e.File)
		}
	}
	return names, nil
}

// serveChosen answers the plain addresses, in the world that the client chose
// without saying so in the path.
func (p *Proxy) serveChosen(w http.ResponseWriter, r *http.Request, rest string) {
	in, err := p.chosen(r)
	switch {
	case err != nil || in.kind != live:
		p.serveWorld(w, r, in, err, rest)
	case rest == "packages.json":
		p.serveRoot(w, r)
	default:
		name, ok := strings.CutSuffix(strings.TrimPrefix(rest, "p2/"), ".json")
		if !ok {
			notFound(w, r)
			return
		}
		p.serveDocument(w, r, name)
	}
}

// enterWorld answers what lies below the prefix of a world that the path names.
func (p *Proxy) enterWorld(w http.ResponseWriter, r *http.Request, in world, err error, rest string) {
	if err == nil {
		err = p.mayEnter(p.readerOf(r), in)
	}
	p.serveWorld(w, r, in, err, rest)
}

// serveWorld answers what lies below the prefix of a world.
func (p *Proxy) serveWorld(w http.ResponseWriter, r *http.Request, in world, err error, rest string) {
	if err != nil {
		a := classify(err)
		refuseAloud(w, r, a.status, a.message, a.retry)
		return
	}
	file, isDocument := strings.CutPrefix(rest, "p2/")
	name, isJSON := strings.CutSuffix(file, ".json")
	switch {
	case rest == "packages.json":
		p.serveViewRoot(w, r, in)
	case rest == "list.json" || rest == "packages/list.json":
		p.serveViewList(w, r, in)
	case isDocument && isJSON:
		p.serveView(w, r, in, name)
	default:
		notFound(w, r)
	}
}
