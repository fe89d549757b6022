package access

import (
	"crypto/rand"
	"hash/crc32"
	"strings"
)

// A token is prefix, role letter, id, secret and checksum, for example
//
//	stasis_r4fT9aQ2zKx0J3mVbN8cWpR6sYdE1gHuL5oTiQx7Zk
//
// so that one regular expression finds leaked ones, the checksum tells a whole one from text that only looks like
// one without asking anybody, and the id says which it is without giving it away.
const (
	tokenPrefix  = "stasis_"
	idLength     = 8  // 47 bits, drawn anew if taken
	secretLength = 27 // 160 bits
	sumLength    = 6
	tokenLength  = len(tokenPrefix) + 1 + idLength + secretLength + sumLength
)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newSecret makes the text of a token.
func newSecret(role Role, id string) string {
	head := tokenPrefix + string(role[0]) + id + random(secretLength)
	return head + checksum(head)
}

// idOf returns the id inside a token, or false when the text is no whole token.
func idOf(token string) (string, bool) {
	if len(token) != tokenLength || !strings.HasPrefix(token, tokenPrefix) {
		return "", false
	}
	head := token[:tokenLength-sumLength]
	if token[len(head):] != checksum(head) {
		return "", false
	}
	return head[len(tokenPrefix)+1:][:idLength], true
}

// LooksLikeToken reports whether a text begins like a token of ours, whole or not.
func LooksLikeToken(s string) bool { return strings.HasPrefix(s, tokenPrefix) }

// checksum is CRC-32 (IEEE) in base 62, with leading zeros.
func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [sumLength]byte
	for i := range out {
		out[sumLength-1-i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}

// random returns n digits, each of the 62 as likely as the others.
func random(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:]) // never fails, as its documentation says
		for _, b := range buf {
			if b < 62*4 && len(out) < n {
				out = append(out, digits[b%62])
			}
		}
	}
	return string(out)
}
