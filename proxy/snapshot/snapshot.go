package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// State is how far a snapshot has come.
type State string

// The states of a snapshot.
const (
	Building   State = "building"
	Sealed     State = "sealed"
	Incomplete State = "incomplete"
)

// Snapshot is the record of one named snapshot.
type Snapshot struct {
	Name      string       `json:"name"`
	ID        store.Digest `json:"id,omitzero"` // SHA-256 of the manifest, once sealed
	State     State        `json:"state"`
	From      string       `json:"from"` // "now", "instant", "lock" or "import"
	Instant   time.Time    `json:"instant"`
	Options   Options      `json:"options"`
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy string       `json:"created_by,omitempty"`
	Note      string       `json:"note,omitempty"`
	SealedAt  time.Time    `json:"sealed_at,omitzero"`
	// ImportedAt and ImportedBy are set when it came in a bundle; all of the
	// above is then what the bundle says.
	ImportedAt time.Time `json:"imported_at,omitzero"`
	ImportedBy string    `json:"imported_by,omitempty"`

	Packages int                      `json:"packages"` // with at least one document
	Files    int                      `json:"files"`
	Fidelity map[history.Fidelity]int `json:"fidelity,omitempty"` // how many files are known how well
	Archives int                      `json:"archives"`           // listed in the manifest
	Bytes    int64                    `json:"bytes"`              // of those archives
	// Missing says what a snapshot lacks that is incomplete, the first
	// maxMissing of MissingTotal.
	Missing      []Missing `json:"missing,omitempty"`
	MissingTotal int       `json:"missing_total,omitempty"`
	// Progress is there while the snapshot is being built.
	Progress *Progress `json:"progress,omitempty"`
}

// Missing is one thing that could not be had.
type Missing struct {
	Package   string `json:"package,omitempty"`
	Version   string `json:"version,omitempty"`
	Reference string `json:"reference,omitempty"`
	Reason    string `json:"reason"` // a sentence
}

// Progress says how far a build has come.
type Progress struct {
	Phase string `json:"phase"` // "metadata", "archives", "sealing"
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Bytes int64  `json:"bytes"` // of archives so far
}

// World is what a build needs to know of the world outside. Its methods are
// called concurrently. An error of one file or archive makes the snapshot
// incomplete, with the error's text as the reason.
type World interface {
	// Files lists every file of which anything is known.
	Files(ctx context.Context) ([]composer.File, error)
	// Bind decides what a file looks like at an instant and writes that
	// decision down; upstream is asked first when what is recorded does not
	// reach that far.
	Bind(ctx context.Context, at time.Time, f composer.File) (history.Binding, error)
	// Recorded finds a version with this reference (see Reference) in any
	// recorded document of the file.
	Recorded(ctx context.Context, f composer.File, normalized, reference string) (composer.Object, bool, error)
	// Allowed returns the versions of a document that policies let through at
	// an instant.
	Allowed(ctx context.Context, f composer.File, doc *composer.Document, at time.Time) ([]composer.Version, error)
	// Held looks for the archive of a version in the store.
	Held(ctx context.Context, n composer.Name, v composer.Version) (Body, bool, error)
	// Fetch returns the archive of a version that is held, or gets it and
	// checks it. The version may come from a lock file; then its dist URL may
	// be that of a proxy and not of the origin.
	Fetch(ctx context.Context, n composer.Name, v composer.Version) (Body, error)
}

// Body is an archive that is held in the store.
type Body struct {
	Digest  store.Digest
	Content string // content digest c1; may be empty
	Size    int64
}

// Materializer makes the document that a binding describes. It must yield the
// same for the same binding for ever; *history.History is one.
type Materializer interface {
	Materialize(f composer.File, b history.Binding) (*composer.Document, error)
}

// Config is what Snapshots work with.
type Config struct {
	Store     *store.Store
	Documents Materializer
	Now       func() time.Time // nil means time.Now
	// Parallel is how many files and archives are asked for at once; 0 means 8.
	Parallel int
	// TempDir takes bundles while they are checked; empty means the system's.
	TempDir string
}

// Snapshots keeps named snapshots and channels in a store. All methods may be
// called concurrently.
type Snapshots struct {
	store     *store.Store
	documents Materializer
	now       func() time.Time
	parallel  int
	tempDir   string
	manifests *lru.Cache[store.Digest, *Manifest]

	// changing is held while it is decided what exists: sealing, importing,
	// deleting, moving channels.
	changing sync.Mutex

	mu     sync.Mutex
	builds map[string]*build // by name; guarded by mu
}

// record is a Snapshot as it is stored, with what building it needs.
type record struct {
	Snapshot
	Locks []store.Digest `json:"locks,omitempty"`
}

// mark is a record whose key says everything.
type mark struct{}

var (
	records = store.Table[record]{Family: store.FamilySnapshot, Name: "snapshot"}
	// names holds (id, name) for every sealed snapshot.
	names = store.Table[mark]{Family: store.FamilySnapshot, Name: "snapshot id"}
	// holders holds every owner of pins, from before the first pin to after the last.
	holders = store.Table[mark]{Family: store.FamilySnapshot, Name: "snapshot pins"}
)

