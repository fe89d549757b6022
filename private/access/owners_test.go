package access_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private/access"
)

func validation(err error) bool {
	var v interface{ Validation() bool }
	return errors.As(err, &v) && v.Validation()
}

func conflicting(err error) bool {
	var c interface{ Conflict() bool }
	return errors.As(err, &c) && c.Conflict()
}

func TestASuspendedOwnersTokensAreForbiddenAtOnce(t *testing.T) {
	d := open(t, access.Options{})
	owner := d.owner(access.Owner{ExternalID: "crm-7"})
	_, text := d.token(access.Token{Owner: owner.ID})
	_, other := d.token(access.Token{})
	d.reader(text)
	suspended, err := d.SuspendOwner(owner.ID, "Invoice 42 is not paid.")
	if err != nil || suspended.Status != access.Suspended || !suspended.SuspendedAt.Equal(noon) {
		t.Fatalf("suspended: %+v, %v", suspended, err)
	}
	if denied := d.denied(403, "suspended", "Bearer "+text); !strings.Contains(denied.Message, "Example Inc.") || !strings.Contains(denied.Message, "Invoice 42") {
		t.Errorf("message %q", denied.Message)
	}
	h := http.Header{}
	d.denied(403, "suspended", "Bearer "+text).Headers(h)
	if len(h) != 0 {
		t.Errorf("a suspended owner is asked for another password: %v", h)
	}
	d.reader(other)
	d.reopen()
	d.denied(403, "suspended", "Bearer "+text)
	if got := d.Owners(access.Suspended); len(got) != 1 || len(d.Owners(access.Active)) != 0 || len(d.Owners("")) != 1 {
		t.Errorf("owners %+v", got)
	}
	if active, err := d.ReactivateOwner(owner.ID); err != nil || active.Status != access.Active || active.Reason != "" || !active.SuspendedAt.IsZero() {
		t.Errorf("reactivated: %+v, %v", active, err)
	}
	d.reader(text)

	ended, err := d.DeleteOwner(owner.ID)
	if err != nil || ended != 1 {
		t.Errorf("deleting ended %d tokens, %v", ended, err)
	}
	d.denied(401, "revoked", "Bearer "+text)
	d.reopen()
	d.denied(401, "revoked", "Bearer "+text)
	for what, err := range map[string]error{"get": second(d.Owner(owner.ID)), "external": second(d.OwnerByExternalID("crm-7")), "delete": second(d.DeleteOwner(owner.ID)),
		"suspend": second(d.SuspendOwner(owner.ID, "")), "token": second(d.Token("nothere1")), "rotate": third(d.RotateToken("nothere1")),
		"revoke": second(d.RevokeToken("nothere1")), "create": third(d.CreateToken(access.Token{Name: "x", Role: access.RoleRead, Owner: owner.ID}))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func TestGrantsCountFromTheNextRequestOn(t *testing.T) {
	d := open(t, access.Options{})
	owner := d.owner(access.Owner{})
	_, text := d.token(access.Token{Owner: owner.ID})
	lib := name(t, "acme/lib")
	if d.reader(text).Sees(lib) {
		t.Error("a new owner sees private packages")
	}
	grant := func(grants ...access.Grant) error {
		_, err := d.UpdateOwner(owner.ID, func(o *access.Owner) error { o.Packages = grants; return nil })
		return err
	}
	if err := grant(access.Grant{Package: "acme/lib", Constraint: "^1"}); err != nil {
		t.Fatal(err)
	}
	if r := d.reader(text); !r.Sees(lib) || r.Versions(lib) != "^1" {
		t.Error("a grant does not count")
	}
	for _, wrong := range []access.Grant{{Package: "not a name"}, {Package: ""}, {Package: "acme/lib", Constraint: "dev-main as 1.0"}, {Package: "acme/lib", Constraint: "^^"}} {
		if err := grant(wrong); !validation(err) {
			t.Errorf("%+v is taken: %v", wrong, err)
		}
	}
	if r := d.reader(text); r.Versions(lib) != "^1" {
		t.Error("a refused change counts")
	}
	if err := grant(); err != nil || d.reader(text).Sees(lib) {
		t.Errorf("a grant that was taken back counts: %v", err)
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	d := open(t, access.Options{CheckView: func(view string) error {
		if view != "snapshot/prod" {
			return errors.New("there is no such channel")
		}
		return nil
	}})
	owner := d.owner(access.Owner{ExternalID: "crm-7"})
	for what, tok := range map[string]access.Token{
		"no name":             {Role: access.RoleRead},
		"a long name":         {Name: strings.Repeat("x", 201), Role: access.RoleRead},
		"a line break":        {Name: "a\nb", Role: access.RoleRead},
		"no role":             {Name: "x"},
		"another role":        {Name: "x", Role: "owner"},
		"expired":             {Name: "x", Role: access.RoleRead, ExpiresAt: noon},
		"a wrong pattern":     {Name: "x", Role: access.RoleRead, Packages: []string{"a/b/c"}},
		"a wrong constraint":  {Name: "x", Role: access.RoleRead, Versions: "not a version ^"},
		"a wrong view":        {Name: "x", Role: access.RoleRead, View: "yesterday"},
		"a view with a path":  {Name: "x", Role: access.RoleRead, View: "snapshot/prod/p2"},
		"an unknown channel":  {Name: "x", Role: access.RoleRead, View: "snapshot/none"},
		"a limited admin":     {Name: "x", Role: access.RoleAdmin, Packages: []string{"acme/*"}},
		"an owned admin":      {Name: "x", Role: access.RoleAdmin, Owner: owner.ID},
		"a webhook's view":    {Name: "x", Role: access.RoleWebhook, View: "snapshot/prod"},
		"a webhook's version": {Name: "x", Role: access.RoleWebhook, Versions: "^1"},
	} {
		if _, _, err := d.CreateToken(tok); !validation(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := d.CreateToken(access.Token{Name: "x", Role: access.RoleRead, View: "snapshot/prod"}); err != nil {
		t.Error(err)
	}
	for what, o := range map[string]access.Owner{"no name": {}, "control": {Name: "x", Email: "a\x00"}} {
		if _, err := d.CreateOwner(o); !validation(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.CreateOwner(access.Owner{Name: "y", ExternalID: "crm-7"}); !conflicting(err) {
		t.Errorf("an external id is given twice: %v", err)
	}
	if _, err := access.New(access.Options{Store: d.store, Anonymous: "sometimes"}); err == nil {
		t.Error("a policy nobody knows is accepted")
	}
}

func TestTheLastUseOfATokenIsKnown(t *testing.T) {
	d := open(t, access.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	id, text := d.token(access.Token{})
	if tok, err := d.Token(id); err != nil || !tok.LastUsedAt.IsZero() || tok.LastUsedFrom != "" {
		t.Errorf("a new token was used: %+v, %v", tok, err)
	}
	d.reader(text)
	d.clock.advance(time.Hour)
	r := request("Bearer "+text, "10.0.0.1:1")
	r.Header.Set("X-Forwarded-For", "192.0.2.9")
	if _, err := d.Admit(r); err != nil {
		t.Fatal(err)
	}
	used := func() {
		t.Helper()
		if tok, err := d.Token(id); err != nil || !tok.LastUsedAt.Equal(noon.Add(time.Hour)) || tok.LastUsedFrom != "192.0.2.9" {
			t.Errorf("last used at %s from %q, %v", tok.LastUsedAt, tok.LastUsedFrom, err)
		}
	}
	used()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.reopen()
	used()
	// A refusal is no use.
	d.clock.advance(time.Hour)
	d.denied(401, "wrong", "Bearer "+access.Resealed(text, 20))
	used()
}

func TestChangesAndRequestsAtTheSameTime(t *testing.T) {
	d := open(t, access.Options{Anonymous: access.PublicReadNone})
	owner := d.owner(access.Owner{Packages: []access.Grant{{Package: "acme/*"}}})
	_, text := d.token(access.Token{Owner: owner.ID})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := d.Admit(request("Bearer " + text))
				if reason := access.ReasonOf(err); err != nil && reason != "suspended" {
					t.Errorf("refused: %v", err)
					return
				}
				if err == nil {
					_ = r.Versions(name(t, "acme/lib"))
				}
			}
		})
	}
	for range 20 {
		if _, err := d.SuspendOwner(owner.ID, "x"); err != nil {
			t.Error(err)
		}
		d.denied(403, "suspended", "Bearer "+text)
		if _, err := d.ReactivateOwner(owner.ID); err != nil {
			t.Error(err)
		}
		d.reader(text)
		_ = d.Tokens("")
	}
	close(stop)
	wg.Wait()
}
