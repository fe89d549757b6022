package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/private/access"
	"stasis/store"
)

func TestAHashThatCannotBeUsedStopsTheStart(t *testing.T) {
	st, err := store.Open(context.Background(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, hash := range []string{
		"secret", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=9$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA==",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "$argon2id$",
	} {
		_, err := access.New(access.Options{Store: st, AdminTokenHash: hash})
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c29t") {
			t.Errorf("%s: error %v", hash, err)
		}
	}
}

// verifications reads how often a token was compared with the slow hash.
func verifications(t *testing.T, reg *prometheus.Registry) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stasis_admin_token_verifications_total" {
			n += f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return n
}

func TestManyRightTokensAtOnceNeedOneSlowVerification(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := open(t, access.Options{AdminTokenHash: access.HashToken("correct-horse"), Registerer: reg})
	var wg sync.WaitGroup
	errs := make([]error, 100)
	for i := range errs {
		wg.Go(func() { _, errs[i] = d.Admit(request("Bearer correct-horse")) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := verifications(t, reg); n != 1 {
		t.Errorf("%v slow verifications, want one", n)
	}
}

func TestManyWrongTokensAtOnceAreVerifiedAsOftenAsGuessesAreAllowed(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := open(t, access.Options{AdminTokenHash: access.HashToken("correct-horse"), Registerer: reg})
	var wg sync.WaitGroup
	errs := make([]error, 60)
	for i := range errs {
		wg.Go(func() { _, errs[i] = d.Admit(request("Bearer guess")) })
	}
	wg.Wait()
	count := map[string]int{}
	for _, err := range errs {
		var denied *access.Denied
		if !errors.As(err, &denied) {
			t.Fatal(err)
		}
		count[denied.Reason]++
	}
	if n := verifications(t, reg); count["wrong"] != 10 || count["limited"] != 50 || n != 10 {
		t.Errorf("answers by reason: %v, want 10 wrong and 50 limited; %v slow verifications", count, n)
	}
}
