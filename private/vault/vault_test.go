package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/private/vault"
	"stasis/store"
)

var (
	first  = strings.Repeat("0a", 32)
	second = strings.Repeat("B1", 32)
)

func keys(t testing.TB, current, old string) vault.Keys {
	t.Helper()
	k, err := vault.ParseKeys(current, old)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openStore(t testing.TB, path string) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// openVault opens a vault and returns it with what it logged.
func openVault(t testing.TB, st *store.Store, k vault.Keys) (*vault.Vault, string) {
	t.Helper()
	var log bytes.Buffer
	v, err := vault.Open(st, k, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return v, log.String()
}

func put(st *store.Store, v *vault.Vault, subject, secret string) error {
	return st.Update(func(tx *store.Tx) error { return v.Put(tx, subject, []byte(secret)) })
}

func TestASecretComesBackForItsSubjectOnly(t *testing.T) {
	k := keys(t, first, "")
	sealed, err := k.Seal("source 1", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(sealed)
	if strings.Contains(string(raw), "hunter2") || bytes.Contains(sealed.Box, []byte("hunter2")) {
		t.Errorf("the secret is in the clear: %s", raw)
	}
	var back vault.Sealed
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if secret, err := k.Open("source 1", back); err != nil || string(secret) != "hunter2" {
		t.Errorf("%q, %v", secret, err)
	}
	if secret, err := k.Open("source 2", back); err == nil {
		t.Errorf("another subject gets %q", secret)
	}
	for i := range back.Box {
		damaged := vault.Sealed{Key: back.Key, Box: bytes.Clone(back.Box)}
		damaged.Box[i] ^= 1
		if _, err := k.Open("source 1", damaged); err == nil {
			t.Fatalf("a flipped bit in byte %d is not noticed", i)
		}
	}
	if _, err := k.Open("source 1", vault.Sealed{Key: back.Key}); err == nil {
		t.Error("an empty box opens")
	}
	again, err := k.Seal("source 1", []byte("hunter2"))
	if err != nil || bytes.Equal(again.Box, sealed.Box) {
		t.Errorf("the same secret looks the same twice: %v", err)
	}
}

func TestNothingIsStoredWithoutAKey(t *testing.T) {
	st := openStore(t, t.TempDir())
	v, _ := openVault(t, st, keys(t, "", ""))
	if err := put(st, v, "source 1", "hunter2"); !errors.Is(err, vault.ErrNoKey) || !strings.Contains(err.Error(), "ENCRYPTION_KEY") || v.Ready() {
		t.Errorf("stored without a key: %v", err)
	}
	if _, err := v.Read("source 1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was stored: %v", err)
	}
}

func TestKeysThatAreNoneAreRefusedWithoutShowingThem(t *testing.T) {
	for _, c := range []struct{ current, old, names string }{
		{"secret", "", "ENCRYPTION_KEY"}, {first[2:], "", "ENCRYPTION_KEY"}, {first + "00", "", "ENCRYPTION_KEY"}, {strings.Repeat("zz", 32), "", "ENCRYPTION_KEY"},
		{first, "secret", "ENCRYPTION_KEY_OLD"}, {"", first, "ENCRYPTION_KEY_OLD"},
	} {
		_, err := vault.ParseKeys(c.current, c.old)
		if err == nil || !strings.HasPrefix(err.Error(), c.names+" ") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), first[:8]) {
			t.Errorf("%q and %q: %v", c.current, c.old, err)
		}
	}
}

func TestAKeyIsReplacedAtAStart(t *testing.T) {
	path := t.TempDir()
	st := openStore(t, path)
	v, _ := openVault(t, st, keys(t, first, ""))
	for _, subject := range []string{"source 1", "source 2"} {
		if err := put(st, v, subject, "hunter2 of "+subject); err != nil {
			t.Fatal(err)
		}
	}
	// With the wrong key nothing is lost, and the error says what to do.
	wrong, log := openVault(t, st, keys(t, second, ""))
	if _, err := wrong.Read("source 1"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "ENCRYPTION_KEY") {
		t.Errorf("with another key: %v", err)
	}
	if strings.Count(log, "a credential cannot be used") != 2 {
		t.Errorf("log %s", log)
	}
	none, _ := openVault(t, st, keys(t, "", ""))
	if _, err := none.Read("source 1"); err == nil || !strings.Contains(err.Error(), "ENCRYPTION_KEY is not set") {
		t.Errorf("without a key: %v", err)
	}

	if _, log := openVault(t, st, keys(t, second, first)); !strings.Contains(log, "ENCRYPTION_KEY_OLD can be removed") || strings.Contains(log, "hunter2") {
		t.Errorf("log %s", log)
	}
	after, log := openVault(t, st, keys(t, second, ""))
	for _, subject := range []string{"source 1", "source 2"} {
		if secret, err := after.Read(subject); err != nil || string(secret) != "hunter2 of "+subject || log != "" {
			t.Errorf("after the change: %q, %v, log %s", secret, err, log)
		}
	}
	if err := st.Update(func(tx *store.Tx) error { return after.Delete(tx, "source 1") }); err != nil {
		t.Fatal(err)
	}
	if _, err := after.Read("source 1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted secret: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(file)
		if bytes.Contains(raw, []byte("hunter2")) {
			t.Errorf("%s has the secret in the clear", filepath.Base(file))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever lies in a store, opening it gives an error and no secret.
func FuzzOpen(f *testing.F) {
	k := keys(f, first, second)
	sealed, err := k.Seal("s", []byte("hunter2"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed.Key, sealed.Box[1:])
	f.Add("", []byte{})
	f.Add(sealed.Key, make([]byte, 28))
	f.Fuzz(func(t *testing.T, id string, box []byte) {
		secret, err := k.Open("other", vault.Sealed{Key: id, Box: box})
		if err == nil {
			t.Errorf("a box that nobody made opens: %q", secret)
		}
	})
}
