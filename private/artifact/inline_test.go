package artifact_test

import (
	"errors"
	"strings"
	"testing"

	"stasis/private/artifact"
	"stasis/proxy/composer"
)

const smarty = `{"name": "smarty/smarty", "version": "3.1.7", "dist": {"url": "https://www.smarty.net/files/Smarty-3.1.7.zip", "type": "zip"},
	"source": {"url": "http://smarty-php.example/svn/", "type": "svn", "reference": "tags/Smarty_3_1_7/distribution/"}, "autoload": {"classmap": ["libs/"]}}`

func TestParsePackagesReadsEveryForm(t *testing.T) {
	second := `{"name":"acme/meta","version":"dev-main","type":"metapackage","require":{"smarty/smarty":"^3"}}`
	for name, c := range map[string]struct {
		body string
		want string
	}{
		"one":                     {smarty, "smarty/smarty 3.1.7.0"},
		"a list":                  {" [" + smarty + ",\n" + second + "]", "smarty/smarty 3.1.7.0, acme/meta dev-main"},
		"a repository":            {`{"type":"package","package":` + smarty + `}`, "smarty/smarty 3.1.7.0"},
		"a repository with two":   {`{"type": "package", "package": [` + smarty + `,` + second + `]}`, "smarty/smarty 3.1.7.0, acme/meta dev-main"},
		"a package of that type":  {`{"name":"acme/x","version":"1","type":"package","source":{"type":"git","url":"git@git.example:x","reference":"main"}}`, "acme/x 1.0.0.0"},
		"nothing but a reference": {`{"name":"acme/x","version":"1","dist":{"type":"zip","url":"https://a.example/x","reference":null,"shasum":""},"abandoned":"acme/y"}`, "acme/x 1.0.0.0"},
	} {
		d, err := artifact.ParsePackages([]byte(c.body))
		var got []string
		for _, v := range d.Versions {
			got = append(got, v.Package.String()+" "+v.Normalized)
		}
		if err != nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	d, err := artifact.ParsePackages([]byte(smarty))
	if err != nil {
		t.Fatal(err)
	}
	if d.Versions[0].Version.Text("name") != "smarty/smarty" || !strings.Contains(string(d.Versions[0].Version.Get("source")), "Smarty_3_1_7") {
		t.Errorf("the definition did not survive: %v", d.Versions[0].Version)
	}
}

func TestParsePackagesReadsAdvisories(t *testing.T) {
	d, err := artifact.ParsePackages([]byte(`{"type":"package","package":` + smarty + `,"security-advisories":{"smarty/smarty":[
		{"advisoryId":"ACME-1","affectedVersions":"<3.1.8","title":"Code can be run"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	name, _ := composer.ParseName("smarty/smarty")
	if list := d.Advisories[name]; len(list) != 1 || list[0].ID != "ACME-1" || !list[0].Affects(d.Versions[0].Normalized) {
		t.Errorf("got %+v", list)
	}
}

func TestParsePackagesIsStrict(t *testing.T) {
	with := func(members string) string {
		return `{"name":"acme/x","version":"1.0","source":{"type":"git","url":"https://git.example/x.git","reference":"abc"}` + members + `}`
	}
	dist := func(members string) string { return with(`,"dist":` + members) }
	if _, err := artifact.ParsePackages([]byte(with(""))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, body, why string }{
		{"nothing", ``, "not valid"},
		{"no JSON", `smarty`, "not valid"},
		{"null", `null`, "not valid"},
		{"an empty list", `[]`, "defines 0 versions"},
		{"a repository without packages", `{"type":"package","package":[]}`, "defines 0 versions"},
		{"a repository that is none", `{"type":"package","package":"x"}`, "not valid"},
		{"no name", `{"version":"1.0"}`, "no name"},
		{"no version", `{"name":"acme/x"}`, "acme/x has no version"},
		{"a bad one in a list", "[" + with("") + `,{"name":"acme/y"}]`, "definition 2 of 2"},
		{"a version that is none", `{"name":"acme/x","version":"new"}`, "not a version"},
		{"one version twice", "[" + with("") + "," + with(`,"version":"1.0.0"`) + "]", "defined twice"},
		{"a normalized version that lies", with(`,"version_normalized":"9.0.0.0"`), "version_normalized"},
		{"no code", `{"name":"acme/x","version":"1.0"}`, "neither dist nor source"},
		{"empty code", `{"name":"acme/x","version":"1.0","dist":[],"source":null}`, "neither dist nor source"},
		{"a text for a source", with(`,"source":"https://git.example"`), "not an object"},
		{"a source without a reference", with(`,"source":{"type":"git","url":"https://git.example/x.git"}`), "no reference"},
		{"a source that is an option", with(`,"source":{"type":"git","url":"--upload-pack=touch /tmp/x","reference":"a"}`), "begins with a hyphen"},
		{"a reference that is an option", with(`,"source":{"type":"git","url":"https://git.example","reference":" -x"}`), "begins with a hyphen"},
		{"a dist without a type", dist(`{"url":"https://a.example/x.zip"}`), "no type or no url"},
		{"a dist whose type is spelt otherwise", dist(`{"Type":"zip","url":"https://a.example/x.zip"}`), "no type or no url"},
		{"a dist of an unknown type", dist(`{"type":"exe","url":"https://a.example/x"}`), "none of zip"},
		{"a dist on the client's disk", dist(`{"type":"zip","url":"/home/me/x.zip"}`), "not a whole http"},
		{"a dist in another world", dist(`{"type":"zip","url":"file:///etc/passwd"}`), "not a whole http"},
		{"a dist with a number for a url", dist(`{"type":"zip","url":1}`), "not a text"},
		{"a shasum in upper case", dist(`{"type":"zip","url":"https://a.example/x","shasum":"` + strings.Repeat("A", 40) + `"}`), "not a SHA-1"},
		{"a text for the authors", with(`,"authors":"me"`), `"authors" is not a list`},
		{"a bin outside", with(`,"bin":"../x"`), "leads out"},
		{"advisories in a list", `{"type":"package","package":` + with("") + `,"security-advisories":["x"]}`, "advisories are not valid"},
		{"an advisory without versions", `{"type":"package","package":` + with("") + `,"security-advisories":{"acme/x":[{"advisoryId":"A"}]}}`, "no affectedVersions"},
		{"an advisory of no version", `{"type":"package","package":` + with("") + `,"security-advisories":{"acme/x":[{"advisoryId":"A","affectedVersions":"??"}]}}`, "not a version constraint"},
	} {
		_, err := artifact.ParsePackages([]byte(c.body))
		var refused *artifact.Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a line with %q", c.name, err, c.why)
		}
	}
}

// What is accepted can be served: every version stands in a metadata document that clients read.
func FuzzParsePackages(f *testing.F) {
	f.Add([]byte(smarty))
	f.Add([]byte("[" + smarty + "]"))
	f.Add([]byte(`{"type":"package","package":` + smarty + `,"security-advisories":{"a/b":[{"advisoryId":"A","affectedVersions":"*"}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := artifact.ParsePackages(body)
		if err != nil {
			return
		}
		for _, v := range d.Versions {
			doc, err := composer.ParseDocument(composer.NewDocument(v.Package, []composer.Object{v.Version}).Encode(), v.Package)
			if err != nil {
				t.Fatal(err)
			}
			index, err := doc.Index()
			if err != nil || index[0].Normalized != v.Normalized {
				t.Fatalf("%q became %+v: %v", v.Normalized, index, err)
			}
		}
	})
}
