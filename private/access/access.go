// Package access decides who asks and what is open to whom.
//
// It owns the tokens, their owners, the policy for anonymous clients, the recognition of the administrator's token,
// and the slowing of guesses. It promises that a token is stored only as a hash and shown only once; that tokens are
// compared in constant time and that a wrong one is answered alike whatever is wrong with its secret; that a change of
// tokens or owners counts from the next request on; and that a request with a token that was right a moment ago costs
// a hash and a look-up, without an allocation.
//
// What a hidden package is answered with, which world a view names and what needs which role is left to those who ask.
package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"stasis/proxy/composer"
	"stasis/store"
)

// Policy is what anonymous clients get.
type Policy string

// The policies, as PUBLIC_READ spells them.
const (
	PublicReadAll    Policy = "true"        // everything
	PublicReadNone   Policy = "false"       // nothing: without a token the answer is 401
	PublicReadPublic Policy = "public-only" // what is public; private packages do not exist for them
)

// Options configure an Access. Only Store is required.
type Options struct {
	Store *store.Store
	// Anonymous is what clients without a token get; empty means public-only.
	Anonymous Policy
	// AdminToken is the administrator's token, in the clear or as an argon2id PHC string.
	AdminToken string
	// AdminTokenHash is the argon2id PHC string of the token. With both set, either token is accepted.
	AdminTokenHash string
	// Private tells which packages are private. It must be cheap, and must not change its mind about a name because a
	// source is down. Nil means that none is.
	Private func(composer.Name) bool
	// CheckView tells whether a view, such as snapshot/prod, can be bound to a token; nil accepts all.
	CheckView func(view string) error
	// Settle is how old an instant must be to be looked at: a freeze without a date is that far back.
	Settle time.Duration
	// TrustedProxies are the peers whose forwarding headers are believed.
	TrustedProxies []netip.Prefix
	Now            func() time.Time // nil means time.Now
	Logger         *slog.Logger     // nil discards
	Registerer     prometheus.Registerer
}

func (o Options) withDefaults() (Options, error) {
	switch o.Anonymous {
	case "":
		o.Anonymous = PublicReadPublic
	case PublicReadAll, PublicReadNone, PublicReadPublic:
	default:
		return o, fmt.Errorf("the policy for anonymous clients is %q; it must be true, false or public-only", o.Anonymous)
	}
	if o.Store == nil {
		return o, errors.New("access: a store is needed")
	}
	if o.Private == nil {
		o.Private = func(composer.Name) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Access knows all tokens and owners. They are in memory, which the one program on a data folder can afford, and every
// change is durable before it counts. It is safe for concurrent use.
type Access struct {
	o         Options
	admin     *administrator
	root      *Reader // the administrator
	stranger  *Reader // anonymous
	decisions *decisions
	clients   *throttle
	senders   *throttle // of webhooks
	nobody    token     // stands for a token that does not exist
	refusals  *prometheus.CounterVec

	changing   sync.Mutex    // held by whoever changes tokens or owners, from reading them to having replaced them
	generation atomic.Uint64 // counts the changes
	mu         sync.RWMutex  // guards what follows
	tokens     map[string]*token
	owners     map[string]*Owner // never changed, only replaced

	flushing   sync.Mutex // held while uses are written
	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup
}

// token is a Token with what recognises it.
type token struct {
	Token            // never changed, only replaced
	sum   sumOfToken // of its text

	// These are the same for all versions of the token.
	use     *use
	guesses *guesses
}

type sumOfToken = [sha256.Size]byte

// New reads the tokens and owners. It fails if a setting cannot be used.
func New(o Options) (*Access, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Access{
		o: o, root: o.administrator(), stranger: o.anonymous(), decisions: newDecisions(),
		clients: newThrottle(o.Now), senders: newThrottle(o.Now), nobody: token{guesses: &guesses{}},
		refusals: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_access_refusals_total",
			Help: "Requests refused because of their token, by reason: missing, malformed, wrong, expired, revoked, suspended, limited.",
		}, []string{"reason"}),
		tokens: map[string]*token{}, owners: map[string]*Owner{},
	}
	if a.admin, err = newAdministrator(o.AdminToken, o.AdminTokenHash, o.Registerer); err != nil {
		return nil, err
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	a.background, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// Start begins to write down when tokens were last used, once a minute.
func (a *Access) Start() {
	a.running.Go(func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-a.background.Done():
				return
			case <-tick.C:
				if err := a.flushUses(); err != nil {
					a.o.Logger.Warn("the last uses of tokens were not written", "error", err)
				}
			}
		}
	})
}

// Close ends that and writes the rest.
func (a *Access) Close() error {
	a.stop()
	a.running.Wait()
	return a.flushUses()
}

// Manageable reports whether anybody could be an administrator: whether a token for that is configured or was made.
func (a *Access) Manageable() bool {
	if a.admin.configured() {
		return true
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	now := a.o.Now()
	for _, t := range a.tokens {
		if t.Role == RoleAdmin && t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt)) {
			return true
		}
	}
	return false
}
