package composer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"stasis/proxy/composer"
)

func parse(t testing.TB, body string) *composer.Document {
	t.Helper()
	doc, err := composer.ParseDocument([]byte(body), mustName("acme/a"))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return doc
}

const v1 = `{"name":"acme/a","version":"1.0","version_normalized":"1.0.0.0"}`

func TestEncodeWritesWhatWasRead(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"as it is":        {`{"packages":{"acme/a":[` + v1 + `]},"minified":"composer/2.0"}`, ""},
		"the other order": {`{"minified":"composer/2.0","packages":{"acme/a":[` + v1 + `,{}]}}`, ""},
		"not minified":    {`{"packages":{"acme/a":[` + v1 + `,` + v1 + `]}}`, ""},
		"empty":           {`{"packages":{"acme/a":[]},"minified":"composer/2.0"}`, ""},
		// C34, C35 and all that nobody here knows
		"advisories, filter and unknown keys": {`{"x":{"b":1,"a":[1.0,1e9]},"packages":{"acme/a":[` + v1 + `]},"security-advisories":[],"minified":"composer/2.0","filter":{"malware":[{"constraint":"1.2.3"}]},"y":null}`, ""},
		"another way of minifying":            {`{"minified":"composer/3.0","packages":{"acme/a":[` + v1 + `]}}`, ""},
		"minified is no text":                 {`{"minified":true,"packages":{"acme/a":[` + v1 + `]}}`, ""},
		"white space":                         {"{\n  \"packages\" : {\"acme/a\": [ " + v1 + "\t] },\r\n \"a\": \"b  c\" }\n", `{"packages":{"acme/a":[` + v1 + `]},"a":"b  c"}`},
		"versions in an object":               {`{"packages":{"acme/a":{"1.0":` + v1 + `,"x":` + v1 + `}}}`, `{"packages":{"acme/a":[` + v1 + `,` + v1 + `]}}`},
		"no versions in an object":            {`{"packages":{"acme/a":{}}}`, `{"packages":{"acme/a":[]}}`},
		"other packages":                      {`{"packages":{"b/b":[{"x":1}],"acme/a":[` + v1 + `],"Acme/A":[7]}}`, `{"packages":{"acme/a":[` + v1 + `]}}`},
		"packages twice":                      {`{"packages":{"acme/a":[{"name":"acme/a","version":"2"}]},"z":1,"packages":{"acme/a":[` + v1 + `]}}`, `{"packages":{"acme/a":[` + v1 + `]},"z":1}`},
		"minified twice":                      {`{"minified":"no","packages":{"acme/a":[` + v1 + `,{}]},"minified":"composer/2.0"}`, `{"minified":"composer/2.0","packages":{"acme/a":[` + v1 + `,{}]}}`},
	} {
		if c.want == "" {
			c.want = c.in
		}
		if got := string(parse(t, c.in).Encode()); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for name, in := range map[string]string{
		"nothing":                     ``,
		"a web page":                  `<!DOCTYPE html><html></html>`,
		"a list":                      `[]`,
		"a byte order mark":           "\xef\xbb\xbf" + `{"packages":{"acme/a":[]}}`,
		"a cut document":              `{"packages":{"acme/a":[` + v1,
		"two documents":               `{"packages":{"acme/a":[]}}{}`,
		"no packages":                 `{"minified":"composer/2.0"}`,
		"packages as PHP writes none": `{"packages":[]}`,
		"packages in a list":          `{"packages":[1]}`,
		"packages of another name":    `{"packages":{"acme/b":[]}}`,
		"the name in upper case":      `{"packages":{"Acme/A":[]}}`,
		"null instead of versions":    `{"packages":{"acme/a":null}}`,
		"text instead of versions":    `{"packages":{"acme/a":"x"}}`,
		"null instead of a version":   `{"packages":{"acme/a":[null]}}`,
		"a version without name":      `{"packages":{"acme/a":[{"version":"1.0"}]}}`,
		"a version without version":   `{"packages":{"acme/a":[{"name":"acme/a"}]}}`,
		"a name that is no text":      `{"packages":{"acme/a":[{"name":1,"version":"1.0"}]}}`,
		"a version that is a list":    `{"packages":{"acme/a":[{"name":"acme/a","version":["1.0"]}]}}`,
		"a second one without":        `{"packages":{"acme/a":[` + v1 + `,{}]}}`,
		"a version taken away":        `{"minified":"composer/2.0","packages":{"acme/a":[` + v1 + `,{"version":"__unset"}]}}`,
		"a list taken for a version":  `{"packages":{"acme/a":[[` + v1 + `]]}}`,
		"depth behind the name":       `{"packages":{"acme/a":` + deep,
		"depth in a version":          `{"packages":{"acme/a":[{"name":` + deep,
		"depth elsewhere":             `{"x":` + deep,
	} {
		doc, err := composer.ParseDocument([]byte(in), mustName("acme/a"))
		if err == nil {
			t.Errorf("%s was read as %s", name, doc.Encode())
		} else if !strings.HasPrefix(err.Error(), "metadata of acme/a: ") {
			t.Errorf("%s: the error %q does not say what it is about", name, err)
		}
	}
}

