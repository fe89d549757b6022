package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stasis/integration/promise"
	"stasis/integration/standin"
)

// hostile is a document that somebody sends in place of a package's.
type hostile struct{ name, body string }

// hostileDocuments are documents of a package that are broken, absurd or made to exhaust a parser.
func hostileDocuments(pkg string) []hostile {
	versions := func(list string) string { return `{"packages":{"` + pkg + `":[` + list + `]}}` }
	good := `"name":"` + pkg + `","version":"1.0.0","version_normalized":"1.0.0.0"`
	with := func(more string) string { return versions(`{` + good + `,` + more + `}`) }
	nested := func(open, core, end string, n int) string {
		return strings.Repeat(open, n) + core + strings.Repeat(end, n)
	}
	out := []hostile{
		{"nothing", ""}, {"white space", " \n\t "}, {"null", "null"}, {"a number", "7"}, {"a string", `"packages"`}, {"an array", "[]"}, {"an empty object", "{}"},
		{"packages are null", `{"packages":null}`}, {"packages are a string", `{"packages":"x"}`}, {"packages are numbers", `{"packages":{"` + pkg + `":[1,2,3]}}`},
		{"versions are a string", `{"packages":{"` + pkg + `":"1.0.0"}}`}, {"versions are nulls", versions("null,null")}, {"versions are arrays", versions("[],[[]]")},
		{"another package", `{"packages":{"other/other":[{"name":"other/other","version":"1.0.0"}]}}`},
		{"a version of another package", versions(`{"name":"other/other","version":"1.0.0","version_normalized":"1.0.0.0"}`)},
		{"cut", with(`"type":"library"`)[:60]}, {"text behind", with(`"type":"library"`) + "x"}, {"two documents", strings.Repeat(with(`"type":"library"`), 2)},
		{"a byte order mark", "\ufeff" + with(`"type":"library"`)}, {"UTF-16", "\xff\xfe" + strings.ReplaceAll(with(`"type":"library"`), `"`, "\"\x00")},
		{"comments", "/* x */" + with(`"type":"library"`)}, {"single quotes", strings.ReplaceAll(with(`"type":"library"`), `"`, `'`)}, {"a trailing comma", with(`"type":"library",`)},
		{"NUL in a string", with("\"description\":\"a\x00b\"")}, {"NUL between", with("\"type\":\x00\"library\"")}, {"an escaped NUL", with(`"description":"a\u0000b"`)},
		{"control characters", with("\"description\":\"\x01\x1f\"")}, {"invalid UTF-8", with("\"description\":\"\xff\xc0\xaf\xed\xa0\x80\"")},
		{"invalid UTF-8 in the version", versions("{\"name\":\"" + pkg + "\",\"version\":\"1.0.\xff\"}")}, {"lone surrogates", with(`"description":"\ud800 \udc00\ud800"`)},
		{"a lone surrogate in the version", versions(`{"name":"` + pkg + `","version":"dev-\ud800","version_normalized":"dev-\ud800"}`)},
		{"escapes that are none", with(`"description":"\x41\u12"`)}, {"a huge exponent", with(`"extra":{"n":1e999999999}`)}, {"a long number", with(`"extra":{"n":` + strings.Repeat("9", 1<<20) + `}`)},
		{"numbers that are none", with(`"extra":{"a":NaN,"b":Infinity,"c":01,"d":.5,"e":+1}`)},
		{"the package twice", `{"packages":{"` + pkg + `":[],"` + pkg + `":[{` + good + `}]}}`}, {"packages twice", `{"packages":{},"packages":{"` + pkg + `":[{` + good + `}]}}`},
		{"the version twice", versions(`{` + good + `,"version":"2.0.0"}`)}, {"the same version again", versions(`{` + good + `},{` + good + `}`)},
		{"a name twice", versions(`{` + good + `,"name":"other/other"}`)},
		{"minified is a number", `{"minified":7,` + versions(`{` + good + `}`)[1:]}, {"minified in another way", `{"minified":"composer/9.9",` + versions(`{` + good + `}`)[1:]},
		{"minified from nothing", `{"minified":"composer/2.0",` + versions(`{},{"version":"2.0.0"}`)[1:]},
		{"minified and everything unset", `{"minified":"composer/2.0",` + versions(`{` + good + `},{"name":"__unset","version":"__unset"}`)[1:]},
		{"unset where nothing is minified", versions(`{"name":"__unset","version":"__unset","require":"__unset"}`)},
		{"deep arrays", nested("[", "", "]", 1_000_000)}, {"deep arrays that never end", strings.Repeat("[", 10_000_000)}, {"deep objects", nested(`{"a":`, "1", "}", 200_000)},
		{"deep in a version", with(`"extra":` + nested("[", "", "]", 200_000))}, {"deep in an unknown key", `{"x":` + nested(`{"packages":`, "1", "}", 200_000) + `,` + versions(`{` + good + `}`)[1:]},
		{"a long name of a version", versions(`{"name":"` + pkg + `","version":"dev-` + strings.Repeat("a", 4<<20) + `"}`)},
		{"a long key", with(`"` + strings.Repeat("k", 8<<20) + `":1`)}, {"many keys", with(`"require":{` + many(200_000, `"a/b%d":"*"`) + `}`)},
		{"a million versions", versions(many(1_000_000, `{"name":"`+pkg+`","version":"1.0.%d"}`))}, {"a million minified versions", `{"minified":"composer/2.0",` + versions(`{` + good + `},` + many(1_000_000, `{"version":"2.0.%d"}`))[1:]},
		{"a million empty versions", versions("{}" + strings.Repeat(",{}", 1_000_000))},
	}
	// Every field of a version with a value of every type that it does not have.
	for _, field := range []string{"name", "version", "version_normalized", "dist", "source", "require", "time", "published-time", "type", "extra", "autoload", "bin", "license", "authors",
		"description", "keywords", "support", "funding", "abandoned", "default-branch", "notification-url", "php-ext", "security-advisories", "require-dev", "replace", "provide", "conflict", "suggest"} {
		for _, value := range []string{"null", "true", "-7", `""`, `"\u0000"`, "[]", "{}", "[[null]]", `{"":{"":null}}`, `{"url":7,"type":[],"reference":{},"shasum":null,"mirrors":"x"}`} {
			v := map[string]string{"name": `"` + pkg + `"`, "version": `"1.0.0"`, "version_normalized": `"1.0.0.0"`}
			v[field] = value
			var parts []string
			for key, value := range v {
				parts = append(parts, `"`+key+`":`+value)
			}
			out = append(out, hostile{field + " is " + value, versions("{" + strings.Join(parts, ",") + "}")})
		}
	}
	return out
}

