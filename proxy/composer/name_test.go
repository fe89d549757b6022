package composer_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

func TestParseNameAcceptsWhatComposerAccepts(t *testing.T) {
	for in, want := range map[string]string{
		"laravel/framework":             "laravel/framework",
		"Psr/Log":                       "psr/log",
		"a/b":                           "a/b",
		"0/0":                           "0/0",
		"a-b_c.d/e--f_g.h-i":            "a-b_c.d/e--f_g.h-i",
		"composer/composer":             "composer/composer",
		"acme/json":                     "acme/json",
		"acme/a.jsonp":                  "acme/a.jsonp",
		"console/com10":                 "console/com10",
		"com/lpt":                       "com/lpt",
		strings.Repeat("a", 253) + "/b": strings.Repeat("a", 253) + "/b",
	} {
		n, err := composer.ParseName(in)
		if err != nil || n.String() != want {
			t.Errorf("ParseName(%q) = %q, %v, want %q", in, n, err, want)
		}
		if got := n.Vendor() + "/" + n.Package(); got != want {
			t.Errorf("the halves of %q make %q", in, got)
		}
	}
}

// C37: names that cannot exist are refused before anybody is asked.
func TestC37ParseNameRefusesTheImpossible(t *testing.T) {
	for _, in := range []string{
		"", "/", "a", "a/", "/b", "a/b/c", "php", "ext-json", "lib-curl", "composer-plugin-api", "__root__",
		"a//b", "a/b.json", "a/b.JSON", "a/b.json.json", "con/x", "x/nul", "prn/x", "AUX/x", "com1/x", "x/lpt9",
		"../b", "a/..", "a/.b", "a/b.", "-a/b", "a-/b", "a--b/c", "a/b---c", "a/b-_c", "a/b__c", "a/b..c", "a/b._c",
		"a b/c", "a/b c", "a/b%2f", "a\\b/c", "a/b\x00", "a/b\n", "ä/b", "a/\u212a", "a/b~dev", "a:b/c", "a/b?c", "a/b#c",
		strings.Repeat("a", 254) + "/b",
	} {
		if n, err := composer.ParseName(in); err == nil {
			t.Errorf("ParseName(%q) = %q, want an error", in, n)
		} else if !n.IsZero() {
			t.Errorf("ParseName(%q) gives the name %q beside its error", in, n)
		}
	}
}

func TestNameStandsInJSON(t *testing.T) {
	type record struct {
		Name composer.Name
		By   map[composer.Name]int
	}
	in := record{mustName("acme/a"), map[composer.Name]int{mustName("acme/b"): 1}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out record
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if out.Name != in.Name || out.By[mustName("acme/b")] != 1 {
		t.Errorf("%s came back as %v", b, out)
	}
	if err := json.Unmarshal([]byte(`{"Name":"php"}`), &out); err == nil {
		t.Error("a platform name was accepted")
	}
}

func TestParseFileNamesOneOfTwoDocuments(t *testing.T) {
	for in, want := range map[string]composer.File{
		"acme/a":     {Name: mustName("acme/a")},
		"acme/a~dev": {Name: mustName("acme/a"), Dev: true},
		"Acme/A~dev": {Name: mustName("acme/a"), Dev: true},
	} {
		got, err := composer.ParseFile(in)
		if err != nil || got != want {
			t.Errorf("ParseFile(%q) = %v, %v, want %v", in, got, err, want)
		}
		if got.String() != strings.ToLower(in) {
			t.Errorf("%q is written as %q", in, got)
		}
	}
	for _, in := range []string{"", "~dev", "acme/a~", "acme/a~DEV", "acme/a~dev~dev", "acme/a~dev.json", "acme/~dev"} {
		if got, err := composer.ParseFile(in); err == nil {
			t.Errorf("ParseFile(%q) = %v, want an error", in, got)
		}
	}
}

// The rule as the protocol states it, to check the hand-written one against.
var validName = regexp.MustCompile(`^[a-z0-9](?:[_.-]?[a-z0-9]+)*/[a-z0-9](?:(?:[_.]|-{1,2})?[a-z0-9]+)*$`)
var device = regexp.MustCompile(`(^|/)(nul|con|prn|aux|com[1-9]|lpt[1-9])(/|$)`)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"laravel/framework", "Psr/Log", "a--b/c--d", "con/x", "a/b.json", "php", "a/\u212a", "a/b-.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := composer.ParseName(s)
		lower := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, s)
		want := len(s) <= 255 && validName.MatchString(lower) && !device.MatchString(lower) && !strings.HasSuffix(lower, ".json")
		if want != (err == nil) {
			t.Fatalf("ParseName(%q) = %v, %v", s, n, err)
		}
		if err != nil {
			return
		}
		if again, err := composer.ParseName(n.String()); err != nil || again != n {
			t.Fatalf("%q read again is %q, %v", n, again, err)
		}
	})
}
