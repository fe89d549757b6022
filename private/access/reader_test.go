package access_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stasis/private/access"
	"stasis/proxy/composer"
)

func TestWhatATokenSees(t *testing.T) {
	d := open(t, access.Options{Anonymous: access.PublicReadNone})
	customer := d.owner(access.Owner{Packages: []access.Grant{{Package: "acme/sold", Constraint: "^1.0"}, {Package: "acme/sold", Constraint: "^2.0"},
		{Package: "acme/add-*"}, {Package: "acme/add-late", Constraint: "<2"}}})
	nothing := d.owner(access.Owner{Name: "New Inc."})
	everybody := d.owner(access.Owner{Name: "Staff", Packages: []access.Grant{{Package: "*"}}})
	all := []string{"acme/own", "acme/tool-a", "acme/sold", "acme/add-on", "acme/add-late", "monolog/monolog"}
	for what, c := range map[string]struct {
		token access.Token
		// sees has the packages that exist for the token, with their constraints.
		sees       map[string]string
		restricted bool
	}{
		"no limits": {token: access.Token{}, sees: map[string]string{"acme/own": "", "acme/tool-a": "", "acme/sold": "", "acme/add-on": "", "acme/add-late": "", "monolog/monolog": ""}},
		"a package": {token: access.Token{Packages: []string{"ACME/own"}}, sees: map[string]string{"acme/own": "", "monolog/monolog": ""}, restricted: true},
		"a pattern": {token: access.Token{Packages: []string{"acme/tool-*"}}, sees: map[string]string{"acme/tool-a": "", "monolog/monolog": ""}, restricted: true},
		"a vendor":  {token: access.Token{Packages: []string{"acme"}}, sees: map[string]string{"acme/own": "", "acme/tool-a": "", "acme/sold": "", "acme/add-on": "", "acme/add-late": "", "monolog/monolog": ""}, restricted: true},
		"versions": {token: access.Token{Versions: "^1.2 || ^3", Packages: []string{"acme/own", "acme/sold"}},
			sees: map[string]string{"acme/own": "^1.2 || ^3", "acme/sold": "^1.2 || ^3", "monolog/monolog": ""}, restricted: true},
		"a customer": {token: access.Token{Owner: customer.ID},
			sees: map[string]string{"acme/sold": "^2.0", "acme/add-on": "", "acme/add-late": "", "monolog/monolog": ""}, restricted: true},
		"a customer's narrower token": {token: access.Token{Owner: customer.ID, Packages: []string{"acme/sold", "acme/own"}, Versions: "<2.5"},
			sees: map[string]string{"acme/sold": "<2.5, ^2.0", "monolog/monolog": ""}, restricted: true},
		"nothing granted":    {token: access.Token{Owner: nothing.ID}, sees: map[string]string{"monolog/monolog": ""}, restricted: true},
		"everything granted": {token: access.Token{Owner: everybody.ID}, sees: map[string]string{"acme/own": "", "acme/tool-a": "", "acme/sold": "", "acme/add-on": "", "acme/add-late": "", "monolog/monolog": ""}, restricted: true},
		"a webhook":          {token: access.Token{Role: access.RoleWebhook}, sees: nil, restricted: true},
	} {
		t.Run(what, func(t *testing.T) {
			_, text := d.token(c.token)
			r := d.reader(text)
			for _, n := range all {
				want, exists := c.sees[n]
				if r.Sees(name(t, n)) != exists {
					t.Errorf("sees %s: %v", n, !exists)
				}
				if got := r.Versions(name(t, n)); exists && got != want {
					t.Errorf("versions of %s: %q, want %q", n, got, want)
				}
			}
			if r.Restricted() != c.restricted || r.World() != "" {
				t.Errorf("restricted %v, world %q", r.Restricted(), r.World())
			}
		})
	}
}

func TestWhatATokenMayTouch(t *testing.T) {
	d := open(t, access.Options{})
	_, text := d.token(access.Token{Role: access.RoleDeveloper, Packages: []string{"acme/tool-*"}})
	r := d.reader(text)
	if !r.Within(name(t, "acme/tool-new")) || r.Within(name(t, "acme/other")) || r.Within(name(t, "monolog/monolog")) {
		t.Error("a developer's token does not stay within its patterns")
	}
	if !r.Can(access.RoleDeveloper) || !r.Can(access.RoleRead) || !r.Can(access.RoleWebhook) || r.Can(access.RoleAdmin) {
		t.Error("a developer can the wrong things")
	}
	_, text = d.token(access.Token{Role: access.RoleWebhook, Packages: []string{"acme/tool-*"}})
	if r := d.reader(text); !r.Within(name(t, "acme/tool-a")) || r.Within(name(t, "acme/x")) || r.Can(access.RoleRead) || !r.Can(access.RoleWebhook) {
		t.Error("a webhook's token does the wrong things")
	}
	if anonymous, err := d.admit(""); err != nil || anonymous.Within(name(t, "acme/tool-a")) {
		t.Errorf("anonymous clients may touch: %v", err)
	}
}

