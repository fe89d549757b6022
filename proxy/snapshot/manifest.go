package snapshot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// manifestFormat is the first member of every manifest.
const manifestFormat = "stasis snapshot 1"

// Manifest says completely what a snapshot is. Its encoding is canonical, and
// the SHA-256 of that is the snapshot's id. A Manifest that was handed out is
// shared and never changed.
type Manifest struct {
	Format   string    `json:"format"`
	Instant  time.Time `json:"instant"`
	Options  Options   `json:"options"`
	Files    []Entry   `json:"files"`    // in the order of File
	Archives []Archive `json:"archives"` // in the order of package, version, reference and type
}

// Entry is what a snapshot says about one metadata file.
type Entry struct {
	File string `json:"file"` // composer.File
	// Kind, Document and, for a document made from others, the members up to
	// NextFrom say how it is had: see history.Binding.
	Kind     history.Kind `json:"kind"`
	Document store.Digest `json:"document,omitzero"`
	At       time.Time    `json:"at,omitzero"`
	Next     store.Digest `json:"next,omitzero"`
	NextFrom time.Time    `json:"next_from,omitzero"`
	Imported store.Digest `json:"imported,omitzero"`
	// Result is the digest of what the binding yields when that is not a
	// recorded document itself.
	Result store.Digest `json:"result,omitzero"`
	// Fidelity, ValidFrom and LastConfirmed say how well it is known.
	Fidelity      history.Fidelity `json:"fidelity"`
	ValidFrom     time.Time        `json:"valid_from,omitzero"`
	LastConfirmed time.Time        `json:"last_confirmed,omitzero"`
	// Restored are the normalized versions that no recorded document had and
	// that were taken from a lock file.
	Restored []string `json:"restored,omitempty"`
}

// Archive is an archive that a snapshot needs.
type Archive struct {
	Package   composer.Name `json:"package"`
	Version   string        `json:"version"` // normalized
	Reference string        `json:"reference"`
	Type      string        `json:"type"`
	SHA256    store.Digest  `json:"sha256"`
	Content   string        `json:"c1,omitempty"` // content digest
	Size      int64         `json:"size"`
}

// entryOf is the binding of a file as it stands in a manifest.
func entryOf(f composer.File, b history.Binding) Entry {
	return Entry{
		File: f.String(), Kind: b.Kind, Document: b.Document, Fidelity: b.Fidelity,
		At: b.At.UTC(), Next: b.Next, NextFrom: b.NextFrom.UTC(), Imported: b.Imported,
		ValidFrom: b.ValidFrom.UTC(), LastConfirmed: b.LastConfirmed.UTC(),
	}
}

// Binding is the entry as history understands it.
func (e Entry) Binding() history.Binding {
	return history.Binding{
		Kind: e.Kind, Document: e.Document, Fidelity: e.Fidelity,
		At: e.At, Next: e.Next, NextFrom: e.NextFrom, Imported: e.Imported,
		ValidFrom: e.ValidFrom, LastConfirmed: e.LastConfirmed,
	}
}

// Absent reports whether the file does not exist in the snapshot.
func (e Entry) Absent() bool { return e.Kind == history.AbsentDocument }

// Served is the digest of the document that the entry stands for, before
// policies and addresses; zero when the file is absent.
func (e Entry) Served() store.Digest {
	if e.derived() {
		return e.Result
	}
	return e.Document
}

// derived reports whether the document is made from others.
func (e Entry) derived() bool {
	return e.Kind != history.WholeDocument && e.Kind != history.AbsentDocument
}

func (m *Manifest) sort() {
	slices.SortFunc(m.Files, func(a, b Entry) int { return strings.Compare(a.File, b.File) })
	slices.SortFunc(m.Archives, compareArchives)
}

func compareArchives(a, b Archive) int {
	return cmp.Or(
		strings.Compare(a.Package.String(), b.Package.String()),
		strings.Compare(a.Version, b.Version),
		strings.Compare(a.Reference, b.Reference),
		strings.Compare(a.Type, b.Type),
	)
}

// Entry returns what the snapshot says about a file.
func (m *Manifest) Entry(f composer.File) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, f.String(), func(e Entry, s string) int { return strings.Compare(e.File, s) })
	if !ok {
		return Entry{}, false
	}
	return m.Files[i], true
}

// Encode returns the canonical form.
func (m *Manifest) Encode() ([]byte, error) { return json.Marshal(m) }

// ParseManifest reads what Encode wrote, and nothing else: a text that says
// the same in another way would have another id.
func ParseManifest(body []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("the manifest cannot be believed: %w", err)
	}
	again, err := m.Encode()
	if err != nil || !bytes.Equal(again, body) {
		return nil, errors.New("the manifest is not in its canonical form")
	}
	return m, nil
}

func (m *Manifest) check() error {
	if m.Format != manifestFormat {
		return fmt.Errorf("its format is %.40q and not %q", m.Format, manifestFormat)
	}
	if m.Instant.IsZero() || m.Instant.Nanosecond() != 0 || m.Instant.Location() != time.UTC {
		return errors.New("its instant is not a whole second in UTC")
	}
	given := m.Options
	if err := m.Options.fill(false); err != nil {
		return err
	}
	if given != m.Options {
		return errors.New("it leaves options out")
	}
	for i, e := range m.Files {
		if i > 0 && m.Files[i-1].File >= e.File {
			return fmt.Errorf("its file %.80q is out of order", e.File)
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("its file %.80q %w", e.File, err)
		}
	}
	for i, a := range m.Archives {
		if i > 0 && compareArchives(m.Archives[i-1], a) >= 0 {
			return fmt.Errorf("its archive of %s %.80q is out of order", a.Package, a.Version)
		}
		if a.Package.IsZero() || a.Version == "" || a.Type == "" || a.SHA256.IsZero() || a.Size < 0 {
			return fmt.Errorf("its archive of %s %.80q is not fully described", a.Package, a.Version)
		}
	}
	return nil
}

func (e Entry) check() error {
	f, err := composer.ParseFile(e.File)
	if err != nil || f.String() != e.File {
		return errors.New("is not the name of a metadata file")
	}
	if e.Fidelity == "" || e.Kind == "" {
		return errors.New("does not say how it is known")
	}
	if e.At.IsZero() || e.derived() == e.Result.IsZero() || e.Kind == history.WholeDocument && e.Document.IsZero() {
		return fmt.Errorf("of kind %.20q is not fully described", e.Kind)
	}
	return nil
}