// many is a list of n items that are numbered.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestHostileDocumentsHurtNobody lets upstream send each of them, once where nothing is held and once where a copy is. What
// is odd but means something is passed on; the rest is refused with one sentence, or the copy is served.
func TestHostileDocumentsHurtNobody(t *testing.T) {
	s, d := pair(t, revalidating...)
	sh := stock(t, s, d, 10, 10_000)
	stop := d.peak()
	before, _ := d.resident()
	refused, passed, lost, slowest := 0, 0, 0, time.Duration(0)
	worst := ""
	all := hostileDocuments("evil/p")
	for i, h := range all {
		name := fmt.Sprintf("evil/p%d", i)
		body := strings.ReplaceAll(h.body, `"evil/p"`, `"`+name+`"`)
		path := "/p2/" + name + ".json"
		for _, held := range []bool{false, true} {
			if held {
				name = fmt.Sprintf("evil/held%d", i)
				body, path = strings.ReplaceAll(h.body, `"evil/p"`, `"`+name+`"`), "/p2/"+name+".json"
				s.Publish(standin.Release{Name: name, Version: "0.9.0"})
				if r := d.get(path); r.StatusCode != http.StatusOK {
					t.Fatalf("%s: %d", path, r.StatusCode)
				}
			}
			rule := s.Fault(path, standin.Body("application/json", body))
			began := time.Now()
			r := d.get(path)
			if took := time.Since(began); took > slowest {
				slowest, worst = took, h.name
			}
			rule.Remove()
			switch {
			case rule.Hits() == 0:
				t.Errorf("%s: upstream was not asked", h.name)
			case r.err != nil || r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadGateway, held && r.StatusCode != http.StatusOK:
				t.Errorf("%s (held: %t): %d %.300s", h.name, held, r.StatusCode, r.body)
				lost++
			case r.StatusCode == http.StatusBadGateway:
				refused++
				if sentence := told502(r.body); sentence == "" || len(sentence) > 2000 {
					t.Errorf("%s: refused with %.300q", h.name, r.body)
				}
			case !json.Valid(r.body):
				t.Errorf("%s (held: %t): what is passed on is no JSON: %.200q", h.name, held, r.body)
				lost++
			default:
				passed++
			}
		}
	}
	top, _ := d.resident()
	peak := max(stop(), top)
	if grew := (peak - before) >> 10; grew > 512 {
		t.Errorf("memory grew by %d MiB", grew)
	}
	if slowest > 15*time.Second {
		t.Errorf("%s took %s", worst, slowest)
	}
	for _, it := range sh.documents {
		if r := d.get(it.path, "Accept-Encoding", "gzip"); r.StatusCode != http.StatusOK || digest(r.body) != it.digest {
			t.Errorf("%s afterwards: %d", it.path, r.StatusCode)
		}
	}
	promise.Kept(t, promise.Report{
		Promise: "B4", Did: "hostile documents, without and with a copy", Rounds: 2 * len(all), Lost: lost,
		Seen: "502 with one sentence, the copy, or what is odd but means something", Alert: "upstream_failure",
		Metric: d.told(t, "upstream_failure", "stasis_alert_events_total", `kind="upstream_failure"`),
		Figure: fmt.Sprintf("%d refused, %d answered; memory grew by %d MiB at most; the slowest (%s) took %s", refused, passed, (peak-before)>>10, worst, slowest.Round(time.Millisecond)),
	})
}

// told502 is the sentence of an error, empty when there is none.
func told502(body []byte) string {
	var e struct{ Message string }
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.Message
}
