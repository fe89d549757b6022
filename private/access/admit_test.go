package access_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"stasis/private/access"
)

func TestATokenIsTakenHoweverComposerSendsIt(t *testing.T) {
	d := open(t, access.Options{Anonymous: access.PublicReadNone, AdminToken: "correct-horse"})
	id, text := d.token(access.Token{})
	for _, header := range []string{
		"Bearer " + text, "bearer  " + text, basic("token", text), basic("anything", text), basic("", text),
		basic(text, ""), basic(text, "x-oauth-basic"), basic("snapshot=2026-01-01", text), basic("cooldown=7d", text),
	} {
		for range 2 { // decided, and remembered
			r, err := d.admit(header)
			if err != nil {
				t.Errorf("%q: %v", header, err)
			} else if r.Token() != id || r.Anonymous() || !r.Can(access.RoleRead) || r.Can(access.RoleDeveloper) {
				t.Errorf("%q is %+v", header, r)
			}
		}
	}
	for _, header := range []string{"Bearer correct-horse", basic("token", "correct-horse")} {
		if r, err := d.admit(header); err != nil || r.Token() != "admin" || !r.Can(access.RoleAdmin) || r.Restricted() {
			t.Errorf("the administrator with %q is %+v, %v", header, r, err)
		}
	}
}

func TestWithoutATokenThePolicyDecides(t *testing.T) {
	for policy, want := range map[access.Policy]struct{ reads, private, restricted bool }{
		access.PublicReadAll: {true, true, false}, access.PublicReadPublic: {true, false, true}, "": {true, false, true}, access.PublicReadNone: {},
	} {
		d := open(t, access.Options{Anonymous: policy})
		for _, header := range []string{"", basic("snapshot=2026-01-01", "-"), basic("cooldown=7d", ""), basic("", "")} {
			if !want.reads {
				denied := d.denied(401, "missing", header)
				h := http.Header{}
				denied.Headers(h)
				if !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic realm=") {
					t.Errorf("challenge %q", h.Get("WWW-Authenticate"))
				}
				continue
			}
			r, err := d.admit(header)
			if err != nil {
				t.Fatalf("PUBLIC_READ=%s, %q: %v", policy, header, err)
			}
			if !r.Anonymous() || !r.Can(access.RoleRead) || r.Can(access.RoleWebhook) || r.Can(access.RoleAdmin) || r.Can(access.RoleDeveloper) {
				t.Errorf("PUBLIC_READ=%s: %+v can what it should not", policy, r)
			}
			if !r.Sees(name(t, "monolog/monolog")) || r.Sees(name(t, "acme/secret")) != want.private || r.Restricted() != want.restricted {
				t.Errorf("PUBLIC_READ=%s: public %v, private %v, restricted %v", policy, r.Sees(name(t, "monolog/monolog")), r.Sees(name(t, "acme/secret")), r.Restricted())
			}
		}
	}
}

func TestAWrongTokenIsRefusedWhateverAnonymousClientsMay(t *testing.T) {
	for _, policy := range []access.Policy{access.PublicReadAll, access.PublicReadNone, access.PublicReadPublic} {
		d := open(t, access.Options{Anonymous: policy, AdminToken: "correct-horse"})
		_, text := d.token(access.Token{})
		other, otherText := d.token(access.Token{})
		d.denied(401, "wrong", "Bearer correct-horsf")
		d.denied(401, "wrong", basic("token", "x"))
		d.denied(401, "wrong", basic("token", ""))
		d.denied(401, "wrong", "Bearer "+strings.Repeat("x", 5000))
		if denied := d.denied(401, "wrong", "Bearer "+text[:len(text)-1]); !strings.Contains(denied.Message, "cut off or mistyped") {
			t.Errorf("a token that was cut off: %s", denied.Message)
		}
		if strings.Contains(d.denied(401, "wrong", basic("token", access.Resealed(text, 20))).Message, "cut off") {
			t.Error("a whole token with another secret is said to be cut off")
		}
		for _, header := range []string{"Digest username=x", "Basic ???", "Bearer", "Bearer ", "token " + text} {
			d.denied(401, "malformed", header)
		}
		if _, err := d.RevokeToken(other); err != nil {
			t.Fatal(err)
		}
		d.denied(401, "revoked", "Bearer "+otherText)
	}
}

func TestTokensCanBeRecognisedWithoutAskingAnybody(t *testing.T) {
	d := open(t, access.Options{})
	form := regexp.MustCompile(`^stasis_[adrw][0-9A-Za-z]{41}$`)
	seen := map[string]bool{}
	for _, role := range []access.Role{access.RoleAdmin, access.RoleDeveloper, access.RoleRead, access.RoleWebhook} {
		for range 50 {
			id, text := d.token(access.Token{Role: role})
			if !form.MatchString(text) || text[7] != role[0] || !strings.HasPrefix(text[8:], id) || seen[text] {
				t.Fatalf("token %s with the id %s", text, id)
			}
			seen[text] = true
			if got, ok := access.IDOf(text); !ok || got != id {
				t.Errorf("the id of %s is %q, %v", text, got, ok)
			}
			// Every typo of one character is found.
			for i := range text {
				c := byte('0')
				if text[i] == c {
					c = '1'
				}
				if _, ok := access.IDOf(text[:i] + string(c) + text[i+1:]); ok {
					t.Errorf("%s with a typo at %d passes for a token", text, i)
				}
			}
		}
	}
}

