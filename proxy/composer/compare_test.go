package composer_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"stasis/proxy/composer"
)

func TestCompareVersionsKnowsTheOrder(t *testing.T) {
	chain := []string{
		"dev-main", "1.0.0.0-dev", "1.0.0.0-alpha", "1.0.0.0-alpha1", "1.0.0.0-beta2", "1.0.0.0-beta10", "1.0.0.0-RC1",
		"1.0.0.0", "1.0.0.0-patch1", "1.0.1.0", "1.0.9999999.9999999-dev", "9999999-dev", "20240101.0",
	}
	for i, a := range chain {
		for j, b := range chain {
			got := composer.CompareVersions(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("CompareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestCompareVersionsByValueNotByText(t *testing.T) {
	for _, pair := range [][2]string{
		{"1.0.0.0", "1.00.0.0"}, {"dev-main", "dev-feature"}, {"1.0.0.0", "1.0.0.0"}, {"1_0-0+0", "1.0.0.0"}, {"", ""},
	} {
		if got := composer.CompareVersions(pair[0], pair[1]); got != 0 {
			t.Errorf("CompareVersions(%q, %q) = %d, want 0", pair[0], pair[1], got)
		}
	}
	for _, pair := range [][2]string{
		{"1.9.0.0", "1.10.0.0"}, {"99999999999999999998", "99999999999999999999"}, {"1.0", "1.0.0"}, {"1.0foo", "1.0"},
		{"1.0-foo", "1.0-dev"}, {"", "1"}, {"dev-a", ""},
	} {
		if composer.CompareVersions(pair[0], pair[1]) >= 0 || composer.CompareVersions(pair[1], pair[0]) <= 0 {
			t.Errorf("%q is not older than %q", pair[0], pair[1])
		}
	}
}

// Over all versions of the slice the comparison is an order: opposite when swapped, and never in a circle.
func TestCompareVersionsIsATotalOrder(t *testing.T) {
	seen := map[string]bool{}
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		for _, v := range indexOf(t, body, file.Name) {
			seen[v.Normalized] = true
		}
	})
	var all []string
	for v := range seen {
		all = append(all, v)
	}
	slices.Sort(all)
	slices.SortStableFunc(all, composer.CompareVersions)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		i, j := random.IntN(len(all)), random.IntN(len(all))
		got, back := composer.CompareVersions(all[i], all[j]), composer.CompareVersions(all[j], all[i])
		if (got > 0) != (back < 0) || (got == 0) != (back == 0) {
			t.Fatalf("%q and %q compare as %d and %d", all[i], all[j], got, back)
		}
		if i < j && got > 0 || i > j && got < 0 {
			t.Fatalf("%q stands at %d and %q at %d, yet they compare as %d", all[i], i, all[j], j, got)
		}
	}
}

// The documents of tagged versions come newest first.
func TestDocumentsAreInDescendingOrder(t *testing.T) {
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		if file.Dev {
			return
		}
		versions := indexOf(t, body, file.Name)
		for i := 1; i < len(versions); i++ {
			a, b := versions[i-1].Normalized, versions[i].Normalized
			if composer.CompareVersions(a, b) < 0 {
				t.Errorf("%s lists %s before %s", file, a, b)
			}
		}
	})
}

func indexOf(t testing.TB, body []byte, name composer.Name) []composer.Version {
	t.Helper()
	doc, err := composer.ParseDocument(body, name)
	if err != nil {
		t.Fatal(err)
	}
	versions, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	return versions
}
