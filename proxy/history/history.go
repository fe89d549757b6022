// Package history records what upstream said, and when.
//
// It owns the memory that cannot be had later: every metadata document ever
// fetched, kept verbatim by SHA-256; the revisions of each p2 file with the
// interval in which each is known to have been valid; and every reference a
// version ever pointed at, so that what was once locked stays downloadable.
// Nothing observed is ever overwritten or deleted.
//
// From that memory it answers what a file looked like at an instant. Decide
// tells it, and how well it is known; Bind writes the decision down, once;
// Materialize makes the document, the same bytes for the same decision forever.
// What a view calls exact was served by upstream at that second; what it calls
// anything else shows nothing that first existed later, unless it says that
// authors' own dates were all there was to go by.
//
// It promises that an Observe which returned is durable, and that the same
// observations at the same times give the same records. It knows nothing of
// HTTP or freshness, of freezes, denials or snapshots: whoever fetched a
// document says what came back and when the question was asked, and whoever
// serves a view applies policies to it.
package history

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Via says how an observation came about.
type Via string

// The ways a document reaches us.
const (
	Demand Via = "demand" // a client asked
	Feed   Via = "feed"   // the change feed announced it
	Poll   Via = "poll"   // a revalidation behind a stale answer, or a resync
	Import Via = "import" // brought in by the operator
)

// State is what is known now about one p2 file. Times are UTC; the zero time
// means never.
type State struct {
	// Seq numbers the current revision of the file, from 1; 0 means that
	// nothing was ever observed.
	Seq uint64 `json:"seq"`
	// Document is the current document; the zero digest means that upstream
	// said the file does not exist.
	Document store.Digest `json:"document"`
	// ValidFrom is when the current revision began: upstream's Last-Modified,
	// or the time it was first seen when upstream gave none or one that
	// cannot be.
	ValidFrom time.Time `json:"valid_from"`
	// FirstSeen is when the current revision was first received.
	FirstSeen time.Time `json:"first_seen"`
	// LastConfirmed is the last instant at which upstream itself said that
	// the current revision is the current one. The change feed may extend it,
	// see History.ConfirmedUntil.
	LastConfirmed time.Time `json:"last_confirmed"`
	// Checked is when upstream last answered for this file.
	Checked time.Time `json:"checked"`
	// LastModified and ETag are upstream's validators, verbatim.
	LastModified string `json:"last_modified,omitempty"`
	ETag         string `json:"etag,omitempty"`
	// Unsettled is true when the document was fetched in the second of its
	// LastModified and may have changed later in that second.
	Unsettled bool `json:"unsettled,omitempty"`
	// AnnouncedAt is the time of a change that the feed announced and that
	// has not been fetched yet; zero when there is none.
	AnnouncedAt time.Time `json:"announced_at,omitzero"`
	// Ever is true when the file existed at some observation.
	Ever bool `json:"ever"`
	// Source names who provides the file where that is not the proxied
	// registry, whose change feed then says nothing about it.
	Source string `json:"source,omitempty"`
}

// Known reports whether upstream ever gave a definite answer about the file.
func (s State) Known() bool { return s.Seq > 0 }

// Present reports whether the current revision is a document.
func (s State) Present() bool { return s.Seq > 0 && !s.Document.IsZero() }

// Conditional reports whether upstream can be asked at now whether the document
// changed since its LastModified. It cannot when a later state of the document
// may have the same date.
func (s State) Conditional(now time.Time) bool {
	if !s.Present() {
		return false
	}
	lm, ok := ParseHTTPTime(s.LastModified)
	return !s.Unsettled || !ok || now.Before(lm.Add(time.Second))
}

// Revision is one state of a p2 file, with the interval in which it is known
// to have been the current one: from ValidFrom to LastConfirmed, both included.
type Revision struct {
	Seq           uint64       `json:"seq"`
	Document      store.Digest `json:"document"` // zero: the file did not exist
	ValidFrom     time.Time    `json:"valid_from"`
	FirstSeen     time.Time    `json:"first_seen"`
	LastConfirmed time.Time    `json:"last_confirmed"`
	LastModified  string       `json:"last_modified,omitempty"`
	Via           Via          `json:"via"`
	Source        string       `json:"source,omitempty"` // as State.Source
}

// Absent reports whether the revision says that the file did not exist.
func (r Revision) Absent() bool { return r.Document.IsZero() }

