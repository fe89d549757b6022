package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"stasis/private"
	"stasis/proxy/composer"
)

// Packages is what the management API needs from the private packages. Errors are as those of an Operator.
type Packages interface {
	List(ctx context.Context, source string, deleted bool) ([]private.Package, error)
	Package(ctx context.Context, n composer.Name) (private.Package, []private.Version, error)
	Version(ctx context.Context, n composer.Name, version string) (private.Package, private.Version, error)
	Yank(ctx context.Context, n composer.Name, version, reason string) (private.Version, error)
	Unyank(ctx context.Context, n composer.Name, version string) (private.Version, error)
	Deprecate(ctx context.Context, n composer.Name, version, replacement string, undo bool) (private.Version, error)
	Abandon(ctx context.Context, n composer.Name, replacement string, undo bool) (private.Package, error)
	Delete(ctx context.Context, n composer.Name) (private.Package, error)
	Restore(ctx context.Context, n composer.Name) (private.Package, error)
	Release(ctx context.Context, n composer.Name) error
	Readme(ctx context.Context, n composer.Name, version string) ([]byte, error)

	Sources(ctx context.Context) ([]private.Source, error)
	Source(ctx context.Context, ref string) (private.Source, error)
	AddSource(ctx context.Context, req private.SourceRequest) (private.Source, error)
	UpdateSource(ctx context.Context, id string, req private.SourceRequest) (private.Source, error)
	DeleteSource(ctx context.Context, ref string) (private.Source, error)
	SyncNow(ctx context.Context, ref, trigger string) (private.Run, error)
	Runs(ctx context.Context, ref string) ([]private.Run, error)
}

// PackageDetails is a private package with its versions, newest first.
type PackageDetails struct {
	private.Package
	VersionList []VersionDetails `json:"version_list"`
}

// VersionDetails is a version without its composer.json, which the metadata document has.
type VersionDetails struct {
	private.Version
	Manifest any `json:"manifest,omitempty"` // shadows that of Version
}

// Validation says what in a package's composer.json would keep clients from installing it.
type Validation struct {
	Package  string   `json:"package"`
	Version  string   `json:"version"`
	Valid    bool     `json:"valid"`
	Problems []string `json:"problems"`
}

// Readme is the README of a version.
type Readme struct {
	Package string `json:"package"`
	Version string `json:"version,omitempty"`
	Readme  string `json:"readme"`
}

// Released is a name that is not ours any more.
type Released struct {
	Package string `json:"package"`
}

const (
	noPackage = "There is no private package with this name."
	noVersion = "There is no private package with this name and version."
	noSource  = "There is no source with this name or id."
)

// ofPackages is the common beginning of the operations on private packages.
func (m *management) ofPackages(c *call, parameters ...string) (Packages, url.Values, error) {
	if m.packages == nil {
		return nil, nil, notFound("There are no private packages in this program.")
	}
	q, err := c.query(parameters...)
	return m.packages, q, err
}

// packageNamed is the beginning of those on one package.
func (m *management) packageNamed(c *call, parameters ...string) (Packages, composer.Name, url.Values, error) {
	p, q, err := m.ofPackages(c, parameters...)
	if err != nil {
		return nil, composer.Name{}, nil, err
	}
	n, err := composer.ParseName(c.param("vendor") + "/" + c.param("package"))
	if err != nil {
		return nil, n, nil, invalid(sentence(err))
	}
	return p, n, q, nil
}

func (m *management) listPackages(c *call) (any, error) {
	p, q, err := m.ofPackages(c, "source", "deleted", "page", "per_page")
	if err != nil {
		return nil, err
	}
	deleted, err := yes(q, "deleted")
	if err != nil {
		return nil, err
	}
	all, err := p.List(c.r.Context(), q.Get("source"), deleted)
	if err != nil {
		return nil, missing(err, noSource)
	}
	return paged(c, all)
}

// yes reads a parameter that is true or false.
func yes(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); {
	case v == "true":
		return true, nil
	case !q.Has(name), v == "false":
		return false, nil
	}
	return false, invalid("The parameter " + name + ` must be "true" or "false".`)
}

// addPackage adds a git source for one package, as the APIs of other registries do it.
func (m *management) addPackage(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("name", "repository_url", "type")
	if err != nil {
		return nil, err
	}
	switch body["type"] {
	case "", "git", "github", "gitlab", "bitbucket", "gitea", "vcs":
	default:
		return nil, invalid(`The field type must be git, github, gitlab, bitbucket, gitea or vcs; other sources are added below /api/v1/sources.`)
	}
	src := private.Source{Type: private.Git, URL: body["repository_url"]}
	if body["name"] != "" {
		n, err := composer.ParseName(body["name"])
		if err != nil {
			return nil, invalid(sentence(err))
		}
		src.Name, src.Packages = n.String(), []string{n.String()}
	}
	added, err := p.AddSource(c.r.Context(), private.SourceRequest{Source: src})
	if err != nil {
		return nil, err
	}
	c.subject = added.Name
	added.Packages = list(added.Packages)
	return added, nil
}

