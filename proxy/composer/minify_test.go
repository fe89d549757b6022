package composer_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"stasis/proxy/composer"
)

func objects(t testing.TB, text string) []composer.Object {
	t.Helper()
	var list []composer.Object
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

func encode(t testing.TB, list []composer.Object) string {
	t.Helper()
	b := []byte("[")
	for i, o := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, text(t, o)...)
	}
	return string(append(b, ']'))
}

// C22 and the test vector of the protocol.
func TestC22ExpandAndMinify(t *testing.T) {
	for name, c := range map[string]struct{ full, minified string }{
		"the test vector": {
			`[{"name":"a/b","version":"2.0","require":{"php":">=8"},"bin":["x"]},{"name":"a/b","version":"1.0","require":{"php":">=8"}},{"name":"a/b","version":"0.9","bin":["x"]}]`,
			`[{"name":"a/b","version":"2.0","require":{"php":">=8"},"bin":["x"]},{"version":"1.0","bin":"__unset"},{"version":"0.9","bin":["x"],"require":"__unset"}]`,
		},
		"nothing":                                 {`[]`, `[]`},
		"two alike":                               {`[{"a":1},{"a":1}]`, `[{"a":1},{}]`},
		"types matter":                            {`[{"a":1},{"a":"1"},{"a":1.0}]`, `[{"a":1},{"a":"1"},{"a":1.0}]`},
		"null is present":                         {`[{"a":null},{"a":null},{}]`, `[{"a":null},{},{"a":"__unset"}]`},
		"order inside a value matters":            {`[{"a":{"x":1,"y":2}},{"a":{"y":2,"x":1}}]`, `[{"a":{"x":1,"y":2}},{"a":{"y":2,"x":1}}]`},
		"values are replaced as a whole":          {`[{"a":{"x":1,"y":2}},{"a":{"x":1}}]`, `[{"a":{"x":1,"y":2}},{"a":{"x":1}}]`},
		"unset in the first is data":              {`[{"a":"__unset"},{"a":"__unset"}]`, `[{"a":"__unset"},{}]`},
		"behind an empty one all starts anew":     {`[{"a":1},{},{"b":"__unset"}]`, `[{"a":1},{"a":"__unset"},{"b":"__unset"}]`},
		"an empty first is followed by a first":   {`[{},{"a":"__unset"}]`, `[{},{"a":"__unset"}]`},
		"a key that comes back stands at the end": {`[{"a":1,"b":2},{"b":2},{"b":2,"a":1}]`, `[{"a":1,"b":2},{"a":"__unset"},{"a":1}]`},
	} {
		if got := encode(t, composer.Expand(objects(t, c.minified))); got != c.full {
			t.Errorf("%s: expanded to %s, want %s", name, got, c.full)
		}
		if got := encode(t, composer.Minify(objects(t, c.full))); got != c.minified {
			t.Errorf("%s: minified to %s, want %s", name, got, c.minified)
		}
	}
}

func TestExpandReadsOtherSpellings(t *testing.T) {
	got := encode(t, composer.Expand(objects(t, `[{"a":1,"b":2},{"a":"_\u005funset"},[],{"x":"__unset"}]`)))
	if want := `[{"a":1,"b":2},{"b":2},{"b":2},{"b":2}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMinifyIgnoresWhiteSpaceBetweenTokens(t *testing.T) {
	list := []composer.Object{
		{{"a", json.RawMessage(`{"x": [1, "a b"]}`)}},
		{{"a", json.RawMessage(`{"x":[1,"a b"]}`)}},
		{{"a", json.RawMessage(`{"x":[1,"a  b"]}`)}},
		{{"a", json.RawMessage(`{"x":[1,"a\" b"]}`)}},
		{{"a", json.RawMessage(`{"x":[1,"a\" b" ]} `)}},
		{{"a", json.RawMessage(`{"x":[1,"a\"b"]}`)}},
		{{"a", json.RawMessage(`12`)}},
		{{"a", json.RawMessage(`1`)}},
	}
	for i, want := range []int{1, 0, 1, 1, 0, 1, 1, 1} {
		if got := len(composer.Minify(list)[i]); got != want {
			t.Errorf("version %d is stored with %d differences, want %d", i, got, want)
		}
	}
}

func TestExpandAndMinifyLeaveTheirInputAlone(t *testing.T) {
	const minified = `[{"a":1,"b":2},{"a":3},{"b":"__unset"},{"c":1}]`
	list := objects(t, minified)
	full := composer.Expand(list)
	before := encode(t, full)
	composer.Minify(full)
	full[1][0].Value = json.RawMessage("7")
	if got := encode(t, list); got != minified {
		t.Errorf("the list became %s", got)
	}
	full[1][0].Value = json.RawMessage("3")
	if got := encode(t, full); got != before {
		t.Errorf("versions share memory: %s, want %s", got, before)
	}
}

func FuzzMinify(f *testing.F) {
	f.Add([]byte(`[{"name":"a/b","version":"2.0","bin":["x"]},{"version":"1.0","bin":"__unset"},{"bin":["x"],"require":"__unset"}]`))
	f.Add([]byte(`[{"a":1},{"a":"__unset"},{"b":"__unset"},[],{"a": [1, 2]},{"a":[1,2]}]`))
	f.Add([]byte(`[{},{"a":"\u005f_unset"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var list []composer.Object
		if json.Unmarshal(body, &list) != nil {
			return
		}
		full := composer.Expand(list)
		minified := composer.Minify(full)
		again := composer.Expand(minified)
		if got, want := encode(t, again), encode(t, full); got != want {
			t.Fatalf("%s expands to %s, but minified and expanded to %s", body, want, got)
		}
		if got, want := encode(t, composer.Minify(again)), encode(t, minified); got != want {
			t.Fatalf("minified once: %s, twice: %s", want, got)
		}
		if bytes.Contains(body, []byte("__unset")) || bytes.Contains(body, []byte(`\`)) {
			return
		}
		// Any list without the marker is a list of whole versions too. Keys may change their order, never their values.
		whole := composer.Expand(composer.Minify(list))
		for i := range list {
			if len(whole[i]) != len(list[i]) {
				t.Fatalf("%s came back as %s", text(t, list[i]), text(t, whole[i]))
			}
			for _, m := range list[i] {
				if !bytes.Equal(whole[i].Get(m.Key), m.Value) {
					t.Fatalf("%s came back as %s", text(t, list[i]), text(t, whole[i]))
				}
			}
		}
	})
}