// heldManifests is how many manifests are kept in memory. One of 400 packages
// takes about 200 KB.
const heldManifests = 16

// New returns the snapshots kept in a store, and lets go of what a process
// that was killed had pinned for nothing.
func New(c Config) (*Snapshots, error) {
	s := &Snapshots{
		store: c.Store, documents: c.Documents, now: c.Now, parallel: c.Parallel, tempDir: c.TempDir,
		builds: map[string]*build{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.parallel <= 0 {
		s.parallel = 8
	}
	var err error
	if s.manifests, err = lru.New[store.Digest, *Manifest](heldManifests); err != nil {
		return nil, err
	}
	if err := s.dropStrayPins(); err != nil {
		return nil, fmt.Errorf("look after the pins of snapshots: %w", err)
	}
	return s, nil
}

// List returns every snapshot in the order of their names.
func (s *Snapshots) List() ([]Snapshot, error) {
	var list []Snapshot
	err := s.store.View(func(tx *store.Tx) error {
		list = list[:0]
		return records.Scan(tx, nil, func(_ []string, r record) error {
			list = append(list, r.Snapshot)
			return nil
		})
	})
	for i := range list {
		list[i].Progress = s.progress(list[i])
	}
	return list, err
}

// Get returns the snapshot with this name, or with this id, which may be
// written with an @ in front and be cut to its first eight digits or more.
// When several names have the id, it is the first of them.
func (s *Snapshots) Get(ref string) (Snapshot, error) {
	var r record
	err := s.store.View(func(tx *store.Tx) (err error) {
		r, err = find(tx, ref)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	r.Progress = s.progress(r.Snapshot)
	return r.Snapshot, nil
}

// Manifest returns the manifest of a sealed snapshot.
func (s *Snapshots) Manifest(id store.Digest) (*Manifest, error) {
	if m, ok := s.manifests.Get(id); ok {
		return m, nil
	}
	m, err := s.readManifest(id)
	if err == nil {
		s.manifests.Add(id, m)
	}
	return m, err
}

func (s *Snapshots) readManifest(id store.Digest) (*Manifest, error) {
	var body []byte
	err := s.store.View(func(tx *store.Tx) error {
		if _, err := named(tx, id); err != nil {
			return err
		}
		var err error
		body, err = tx.Document(id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the manifest of snapshot %s: %w", id, err)
	}
	m, err := ParseManifest(body)
	if err != nil {
		return nil, fmt.Errorf("read the manifest of snapshot %s: %w", id, err)
	}
	return m, nil
}

// File returns what a sealed snapshot says about a file; false when its
// manifest does not list it.
func (s *Snapshots) File(id store.Digest, f composer.File) (Entry, bool, error) {
	m, err := s.Manifest(id)
	if err != nil {
		return Entry{}, false, err
	}
	e, ok := m.Entry(f)
	return e, ok, nil
}

// Document returns the document of a file in a sealed snapshot, before
// policies and addresses, and what the snapshot says about it. The document is
// nil when the file is absent or, with false, not listed.
func (s *Snapshots) Document(id store.Digest, f composer.File) (*composer.Document, Entry, bool, error) {
	m, err := s.Manifest(id)
	if err != nil {
		return nil, Entry{}, false, err
	}
	e, ok := m.Entry(f)
	if !ok || e.Absent() {
		return nil, e, ok, nil
	}
	doc, err := s.open(f, e)
	if err != nil {
		return nil, e, true, fmt.Errorf("read %s in snapshot %s: %w", f, id, err)
	}
	return doc, e, true, nil
}

// open returns the document that an entry stands for, compared with its
// digest. What a binding yields is made anew each time, except in an instance
// that imported the snapshot: it holds the result and not what it was made
// from.
func (s *Snapshots) open(f composer.File, e Entry) (*composer.Document, error) {
	var body []byte
	err := s.store.View(func(tx *store.Tx) (err error) {
		body, err = tx.Document(e.Served())
		return err
	})
	switch {
	case err == nil:
		return composer.ParseDocument(body, f.Name)
	case !e.derived() || !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	doc, err := s.documents.Materialize(f, e.Binding())
	if err != nil {
		return nil, err
	}
	if doc == nil || store.SumDigest(doc.Encode()) != e.Result {
		return nil, fmt.Errorf("it does not come out as it was sealed: %w", store.ErrCorrupt)
	}
	return doc, nil
}

// body returns the bytes whose digest is e.Served().
func (s *Snapshots) body(f composer.File, e Entry) (body []byte, err error) {
	err = s.store.View(func(tx *store.Tx) error {
		body, err = tx.Document(e.Served())
		return err
	})
	if err == nil || !e.derived() {
		return body, err
	}
	doc, err := s.open(f, e)
	if err != nil {
		return nil, err
	}
	return doc.Encode(), nil
}
