// Package vault keeps secrets that others gave us to use: credentials of sources, keys, webhook secrets.
//
// It owns their encryption at rest: AES-256 in Galois/Counter Mode under ENCRYPTION_KEY, each bound to what it belongs
// to, so that neither a copy of the data folder nor a record moved to another place gives one away. It promises that
// nothing is stored in the clear when there is no key, and that the errors say which setting to change and never what
// the secret is.
//
// A key is replaced by setting the new one as ENCRYPTION_KEY and the one before as ENCRYPTION_KEY_OLD: at the next
// start everything is encrypted anew, after which the old one is of no use.
package vault

import (
	"fmt"
	"log/slog"

	"stasis/store"
)

// Vault is the secrets of one store. It is safe for concurrent use.
type Vault struct {
	store *store.Store
	keys  Keys
}

var credentials = store.Table[Sealed]{Family: store.FamilyCredential, Name: "credential"}

// Open makes everything that is encrypted with the old key encrypted with the current one. What neither key opens
// stays as it is, is logged, and fails when it is asked for.
func Open(st *store.Store, keys Keys, log *slog.Logger) (*Vault, error) {
	v := &Vault{store: st, keys: keys}
	var stale []string
	err := st.View(func(tx *store.Tx) error {
		return credentials.Scan(tx, nil, func(key []string, s Sealed) error {
			if keys.stale(s) {
				stale = append(stale, key[0])
			} else if _, err := keys.Open(key[0], s); err != nil {
				log.Error("a credential cannot be used", "error", err)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the credentials: %w", err)
	}
	for _, subject := range stale {
		if err := v.renew(subject); err != nil {
			return nil, fmt.Errorf("encrypt with the new ENCRYPTION_KEY: %w", err)
		}
	}
	if len(stale) > 0 {
		log.Info("credentials were encrypted with the new key; ENCRYPTION_KEY_OLD can be removed", "credentials", len(stale))
	}
	return v, nil
}

// renew encrypts one secret with the current key.
func (v *Vault) renew(subject string) error {
	return v.store.Update(func(tx *store.Tx) error {
		secret, err := v.Get(tx, subject)
		if err != nil {
			return err
		}
		return v.Put(tx, subject, secret)
	})
}

// Ready reports whether secrets can be stored.
func (v *Vault) Ready() bool { return v.keys.current != nil }

// Put stores the secret of a subject, over the one it had. Without a key it is ErrNoKey.
func (v *Vault) Put(tx *store.Tx, subject string, secret []byte) error {
	sealed, err := v.keys.Seal(subject, secret)
	if err != nil {
		return err
	}
	return credentials.Put(tx, sealed, subject)
}

// Get returns the secret of a subject. The error matches fs.ErrNotExist when it has none; any other says why the one
// it has cannot be used.
func (v *Vault) Get(tx *store.Tx, subject string) ([]byte, error) {
	sealed, err := credentials.Get(tx, subject)
	if err != nil {
		return nil, err
	}
	return v.keys.Open(subject, sealed)
}

// Read is Get in a view of its own.
func (v *Vault) Read(subject string) (secret []byte, err error) {
	err = v.store.View(func(tx *store.Tx) error {
		secret, err = v.Get(tx, subject)
		return err
	})
	return secret, err
}

// Delete forgets the secret of a subject. Forgetting what is not there is no error.
func (v *Vault) Delete(tx *store.Tx, subject string) error { return credentials.Delete(tx, subject) }

// Has reports whether a subject has a secret, whether or not it can be opened.
func (v *Vault) Has(tx *store.Tx, subject string) (bool, error) { return credentials.Has(tx, subject) }
