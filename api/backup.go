package api

import (
	"errors"
	"io"
	"net/http"

	"stasis/store"
)

// backup answers with a backup as it is made. It is kept from being taken for a whole one, should it break off, by its end
// mark.
func (m *management) backup(c *call) (any, error) {
	if _, err := c.query("since", "archives"); err != nil {
		return nil, err
	}
	if m.backups == nil {
		return nil, &failure{status: http.StatusForbidden, code: CodeNotAvailable, message: "There is nothing to back up here."}
	}
	q, err := c.texts("since", "archives")
	if err != nil {
		return nil, err
	}
	return &stream{contentType: "application/octet-stream", filename: "stasis.backup", length: -1, write: func(w io.Writer) error {
		_, err := m.backups.Backup(c.r.Context(), w, store.BackupOptions{Since: q["since"], Archives: q["archives"]})
		var refused *store.BackupError
		switch {
		case !errors.As(err, &refused):
			return err
		case refused.Busy():
			return &failure{status: http.StatusConflict, code: CodeConflict, message: sentence(refused)}
		default:
			return invalid(sentence(refused))
		}
	}}, nil
}
