package composer_test

import (
	"regexp"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

func TestNormalizeVersion(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1.0.0.0", "v1.2-beta": "1.2.0.0-beta", "1.0.0-rc1": "1.0.0.0-RC1", "1.0.0_rc1": "1.0.0.0-RC1",
		"1.0.0.RC1": "1.0.0.0-RC1", "1.0-RC.2": "1.0.0.0-RC2", "1.0.0b3": "1.0.0.0-beta3", "1.0.0-a": "1.0.0.0-alpha",
		"1.0.0-alpha-1": "1.0.0.0-alpha1", "1.0.0-pl2": "1.0.0.0-patch2", "1.0.0-patch.3": "1.0.0.0-patch3",
		"1.0.0+build": "1.0.0.0", "1.0.0-beta.5+foo": "1.0.0.0-beta5", "1.0-dev": "1.0.0.0-dev",
		"1.0.x-dev": "1.0.9999999.9999999-dev", "10.4.13beta": "10.4.13.0-beta", "99999.1": "99999.1.0.0",
		"100000.0": "100000.0", "201903.0": "201903.0", "1.0@beta": "1.0.0.0",
		// the steps of the rule one by one
		"1.0 as 2.0": "1.0.0.0", "dev-main as 1.0": "dev-main", "1.0@STABLE": "1.0.0.0", " 1.0\n": "1.0.0.0",
		"master": "dev-master", "trunk": "dev-trunk", "default": "dev-default", "dev-foo": "dev-foo", "DEV-foo": "dev-foo",
		"dev-Foo/Bar": "dev-Foo/Bar", "dev-a&b": "dev-a&b", "dev-фича": "dev-фича", "dev-foo+1": "dev-foo+1",
		"1.00.01": "1.00.01.0", "V1.2.3.4": "1.2.3.4", "2024.01.01": "2024.01.01.0", "20240101": "20240101",
		"2024.01.02.5": "2024.01.02.5", "20240101.120000": "20240101.120000", "2024-01-02": "2024.01.02",
		"1.0-stable": "1.0.0.0", "1.0.0-beta-dev": "1.0.0.0-beta-dev", "1.x-dev": "1.9999999.9999999.9999999-dev",
		"v2.*.dev": "2.9999999.9999999.9999999-dev", "1.0.0-P1": "1.0.0.0-patch1", "1.0.9999999.9999999-dev": "1.0.9999999.9999999-dev",
		"9999999-dev": "9999999-dev",
	} {
		if got, err := composer.NormalizeVersion(in); err != nil || got != want {
			t.Errorf("NormalizeVersion(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// C25: what cannot be normalized must be recognised, because one such version ends a client's whole run.
func TestC25NormalizeVersionRefuses(t *testing.T) {
	for _, in := range []string{
		"1.2.3.4.5", "x-dev", "1.0.0.0-foo", "feature-dev", "2.0.0-20", "v", "", " ", "1.0 beta 2", "1.0/2", "foo",
		"1.0-ſtable", "1.0-bet\xff", "main", "Master", "1.0+a b", "a as b as c",
	} {
		if got, err := composer.NormalizeVersion(in); err == nil {
			t.Errorf("NormalizeVersion(%q) = %q, want an error", in, got)
		}
	}
}

func TestNormalizeBranch(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1.9999999.9999999.9999999-dev", "v1": "1.9999999.9999999.9999999-dev", "1.x": "1.9999999.9999999.9999999-dev",
		"1.*": "1.9999999.9999999.9999999-dev", "1.X.3": "1.9999999.3.9999999-dev", "V2.0": "2.0.9999999.9999999-dev",
		"1.0.0.0": "1.0.0.0-dev", "1.2.3.4.5": "dev-1.2.3.4.5", "main": "dev-main", "master": "dev-master",
		"dev-x": "dev-dev-x", "Feature/X": "dev-Feature/X", "fix#12": "dev-fix+12", "1.x-fix": "dev-1.x-fix",
	} {
		if got := composer.NormalizeBranch(in); got != want {
			t.Errorf("NormalizeBranch(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStability(t *testing.T) {
	for in, want := range map[string]string{
		"1.0.0.0": "stable", "1.0.0.0-patch1": "stable", "1.0.0.0-RC1": "RC", "1.0.0.0-beta2": "beta", "1.0.0.0-alpha": "alpha",
		"1.0.0.0-dev": "dev", "dev-main": "dev", "dev-beta": "dev", "1.0.0.0-beta2-dev": "dev", "20240101": "stable",
		"1.0.9999999.9999999-dev": "dev", "9999999-dev": "dev", "1.0#abc": "stable", "1.0.b3+x": "beta",
	} {
		if got := composer.Stability(in); got != want {
			t.Errorf("Stability(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestIsDev(t *testing.T) {
	for in, want := range map[string]bool{
		"dev-main": true, "1.0.9999999.9999999-dev": true, "1.0.0.0-dev": true, "9999999-dev": true,
		"1.0.0.0": false, "1.0.0.0-RC1": false, "1.0.0.0-alpha": false, "": false,
	} {
		if got := composer.IsDev(in); got != want {
			t.Errorf("IsDev(%q) = %v", in, got)
		}
	}
}

var dateWithPoints = regexp.MustCompile(`^[0-9]{4}(\.[0-9]+){1,2}(-|$)`)

func FuzzNormalizeVersion(f *testing.F) {
	for _, s := range []string{"1", "v1.2-beta", "1.0 as 2.0", "dev-foo/bar", "20240101.120000", "1.x-dev", "100000.0-RC1", "x-dev", "1.0ſ", "0000:00", "2010-01-02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		composer.Stability(s)
		branch := composer.NormalizeBranch(s)
		if !composer.IsDev(branch) {
			t.Fatalf("the branch %q became the release %q", s, branch)
		}
		v, err := composer.NormalizeVersion(s)
		if err != nil {
			return
		}
		// Only what follows "dev-" is free text, in which more flags and aliases may stand.
		if strings.HasPrefix(v, "dev-") {
			return
		}
		// A date with points in it reads as a number, for Composer too: "2010-01-02" is "2010.01.02", and that "2010.01.02.0".
		if dateWithPoints.MatchString(v) {
			return
		}
		if again, err := composer.NormalizeVersion(v); err != nil || again != v {
			t.Fatalf("%q normalized is %q, and that again %q, %v", s, v, again, err)
		}
		if composer.CompareVersions(v, v) != 0 {
			t.Fatalf("%q differs from itself", v)
		}
	})
}