func TestNobodyFindsATokenInTheStore(t *testing.T) {
	d := open(t, access.Options{})
	id, text := d.token(access.Token{})
	d.reader(text)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{access.Stored(t, d.store, id), access.JSON(t, d.Tokens("")[0])} {
		if !strings.Contains(shown, id) || strings.Contains(shown, text) || strings.Contains(shown, text[20:40]) {
			t.Errorf("what is kept: %s", shown)
		}
	}
}

func TestATokenCountsFromItsMakingToItsEnd(t *testing.T) {
	d := open(t, access.Options{Anonymous: access.PublicReadAll})
	_, text := d.token(access.Token{ExpiresAt: noon.Add(time.Hour)})
	d.reader(text)
	d.clock.advance(time.Hour - time.Second)
	d.reader(text)
	d.reopen()
	d.reader(text)
	d.clock.advance(time.Second)
	d.denied(401, "expired", "Bearer "+text)

	id, text := d.token(access.Token{})
	d.reader(text)
	rotated, fresh, err := d.RotateToken(id)
	if err != nil || rotated.ID != id || fresh == text || !rotated.RotatedAt.Equal(d.clock.now()) {
		t.Fatalf("rotated: %+v, %v", rotated, err)
	}
	d.denied(401, "wrong", "Bearer "+text)
	d.reader(fresh)
	d.reopen()
	d.denied(401, "wrong", "Bearer "+text)
	d.reader(fresh)
	revoked, err := d.RevokeToken(id)
	if err != nil || !revoked.RevokedAt.Equal(d.clock.now()) {
		t.Fatalf("revoked: %+v, %v", revoked, err)
	}
	d.denied(401, "revoked", "Bearer "+fresh)
	d.reopen()
	d.denied(401, "revoked", "Bearer "+fresh)
	if _, _, err := d.RotateToken(id); err == nil {
		t.Error("a revoked token gets a new text")
	}
	if list := d.Tokens(""); len(list) != 2 {
		t.Errorf("tokens %+v", list)
	}
}

func TestGuessesAreSlowedPerAddressAndHotTokensAreNot(t *testing.T) {
	d := open(t, access.Options{AdminToken: "correct-horse"})
	_, known := d.token(access.Token{})
	_, fresh := d.token(access.Token{})
	d.reader(known)
	for range 10 {
		d.denied(401, "wrong", "Bearer guess")
	}
	if denied := d.denied(429, "limited", "Bearer guess"); denied.RetryAfter != 6*time.Second {
		t.Errorf("to wait for %s", denied.RetryAfter)
	}
	d.denied(429, "limited", "Bearer correct-horse")
	d.denied(429, "limited", "Bearer "+fresh)
	d.reader(known) // who works from the guesser's address goes on working
	if _, err := d.admit("Bearer correct-horse", "198.51.100.8:1"); err != nil {
		t.Errorf("another address suffers: %v", err)
	}
	d.clock.advance(6 * time.Second)
	d.reader(fresh)
	if _, err := d.admit(""); err != nil {
		t.Errorf("no token is no guess: %v", err)
	}
}

// The administrator's token may be one that people made up, so that the memory of decisions must not open a way to
// guess it unslowed.
func TestTheAdministratorsTokenIsSlowedEvenWhenItWasJustUsed(t *testing.T) {
	d := open(t, access.Options{AdminToken: "correct-horse"})
	d.reader("correct-horse")
	for range 10 {
		d.denied(401, "wrong", "Bearer guess")
	}
	d.denied(429, "limited", "Bearer correct-horse")
}

func TestGuessesAtOneTokenAreSlowedFromWhereverTheyCome(t *testing.T) {
	d := open(t, access.Options{})
	_, text := d.token(access.Token{})
	_, other := d.token(access.Token{})
	for i := range 100 {
		d.denied(401, "wrong", "Bearer "+access.Resealed(text, 16+i%20), "203.0.113."+string(rune('0'+i%10))+":1")
	}
	d.denied(429, "limited", "Bearer "+text)
	d.reader(other)
	d.clock.advance(6 * time.Second)
	d.reader(text)
}

// TestAClockThatJumpsGivesNobodyMore: whatever the clock does, what was revoked stays so, a token ends when it should by the
// clock there is, and nobody waits longer than a guesser does.
func TestAClockThatJumpsGivesNobodyMore(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, -40 * 24 * time.Hour, 3 * time.Hour, 40 * 24 * time.Hour} {
		d := open(t, access.Options{})
		_, short := d.token(access.Token{ExpiresAt: noon.Add(2 * time.Hour)})
		id, revoked := d.token(access.Token{})
		_, kept := d.token(access.Token{})
		_, fresh := d.token(access.Token{})
		d.reader(short)
		d.reader(kept)
		if _, err := d.RevokeToken(id); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			d.denied(401, "wrong", "Bearer guess", "192.0.2.77:1")
		}
		d.clock.advance(jump)
		for range 2 {
			d.denied(401, "revoked", "Bearer "+revoked)
			d.reader(kept)
			if jump > 2*time.Hour {
				d.denied(401, "expired", "Bearer "+short)
			} else {
				d.reader(short)
			}
			d.reopen()
		}
		for range 10 {
			_, _ = d.admit("Bearer guess", "192.0.2.77:1")
		}
		if denied := d.denied(429, "limited", "Bearer "+fresh, "192.0.2.77:1"); denied.RetryAfter > 6*time.Second {
			t.Errorf("after a jump by %s a client waits for %s", jump, denied.RetryAfter)
		}
		d.clock.advance(6 * time.Second)
		if _, err := d.admit("Bearer "+fresh, "192.0.2.77:1"); err != nil {
			t.Errorf("after a jump by %s a client is kept out: %v", jump, err)
		}
	}
}
