package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"stasis/store"
)

// tokenRecord is a token as it is stored.
type tokenRecord struct {
	Token
	// SHA256 is of the token's whole text, which is 160 random bits and therefore needs no slow hash.
	SHA256 store.Digest `json:"sha256"`
}

var (
	tokenTable = store.Table[tokenRecord]{Family: store.FamilyToken, Name: "token"}
	ownerTable = store.Table[Owner]{Family: store.FamilyToken, Name: "owner"}
)

// load reads everything into the memory.
func (a *Access) load() error {
	return a.o.Store.View(func(tx *store.Tx) error {
		err := tokenTable.Scan(tx, nil, func(_ []string, rec tokenRecord) error {
			t := &token{Token: rec.Token, sum: sumOfToken(rec.SHA256), use: &use{}, guesses: &guesses{}}
			switch used, err := useTable.Get(tx, rec.ID); {
			case err == nil:
				t.use.restore(used)
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
			a.tokens[rec.ID] = t
			return nil
		})
		if err != nil {
			return err
		}
		return ownerTable.Scan(tx, nil, func(_ []string, o Owner) error {
			a.owners[o.ID] = &o
			return nil
		})
	})
}

// CreateToken makes a token with the name, role, owner, limits and expiry of t and returns it with its text, which
// nobody can find out again. An error with Validation says what is wrong with t; a missing owner is fs.ErrNotExist.
func (a *Access) CreateToken(t Token) (Token, string, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	now := a.o.Now().UTC()
	t = Token{Name: t.Name, Role: t.Role, Owner: t.Owner, Packages: t.Packages, Versions: t.Versions, View: t.View,
		ExpiresAt: t.ExpiresAt.UTC().Truncate(time.Second), CreatedAt: now.Truncate(time.Second)}
	if err := t.check(now, a.o.CheckView); err != nil {
		return Token{}, "", err
	}
	a.mu.RLock()
	_, known := a.owners[t.Owner]
	for t.ID = random(idLength); a.tokens[t.ID] != nil; {
		t.ID = random(idLength)
	}
	a.mu.RUnlock()
	if t.Owner != "" && !known {
		return Token{}, "", &absent{"customer", t.Owner}
	}
	return a.issue(token{Token: t, use: &use{}, guesses: &guesses{}})
}

// issue gives t a new text. It is called with changing held.
func (a *Access) issue(t token) (Token, string, error) {
	text := newSecret(t.Role, t.ID)
	t.sum = sha256.Sum256([]byte(text))
	if err := a.putToken(&t); err != nil {
		return Token{}, "", fmt.Errorf("keep the token %s: %w", t.ID, err)
	}
	return t.shown(), text, nil
}

// putToken makes a token durable and lets it count.
func (a *Access) putToken(t *token) error {
	err := a.o.Store.Update(func(tx *store.Tx) error {
		return tokenTable.Put(tx, tokenRecord{t.Token, store.Digest(t.sum)}, t.ID)
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.tokens[t.ID] = t
	a.mu.Unlock()
	a.generation.Add(1)
	return nil
}

// RotateToken gives a token a new text; the old one is wrong from then on. An expired one keeps its expiry.
func (a *Access) RotateToken(id string) (Token, string, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	t, err := a.token(id)
	if err != nil {
		return Token{}, "", err
	}
	if !t.RevokedAt.IsZero() {
		return Token{}, "", &conflict{"The token was revoked and cannot be used again; make a new one."}
	}
	rotated := *t
	rotated.RotatedAt = a.o.Now().UTC().Truncate(time.Second)
	return a.issue(rotated)
}

// RevokeToken ends a token for ever. The record of it stays. Revoking it again changes nothing.
func (a *Access) RevokeToken(id string) (Token, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	t, err := a.token(id)
	if err != nil {
		return Token{}, err
	}
	if !t.RevokedAt.IsZero() {
		return t.shown(), nil
	}
	revoked := *t
	revoked.RevokedAt = a.o.Now().UTC().Truncate(time.Second)
	if err := a.putToken(&revoked); err != nil {
		return Token{}, fmt.Errorf("revoke the token %s: %w", id, err)
	}
	return revoked.shown(), nil
}

// Token returns what is known of a token; the error matches fs.ErrNotExist when there is none.
func (a *Access) Token(id string) (Token, error) {
	t, err := a.token(id)
	if err != nil {
		return Token{}, err
	}
	return t.shown(), nil
}

// Tokens lists the tokens, those of an owner if one is named, the oldest first.
func (a *Access) Tokens(owner string) []Token {
	a.mu.RLock()
	list := make([]Token, 0, len(a.tokens))
	for _, t := range a.tokens {
		if owner == "" || t.Owner == owner {
			list = append(list, t.shown())
		}
	}
	a.mu.RUnlock()
	slices.SortFunc(list, func(x, y Token) int {
		if c := x.CreatedAt.Compare(y.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}

func (a *Access) token(id string) (*token, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if t := a.tokens[id]; t != nil {
		return t, nil
	}
	return nil, &absent{"token", id}
}

// shown is the token with its last use.
func (t *token) shown() Token {
	s := t.Token
	s.Packages = slices.Clone(s.Packages)
	s.LastUsedAt, s.LastUsedFrom = t.use.last()
	return s
}
