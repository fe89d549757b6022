package private

import (
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// Package is one package that was ever provided here. Its record is never
// removed unless the name is released: it is what keeps the name ours.
type Package struct {
	Name   composer.Name `json:"name"`
	Source string        `json:"source"` // id of the source it comes from
	// Path is the folder of the package in its repository, "" for the root.
	Path        string    `json:"path,omitempty"`
	Type        string    `json:"type,omitempty"`
	Description string    `json:"description,omitempty"`
	Versions    int       `json:"versions"` // published ones
	Latest      string    `json:"latest,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	// Abandoned is "" or the package to use instead, or "true".
	Abandoned string `json:"abandoned,omitempty"`
	// DeletedAt is when the package was deleted; its name stays ours.
	DeletedAt time.Time `json:"deleted_at,omitzero"`

	// Stable and Dev are the published documents.
	Stable Published `json:"stable"`
	Dev    Published `json:"dev"`
	// Pending is true while the registry was not told of the documents.
	Pending bool `json:"pending,omitempty"`
}

// Published is a document as it was last made.
type Published struct {
	Document store.Digest `json:"document,omitzero"` // zero: there is none
	Modified time.Time    `json:"modified,omitzero"` // whole seconds, later with every change
}

func (p *Package) file(f composer.File) *Published {
	if f.Dev {
		return &p.Dev
	}
	return &p.Stable
}

// Version is one version of a package.
type Version struct {
	Pretty     string `json:"version"`
	Normalized string `json:"normalized"`
	// Reference names the content: the commit, or the SHA-1 of an uploaded archive.
	Reference string       `json:"reference"`
	Type      string       `json:"type,omitempty"` // of the archive; empty when there is none of ours
	Extension string       `json:"extension,omitempty"`
	Digest    store.Digest `json:"digest,omitzero"`
	SHA1      string       `json:"sha1,omitempty"`
	Size      int64        `json:"size,omitempty"`
	// Ref is where it was found, such as refs/tags/v1.0 or a file name.
	Ref string `json:"ref,omitempty"`
	// State is that of the folder the version is in, for a package that shares its repository.
	State string `json:"state,omitempty"`
	// Time is that of the commit.
	Time time.Time `json:"time,omitzero"`
	// PublishedAt is when this reference was first seen as the version.
	PublishedAt time.Time `json:"published_at"`
	Default     bool      `json:"default_branch,omitempty"`
	SourceURL   string    `json:"source_url,omitempty"`

	// YankedAt hides the version; its archive stays for lock files.
	YankedAt   time.Time `json:"yanked_at,omitzero"`
	YankReason string    `json:"yank_reason,omitempty"`
	// Deprecated is "" or what to use instead, or "true".
	Deprecated string `json:"deprecated,omitempty"`

	// Manifest is composer.json, or the whole definition of an inline package.
	Manifest json.RawMessage `json:"manifest"`
	// Inline is true when Manifest has the dist and source of the version.
	Inline bool `json:"inline,omitempty"`
}

var (
	packages = store.Table[Package]{Family: store.FamilyPackage, Name: "package"}
	versions = store.Table[Version]{Family: store.FamilyPackage, Name: "version"}
	sources  = store.Table[Source]{Family: store.FamilySource, Name: "source"}
	runTable = store.Table[Run]{Family: store.FamilySource, Name: "run"}
	// owners has which composer source a name was first found in.
	owners = store.Table[owner]{Family: store.FamilySource, Name: "owner"}
)

// owner ties a name to the Composer repository that it comes from.
type owner struct {
	Source string    `json:"source"`
	Since  time.Time `json:"since"`
}

// get reads one record; ok is false when there is none.
func get[T any](s *store.Store, t store.Table[T], key ...string) (v T, ok bool, err error) {
	err = s.View(func(tx *store.Tx) (err error) {
		v, err = t.Get(tx, key...)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	return v, err == nil, err
}

// list reads all records below a prefix, in key order.
func list[T any](s *store.Store, t store.Table[T], prefix ...string) (all []T, err error) {
	err = s.View(func(tx *store.Tx) error {
		all = all[:0]
		return t.Scan(tx, prefix, func(_ []string, v T) error {
			all = append(all, v)
			return nil
		})
	})
	return all, err
}

func put[T any](s *store.Store, t store.Table[T], v T, key ...string) error {
	return s.Update(func(tx *store.Tx) error { return t.Put(tx, v, key...) })
}
