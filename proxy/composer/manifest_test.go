package composer_test

import (
	"strings"
	"testing"

	"stasis/proxy/composer"
)

func TestCheckManifest(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"the least", `{"name":"acme/lib"}`, ""},
		{"an ordinary one", `{"name":"acme/lib","version":"1.2.3","type":"library","require":{"php":">=8.1","ext-json":"*","acme/b":"^1 || dev-main"},
			"replace":{"acme/c":"self.version"},"bin":["bin/x"],"autoload":{"psr-4":{"Acme\\":"src/"}},"suggest":{"acme/d":"because"},"keywords":["a",1]}`, ""},
		{"upper case, as old packages have it", `{"name":"Acme/Lib"}`, ""},
		{"PHP's empty objects", `{"name":"acme/lib","require":[],"autoload":[],"extra":[],"suggest":[]}`, ""},
		{"null, which is nothing to PHP", `{"name":"acme/lib","version":null,"require":null,"bin":null,"type":null}`, ""},
		{"what only Composer's validator minds", `{"name":"acme/lib","authors":"me","homepage":"nowhere","license":7,"minimum-stability":"odd"}`, ""},

		{"no name", `{"version":"1.0"}`, "it has no name"},
		{"a number for a name", `{"name":1}`, "it has no name"},
		{"a platform package", `{"name":"php"}`, "not a package name"},
		{"a name that escapes", `{"name":"acme/../x"}`, "not a package name"},
		{"a version that is none", `{"name":"acme/lib","version":"latest"}`, "not a version"},
		{"a number for a version", `{"name":"acme/lib","version":1.10}`, "not a text"},
		{"a list for a type", `{"name":"acme/lib","type":["library"]}`, `"type" is not a text`},
		{"a number for a time", `{"name":"acme/lib","time":12}`, `"time" is not a text`},
		{"a text for autoload", `{"name":"acme/lib","autoload":"src"}`, `"autoload" is neither`},
		{"a text for require", `{"name":"acme/lib","require":"acme/b"}`, `"require" is not an object`},
		{"a list for require", `{"name":"acme/lib","require":["acme/b"]}`, `"require" is not an object`},
		{"a constraint that is none", `{"name":"acme/lib","require":{"acme/b":"^^1"}}`, "cannot be read"},
		{"a number for a constraint", `{"name":"acme/lib","conflict":{"acme/b":1}}`, "gives acme/b no version constraint"},
		{"a link to what is no name", `{"name":"acme/lib","provide":{"acme b":"1"}}`, "no package name"},
		{"bin upwards", `{"name":"acme/lib","bin":"../../etc/cron.d/x"}`, "leads out"},
		{"bin upwards on Windows", `{"name":"acme/lib","bin":["ok","a\\..\\..\\b"]}`, "leads out"},
		{"an object for bin", `{"name":"acme/lib","bin":{"a":"b"}}`, `"bin" is neither`},
		{"a list in suggest", `{"name":"acme/lib","suggest":{"acme/b":[]}}`, "no reason"},
		{"lists in keywords", `{"name":"acme/lib","keywords":[["a"]]}`, `"keywords"`},
		{"bytes that are not UTF-8", "{\"name\":\"acme/lib\",\"description\":\"\xff\"}", "UTF-8"},
		{"all at once", `{"name":"x","version":"y","bin":".."}`, "\n"},
	} {
		var o composer.Object
		if err := o.UnmarshalJSON([]byte(c.body)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err := composer.CheckManifest(o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Whatever is let through is read again as a version of a metadata document.
func FuzzCheckManifest(f *testing.F) {
	for _, s := range []string{`{"name":"acme/lib","version":"1.0"}`, `{"name":"a/b","version":"dev-x","require":{"a/c":"^1"},"bin":["x"]}`, `[]`, `{"name":"a/b","suggest":{"x":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var o composer.Object
		if o.UnmarshalJSON(body) != nil || composer.CheckManifest(o) != nil || o.Text("version") == "" {
			return
		}
		name, err := composer.ParseName(o.Text("name"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := composer.ParseDocument(composer.NewDocument(name, []composer.Object{o}).Encode(), name)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if _, err := again.Index(); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	})
}
