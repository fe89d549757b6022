package api_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/api"
	"stasis/private/access"
)

// ticker is a clock that tests move.
type ticker struct {
	mu sync.Mutex
	t  time.Time
}

func (c *ticker) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *ticker) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestWithoutAConfiguredTokenTheAPIIsClosed(t *testing.T) {
	s := serve(t, api.Options{Operator: &operator{}})
	for _, o := range operations {
		a := s.do(o.method, o.path, "")
		if a.StatusCode != 401 || a.code() != api.CodeUnauthorized || !strings.Contains(a.message(), "ADMIN_TOKEN") || !strings.Contains(a.message(), "closed") {
			t.Errorf("%s %s: %d %s", o.method, o.path, a.StatusCode, a.body)
		}
	}
	if a := s.do("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("health is closed too: %d", a.StatusCode)
	}
}

func TestOnlyTheRightTokenIsLetIn(t *testing.T) {
	for name, o := range map[string]access.Options{
		"in the clear":                     {AdminToken: token},
		"as a hash":                        {AdminTokenHash: access.HashToken(token)},
		"as a hash in the token's place":   {AdminToken: access.HashToken(token)},
		"as a hash, with another token":    {AdminToken: "another", AdminTokenHash: access.HashToken(token)},
		"in the clear, with another hash":  {AdminToken: token, AdminTokenHash: access.HashToken("another")},
		"as the hash of a different maker": {AdminTokenHash: "$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHQ$uXskKAwGbcdcYEmPiLlOUkFNJHqoYSwSWDkUvCX1f3o"},
	} {
		t.Run(name, func(t *testing.T) {
			right := "Authorization: Bearer " + token
			if strings.HasPrefix(name, "as the hash of") {
				right = "" // only that it is accepted as a setting
			}
			s := serve(t, api.Options{Operator: &operator{}, Access: administered(t, o), Now: clock})
			if right != "" {
				for _, h := range []string{right, strings.Replace(right, "Bearer", "bearer", 1)} {
					if a := s.do("GET", "/api/v1/proxy/status", "", h); a.StatusCode != 200 {
						t.Errorf("%s: %d %s", h, a.StatusCode, a.body)
					}
				}
			}
			for _, h := range []string{"Authorization: ", "Authorization: Bearer", "Authorization: " + token, "Authorization: Basic dG9rZW46eA==", "Authorization: Bearer " + token + "x",
				"Authorization: Bearer " + token[1:], "Authorization: Bearer " + strings.Repeat("x", 5000)} {
				a := s.do("GET", "/api/v1/proxy/status", "", h)
				if a.StatusCode != 401 || a.code() != api.CodeUnauthorized || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s: %d %s", h, a.StatusCode, a.body)
				}
			}
			if a := s.do("GET", "/api/v1/proxy/status?token="+token, "", "Authorization: "); a.StatusCode != 401 {
				t.Errorf("a token in the query string is accepted: %d", a.StatusCode)
			}
			if a := s.do("GET", "/api/v1/nothing", "", "Authorization: "); a.StatusCode != 401 {
				t.Errorf("an unknown path needs no token: %d", a.StatusCode)
			}
		})
	}
}

func TestWrongTokensAreSlowedPerAddress(t *testing.T) {
	c := &ticker{t: noon}
	s := serve(t, api.Options{Operator: &operator{}, Now: c.now, Access: administered(t, access.Options{AdminToken: token, Now: c.now,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})})
	try := func(address, tok string) answer {
		t.Helper()
		return s.do("GET", "/api/v1/proxy/status", "", "Authorization: Bearer "+tok, "X-Forwarded-For: "+address)
	}
	for i := range 10 {
		if a := try("198.51.100.1", "guess"); a.StatusCode != 401 {
			t.Fatalf("guess %d: %d", i, a.StatusCode)
		}
	}
	a := try("198.51.100.1", "guess")
	if a.StatusCode != 429 || a.code() != api.CodeRateLimited || a.Header.Get("Retry-After") != "6" {
		t.Errorf("the eleventh guess: %d %s, Retry-After %q", a.StatusCode, a.body, a.Header.Get("Retry-After"))
	}
	if a := try("198.51.100.1", token); a.StatusCode != 429 {
		t.Errorf("a right guess gets through while guesses are slowed: %d", a.StatusCode)
	}
	if a := try("198.51.100.2", token); a.StatusCode != 200 {
		t.Errorf("another address suffers: %d", a.StatusCode)
	}
	c.advance(6 * time.Second)
	if a := try("198.51.100.1", token); a.StatusCode != 200 {
		t.Errorf("after the time named the right token is refused: %d", a.StatusCode)
	}
	if a := try("198.51.100.1", "guess"); a.StatusCode != 401 {
		t.Errorf("after the time named another guess: %d", a.StatusCode)
	}
	if a := try("198.51.100.1", "guess"); a.StatusCode != 429 {
		t.Errorf("the guess after that: %d", a.StatusCode)
	}
	// A client may choose freely within a /64.
	for range 10 {
		try("2001:db8::1", "guess")
	}
	if a := try("2001:db8::2", "guess"); a.StatusCode != 429 {
		t.Errorf("a neighbour in the same /64: %d", a.StatusCode)
	}
	if a := try("2001:db8:0:1::1", "guess"); a.StatusCode != 401 {
		t.Errorf("another /64: %d", a.StatusCode)
	}
	// No token at all is no guess.
	for range 20 {
		if a := s.do("GET", "/api/v1/proxy/status", "", "Authorization: "); a.StatusCode != 401 {
			t.Fatalf("without a token: %d", a.StatusCode)
		}
	}
}
