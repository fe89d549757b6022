package composer_test

import (
	"testing"

	"stasis/proxy/composer"
)

func TestFillNormalizedCompletesOnlyWhatIsIncomplete(t *testing.T) {
	name, err := composer.ParseName("a/b")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`{"packages":{"a/b":[{"name":"a/b","version":"1.0","version_normalized":"1.0.0.0"}]}}`:              `{"packages":{"a/b":[{"name":"a/b","version":"1.0","version_normalized":"1.0.0.0"}]}}`,
		`{"packages":{"a/b":[{"name":"a/b","version":"v1.0"}]}}`:                                            `{"packages":{"a/b":[{"name":"a/b","version":"v1.0","version_normalized":"1.0.0.0"}]}}`,
		`{"packages":{"a/b":[{"name":"a/b","version":"dev-main","version_normalized":"9999999-dev"}]}}`:     `{"packages":{"a/b":[{"name":"a/b","version":"dev-main","version_normalized":"dev-main"}]}}`,
		`{"minified":"composer/2.0","packages":{"a/b":[{"name":"a/b","version":"2.0"},{"version":"1.0"}]}}`: `{"minified":"composer/2.0","packages":{"a/b":[{"name":"a/b","version":"2.0","version_normalized":"2.0.0.0"},{"version":"1.0","version_normalized":"1.0.0.0"}]}}`,
	} {
		doc, err := composer.ParseDocument([]byte(in), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(composer.FillNormalized(doc).Encode()); got != want {
			t.Errorf("FillNormalized(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}
