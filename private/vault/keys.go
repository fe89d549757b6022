package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// keyLength is that of AES-256, in bytes.
const keyLength = 32

// Sealed is an encrypted secret. It can be stored anywhere, as JSON.
type Sealed struct {
	// Key is the id of the key, which is no secret.
	Key string `json:"key"`
	// Box is nonce, ciphertext and tag.
	Box []byte `json:"box"`
}

// ErrNoKey says that there is no key to encrypt with.
var ErrNoKey = errors.New("credentials can only be kept encrypted: set ENCRYPTION_KEY to 64 hex digits (openssl rand -hex 32) and start again")

// Keys encrypt with one key and decrypt with that or an older one. The zero Keys have none.
type Keys struct {
	current *key
	old     *key
}

type key struct {
	id   string
	aead cipher.AEAD
}

// ParseKeys reads keys of 64 hex digits; either may be empty. Its errors name the setting and never show the text.
func ParseKeys(current, old string) (Keys, error) {
	var k Keys
	var err error
	if k.current, err = parseKey(current); err != nil {
		return Keys{}, fmt.Errorf("ENCRYPTION_KEY %w", err)
	}
	if k.old, err = parseKey(old); err != nil {
		return Keys{}, fmt.Errorf("ENCRYPTION_KEY_OLD %w", err)
	}
	if k.current == nil && k.old != nil {
		return Keys{}, errors.New("ENCRYPTION_KEY_OLD is set without ENCRYPTION_KEY, which replaces it")
	}
	return k, nil
}

func parseKey(text string) (*key, error) {
	if text == "" {
		return nil, nil
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != keyLength {
		return nil, errors.New("must be 64 hex digits, as openssl rand -hex 32 makes them")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	// Nonces are drawn at random, which is safe for some four thousand million secrets under one key.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("stasis key id\x00"), raw...))
	return &key{id: hex.EncodeToString(sum[:4]), aead: aead}, nil
}

// Seal encrypts a secret that belongs to subject, or returns ErrNoKey.
func (k Keys) Seal(subject string, secret []byte) (Sealed, error) {
	if k.current == nil {
		return Sealed{}, ErrNoKey
	}
	return Sealed{Key: k.current.id, Box: k.current.aead.Seal(nil, nil, secret, bound(subject))}, nil
}

// Open decrypts what Seal made for the same subject.
func (k Keys) Open(subject string, s Sealed) ([]byte, error) {
	for _, candidate := range []*key{k.current, k.old} {
		if candidate == nil || candidate.id != s.Key {
			continue
		}
		secret, err := candidate.aead.Open(nil, nil, s.Box, bound(subject))
		if err != nil {
			return nil, fmt.Errorf("the credential of %s is damaged or belongs to something else; store it again", subject)
		}
		return secret, nil
	}
	if k.current == nil {
		return nil, fmt.Errorf("the credential of %s cannot be read: it was encrypted with the key %s, and ENCRYPTION_KEY is not set", subject, s.Key)
	}
	return nil, fmt.Errorf("the credential of %s cannot be read: it was encrypted with the key %s, which is neither ENCRYPTION_KEY (%s) nor ENCRYPTION_KEY_OLD; "+
		"set the right key, or store the credential again", subject, s.Key, k.current.id)
}

// stale reports whether s should be sealed anew.
func (k Keys) stale(s Sealed) bool {
	return k.current != nil && k.old != nil && s.Key == k.old.id && s.Key != k.current.id
}

// bound is what a box is authenticated together with, so that it cannot be moved to another subject.
func bound(subject string) []byte { return []byte("stasis credential\x00" + subject) }