func (m *management) showPackage(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	pkg, versions, err := p.Package(c.r.Context(), n)
	if err != nil {
		return nil, missing(err, noPackage)
	}
	out := PackageDetails{Package: pkg, VersionList: make([]VersionDetails, len(versions))}
	for i, v := range versions {
		out.VersionList[i] = VersionDetails{Version: v}
	}
	return out, nil
}

func (m *management) deletePackage(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	pkg, err := p.Delete(c.r.Context(), n)
	return pkg, missing(err, noPackage)
}

func (m *management) restorePackage(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	pkg, err := p.Restore(c.r.Context(), n)
	return pkg, missing(err, noPackage)
}

func (m *management) releaseName(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	if err := p.Release(c.r.Context(), n); err != nil {
		return nil, missing(err, "This name was never taken here.")
	}
	return Released{Package: n.String()}, nil
}

func (m *management) syncPackage(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	pkg, _, err := p.Package(c.r.Context(), n)
	if err != nil {
		return nil, missing(err, noPackage)
	}
	run, err := p.SyncNow(c.r.Context(), pkg.Source, "manual")
	return run, missing(err, "The source of this package was deleted.")
}

func (m *management) yankVersion(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("reason")
	if err != nil {
		return nil, err
	}
	reason, err := plainText(body, "reason", maxReason)
	if err != nil {
		return nil, err
	}
	v, err := p.Yank(c.r.Context(), n, c.param("version"), reason)
	return VersionDetails{Version: v}, missing(err, noVersion)
}

func (m *management) unyankVersion(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	v, err := p.Unyank(c.r.Context(), n, c.param("version"))
	return VersionDetails{Version: v}, missing(err, noVersion)
}

// abandonment reads what Deprecate and Abandon take.
func abandonment(c *call) (replacement string, undo bool, err error) {
	body, err := c.body("replacement", "undo")
	if err != nil {
		return "", false, err
	}
	switch undo := body["undo"]; undo {
	case "", "false":
	case "true":
		return "", true, nil
	default:
		return "", false, invalid(`The field undo must be "true" or "false".`)
	}
	return body["replacement"], false, nil
}

func (m *management) deprecateVersion(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	replacement, undo, err := abandonment(c)
	if err != nil {
		return nil, err
	}
	v, err := p.Deprecate(c.r.Context(), n, c.param("version"), replacement, undo)
	return VersionDetails{Version: v}, missing(err, noVersion)
}

func (m *management) abandonPackage(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	replacement, undo, err := abandonment(c)
	if err != nil {
		return nil, err
	}
	pkg, err := p.Abandon(c.r.Context(), n, replacement, undo)
	return pkg, missing(err, noPackage)
}

func (m *management) readme(c *call) (any, error) {
	p, n, q, err := m.packageNamed(c, "version")
	if err != nil {
		return nil, err
	}
	text, err := p.Readme(c.r.Context(), n, q.Get("version"))
	if err != nil {
		return nil, missing(err, "There is no such package or version, or it has no README.")
	}
	return Readme{Package: n.String(), Version: q.Get("version"), Readme: strings.ToValidUTF8(string(text), "\uFFFD")}, nil
}

// validatePackage looks at composer.json of a version, the newest if none is named.
func (m *management) validatePackage(c *call) (any, error) {
	p, n, q, err := m.packageNamed(c, "version")
	if err != nil {
		return nil, err
	}
	version := q.Get("version")
	if version == "" {
		pkg, _, err := p.Package(c.r.Context(), n)
		if err != nil {
			return nil, missing(err, noPackage)
		}
		version = pkg.Latest
	}
	_, v, err := p.Version(c.r.Context(), n, version)
	if err != nil {
		return nil, missing(err, noVersion)
	}
	out := Validation{Package: n.String(), Version: v.Pretty, Problems: []string{}}
	var manifest composer.Object
	if err = manifest.UnmarshalJSON(v.Manifest); err == nil {
		err = composer.CheckManifest(manifest)
	}
	var many interface{ Unwrap() []error }
	switch {
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			out.Problems = append(out.Problems, e.Error())
		}
	case err != nil:
		out.Problems = append(out.Problems, err.Error())
	}
	out.Valid = len(out.Problems) == 0
	return out, nil
}

// redirect is an answer that sends the client elsewhere.
type redirect struct{ path string }

// downloadVersion leads to the archive of a version.
func (m *management) downloadVersion(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c)
	if err != nil {
		return nil, err
	}
	_, v, err := p.Version(c.r.Context(), n, c.param("version"))
	if err != nil {
		return nil, missing(err, noVersion)
	}
	if v.Type == "" {
		return nil, notFound("This version has no archive here.")
	}
	return &redirect{composer.DistURL("", n, composer.Version{
		Normalized: v.Normalized, Dist: &composer.Dist{Type: v.Type, Reference: v.Reference, URL: "." + v.Extension},
	})}, nil
}

func (m *management) redirect(w http.ResponseWriter, to *redirect) {
	w.Header().Set("Location", m.basePath()+to.path)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// basePath is the path of the external URL, below which clients see us.
func (m *management) basePath() string {
	u, err := url.Parse(m.base)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}
