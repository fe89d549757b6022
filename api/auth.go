package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"stasis/proxy/origin"
)

// maxToken bounds what is hashed for a stranger.
const maxToken = 1024

// authenticator decides whether a request comes from the administrator. Tokens are compared by their
// SHA-256 in constant time. Where only an argon2id hash is known, the first right token costs one slow
// verification, after which its SHA-256 is remembered; wrong ones are verified one at a time, so that
// guessing occupies at most one core and one buffer, whatever the number of guessers.
type authenticator struct {
	plain    *[sha256.Size]byte // of the token given in the clear
	hash     *phc
	accepted atomic.Pointer[[sha256.Size]byte] // of the token that matched hash
	slow     chan struct{}                     // holds one element while hash is being computed

	throttle      *throttle
	trusted       []netip.Prefix
	failures      *prometheus.CounterVec
	verifications prometheus.Counter
}

func newAuthenticator(o Options) (*authenticator, error) {
	a := &authenticator{
		slow:     make(chan struct{}, 1),
		throttle: newThrottle(o.Now),
		trusted:  o.TrustedProxies,
		failures: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_admin_auth_failures_total",
			Help: "Refused management requests by reason: no token, a wrong one, too many wrong ones, or none configured.",
		}, []string{"reason"}),
		verifications: promauto.With(o.Registerer).NewCounter(prometheus.CounterOpts{
			Name: "stasis_admin_token_verifications_total",
			Help: "Slow comparisons of a token with the configured argon2id hash.",
		}),
	}
	token, hash := o.AdminToken, o.AdminTokenHash
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

// admit returns nil for the administrator and a 401 or 429 for everybody else.
func (a *authenticator) admit(r *http.Request) error {
	if a.plain == nil && a.hash == nil {
		return a.refuse("closed", "The management API is closed because no administrator token is configured; set ADMIN_TOKEN or ADMIN_TOKEN_HASH and start again.")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return a.refuse("missing", "The management API needs the administrator's token in the header Authorization: Bearer <token>.")
	}
	client := origin.ClientAddr(r, a.trusted)
	if err := a.limited(client); err != nil {
		return err
	}
	ok, err := a.check(r.Context(), client, token)
	if err != nil {
		return err
	}
	if !ok {
		return a.refuse("wrong", "The administrator's token is not the right one.")
	}
	return nil
}

// check reports whether the token is right, and counts it against the client if it is not.
func (a *authenticator) check(ctx context.Context, client netip.Addr, token string) (bool, error) {
	if len(token) > maxToken {
		a.throttle.failed(client)
		return false, nil
	}
	sum := sha256.Sum256([]byte(token))
	if a.known(sum) {
		return true, nil
	}
	if a.hash == nil {
		a.throttle.failed(client)
		return false, nil
	}
	select {
	case a.slow <- struct{}{}:
		defer func() { <-a.slow }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// While this request waited, others from the same address may have used up its guesses, or the right
	// token may have been found.
	if err := a.limited(client); err != nil {
		return false, err
	}
	if a.known(sum) {
		return true, nil
	}
	a.verifications.Inc()
	if !a.hash.matches(token) {
		a.throttle.failed(client)
		return false, nil
	}
	a.accepted.Store(&sum)
	return true, nil
}

func (a *authenticator) known(sum [sha256.Size]byte) bool {
	known := 0
	for _, want := range [...]*[sha256.Size]byte{a.plain, a.accepted.Load()} {
		if want != nil {
			known |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	return known == 1
}

func (a *authenticator) limited(client netip.Addr) error {
	wait := a.throttle.wait(client)
	if wait == 0 {
		return nil
	}
	a.failures.WithLabelValues("limited").Inc()
	return &failure{status: http.StatusTooManyRequests, code: CodeRateLimited, retryAfter: wait,
		message: "There were too many wrong tokens from this address; wait before the next try."}
}

func (a *authenticator) refuse(reason, message string) error {
	a.failures.WithLabelValues(reason).Inc()
	return &failure{status: http.StatusUnauthorized, code: CodeUnauthorized, message: message,
		header: "WWW-Authenticate", value: `Bearer realm="stasis management"`}
}
