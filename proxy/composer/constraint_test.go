package composer_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

// answers are what Composer's own implementation says: for each constraint one
// digit per version, or "E" where it refuses the constraint.
type answers struct {
	Versions    []string    `json:"versions"`
	Constraints [][2]string `json:"constraints"`
}

func readAnswers(t testing.TB) (a answers) {
	t.Helper()
	body, err := os.ReadFile("testdata/constraints.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConstraintsMeanWhatTheyMeanToComposer(t *testing.T) {
	a := readAnswers(t)
	for _, row := range a.Constraints {
		text, want := row[0], row[1]
		c, err := composer.ParseConstraint(text)
		if want == "E" {
			if err == nil {
				t.Errorf("%q was accepted; Composer refuses it", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q was refused: %v", text, err)
			continue
		}
		for i, v := range a.Versions {
			if got := c.Matches(v); got != (want[i] == '1') {
				t.Errorf("%q contains %s: %v; Composer says otherwise", text, v, got)
			}
		}
	}
}

func TestConstraintKeepsItsText(t *testing.T) {
	for _, text := range []string{" ^1.0 || dev-main ", "*", "1.0 as 2.0"} {
		var c composer.Constraint
		if err := c.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if c.String() != text {
			t.Errorf("%q became %q", text, c)
		}
	}
	var zero composer.Constraint
	if zero.String() != "*" || !zero.Matches("1.0.0.0") || !zero.Matches("dev-main") {
		t.Error("the zero constraint does not contain everything")
	}
}

func TestConstraintRefusals(t *testing.T) {
	for name, text := range map[string]string{
		"too long":      strings.Repeat("1.0|", 20000) + "1.0",
		"several lines": "^1.0\n^2.0",
		"not a version": "latest",
	} {
		if _, err := composer.ParseConstraint(text); err == nil {
			t.Errorf("%s: it was accepted", name)
		} else if len(err.Error()) < 20 {
			t.Errorf("%s: %q explains nothing", name, err)
		}
	}
}

// What is excepted is out, and nothing else changes.
func TestExceptVersion(t *testing.T) {
	a := readAnswers(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range a.Constraints {
		c, err := composer.ParseConstraint(row[0])
		if err != nil {
			continue
		}
		for range 5 {
			out := a.Versions[r.IntN(len(a.Versions))]
			text := composer.ExceptVersion(row[0], out)
			if text == "" {
				for _, v := range a.Versions {
					if c.Matches(v) && composer.CompareVersions(v, out) != 0 {
						t.Errorf("%q without %s is empty, but it contained %s", row[0], out, v)
					}
				}
				continue
			}
			left, err := composer.ParseConstraint(text)
			if err != nil {
				t.Errorf("%q without %s is %q: %v", row[0], out, text, err)
				continue
			}
			for _, v := range a.Versions {
				branch := strings.HasPrefix(v, "dev-") || strings.HasPrefix(out, "dev-")
				same := v == out || !branch && composer.CompareVersions(v, out) == 0
				if got := left.Matches(v); got != (c.Matches(v) && !same) {
					t.Errorf("%q without %s is %q, which contains %s: %v", row[0], out, text, v, got)
				}
			}
		}
	}
}

// Where a comma would belong to a branch's name, the exception is written in front.
func TestExceptVersionBehindAHyphen(t *testing.T) {
	if got := composer.ExceptVersion("!=dev-|^2", "1.0.0.0"); got != "!=1.0.0.0,!=dev-|^2" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, row := range readAnswers(f).Constraints {
		f.Add(row[0])
	}
	f.Add("!=dev-")
	f.Add("01  01+000,")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := composer.ParseConstraint(text)
		if err != nil {
			return
		}
		again, err := composer.ParseConstraint(c.String())
		if err != nil {
			t.Fatalf("%q is accepted once only: %v", text, err)
		}
		for _, v := range []string{"1.0.0.0", "1.2.3.0-beta2", "dev-main", "2.0.9999999.9999999-dev"} {
			if c.Matches(v) != again.Matches(v) {
				t.Fatalf("%q means two things", text)
			}
			if rest := composer.ExceptVersion(text, v); rest != "" {
				if left, err := composer.ParseConstraint(rest); err == nil && left.Matches(v) {
					t.Fatalf("%q without %s is %q, which contains it", text, v, rest)
				}
			}
		}
	})
}

func BenchmarkParseConstraint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := composer.ParseConstraint(">=1.0,<1.2.3|>=2,<2.1|^3.0"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	c, err := composer.ParseConstraint(">=1.0,<1.2.3|>=2,<2.1|^3.0")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Matches("2.0.5.0")
	}
}