// TestADocumentThatWouldTakeGigabytesIsRefused: ten million keys are said in some megabytes when each version has one more.
func TestADocumentThatWouldTakeGigabytesIsRefused(t *testing.T) {
	name := mustName("a/b")
	document := func(n int, version func(i int) string) []byte {
		var b strings.Builder
		b.WriteString(`{"packages":{"a/b":[{"name":"a/b","version":"1.0.0"}`)
		for i := range n {
			b.WriteString("," + version(i))
		}
		b.WriteString(`]},"minified":"composer/2.0"}`)
		return []byte(b.String())
	}
	short := func(i int) string { return fmt.Sprintf(`{"version":"2.0.%d"}`, i) }
	growing := func(i int) string { return fmt.Sprintf(`{"k%d":1}`, i) }
	wide := func(i int) string { return fmt.Sprintf(`{"k%d":%d}`, i%200, i) }
	for what, c := range map[string]struct {
		body []byte
		want string
	}{
		"many versions": {document(50_000, short), "more than the 50000 versions"},
		"ever new keys": {document(5_000, growing), "more than the 256 different keys"},
		"both":          {document(10_000, wide), "more than the 2000000 keys"},
	} {
		if _, err := composer.ParseDocument(c.body, name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := composer.ParseDocument(document(40_000, short), name); err != nil {
		t.Errorf("as large as it may be: %v", err)
	}
}

func TestVersionsHaveABoundedNumberOfKeys(t *testing.T) {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	body := `{"packages":{"acme/a":[{"name":"acme/a","version":"1"` + b.String() + `}]}}`
	if _, err := composer.ParseDocument([]byte(body), mustName("acme/a")); err == nil {
		t.Error("302 keys were accepted")
	}
}

func TestIndexSummarises(t *testing.T) {
	doc := parse(t, `{"minified":"composer/2.0","packages":{"acme/a":[
		{"name":"acme/a","version":"v2.0","version_normalized":"2.0.0.0","time":"2024-05-06T07:08:09+02:00","published-time":"2024-05-07T00:00:00Z",
		 "dist":{"type":"zip","url":"https:\/\/h\/2.zip","reference":"aa","shasum":"5c"},
		 "source":{"type":"git","url":"https://h/a.git","reference":"bb"},"default-branch":true},
		{"version":"1.0","version_normalized":"__unset","time":"1700000000","default-branch":"__unset"},
		{"version":"dev-master","version_normalized":"9999999-dev","dist":null,"source":"__unset","time":"yesterday"},
		{"version":1.5,"version_normalized":"__unset","dist":{"url":7,"type":null,"reference":12},"source":[],"published-time":"__unset"}
	]}}`)
	got, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	dist := composer.Dist{Type: "zip", URL: "https://h/2.zip", Reference: "aa", Shasum: "5c"}
	published := time.Date(2024, 5, 7, 0, 0, 0, 0, time.UTC)
	want := []composer.Version{
		{Pretty: "v2.0", Normalized: "2.0.0.0", SourceType: "git", SourceURL: "https://h/a.git", SourceReference: "bb",
			Time: time.Date(2024, 5, 6, 5, 8, 9, 0, time.UTC), Published: published, DefaultBranch: true},
		{Pretty: "1.0", Normalized: "1.0.0.0", SourceType: "git", SourceURL: "https://h/a.git", SourceReference: "bb",
			Time: time.Unix(1700000000, 0).UTC(), Published: published},
		{Pretty: "dev-master", Normalized: "dev-master", Published: published},
		{Pretty: "1.5", Normalized: "1.5.0.0"},
	}
	dists := []*composer.Dist{&dist, &dist, nil, {Reference: "12"}}
	if len(got) != len(want) {
		t.Fatalf("got %d versions, want %d", len(got), len(want))
	}
	for i := range got {
		if (got[i].Dist == nil) != (dists[i] == nil) || got[i].Dist != nil && !got[i].Dist.Equal(dists[i]) {
			t.Errorf("version %d has the dist %+v, want %+v", i, got[i].Dist, dists[i])
		}
		if got[i].Dist = nil; got[i] != want[i] {
			t.Errorf("version %d is\n %+v, want\n %+v", i, got[i], want[i])
		}
	}
}

// C25: a version that nobody can normalize is reported, not summarised.
func TestC25IndexRefusesWhatCannotBeNormalized(t *testing.T) {
	_, err := parse(t, `{"packages":{"acme/a":[`+v1+`,{"name":"acme/a","version":"x-dev"}]}}`).Index()
	if err == nil || !strings.Contains(err.Error(), "x-dev") {
		t.Errorf("got %v, want an error about x-dev", err)
	}
}

func TestWithReplacesTheVersions(t *testing.T) {
	doc := parse(t, `{"minified":"composer/2.0","x":1,"packages":{"acme/a":[{"name":"acme/a","version":"2","bin":["b"]},{"version":"1"},{"version":"0.9"}]}}`)
	before := string(doc.Encode())
	full := doc.Expanded()
	got := string(doc.With(append(full[:1:1], full[2].Without("bin"))).Encode())
	want := `{"minified":"composer/2.0","x":1,"packages":{"acme/a":[{"name":"acme/a","version":"2","bin":["b"]},{"version":"0.9","bin":"__unset"}]}}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(doc.With(nil).Encode()); got != `{"minified":"composer/2.0","x":1,"packages":{"acme/a":[]}}` {
		t.Errorf("without versions: %s", got)
	}
	if got := string(doc.Encode()); got != before {
		t.Errorf("the original became %s", got)
	}
	changed := doc.With(full)
	changed.Top = changed.Top.With("z", json.RawMessage("2")).Without("x")
	if got := string(changed.Encode()); !strings.HasPrefix(got, `{"minified":"composer/2.0","packages":`) || !strings.HasSuffix(got, `,"z":2}`) {
		t.Errorf("changed top-level keys are written as %s", got)
	}
	plain := parse(t, `{"packages":{"acme/a":[`+v1+`]}}`)
	if got := string(plain.With(append(plain.Expanded(), object(t, v1))).Encode()); got != `{"packages":{"acme/a":[`+v1+`,`+v1+`]}}` {
		t.Errorf("a plain list became %s", got)
	}
}

func TestNewDocumentIsReadBack(t *testing.T) {
	body := composer.NewDocument(mustName("acme/a"), []composer.Object{object(t, v1), object(t, v1)}).Encode()
	if want := `{"packages":{"acme/a":[` + v1 + `,{}]},"minified":"composer/2.0"}`; string(body) != want {
		t.Errorf("got %s, want %s", body, want)
	}
	doc := parse(t, string(body))
	if doc.Name() != mustName("acme/a") || len(doc.Expanded()) != 2 {
		t.Errorf("read back: %s with %d versions", doc.Name(), len(doc.Expanded()))
	}
}

// Every real document is read, written byte for byte as it came, and its versions survive being expanded and minified.
func TestRealDocumentsSurvive(t *testing.T) {
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		doc, err := composer.ParseDocument(body, file.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(doc.Encode(), bytes.TrimSpace(body)) {
			t.Errorf("%s is not written as it was read", file)
		}
		full := doc.Expanded()
		again := doc.With(full)
		if encode(t, again.Expanded()) != encode(t, full) {
			t.Errorf("%s does not survive being minified", file)
		}
		if len(again.Encode()) > len(doc.Encode()) {
			t.Errorf("%s grew from %d to %d bytes", file, len(doc.Encode()), len(again.Encode()))
		}
	})
}

// C19 and C23: our normalization agrees with that of the registry on each of its versions, and so does the split.
func TestC23RealVersionsNormalizeAsTheRegistrySays(t *testing.T) {
	count := 0
	eachReal(t, func(t *testing.T, file composer.File, body []byte) {
		doc, err := composer.ParseDocument(body, file.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range doc.Expanded() {
			count++
			want := v.Text("version_normalized")
			if got, err := composer.NormalizeVersion(v.Text("version")); err != nil || got != want {
				t.Errorf("%s: %q normalizes to %q, %v, want %q", file, v.Text("version"), got, err, want)
			}
			if again, err := composer.NormalizeVersion(want); err != nil || again != want {
				t.Errorf("%s: %q normalized again is %q, %v", file, want, again, err)
			}
			if composer.IsDev(want) != file.Dev || (composer.Stability(want) == "dev") != file.Dev {
				t.Errorf("%s holds %s", file, want)
			}
		}
	})
	if count == 0 {
		t.Error("no version was looked at")
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"minified":"composer/2.0","packages":{"acme/a":[` + v1 + `,{"version":"0.9","dist":{"type":"zip","url":"https://h/x","reference":""}},{"version":"0.8"}]},"security-advisories":[]}`))
	f.Add([]byte(`{"packages":{"acme/a":{"x":{"name":"acme/a","version":1,"dist":{"url":"http://h","url":"http://i","type":"tar"}}}}}`))
	f.Add([]byte("{ \"packages\" : {\"acme/a\":[]} , \"\xff\\u0041\":[1e5,-0.0,\"\\ud83d\\ude00\"]}"))
	f.Add([]byte(`{"minified":"composer/2.0","packages":{"acme/a":[{"name":"acme/a","version":"dev-x#1","dist":{"type":"zip","url":"https://h"}},{"time":"1"},{"dist":"__unset"},{"dist":null}]}}`))
	name := mustName("acme/a")
	f.Fuzz(func(t *testing.T, body []byte) {
		doc, err := composer.ParseDocument(body, name)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is not JSON", body)
		}
		once := doc.Encode()
		if !json.Valid(once) {
			t.Fatalf("%q is written as %q, which is not JSON", body, once)
		}
		again, err := composer.ParseDocument(once, name)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", body, once, err)
		}
		if twice := again.Encode(); !bytes.Equal(once, twice) {
			t.Fatalf("written once %q, twice %q", once, twice)
		}
		full := doc.Expanded()
		if got, want := encode(t, doc.With(full).Expanded()), encode(t, full); got != want {
			t.Fatalf("%q expands to %s, and then to %s", body, want, got)
		}
		if versions, err := doc.Index(); err == nil && len(versions) != len(full) {
			t.Fatalf("%d summaries of %d versions", len(versions), len(full))
		}
		checkRewritten(t, doc, func(v composer.Version) string { return composer.DistURL(base, name, v) })
		checkRewritten(t, doc, func(v composer.Version) string { return composer.VersionTemplate(base, v) })
	})
}
