package private

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stasis/private/artifact"
	"stasis/private/git"
	"stasis/private/vault"
	"stasis/store"
)

// SourceType says what a source is.
type SourceType string

// The types of sources.
const (
	Git      SourceType = "git"      // a repository; every tag and branch is a version
	Composer SourceType = "composer" // another Composer repository
	Artifact SourceType = "artifact" // uploaded archives, or a watched folder of them
	Inline   SourceType = "package"  // definitions, as in Composer's package repository
)

// Source is where packages come from.
type Source struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	Type SourceType `json:"type"`
	// URL is the repository of git and composer sources.
	URL string `json:"url,omitempty"`
	// Folder is watched by an artifact source; relative to the folder of archives.
	Folder string `json:"folder,omitempty"`
	// Definitions are those of a package source.
	Definitions json.RawMessage `json:"definitions,omitempty"`
	// Packages are patterns of the names it may provide. Those that name their
	// vendor are asked of nobody else. Empty means, for git and package
	// sources, what they have when they are first read; for uploads, what
	// nobody else provides; and for composer sources, everything.
	Packages []string `json:"packages"`
	// Paths are globs of the folders of a monorepo that hold packages, such as
	// packages/*; empty means the root.
	Paths []string `json:"paths,omitempty"`
	// Priority decides between sources that have the same package: the lower
	// one wins; equal ones by age.
	Priority int `json:"priority"`
	// Interval is how often the source is read, in seconds; 0 means never by
	// itself.
	Interval int `json:"interval"`
	// IncludeSource lets clients clone the repository.
	IncludeSource bool `json:"include_source,omitempty"`
	// Overwrite lets uploads replace versions that exist.
	Overwrite bool `json:"overwrite,omitempty"`

	// Username is that of the credentials, which are not shown themselves.
	Username       string `json:"username,omitempty"`
	HasCredentials bool   `json:"has_credentials,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// LastRun is the newest run, if there was one.
	LastRun *Run `json:"last_run,omitempty"`
}

// Credentials open a source.
type Credentials struct {
	Username   string `json:"username,omitempty"`
	Password   string `json:"password,omitempty"`
	SSHKey     string `json:"ssh_key,omitempty"`     // PEM
	KnownHosts string `json:"known_hosts,omitempty"` // lines of OpenSSH's file
}

func (c Credentials) empty() bool { return c == Credentials{} }

// SourceRequest describes a source to add, or how one is to become.
type SourceRequest struct {
	Source
	// Credentials replace those that are held; nil leaves them.
	Credentials *Credentials
}

const (
	defaultInterval = 3600 // seconds; webhooks make changes visible at once
	minInterval     = 10
)

// AddSource adds a source and begins to read it.
func (s *Service) AddSource(ctx context.Context, req SourceRequest) (Source, error) {
	src := req.Source
	src.ID, src.HasCredentials, src.LastRun = newID("src"), false, nil
	src.CreatedAt = s.now().UTC()
	if src.Interval == 0 && src.Type != Inline {
		src.Interval = defaultInterval
	}
	if err := s.saveSource(&src, req.Credentials); err != nil {
		return Source{}, err
	}
	s.Sync(src.ID, "added")
	return src, nil
}

// UpdateSource replaces what a source is; its type stays.
func (s *Service) UpdateSource(ctx context.Context, id string, req SourceRequest) (Source, error) {
	old, err := s.source(id)
	if err != nil {
		return Source{}, err
	}
	src := req.Source
	src.ID, src.CreatedAt, src.LastRun = old.ID, old.CreatedAt, nil
	src.HasCredentials = old.HasCredentials
	if src.Username == "" && req.Credentials == nil {
		src.Username = old.Username
	}
	if src.Type != old.Type {
		return Source{}, conflictf("the source %s is of type %s and cannot become %s; add another", old.Name, old.Type, src.Type)
	}
	if src.URL != old.URL && old.HasCredentials && req.Credentials == nil {
		// Whoever may edit a source could otherwise have them sent anywhere.
		return Source{}, invalidf("give the credentials again with a new URL: those that are held were given for another one")
	}
	if err := s.saveSource(&src, req.Credentials); err != nil {
		return Source{}, err
	}
	s.Sync(src.ID, "changed")
	return src, nil
}

// saveSource checks and writes a source with its credentials.
func (s *Service) saveSource(src *Source, c *Credentials) error {
	if err := s.checkSource(src); err != nil {
		return err
	}
	src.UpdatedAt = s.now().UTC()
	var secret []byte
	if c != nil {
		src.Username, src.HasCredentials = c.Username, !c.empty()
	}
	if c != nil && !c.empty() {
		var err error
		if secret, err = json.Marshal(c); err != nil {
			return fmt.Errorf("write the credentials: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := list(s.store, sources)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != src.ID && other.Name == src.Name {
			return conflictf("there is a source named %q already", src.Name)
		}
	}
	err = s.store.Update(func(tx *store.Tx) error {
		switch {
		case secret != nil:
			if err := s.o.Vault.Put(tx, secretOf(src.ID), secret); err != nil {
				return err
			}
		case c != nil:
			if err := s.o.Vault.Delete(tx, secretOf(src.ID)); err != nil {
				return err
			}
		}
		return sources.Put(tx, *src, src.ID)
	})
	if errors.Is(err, vault.ErrNoKey) {
		return &conflict{err.Error()}
	}
	if err != nil {
		return fmt.Errorf("write the source %s: %w", src.Name, err)
	}
	s.forgetRemote(src.ID)
	return s.reroute()
}

// checkSource refuses what cannot work and brings the rest into its usual form.
func (s *Service) checkSource(src *Source) error {
	src.URL, src.Name = strings.TrimSpace(src.URL), strings.TrimSpace(src.Name)
	names, err := ParseNames(src.Packages)
	if err != nil {
		return invalidf("packages: %v", err)
	}
	src.Packages = names.Patterns()
	if src.Interval != 0 && src.Interval < minInterval {
		return invalidf("the interval is %d seconds; it must be 0 (never) or at least %d", src.Interval, minInterval)
	}
	only := func(kind SourceType, given bool, what string) error {
		if given && src.Type != kind {
			return invalidf("%s belongs to sources of type %s, not %s", what, kind, src.Type)
		}
		return nil
	}
	err = errors.Join(
		only(Artifact, src.Folder != "", "folder"), only(Inline, src.Definitions != nil, "definitions"),
		only(Git, len(src.Paths) > 0, "paths"), only(Git, src.IncludeSource, "include_source"), only(Artifact, src.Overwrite, "overwrite"))
	if err != nil {
		return err
	}
	switch src.Type {
	case Git:
		if s.o.Git == nil {
			return &conflict{errNoGit.Error()}
		}
		if _, err := s.o.Git.Open(src.URL, git.Credentials{}); err != nil {
			return invalidf("the URL of the repository cannot be used: %v", err)
		}
	case Composer:
		u, err := url.Parse(src.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return invalidf("%q is not the URL of a Composer repository; write it like https://repo.example.com, and give credentials apart", src.URL)
		}
		if len(src.Packages) == 0 {
			src.Packages = []string{"*/*"}
		}
	case Artifact:
		if src.URL != "" {
			return invalidf("a source of type artifact has a folder, or uploads, and no URL")
		}
		if src.Folder != "" {
			if _, err := s.folder(src.Folder); err != nil {
				return err
			}
		}
	case Inline:
		if _, err := artifact.ParsePackages(src.Definitions); err != nil {
			return invalidf("the definitions cannot be used: %v", err)
		}
	default:
		return invalidf("the type %q is not known; it must be git, composer, artifact or package", src.Type)
	}
	if src.Name == "" {
		if src.Name = cmp.Or(src.URL, src.Folder, string(src.Type)+" "+src.ID); len(src.Name) > maxName {
			src.Name = src.Name[:maxName]
		}
	}
	if len(src.Name) > maxName {
		return invalidf("the name of a source has at most %d characters", maxName)
	}
	return nil
}

const maxName = 200

// folder finds a watched folder, which must lie in the folder of archives.
func (s *Service) folder(name string) (string, error) {
	if s.o.Folder == "" {
		return "", invalidf("no folder may be watched: PRIVATE_ARTIFACT_FOLDER says in which one they lie")
	}
	if !filepath.IsLocal(name) {
		return "", invalidf("the folder %q does not lie in the folder of archives (PRIVATE_ARTIFACT_FOLDER); name it as seen from there", name)
	}
	return filepath.Join(s.o.Folder, name), nil
}

// Sources lists the sources, in the order in which they are asked.
func (s *Service) Sources(context.Context) ([]Source, error) {
	all, err := list(s.store, sources)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].LastRun, err = s.lastRun(all[i].ID); err != nil {
			return nil, err
		}
	}
	inOrder(all)
	return all, nil
}

// Source returns one source by id or name.
func (s *Service) Source(_ context.Context, ref string) (Source, error) {
	src, err := s.source(ref)
	if err != nil {
		return Source{}, err
	}
	src.LastRun, err = s.lastRun(src.ID)
	return src, err
}

func (s *Service) source(ref string) (Source, error) {
	src, ok, err := get(s.store, sources, ref)
	if err != nil || ok {
		return src, err
	}
	all, err := list(s.store, sources)
	if i := slices.IndexFunc(all, func(c Source) bool { return c.Name == ref }); i >= 0 {
		return all[i], nil
	}
	if err == nil {
		err = missingf("there is no source %q", ref)
	}
	return Source{}, err
}

// inOrder sorts sources as they are asked.
func inOrder(all []Source) { slices.SortStableFunc(all, compareSources) }

// compareSources is negative if a is asked before b.
func compareSources(a, b Source) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// DeleteSource removes a source. Its packages stay as they are, but get no new
// versions, and their names stay ours.
func (s *Service) DeleteSource(_ context.Context, ref string) (Source, error) {
	src, err := s.source(ref)
	if err != nil {
		return Source{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.store.Update(func(tx *store.Tx) error {
		if err := s.o.Vault.Delete(tx, secretOf(src.ID)); err != nil {
			return err
		}
		return sources.Delete(tx, src.ID)
	})
	if err != nil {
		return Source{}, fmt.Errorf("delete the source %s: %w", src.Name, err)
	}
	s.forgetRemote(src.ID)
	return src, s.reroute()
}

// credentialsOf opens what a source is given to identify itself.
func (s *Service) credentialsOf(src Source) (c Credentials, err error) {
	if !src.HasCredentials {
		return c, nil
	}
	plain, err := s.o.Vault.Read(secretOf(src.ID))
	if err != nil {
		return c, fmt.Errorf("open the credentials of %s: %w", src.Name, err)
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("read the credentials of %s: they are not what was stored", src.Name)
	}
	return c, nil
}

// secretOf is what the vault knows the credentials of a source by.
func secretOf(id string) string { return "source " + id }

// newID makes an identifier that says what it is of.
func newID(kind string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return kind + "_" + hex.EncodeToString(b[:])
}
