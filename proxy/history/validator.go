package history

import (
	"errors"
	"io/fs"
	"net/http"
	"time"

	"stasis/store"
)

// served is the Last-Modified of every body ever served under one URL. Seconds
// are unique per body, because Composer's cache knows a body by its date alone
// and asks "has it changed since" with exactly that string.
type served struct {
	Bodies map[string]int64 `json:"bodies"` // body id → Unix seconds
}

var validators = store.Table[served]{Family: store.FamilyValidator, Name: "validator"}

// Validator returns the Last-Modified of one body under one URL key: the same
// body always gets the same second, and no two bodies share one. A body not
// seen before gets the second of notBefore, or the next free one.
func (h *History) Validator(key string, body store.Digest, notBefore time.Time) (time.Time, error) {
	id := body.String()[:24]
	var sec int64
	lookup := func(tx *store.Tx) (served, error) {
		s, err := validators.Get(tx, key)
		if errors.Is(err, fs.ErrNotExist) {
			return served{}, nil
		}
		return s, err
	}
	found := false
	err := h.store.View(func(tx *store.Tx) error {
		s, err := lookup(tx)
		sec, found = s.Bodies[id]
		return err
	})
	if err != nil || found {
		return time.Unix(sec, 0).UTC(), err
	}
	err = h.store.Update(func(tx *store.Tx) error {
		s, err := lookup(tx)
		if err != nil {
			return err
		}
		if sec, found = s.Bodies[id]; found {
			return nil
		}
		taken := make(map[int64]bool, len(s.Bodies))
		for _, t := range s.Bodies {
			taken[t] = true
		}
		for sec = notBefore.Unix(); taken[sec]; sec++ {
		}
		bodies := make(map[string]int64, len(s.Bodies)+1)
		for k, v := range s.Bodies {
			bodies[k] = v
		}
		bodies[id] = sec
		return validators.Put(tx, served{Bodies: bodies}, key)
	})
	if errors.Is(err, store.ErrNoSpace) {
		// Better a date that is not kept than no answer: what it is given to is
		// not kept either.
		return notBefore.UTC().Truncate(time.Second), nil
	}
	return time.Unix(sec, 0).UTC(), err
}

// ParseHTTPTime reads an HTTP date (RFC 9110, section 5.6.7).
func ParseHTTPTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	t, err := http.ParseTime(s)
	return t.UTC(), err == nil
}
