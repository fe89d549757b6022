package access_test

import (
	"strings"
	"testing"

	"stasis/private/access"
)

func TestHashTokenNeverGivesTheSameTwice(t *testing.T) {
	a, b := access.HashToken("x"), access.HashToken("x")
	if a == b || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashes %q and %q", a, b)
	}
}

func FuzzTokenHash(f *testing.F) {
	f.Add(access.HashToken("x"))
	f.Add("$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHQ$uXskKAwGbcdcYEmPiLlOUkFNJHqoYSwSWDkUvCX1f3o")
	f.Add("$argon2id$v=19$m=,t=-1,p=$$")
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := access.ParsePHC(s)
		if err != nil {
			return
		}
		again, err := access.ParsePHC(parsed.String())
		if err != nil || again.String() != parsed.String() {
			t.Errorf("%q reads as %q, and that as %v, %v", s, parsed, again, err)
		}
	})
}
