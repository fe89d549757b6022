package snapshot

import (
	"regexp"

	"stasis/store"
)

// nameForm begins with a letter, so that a name is never mistaken for a date,
// and holds nothing that needs escaping in a URL or a user name.
var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,63}$`)

// reservedNames would promise something that a fixed world cannot be.
var reservedNames = map[string]bool{"now": true, "live": true, "latest": true, "today": true, "yesterday": true}

// CheckName says whether a snapshot or a channel may have this name. They
// share one space of names, since both stand for {when} in an address.
func CheckName(name string) error {
	switch {
	case !nameForm.MatchString(name):
		return problemf(ErrInvalid, "%.80q cannot be a name: a name begins with a letter and has up to 64 letters, digits, dots, hyphens and underscores", name)
	case reservedNames[name]:
		return problemf(ErrInvalid, "%q cannot be a name: it sounds as if it moved", name)
	}
	if _, err := store.ParseDigest(name); err == nil {
		return problemf(ErrInvalid, "%q cannot be a name: it reads like the id of a snapshot", name)
	}
	return nil
}
