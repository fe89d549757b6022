package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"stasis/proxy/history"
	"stasis/proxy/snapshot"
)

const (
	maxNote  = 500      // characters of a note
	maxLocks = 64 << 20 // bytes of a body with lock files
)

const noSnapshot = "There is no snapshot with this name or id."

func (m *management) snapshots(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	all, err := op.Snapshots(c.r.Context())
	return list(all), err
}

// createSnapshot begins a snapshot and answers while it is being built.
func (m *management) createSnapshot(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	members, err := c.object(maxLocks, "name", "from", "locks", "world", "archives", "advisories", "private", "note", "by")
	if err != nil {
		return nil, err
	}
	var req snapshot.Request
	if raw, given := members["locks"]; given {
		if req.Locks, err = lockFiles(raw); err != nil {
			return nil, err
		}
		delete(members, "locks")
	}
	body := make(map[string]string, len(members))
	for name, raw := range members {
		if body[name], err = textOf(name, raw); err != nil {
			return nil, err
		}
		if body[name] == "" && name != "note" && name != "by" {
			return nil, invalid(fmt.Sprintf("The field %s must not be empty; leave it out.", name))
		}
	}
	req.Name = body["name"]
	req.Options = snapshot.Options{Rest: body["world"], Archives: body["archives"], Advisories: body["advisories"], Private: body["private"]}
	if req.Note, err = plainText(body, "note", maxNote); err != nil {
		return nil, err
	}
	if req.By, err = plainText(body, "by", maxOwner); err != nil {
		return nil, err
	}
	if from, given := body["from"]; given && from != "now" {
		if req.Instant, err = m.when("from", from); err != nil {
			return nil, err
		}
	}
	snap, err := op.CreateSnapshot(c.r.Context(), req)
	if err != nil {
		return nil, err
	}
	c.subject, c.by = snap.Name, req.By
	return snap, nil
}

// lockFiles reads a list of lock files, each as the JSON object it is or as the text of the file.
func lockFiles(raw json.RawMessage) ([][]byte, error) {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 {
		return nil, invalid("The field locks must be a list of lock files.")
	}
	files := make([][]byte, len(all))
	for i, one := range all {
		var text string
		switch one = bytes.TrimSpace(one); {
		case one[0] == '{':
			files[i] = one
		case one[0] == '"' && json.Unmarshal(one, &text) == nil:
			files[i] = []byte(text)
		default:
			return nil, invalid(fmt.Sprintf("Lock file %d is neither an object nor the text of a file.", i+1))
		}
	}
	return files, nil
}

// when reads an instant, or a date with its whole day.
func (m *management) when(field, text string) (time.Time, error) {
	w, err := history.ParseWhen(text, m.now(), 0)
	if err != nil {
		return time.Time{}, invalid(sentence(err))
	}
	if w.Name != "" || w.Strict {
		return time.Time{}, invalid(fmt.Sprintf("The field %s must be a date such as 2026-01-31 or an instant such as 2026-01-31T00:00:00Z.", field))
	}
	return w.Instant, nil
}

func (m *management) snapshot(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	snap, err := op.Snapshot(c.r.Context(), c.param("ref"))
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	return snap, nil
}

func (m *management) deleteSnapshot(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	snap, err := op.DeleteSnapshot(c.r.Context(), c.param("ref"))
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	c.subject = snap.Name
	return snap, nil
}

// manifest answers with the canonical bytes, whose SHA-256 is the id.
func (m *management) manifest(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	body, err := op.SnapshotManifest(c.r.Context(), c.param("ref"))
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	return &stream{contentType: "application/json", length: int64(len(body)), write: func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}}, nil
}

// MissingFrom is what a snapshot lacks.
type MissingFrom struct {
	Name  string         `json:"name"`
	State snapshot.State `json:"state"`
	// Total is how much is missing; Missing has the first of it.
	Total   int                `json:"total"`
	Missing []snapshot.Missing `json:"missing"`
}

func (m *management) missingFrom(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	snap, err := op.Snapshot(c.r.Context(), c.param("ref"))
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	return MissingFrom{Name: snap.Name, State: snap.State, Total: snap.MissingTotal, Missing: list(snap.Missing)}, nil
}

func (m *management) verifySnapshot(c *call) (any, error) {
	op, err := m.begin(c, "wait")
	if err != nil {
		return nil, err
	}
	wait, err := c.waits()
	if err != nil {
		return nil, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	if !wait {
		j, err := op.BeginVerification(c.r.Context(), c.param("ref"))
		return m.jobAnswer(c, j), missing(err, noSnapshot)
	}
	v, err := op.VerifySnapshot(c.r.Context(), c.param("ref"))
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	return verification(v), nil
}

func (m *management) exportSnapshot(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	ctx, ref := c.r.Context(), c.param("ref")
	// Whether there is something to export is found out first, so that HEAD knows, too.
	if _, err := op.SnapshotManifest(ctx, ref); err != nil {
		return nil, missing(err, noSnapshot)
	}
	return &stream{contentType: "application/octet-stream", length: -1, write: func(w io.Writer) error {
		_, err := op.ExportSnapshot(ctx, w, ref)
		return missing(err, noSnapshot)
	}}, nil
}

func (m *management) importSnapshot(c *call) (any, error) {
	op, err := m.begin(c, "name", "by")
	if err != nil {
		return nil, err
	}
	q, err := c.texts("name", "by")
	if err != nil {
		return nil, err
	}
	snap, err := op.ImportSnapshot(c.r.Context(), c.steady(), q["name"], q["by"])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, invalid("The bundle could not be read to its end, and nothing of it was kept.")
	}
	if err != nil {
		return nil, err
	}
	c.subject, c.by = snap.Name, q["by"]
	return snap, nil
}

// texts are query parameters as plain text of moderate length; what is given must say something.
func (c *call) texts(names ...string) (map[string]string, error) {
	q, texts := c.r.URL.Query(), map[string]string{}
	for _, name := range names {
		if !q.Has(name) {
			continue
		}
		texts[name] = q.Get(name)
		if texts[name] == "" {
			return nil, invalid(fmt.Sprintf("The parameter %s must not be empty; leave it out.", name))
		}
		if _, err := plainText(texts, name, maxOwner); err != nil {
			return nil, err
		}
	}
	return texts, nil
}
