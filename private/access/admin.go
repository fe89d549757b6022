package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// administrator recognises the token of the configuration. Tokens are compared by their SHA-256 in constant
// time. Where only an argon2id hash is known, the first right token costs one slow verification, after which its
// SHA-256 is remembered; wrong ones are verified one at a time, so that guessing occupies at most one core and
// one buffer, whatever the number of guessers.
type administrator struct {
	plain    *[sha256.Size]byte // of the token given in the clear
	hash     *phc
	accepted atomic.Pointer[[sha256.Size]byte] // of the token that matched hash
	slow     chan struct{}                     // holds one element while hash is being computed

	verifications prometheus.Counter
}

func newAdministrator(token, hash string, reg prometheus.Registerer) (*administrator, error) {
	a := &administrator{
		slow: make(chan struct{}, 1),
		verifications: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "stasis_admin_token_verifications_total",
			Help: "Slow comparisons of a token with the configured argon2id hash.",
		}),
	}
	if strings.HasPrefix(token, phcPrefix) && hash == "" {
		token, hash = "", token
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		a.plain = &sum
	}
	if hash != "" {
		var err error
		if a.hash, err = parsePHC(hash); err != nil {
			return nil, fmt.Errorf("the administrator's token hash cannot be used: %w", err)
		}
	}
	return a, nil
}

func (a *administrator) configured() bool { return a.plain != nil || a.hash != nil }

// known reports whether a token with this SHA-256 is known to be right.
func (a *administrator) known(sum [sha256.Size]byte) bool {
	known := 0
	for _, want := range [...]*[sha256.Size]byte{a.plain, a.accepted.Load()} {
		if want != nil {
			known |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	return known == 1
}

// verify compares a token that is not known with the hash. It asks again before the slow part: while this
// request waited for its turn, others from the same address may have used up its guesses, which again then
// returns as an error, or the right token may have been found. A wrong one it counts with wrong, before the next
// has its turn.
func (a *administrator) verify(ctx context.Context, token string, sum [sha256.Size]byte, again func() error, wrong func()) (bool, error) {
	if a.hash == nil {
		wrong()
		return false, nil
	}
	select {
	case a.slow <- struct{}{}:
		defer func() { <-a.slow }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := again(); err != nil {
		return false, err
	}
	if a.known(sum) {
		return true, nil
	}
	a.verifications.Inc()
	if !a.hash.matches(token) {
		wrong()
		return false, nil
	}
	a.accepted.Store(&sum)
	return true, nil
}
