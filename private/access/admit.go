package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"stasis/proxy/origin"
)

// maxPresented bounds what is hashed for a stranger, in bytes.
const maxPresented = 1024

// TokenHeader is where a token may stand by itself, for clients that are told which header to send, such as Composer 2.9
// by the custom-headers of its auth.json. What Authorization says counts for more.
const TokenHeader = "X-Stasis-Token"

// credentials is what a request says about its sender, as an Authorization header says it.
func credentials(h http.Header) string {
	if header := h.Get("Authorization"); header != "" {
		return header
	}
	if token := h.Get(TokenHeader); token != "" {
		return "Bearer " + token
	}
	return ""
}

// Admit says who sent a request. The token comes as Basic password, whatever the user name, as Bearer token, or in
// TokenHeader; also as Basic user name with the password empty or "x-oauth-basic". User names that choose a world, snapshot=… and
// cooldown=…, have any password, which counts as a token if it begins like one. An error that is a *Denied is the
// answer; any other means that it cannot be told, because the request ended.
func (a *Access) Admit(r *http.Request) (*Reader, error) {
	header := credentials(r.Header)
	if header == "" {
		return a.visitor()
	}
	now := a.o.Now()
	if rd := a.decisions.get(header, a.generation.Load()); rd != nil && rd.live(now) {
		rd.used(a, now, r)
		return rd, nil
	}
	return a.decide(r, header, now)
}

// Anonymous is who sends no token, whether or not such clients are admitted.
func (a *Access) Anonymous() *Reader { return a.stranger }

// visitor is who sends no token.
func (a *Access) visitor() (*Reader, error) {
	if a.o.Anonymous == PublicReadNone {
		return nil, a.refuse(unauthorized("missing", "This repository needs a token: as the password of http-basic, with any user name, or as bearer."))
	}
	return a.stranger, nil
}

// decide is Admit without the memory of what was decided before.
func (a *Access) decide(r *http.Request, header string, now time.Time) (*Reader, error) {
	generation := a.generation.Load()
	presented, ok := presentedToken(header)
	if !ok {
		return nil, a.refuse(unauthorized("malformed", "The Authorization header is neither Basic nor Bearer with a token."))
	}
	if presented == "" {
		return a.visitor()
	}
	rd, err := a.check(r.Context(), origin.ClientAddr(r, a.o.TrustedProxies), presented, now)
	if err != nil {
		return nil, err
	}
	// The administrator's token may be one that people made up, so it does not pass by the throttle.
	if rd != a.root {
		a.decisions.put(header, generation, rd)
	}
	rd.used(a, now, r)
	return rd, nil
}

// check finds the reader of a token, and counts the token against the client if it is wrong.
func (a *Access) check(ctx context.Context, client netip.Addr, presented string, now time.Time) (*Reader, error) {
	slowed := func() error { return a.slowed(a.clients.wait(client)) }
	wrong := func() { a.clients.failed(client) }
	if err := slowed(); err != nil {
		return nil, err
	}
	if len(presented) > maxPresented {
		wrong()
		return nil, a.refuse(unauthorized("wrong", "The token is not known here."))
	}
	sum := sha256.Sum256([]byte(presented))
	if a.admin.known(sum) {
		return a.root, nil
	}
	id, whole := idOf(presented)
	if whole {
		if rd, err := a.tokenOf(id, sum, now); rd != nil || err != nil {
			return rd, err
		}
	}
	right, err := a.admin.verify(ctx, presented, sum, slowed, wrong)
	switch {
	case err != nil:
		return nil, err
	case right:
		return a.root, nil
	}
	if LooksLikeToken(presented) && !whole {
		return nil, a.refuse(unauthorized("wrong", "The token is not whole: its checksum is wrong, so it was cut off or mistyped."))
	}
	return nil, a.refuse(unauthorized("wrong", "The token is not known here."))
}

// tokenOf returns the reader of the token with the id and hash, an error if there is one that does not count, and
// neither if there is none. It does the same for an id that exists and one that does not, so that time does not tell
// them apart.
func (a *Access) tokenOf(id string, sum sumOfToken, now time.Time) (*Reader, error) {
	a.mu.RLock()
	t, known := a.tokens[id]
	a.mu.RUnlock()
	if !known {
		t = &a.nobody
	}
	right := subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
	wait := t.guesses.count(now, !right)
	switch {
	case !right || !known:
		return nil, nil
	case wait > 0:
		return nil, a.slowed(wait)
	case !t.RevokedAt.IsZero():
		return nil, a.refuse(unauthorized("revoked", "The token was revoked; ask for a new one."))
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return nil, a.refuse(unauthorized("expired", "The token expired at "+t.ExpiresAt.Format(time.RFC3339)+"; ask for a new one."))
	}
	if t.Owner == "" {
		return a.o.reader(t.Token, nil, t.use), nil
	}
	a.mu.RLock()
	owner := a.owners[t.Owner]
	a.mu.RUnlock()
	if owner == nil { // deleted between the two looks
		return nil, a.refuse(unauthorized("revoked", "The token was revoked; ask for a new one."))
	}
	if owner.Status == Suspended {
		message := "The access of " + owner.Name + " is suspended."
		if owner.Reason != "" {
			message = "The access of " + owner.Name + " is suspended: " + owner.Reason
		}
		return nil, a.refuse(&Denied{Status: http.StatusForbidden, Reason: "suspended", Message: message})
	}
	return a.o.reader(t.Token, owner, t.use), nil
}

func (a *Access) slowed(wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return a.refuse(&Denied{Status: http.StatusTooManyRequests, Reason: "limited", RetryAfter: wait,
		Message: "There were too many wrong tokens; wait before the next try."})
}

func (a *Access) refuse(d *Denied) *Denied {
	a.refusals.WithLabelValues(d.Reason).Inc()
	return d
}

// presentedToken reads the token out of an Authorization header. The token is empty when there is none, and the
// result false when the header says something else.
func presentedToken(header string) (string, bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest, rest != ""
	case !strings.EqualFold(scheme, "Basic"):
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return "", false
	}
	user, password, _ := strings.Cut(string(raw), ":")
	switch {
	case strings.HasPrefix(user, "snapshot="), strings.HasPrefix(user, "cooldown="):
		if LooksLikeToken(password) {
			return password, true
		}
		return "", true
	case password == "" || password == "x-oauth-basic":
		return user, true
	}
	return password, true
}
