package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func sign(secret []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// verifyHex checks an HMAC-SHA256 of the body, in hex behind a prefix. The header must stand there once: of two, somebody
// on the way might have read the other.
func verifyHex(secrets [][]byte, h http.Header, name, prefix string, body []byte) error {
	values := h.Values(name)
	if len(values) != 1 {
		return ErrUnsigned
	}
	text, ok := strings.CutPrefix(values[0], prefix)
	got, err := hex.DecodeString(text)
	if !ok || err != nil || len(got) != sha256.Size {
		return ErrUnsigned
	}
	good := 0
	for _, s := range secrets {
		good |= subtle.ConstantTimeCompare(got, sign(s, body))
	}
	if good != 1 {
		return ErrSignature
	}
	return nil
}

// verifyToken compares a secret that was sent as it is, without showing how long the right one is.
func verifyToken(secrets [][]byte, token string) error {
	if token == "" {
		return ErrUnsigned
	}
	got, good := sha256.Sum256([]byte(token)), 0
	for _, s := range secrets {
		want := sha256.Sum256(s)
		good |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	if good != 1 {
		return ErrSignature
	}
	return nil
}

// signingPrefix marks the secrets of Standard Webhooks, as GitLab makes them for its signatures.
const signingPrefix = "whsec_"

// verifyGitLab checks either of GitLab's schemes. Which one is decided by the secrets: once a signing token is among them,
// a bare token is no longer believed.
func verifyGitLab(secrets [][]byte, h http.Header, body []byte, now time.Time) (id string, err error) {
	var keys [][]byte
	for _, s := range secrets {
		text, ok := strings.CutPrefix(string(s), signingPrefix)
		if !ok {
			continue
		}
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || len(key) == 0 {
			return "", ErrNoSecret
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		return verifyStandard(keys, h, body, now)
	}
	if len(h.Values("X-Gitlab-Token")) != 1 {
		return "", ErrUnsigned
	}
	// Idempotency-Key is the same for every attempt; older versions only name the event.
	return first(h, "Idempotency-Key", "X-Gitlab-Event-UUID"), verifyToken(secrets, h.Get("X-Gitlab-Token"))
}

// verifyStandard checks the signatures of Standard Webhooks: HMAC-SHA256 over id, time and body.
func verifyStandard(keys [][]byte, h http.Header, body []byte, now time.Time) (id string, err error) {
	var values [3]string
	for i, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		v := h.Values(name)
		if len(v) != 1 || v[0] == "" {
			return "", ErrUnsigned
		}
		values[i] = v[0]
	}
	id, stamp := values[0], values[1]
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", ErrUnsigned
	}
	good := 0
	for i, signature := range strings.Fields(values[2]) {
		text, ok := strings.CutPrefix(signature, "v1,")
		got, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || i >= maxSignatures {
			continue
		}
		for _, k := range keys {
			good |= subtle.ConstantTimeCompare(got, sign(k, []byte(id), []byte("."), []byte(stamp), []byte("."), body))
		}
	}
	if good != 1 {
		return "", ErrSignature
	}
	if at := time.Unix(seconds, 0); at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return "", ErrStale
	}
	return id, nil
}

// maxSignatures is how many signatures of one delivery are looked at. Two stand there while a secret is replaced.
const maxSignatures = 8

// Token finds the secret of a delivery that is not signed: in X-Stasis-Token, as a bearer token, as the password of any
// user, or in the query of the address, where Packeton's and Packagist's hooks have it, as token=user:secret, token=secret,
// or apiToken=secret beside a username. Such an address is a secret itself.
func Token(h http.Header, q url.Values) string {
	if t := h.Get("X-Stasis-Token"); t != "" {
		return t
	}
	if t := authorized(h.Get("Authorization")); t != "" {
		return t
	}
	if t := q.Get("apiToken"); t != "" && q.Get("username") != "" {
		return t
	}
	t := q.Get("token")
	if _, secret, ok := strings.Cut(t, ":"); ok {
		return secret
	}
	return t
}

func authorized(header string) string {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest
	case "basic":
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(b), ":")
		return password
	}
	return ""
}
