package private_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"stasis/private"
	"stasis/private/vault"
	"stasis/store"
)

func TestCredentialsAreNotTakenWithoutAKey(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	none, err := vault.Open(st, vault.Keys{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	service, err := private.New(private.Options{Store: st, Vault: none})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	_, err = service.AddSource(t.Context(), private.SourceRequest{
		Source:      private.Source{Type: private.Composer, URL: "https://satis.example.com"},
		Credentials: &private.Credentials{Username: "build", Password: "secret"},
	})
	var conflict interface{ Conflict() bool }
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "ENCRYPTION_KEY") || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
	if all, err := service.Sources(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("there are %d sources, %v", len(all), err)
	}
}
