package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// phcPrefix begins every argon2id hash in the PHC string format.
const phcPrefix = "$argon2id$"

// phc is a parsed "$argon2id$v=19$m=19456,t=2,p=1$salt$hash".
type phc struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	sum     []byte
}

// The limits keep a mistyped hash from making every try cost gigabytes or minutes, and from being weak.
const (
	minMemory, maxMemory = 8, 1 << 20 // KiB
	maxPasses            = 64
	maxThreads           = 64
	minSalt, minSum      = 8, 16
	maxSalt, maxSum      = 64, 64
)

// HashToken makes the argon2id PHC string of a token for ADMIN_TOKEN_HASH.
func HashToken(token string) string {
	p := phc{memory: 19456, passes: 2, threads: 1, salt: make([]byte, 16)}
	_, _ = rand.Read(p.salt) // never fails, as its documentation says
	p.sum = argon2.IDKey([]byte(token), p.salt, p.passes, p.memory, p.threads, 32)
	return p.String()
}

func (p *phc) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", phcPrefix, argon2.Version, p.memory, p.passes, p.threads, enc.EncodeToString(p.salt), enc.EncodeToString(p.sum))
}

func (p *phc) matches(token string) bool {
	sum := argon2.IDKey([]byte(token), p.salt, p.passes, p.memory, p.threads, uint32(len(p.sum)))
	return subtle.ConstantTimeCompare(sum, p.sum) == 1
}

// parsePHC reads a hash. Its errors never repeat the text, which may be a secret in the wrong place.
func parsePHC(s string) (*phc, error) {
	rest, ok := strings.CutPrefix(s, phcPrefix)
	if !ok {
		return nil, errors.New("it must be an argon2id hash in PHC form, which begins with " + phcPrefix)
	}
	parts := strings.Split(rest, "$")
	if len(parts) != 4 {
		return nil, errors.New("it must have the form $argon2id$v=19$m=19456,t=2,p=1$salt$hash")
	}
	if parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("only version %d of argon2id is understood", argon2.Version)
	}
	params := strings.Split(parts[1], ",")
	if len(params) != 3 {
		return nil, errors.New("its parameters must be m, t and p")
	}
	var values [3]uint32
	for i, limit := range [...]struct {
		name     string
		min, max uint64
	}{{"m=", minMemory, maxMemory}, {"t=", 1, maxPasses}, {"p=", 1, maxThreads}} {
		text, ok := strings.CutPrefix(params[i], limit.name)
		n, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil || n < limit.min || n > limit.max {
			return nil, fmt.Errorf("its parameter %s must be a number from %d to %d", limit.name[:1], limit.min, limit.max)
		}
		values[i] = uint32(n)
	}
	p := &phc{memory: values[0], passes: values[1], threads: uint8(values[2])}
	if p.memory < 8*uint32(p.threads) {
		return nil, errors.New("its parameter m must be at least eight times p")
	}
	var err error
	enc := base64.RawStdEncoding.Strict()
	if p.salt, err = enc.DecodeString(parts[2]); err != nil || len(p.salt) < minSalt || len(p.salt) > maxSalt {
		return nil, fmt.Errorf("its salt must be %d to %d bytes in base64 without padding", minSalt, maxSalt)
	}
	if p.sum, err = enc.DecodeString(parts[3]); err != nil || len(p.sum) < minSum || len(p.sum) > maxSum {
		return nil, fmt.Errorf("its hash must be %d to %d bytes in base64 without padding", minSum, maxSum)
	}
	return p, nil
}
