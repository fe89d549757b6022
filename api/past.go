package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// diff compares two worlds. With POST the body is a composer.lock, and only its packages are compared.
func (m *management) diff(c *call) (any, error) {
	op, err := m.begin(c, "from", "to", "package", "wait")
	if err != nil {
		return nil, err
	}
	wait, err := c.waits()
	if err != nil {
		return nil, err
	}
	q := c.r.URL.Query()
	if q.Get("from") == "" || q.Get("to") == "" {
		return nil, invalid("The parameters from and to must each be a date, an instant, a snapshot, a channel or now.")
	}
	var only []composer.Name
	if q.Has("package") {
		for text := range strings.SplitSeq(q.Get("package"), ",") {
			name, err := composer.ParseName(text)
			if err != nil {
				return nil, invalid(sentence(err))
			}
			only = append(only, name)
		}
	}
	if c.r.Method == http.MethodPost {
		locked, err := c.lockedNames()
		if err != nil {
			return nil, err
		}
		only = append(only, locked...)
	}
	const unknown = "One of the two is not known here."
	if !wait {
		j, err := op.BeginDiff(c.r.Context(), q.Get("from"), q.Get("to"), only)
		return m.jobAnswer(c, j), missing(err, unknown)
	}
	d, err := op.Diff(c.r.Context(), q.Get("from"), q.Get("to"), only)
	if err != nil {
		return nil, missing(err, unknown)
	}
	return difference(d), nil
}

// lockedNames are the packages of the lock file that is the body.
func (c *call) lockedNames() ([]composer.Name, error) {
	body, err := c.bytes(maxLocks)
	if err != nil {
		return nil, err
	}
	lock, err := composer.ParseLock(body)
	if err != nil {
		return nil, invalid(sentence(fmt.Errorf("the body must be a composer.lock: %w", err)))
	}
	if len(lock.Packages) == 0 {
		return nil, invalid("The lock file names no packages.")
	}
	names := make([]composer.Name, len(lock.Packages))
	for i, p := range lock.Packages {
		names[i] = p.Name
	}
	return names, nil
}

func (m *management) packageHistory(c *call) (any, error) {
	op, name, err := m.named(c)
	if err != nil {
		return nil, err
	}
	h, err := op.PackageHistory(c.r.Context(), name)
	if err != nil {
		return nil, missing(err, "Nothing is recorded about the package "+name.String()+".")
	}
	h.Files, h.References, h.Retags, h.Archives = list(h.Files), list(h.References), list(h.Retags), list(h.Archives)
	for i := range h.Files {
		h.Files[i].Revisions, h.Files[i].Instants.Known = list(h.Files[i].Revisions), list(h.Files[i].Instants.Known)
	}
	if h.Freeze != nil {
		h.Freeze.Documents = list(h.Freeze.Documents)
	}
	return h, nil
}

func (m *management) explainVersion(c *call) (any, error) {
	op, name, err := m.named(c, "version", "at")
	if err != nil {
		return nil, err
	}
	q := c.r.URL.Query()
	if q.Get("version") == "" {
		return nil, invalid("The parameter version must name the version in question.")
	}
	x, err := op.Explain(c.r.Context(), name, q.Get("version"), q.Get("at"))
	if err != nil {
		return nil, missing(err, "Nothing is known about the package "+name.String()+".")
	}
	return x, nil
}

func (m *management) instants(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	i, err := op.Instants(c.r.Context())
	i.Holes = list(i.Holes)
	return i, err
}

// ImportedLock is what importing a lock file brought.
type ImportedLock struct {
	At       time.Time `json:"at"`
	Versions int       `json:"versions"` // proven for the first time, or for an earlier instant
	Known    int       `json:"known"`    // that added nothing
	Branches int       `json:"branches"` // recorded as references only
	Skipped  []string  `json:"skipped"`  // packages without a reference
	Files    []string  `json:"files"`    // whose unbound views of the past may now differ
}

func (m *management) importLock(c *call) (any, error) {
	op, err := m.begin(c, "at")
	if err != nil {
		return nil, err
	}
	at, err := instant(map[string]string{"at": c.r.URL.Query().Get("at")}, "at")
	if err != nil {
		return nil, err
	}
	body, err := c.bytes(maxLocks)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, invalid("The body must be a composer.lock.")
	}
	r, err := op.ImportLock(c.r.Context(), body, *at)
	if err != nil {
		return nil, err
	}
	out := ImportedLock{At: *at, Versions: r.Versions, Known: r.Known, Branches: r.Branches, Skipped: list(r.Skipped), Files: []string{}}
	for _, f := range r.Files {
		out.Files = append(out.Files, f.String())
	}
	c.subject = fmt.Sprintf("%d versions at %s", r.Versions, at.Format(time.RFC3339))
	return out, nil
}
