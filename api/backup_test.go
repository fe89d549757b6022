package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stasis/api"
	"stasis/private/access"
	"stasis/store"
	"stasis/store/backup"
)

func (o *operator) Backup(_ context.Context, w io.Writer, opts store.BackupOptions) (backup.Totals, error) {
	o.note("backup since %q with archives %q", opts.Since, opts.Archives)
	if o.err != nil {
		return backup.Totals{}, o.err
	}
	_, err := io.WriteString(w, "a backup")
	return backup.Totals{}, errors.Join(err, o.breaks)
}

// TestABackupOverHTTP asks a real store.
func TestABackupOverHTTP(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	table := store.Table[string]{Family: store.FamilyMeta, Name: "word"}
	put := func(word string) {
		if err := st.Update(func(tx *store.Tx) error { return table.Put(tx, word, word) }); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, api.Options{Backups: st, Access: administered(t, access.Options{AdminToken: token})})
	put("one")
	put("two")
	full := s.do("GET", "/api/v1/proxy/backup", "")
	h, totals, _, err := backup.Check(bytes.NewReader(full.body))
	if err != nil || totals.Records != 2 || h.Archives != store.BackupPinned {
		t.Fatalf("%d: %+v %+v: %v", full.StatusCode, h, totals, err)
	}
	if full.Header.Get("Content-Type") != "application/octet-stream" || full.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", full.Header)
	}
	put("three")
	a := s.do("GET", "/api/v1/proxy/backup?since="+h.ID, "")
	if next, totals, _, err := backup.Check(bytes.NewReader(a.body)); err != nil || totals.Records != 1 || next.Since != h.ID {
		t.Errorf("%d: %+v %+v: %v", a.StatusCode, next, totals, err)
	}
	if a := s.do("HEAD", "/api/v1/proxy/backup", ""); a.StatusCode != 200 || len(a.body) > 0 {
		t.Errorf("HEAD: %d", a.StatusCode)
	}
	for path, want := range map[string]string{
		"backup?since=nothing":              `The backup "nothing" cannot be continued here`,
		"backup?archives=some":              `Archives "some" are unknown`,
		"backup?since=":                     "The parameter since must not be empty",
		"backup?when=" + h.ID:               "is not known here",
		"backup?archives=all&since=" + h.ID: "make a full backup",
	} {
		if a := s.do("GET", "/api/v1/proxy/"+path, ""); a.StatusCode != 400 || !strings.Contains(a.message(), want) {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	for _, header := range []string{"Authorization: ", "Authorization: Bearer wrong"} {
		if a := s.do("GET", "/api/v1/proxy/backup", "", header); a.StatusCode != 401 {
			t.Errorf("%s: %d", header, a.StatusCode)
		}
	}
}

func TestOneBackupAtATime(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := serve(t, api.Options{Backups: st, Access: administered(t, access.Options{AdminToken: token})})
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first := true
		_, err := st.Backup(context.Background(), writerFunc(func(p []byte) (int, error) {
			if first {
				first = false
				close(begun)
				<-end
			}
			return len(p), nil
		}), store.BackupOptions{})
		ended <- err
	}()
	<-begun
	if a := s.do("GET", "/api/v1/proxy/backup", ""); a.StatusCode != 409 || a.code() != api.CodeConflict {
		t.Errorf("a second backup: %d %s", a.StatusCode, a.body)
	}
	close(end)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a := s.do("GET", "/api/v1/proxy/backup", ""); a.StatusCode != 200 {
		t.Errorf("the next one: %d %s", a.StatusCode, a.body)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestABackupThatBreaksOffIsNotTakenForAWholeOne cuts the connection.
func TestABackupThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	s := serve(t, options(t, &operator{breaks: errors.New("the disk is bad")}))
	r := httptest.NewRequest("GET", "/api/v1/proxy/backup", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	func() {
		defer func() {
			if problem := recover(); problem != http.ErrAbortHandler { //nolint:errorlint // the panic that net/http knows
				t.Errorf("it ends with %v and not with a broken connection", problem)
			}
		}()
		s.echo.ServeHTTP(httptest.NewRecorder(), r)
	}()
	if !strings.Contains(s.log.String(), "the disk is bad") {
		t.Errorf("the log does not say why: %s", s.log)
	}
}