// Reference is one (package, version, reference) that was ever recorded.
type Reference struct {
	Version         string    `json:"version"`    // pretty
	Normalized      string    `json:"normalized"` // canonical form
	Reference       string    `json:"reference"`  // dist reference as published
	Type            string    `json:"type"`       // dist type: zip, tar, …
	URL             string    `json:"url"`        // newest dist URL seen for it, as published
	Shasum          string    `json:"shasum,omitempty"`
	SourceURL       string    `json:"source_url,omitempty"`
	SourceReference string    `json:"source_reference,omitempty"`
	Time            time.Time `json:"time,omitzero"`
	Published       time.Time `json:"published,omitzero"`
	FirstSeen       time.Time `json:"first_seen"`
	// GoneAt is when a newer document no longer had it; zero while it is
	// current. One that only a lock file had is gone from the start.
	GoneAt time.Time `json:"gone_at,omitzero"`
	// LastDocument is the last document that had it; zero while it is current.
	LastDocument store.Digest `json:"last_document,omitzero"`
	// Initial is true when it was in the first document ever seen of its file.
	Initial bool `json:"initial,omitempty"`
	Via     Via  `json:"via"`
	// Source is as in State.
	Source string `json:"source,omitempty"`
	// URLs is what Origins returns where that is not URL alone.
	URLs []string `json:"urls,omitempty"`
}

// Origins lists where the archive can be had, in the order to try: mirrors
// among them, and placeholders filled in.
func (r Reference) Origins() []string {
	if len(r.URLs) > 0 {
		return r.URLs
	}
	return []string{r.URL}
}

// Retag is a stable version whose reference changed upstream.
type Retag struct {
	Package, Version string
	Old, New         string
	At               time.Time
}

var (
	states     = store.Table[State]{Family: store.FamilyFile, Name: "file"}
	revisions  = store.Table[Revision]{Family: store.FamilyRevision, Name: "revision"}
	references = store.Table[Reference]{Family: store.FamilyReference, Name: "reference"}
)

// History records observations in a store.
type History struct {
	store *store.Store
	now   func() time.Time
	feed  feedSpan
}

// New returns the history kept in s. A nil now means time.Now.
func New(s *store.Store, now func() time.Time) (*History, error) {
	if now == nil {
		now = time.Now
	}
	h := &History{store: s, now: now}
	if err := h.loadFeed(); err != nil {
		return nil, err
	}
	return h, nil
}

// State returns what is known about f; the zero State when nothing is.
func (h *History) State(f composer.File) (State, error) {
	var st State
	err := h.store.View(func(tx *store.Tx) (err error) {
		st, err = states.Get(tx, f.String())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	return st, err
}

// Document returns the verbatim bytes of a recorded document.
func (h *History) Document(d store.Digest) (body []byte, err error) {
	err = h.store.View(func(tx *store.Tx) error {
		body, err = tx.Document(d)
		return err
	})
	return body, err
}

// Revisions returns every recorded revision of f, oldest first; the last one
// carries the current state's LastConfirmed. What the registry once said under
// a name that is provided from elsewhere now is about another package, and left
// out.
func (h *History) Revisions(f composer.File) ([]Revision, error) {
	var list []Revision
	err := h.store.View(func(tx *store.Tx) error {
		list = list[:0]
		if err := revisions.Scan(tx, []string{f.String()}, func(_ []string, r Revision) error {
			list = append(list, r)
			return nil
		}); err != nil {
			return err
		}
		st, err := states.Get(tx, f.String())
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if n := len(list); n > 0 && list[n-1].Seq == st.Seq {
			list[n-1].LastConfirmed = h.ConfirmedUntil(st)
		}
		if st.Source != "" {
			list = slices.DeleteFunc(list, func(r Revision) bool { return r.Source == "" })
		}
		return nil
	})
	return list, err
}

// Files calls fn for every tracked file, in name order. fn may return
// store.Stop.
func (h *History) Files(fn func(composer.File, State) error) error {
	return h.store.View(func(tx *store.Tx) error {
		return states.Scan(tx, nil, func(key []string, st State) error {
			f, err := composer.ParseFile(key[0])
			if err != nil {
				return nil // not a p2 file
			}
			return fn(f, st)
		})
	})
}

// longAgo is the check time of what was made stale on purpose: older than any
// TTL, but not "never".
var longAgo = time.Unix(1, 0).UTC()

// Expire makes what is known about f stale, so that it is revalidated when it
// is next needed. Nothing recorded is lost. It returns false when nothing is
// known.
func (h *History) Expire(f composer.File) (bool, error) {
	known := false
	err := h.store.Update(func(tx *store.Tx) error {
		st, err := states.Get(tx, f.String())
		if known = err == nil; !known {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		st.Checked = longAgo
		return states.Put(tx, st, f.String())
	})
	return known, err
}

// ExpireAll expires every file and returns their number.
func (h *History) ExpireAll() (int64, error) {
	var files []composer.File
	if err := h.Files(func(f composer.File, _ State) error {
		files = append(files, f)
		return nil
	}); err != nil {
		return 0, err
	}
	for i, f := range files {
		if _, err := h.Expire(f); err != nil {
			return int64(i), err
		}
	}
	return int64(len(files)), nil
}
