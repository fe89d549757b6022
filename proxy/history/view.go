package history

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Fidelity says how well a view of the past is known.
type Fidelity string

// The fidelities, from certain to least certain.
const (
	// Exact: the document that was valid at the instant, as it was observed.
	Exact Fidelity = "exact"
	// Absent: upstream is known to have had no such file at the instant, or
	// never had one as far as anybody saw.
	Absent Fidelity = "absent"
	// Gap: the instant lies between two observations. What the earlier one had,
	// and what the later one says was published in between.
	Gap Fidelity = "gap"
	// Reconstructed: the instant lies before the first observation. The first
	// document without what was published later.
	Reconstructed Fidelity = "reconstructed"
	// Estimated: as gap or reconstructed, but some version carries no
	// publication time and its author's own date had to do.
	Estimated Fidelity = "estimated"
)

// Kind says how a bound view is made.
type Kind string

// The kinds of bindings.
const (
	WholeDocument  Kind = "document" // Document as it is
	FilterDocument Kind = "filter"   // Document, and what Imported adds, as far as visible at At
	GapDocument    Kind = "gap"      // Document and what is visible at At of what Next has more
	AbsentDocument Kind = "absent"   // no document
)

// Binding is the decision what a file looks like at an instant. It is written
// once; everything that Materialize needs is in it, so that nothing learned
// later changes a view that was served.
type Binding struct {
	Kind     Kind         `json:"kind"`
	Document store.Digest `json:"document"`
	Next     store.Digest `json:"next,omitzero"`
	Imported store.Digest `json:"imported,omitzero"` // list of versions that lock files prove
	At       time.Time    `json:"at"`                // the instant, whole seconds UTC
	Fidelity Fidelity     `json:"fidelity"`

	// ValidFrom and LastConfirmed are the interval in which Document is known
	// to have been the current one, when the view was decided. Zero when there
	// is no Document and never was.
	ValidFrom     time.Time `json:"valid_from,omitzero"`
	LastConfirmed time.Time `json:"last_confirmed,omitzero"`
	// NextFrom is when Next began.
	NextFrom time.Time `json:"next_from,omitzero"`
	// BoundAt is when the decision was written down; zero before.
	BoundAt time.Time `json:"bound_at,omitzero"`

	made *made
}

// made holds what Decide had to make already until it is asked for, once:
// bindings may be kept for long, documents are large.
type made struct {
	doc atomic.Pointer[composer.Document]
}

var (
	// ErrUnknown means that nothing was ever recorded about a file: ask
	// upstream first.
	ErrUnknown = errors.New("nothing is recorded")
	// ErrUnconfirmed means that the instant is later than the last
	// confirmation of the newest revision: revalidate and decide again.
	ErrUnconfirmed = errors.New("not confirmed until then")
)

// Decide says what f looked like at an instant, from what is recorded and
// nothing else. It writes nothing. Sub-second parts of at are dropped.
//
// Within one second, the state that upstream dated with that second counts:
// upstream's dates are no finer.
func (h *History) Decide(at time.Time, f composer.File) (Binding, error) {
	at = at.UTC().Truncate(time.Second)
	revs, err := h.Revisions(f)
	if err != nil {
		return Binding{}, fmt.Errorf("read the revisions of %s: %w", f, err)
	}
	if len(revs) == 0 {
		return Binding{}, fmt.Errorf("%s: %w", f, ErrUnknown)
	}
	i := len(revs) - 1
	for i >= 0 && revs[i].ValidFrom.After(at) {
		i--
	}
	var b Binding
	switch {
	case i < 0:
		b, err = h.before(at, f, revs)
	case !revs[i].LastConfirmed.Before(at):
		b = exactly(revs[i])
	case i == len(revs)-1:
		return Binding{}, fmt.Errorf("%s at %s: the last confirmation is from %s: %w",
			f, at.Format(time.RFC3339), revs[i].LastConfirmed.Format(time.RFC3339), ErrUnconfirmed)
	default:
		b, err = h.between(at, f, revs[i], revs[i+1])
	}
	if err != nil {
		return Binding{}, fmt.Errorf("decide on %s at %s: %w", f, at.Format(time.RFC3339), err)
	}
	b.At = at
	return b, nil
}

// exactly is the view of an instant inside a recorded interval.
func exactly(r Revision) Binding {
	b := known(r)
	b.Kind, b.Fidelity = WholeDocument, Exact
	if r.Absent() {
		b.Kind, b.Fidelity = AbsentDocument, Absent
	}
	return b
}

// before is the view of an instant before the first observation.
func (h *History) before(at time.Time, f composer.File, revs []Revision) (Binding, error) {
	first := revs[0]
	for _, r := range revs {
		if !r.Absent() {
			first = r
			break
		}
	}
	imported, err := h.imports(f)
	if err != nil {
		return Binding{}, err
	}
	b := known(first)
	b.At, b.Kind, b.Imported = at, FilterDocument, imported.List
	if first.Absent() && !imported.provenBy(at) {
		b.Kind, b.Fidelity, b.Imported = AbsentDocument, Absent, store.Digest{}
		return b, nil
	}
	return h.make(f, b, Reconstructed)
}

// between is the view of an instant after the last confirmation of one
// revision and before the beginning of the next.
func (h *History) between(at time.Time, f composer.File, r, next Revision) (Binding, error) {
	b := known(r)
	b.At = at
	if next.Absent() || next.Source != r.Source {
		// When it went is not known; until then it was as it had been.
		b.Kind, b.Fidelity = WholeDocument, Gap
		return b, nil
	}
	b.Kind, b.Next, b.NextFrom = GapDocument, next.Document, ceil(next.ValidFrom)
	return h.make(f, b, Gap)
}

// make materializes b, which also tells its fidelity.
func (h *History) make(f composer.File, b Binding, f0 Fidelity) (Binding, error) {
	doc, estimated, err := h.build(f, b)
	if err != nil {
		return Binding{}, err
	}
	b.made, b.Fidelity = new(made), f0
	b.made.doc.Store(doc)
	if estimated {
		b.Fidelity = Estimated
	}
	return b, nil
}

// known starts a binding on a revision. Its times are whole seconds that lie
// inside the recorded interval, because instants are.
func known(r Revision) Binding {
	return Binding{
		Document:      r.Document,
		ValidFrom:     ceil(r.ValidFrom),
		LastConfirmed: later(ceil(r.ValidFrom), r.LastConfirmed.UTC().Truncate(time.Second)),
	}
}

// ceil is the first whole second not before t.
func ceil(t time.Time) time.Time {
	s := t.UTC().Truncate(time.Second)
	if s.Before(t) {
		s = s.Add(time.Second)
	}
	return s
}

// Materialize returns the document that b stands for: the same bytes for the
// same binding, now and forever. It is nil when there is none.
func (h *History) Materialize(f composer.File, b Binding) (*composer.Document, error) {
	if b.made != nil {
		if doc := b.made.doc.Swap(nil); doc != nil {
			return doc, nil
		}
	}
	doc, _, err := h.build(f, b)
	if err != nil {
		return nil, fmt.Errorf("make the view of %s at %s: %w", f, b.At.Format(time.RFC3339), err)
	}
	return doc, nil
}