func TestViewsAndFreezesBindAToken(t *testing.T) {
	d := open(t, access.Options{Settle: 15 * time.Minute})
	owner := d.owner(access.Owner{Packages: []access.Grant{{Package: "acme/*"}}})
	_, bound := d.token(access.Token{View: "/snapshot/prod/"})
	_, free := d.token(access.Token{Owner: owner.ID})
	_, cooled := d.token(access.Token{Owner: owner.ID, View: "cooldown/7d"})
	world := func(text, want string) {
		t.Helper()
		if r := d.reader(text); r.World() != want || want != "" && !r.Restricted() {
			t.Errorf("world %q (restricted %v), want %q", r.World(), r.Restricted(), want)
		}
	}
	world(bound, "snapshot/prod")
	world(free, "")
	world(cooled, "cooldown/7d")

	// A freeze counts from the next request on, for tokens that were just used, and is stricter than their view.
	frozen, err := d.FreezeOwner(owner.ID, time.Time{}, nil)
	if err != nil || !frozen.FrozenAt.Equal(noon.Add(-15*time.Minute)) {
		t.Fatalf("frozen at %s: %v", frozen.FrozenAt, err)
	}
	world(free, "snapshot/20260301T114500Z")
	world(cooled, "snapshot/20260301T114500Z")
	world(bound, "snapshot/prod")
	if _, err := d.FreezeOwner(owner.ID, noon.Add(-time.Minute), nil); !validation(err) {
		t.Errorf("frozen at an instant that may still change: %v", err)
	}

	if _, err := d.FreezeOwner(owner.ID, time.Time{}, map[string]string{"acme/lib": "1.2.3", "monolog/monolog": "^2"}); err != nil {
		t.Fatal(err)
	}
	world(free, "")
	r := d.reader(free)
	if !r.Sees(name(t, "acme/lib")) || r.Sees(name(t, "acme/other")) || !r.Sees(name(t, "monolog/monolog")) || !r.Sees(name(t, "psr/log")) {
		t.Error("an owner that is frozen to versions sees other private packages, or no public ones")
	}
	for n, want := range map[string]string{"acme/lib": "1.2.3", "monolog/monolog": "^2", "psr/log": ""} {
		if got := r.Versions(name(t, n)); got != want {
			t.Errorf("versions of %s: %q, want %q", n, got, want)
		}
	}
	d.reopen()
	if got := d.reader(free).Versions(name(t, "acme/lib")); got != "1.2.3" {
		t.Errorf("after a restart: %q", got)
	}
	if thawed, err := d.UnfreezeOwner(owner.ID); err != nil || !thawed.FrozenAt.IsZero() || len(thawed.FrozenVersions) != 0 {
		t.Errorf("unfrozen: %+v, %v", thawed, err)
	}
	if r := d.reader(free); !r.Sees(name(t, "acme/other")) || r.Versions(name(t, "acme/lib")) != "" {
		t.Error("an owner that was let go is still frozen")
	}
}

func TestConstraintsThatArePutTogetherMeanBoth(t *testing.T) {
	constraints := []string{"", "^1.0", "^1.0 || ^2.0", ">=1.2 <3", "1.0 - 2.0", "1.5.*|3.*", "!=1.2.3", "dev-main", "~1.2 || dev-main", ">=2,<3 || 0.9"}
	versions := []string{"0.9.0.0", "1.0.0.0", "1.2.3.0", "1.5.1.0", "2.0.0.0", "2.5.0.0", "2.9.9.0-beta1", "3.0.0.0", "dev-main", "dev-feature"}
	matches := func(c, v string) bool {
		t.Helper()
		if c == "" {
			return true
		}
		parsed, err := composer.ParseConstraint(c)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Matches(v)
	}
	for _, a := range constraints {
		for _, b := range constraints {
			for _, v := range versions {
				if got, want := matches(access.Both(a, b), v), matches(a, v) && matches(b, v); got != want {
					t.Errorf("both of %q and %q is %q, which has %s: %v", a, b, access.Both(a, b), v, got)
				}
				if got, want := matches(access.Either(a, b), v), matches(a, v) || matches(b, v); got != want {
					t.Errorf("either of %q and %q is %q, which has %s: %v", a, b, access.Either(a, b), v, got)
				}
			}
		}
	}
}

// Whatever an Authorization header says, reading it does not fail, and a token is only read where one was written.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"", "Bearer x", "Basic dG9rZW46eA==", basic("snapshot=1", "stasis_"), "Basic", "basic  ", "Bearer  a b", "Digest x", basic("a:b", "c")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := access.PresentedToken(header)
		if !ok && got != "" {
			t.Errorf("%q is no credential, but has the token %q", header, got)
		}
		if bearer, is := strings.CutPrefix(header, "Bearer "); is && ok && got != strings.TrimSpace(bearer) {
			t.Errorf("%q has the token %q", header, got)
		}
		access.IDOf(got)
	})
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"acme", "acme/*", "*", "a/b", "a/[b", "a/\\b", "a//b", "*/x", "A/B", "é/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := access.ParsePattern(s)
		if err != nil {
			if !validation(err) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := access.ParsePattern(string(p)); err != nil || again != p {
			t.Errorf("%q reads as %q, and that as %q, %v", s, p, again, err)
		}
		if strings.ContainsAny(string(p), "[]\\?") || strings.Count(string(p), "/") != 1 {
			t.Errorf("%q reads as %q", s, p)
		}
	})
}

func TestEveryNameIsInItsOwnPatterns(t *testing.T) {
	letters := "abc019"
	word := func() string {
		b := make([]byte, 1+rand.IntN(6))
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		return string(b)
	}
	for range 200 {
		vendor, pkg := word(), word()
		n := name(t, vendor+"/"+pkg)
		for _, p := range []string{vendor, vendor + "/*", vendor + "/" + pkg, vendor + "/" + pkg[:1] + "*", "*", "*/*", strings.ToUpper(n.String())} {
			parsed, err := access.ParsePattern(p)
			if err != nil || !access.Has(parsed, n) {
				t.Fatalf("%s is not in %q (%v)", n, p, err)
			}
		}
		if parsed, err := access.ParsePattern("x" + vendor + "/*"); err != nil || access.Has(parsed, n) {
			t.Fatalf("%s is in x%s/*", n, vendor)
		}
	}
}
