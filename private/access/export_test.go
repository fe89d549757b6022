package access

import (
	"encoding/json"
	"errors"
	"testing"

	"stasis/store"
)

// What tests look at from outside.
var (
	IDOf           = idOf
	ParsePHC       = parsePHC
	PresentedToken = presentedToken
	Both           = both
	Either         = either
	ParsePattern   = parsePattern
	Has            = pattern.has
)

// Resealed is a whole token that differs from text in the character at i.
func Resealed(text string, i int) string {
	c := byte('0')
	if text[i] == c {
		c = '1'
	}
	head := text[:i] + string(c) + text[i+1:tokenLength-sumLength]
	return head + checksum(head)
}

// Stranger is a whole token that nobody has.
func Stranger() string { return newSecret(RoleRead, random(idLength)) }

// ReasonOf is why somebody was refused.
func ReasonOf(err error) string {
	var denied *Denied
	if errors.As(err, &denied) {
		return denied.Reason
	}
	return ""
}

// Forget empties the memory of decisions.
func (a *Access) Forget() { a.decisions.cache.Purge() }

// Stored is the record of a token.
func Stored(t testing.TB, st *store.Store, id string) string {
	t.Helper()
	var out string
	err := st.View(func(tx *store.Tx) error {
		rec, err := tokenTable.Get(tx, id)
		if err != nil {
			return err
		}
		used, err := useTable.Get(tx, id)
		out = JSON(t, rec) + JSON(t, used)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func JSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
