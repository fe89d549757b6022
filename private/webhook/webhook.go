// Package webhook understands what hosts of git repositories send after a push: who sent it, and which repository and refs
// it is about.
//
// It owns the signature schemes and the payloads of each provider. A delivery is verified over the raw bytes, before
// anything is parsed, and only by the scheme of the provider that the hook was set up for: the sender cannot choose a
// weaker one. Without a secret nothing is accepted. What a payload says is a hint to go and look, never a fact.
//
// Remembering which deliveries came already is left to the caller; see Delivery.
package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Provider is the host that a hook was set up for.
type Provider string

// The providers. Bitbucket stands for both of its products, which sign in the same way.
const (
	GitHub    Provider = "github"
	GitLab    Provider = "gitlab"
	Gitea     Provider = "gitea"
	Forgejo   Provider = "forgejo"
	Bitbucket Provider = "bitbucket"
	Generic   Provider = "generic"
)

// Providers are all of them.
var Providers = []Provider{GitHub, GitLab, Gitea, Forgejo, Bitbucket, Generic}

// ParseProvider reads the name of a provider.
func ParseProvider(s string) (Provider, error) {
	for _, p := range Providers {
		if s == string(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%.40q is not a webhook provider; there are github, gitlab, gitea, forgejo, bitbucket and generic", s)
}

// Recognize tells by its headers which provider sent a delivery whose sender is known by a token. Whoever relies on the
// signature must not ask it: the sender would choose the scheme.
func Recognize(h http.Header) Provider {
	for _, p := range []struct {
		header   string
		provider Provider
	}{{"X-Forgejo-Event", Forgejo}, {"X-Gitea-Event", Gitea}, {"X-Gitlab-Event", GitLab}, {"X-Event-Key", Bitbucket}, {"X-GitHub-Event", GitHub}} {
		if h.Get(p.header) != "" {
			return p.provider
		}
	}
	return Generic
}

// Delivery says which delivery this is.
type Delivery struct {
	// ID is the same when a provider sends a delivery again. It is not signed, except by GitLab's new scheme: who remembers
	// it stops repetitions, not somebody who recorded a delivery and renames it. Empty when the provider gives none, which
	// only old versions of GitLab do.
	ID    string
	Event string // in the provider's words
}

// Why a delivery was not accepted. What is known of it beyond that stays in the log of the provider.
var (
	ErrNoSecret  = errors.New("the webhook has no secret, so nothing can be verified: set one here and at the provider")
	ErrUnsigned  = errors.New("the delivery is not signed as the provider of this webhook signs")
	ErrSignature = errors.New("the delivery's signature is wrong: the secrets differ, or the body was changed on the way")
	ErrStale     = errors.New("the delivery was signed more than five minutes ago or ahead: it is repeated, or a clock is wrong")
	ErrNoID      = errors.New("the delivery does not say which delivery it is")
)

// tolerance is how far the time of a signature may be from ours, in both directions.
const tolerance = 5 * time.Minute

// Verify checks that one of the secrets signed a delivery. body is as it came over the wire. Several secrets are given
// while one replaces another; none of them may be empty.
func Verify(p Provider, secrets [][]byte, h http.Header, body []byte, now time.Time) (Delivery, error) {
	if len(secrets) == 0 {
		return Delivery{}, ErrNoSecret
	}
	for _, s := range secrets {
		if len(s) == 0 {
			return Delivery{}, ErrNoSecret
		}
	}
	var err error
	d := Delivery{}
	switch p {
	case GitHub:
		err = verifyHex(secrets, h, "X-Hub-Signature-256", "sha256=", body)
		d.ID, d.Event = h.Get("X-GitHub-Delivery"), h.Get("X-GitHub-Event")
	case Bitbucket:
		err = verifyHex(secrets, h, "X-Hub-Signature", "sha256=", body)
		d.ID, d.Event = first(h, "X-Request-UUID", "X-Request-Id"), h.Get("X-Event-Key")
	case Gitea:
		err = verifyHex(secrets, h, "X-Gitea-Signature", "", body)
		d.ID, d.Event = h.Get("X-Gitea-Delivery"), h.Get("X-Gitea-Event")
	case Forgejo: // which signs in Gitea's name too, and formerly in that only
		name := "X-Forgejo-Signature"
		if len(h.Values(name)) == 0 {
			name = "X-Gitea-Signature"
		}
		err = verifyHex(secrets, h, name, "", body)
		d.ID, d.Event = first(h, "X-Forgejo-Delivery", "X-Gitea-Delivery"), first(h, "X-Forgejo-Event", "X-Gitea-Event")
	case GitLab:
		d.Event = h.Get("X-Gitlab-Event")
		d.ID, err = verifyGitLab(secrets, h, body, now)
	default: // generic deliveries carry a token, see Token
		return Delivery{}, fmt.Errorf("nothing is signed by the webhook provider %.40q", p)
	}
	if err != nil {
		return Delivery{}, err
	}
	if d.ID == "" && p != GitLab || !plain(d.ID) || !plain(d.Event) {
		return Delivery{}, ErrNoID
	}
	return d, nil
}

func first(h http.Header, names ...string) string {
	for _, n := range names {
		if v := h.Get(n); v != "" {
			return v
		}
	}
	return ""
}

// plain reports whether a header is short and printable, so that it can be remembered and logged.
func plain(s string) bool {
	return len(s) <= 200 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
