package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"time"

	"stasis/private"
	"stasis/proxy/composer"
)

// Uploads publishes archives, as private.Service does.
type Uploads interface {
	Upload(ctx context.Context, up private.Upload) (private.Version, private.Package, error)
}

// Uploaded is a version that was published.
type Uploaded struct {
	Package    string `json:"package"`
	Version    string `json:"version"`
	Normalized string `json:"normalized"`
	Type       string `json:"type"`
	Size       int64  `json:"size"`
	// SHA1 is what Composer compares, SHA256 what Stasis does.
	SHA1        string    `json:"sha1"`
	SHA256      string    `json:"sha256"`
	Source      string    `json:"source"`
	PublishedAt time.Time `json:"published_at"`
}

// upload publishes the archive in the body, whole or as a file in a form, as the version that its composer.json, the
// address or the form names.
func (m *management) upload(c *call) (any, error) {
	q, err := c.query("source", "version", "filename")
	if err != nil {
		return nil, err
	}
	v, err := m.take(c, private.Upload{Source: q.Get("source"), Version: q.Get("version"), Filename: q.Get("filename")})
	return answer{http.StatusCreated, Envelope[any]{Data: v}}, err
}

// uploadToPacketon is upload for those who know Packeton or Nexus.
func (m *management) uploadToPacketon(c *call) (any, error) {
	_, err := m.take(c, private.Upload{})
	return answer{http.StatusCreated, []string{}}, err
}

// uploadToGitea is upload for those who know Gitea's registry.
func (m *management) uploadToGitea(c *call) (any, error) {
	_, err := m.take(c, private.Upload{Version: c.r.URL.Query().Get("version")})
	return answer{http.StatusCreated, nil}, err
}

func (m *management) take(c *call, up private.Upload) (Uploaded, error) {
	if m.uploads == nil {
		return Uploaded{}, &failure{status: http.StatusForbidden, code: CodeNotAvailable, message: "No packages are published here."}
	}
	if vendor := c.param("vendor"); vendor != "" {
		up.Name = vendor + "/" + c.param("package")
	}
	if version := c.param("version"); version != "" {
		if up.Version != "" && up.Version != version {
			return Uploaded{}, invalid("The address names two versions.")
		}
		up.Version = version
	}
	if up.Filename == "" {
		up.Filename = path.Base(up.Name + " " + up.Version)
	}
	if up.Name != "" {
		name, err := composer.ParseName(up.Name)
		if err != nil {
			return Uploaded{}, invalid(sentence(err))
		}
		if err := c.within(name); err != nil { // before the archive is received
			return Uploaded{}, err
		}
	}
	up.May, up.Body = c.within, c.steady()
	if err := unwrapForm(c.r, &up); err != nil {
		return Uploaded{}, err
	}
	v, p, err := m.uploads.Upload(c.r.Context(), up)
	var limit interface{ TooLarge() bool }
	if errors.As(err, &limit) && limit.TooLarge() {
		return Uploaded{}, &failure{status: http.StatusRequestEntityTooLarge, code: CodeTooLarge, message: "The archive is larger than PROXY_MAX_ARCHIVE_SIZE allows."}
	}
	if err != nil {
		return Uploaded{}, err
	}
	c.subject = p.Name.String() + " " + v.Pretty
	c.details = map[string]string{"sha256": v.Digest.String()}
	return Uploaded{
		Package: p.Name.String(), Version: v.Pretty, Normalized: v.Normalized, Type: v.Type, Size: v.Size,
		SHA1: v.SHA1, SHA256: hex.EncodeToString(v.Digest[:]), Source: p.Source, PublishedAt: v.PublishedAt,
	}, nil
}

// within says whether the token is for a package.
func (c *call) within(n composer.Name) error {
	if c.reader.Within(n) {
		return nil
	}
	return &failure{status: http.StatusForbidden, code: CodeForbidden, message: "This token is not for the package " + n.String() + "."}
}

// Limits of a form around an archive.
const (
	maxFields = 32
	maxField  = 4 << 10
)

// unwrapForm finds the archive in a form: the first file in it. Fields in front of it may name the version and the source.
func unwrapForm(r *http.Request, up *private.Upload) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil
	}
	form := multipart.NewReader(up.Body, params["boundary"])
	for range maxFields {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return invalid("The form has no file; the archive is expected in a field such as package or file.")
		}
		if err != nil {
			return invalid("The form cannot be read.")
		}
		if name := part.FileName(); name != "" {
			up.Filename, up.Body = name, part
			return nil
		}
		if err := takeField(part, up); err != nil {
			return err
		}
	}
	return invalid(fmt.Sprintf("The form has more than %d fields in front of the file.", maxFields))
}

func takeField(part *multipart.Part, up *private.Upload) error {
	value, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err != nil || len(value) > maxField {
		return invalid("The form has a field that is too long or broken off.")
	}
	switch name := part.FormName(); {
	case len(value) == 0:
	case name == "version" && up.Version == "":
		up.Version = string(value)
	case name == "version" && up.Version != string(value):
		return invalid("The form and the address name two versions.")
	case name == "source" && up.Source == "":
		up.Source = string(value)
	}
	return nil
}
