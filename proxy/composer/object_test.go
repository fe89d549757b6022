package composer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"stasis/proxy/composer"
)

func object(t testing.TB, text string) composer.Object {
	t.Helper()
	var o composer.Object
	if err := o.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func text(t testing.TB, o composer.Object) string {
	t.Helper()
	b, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestObjectKeepsOrderAndText(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":2}`: `{"b":1,"a":2}`,
		`{"n":12345678901234567890.10e+05,"z":-0,"f":1.0}`:       `{"n":12345678901234567890.10e+05,"z":-0,"f":1.0}`,
		`{"o":{},"l":[],"n":null}`:                               `{"o":{},"l":[],"n":null}`,
		"{ \"a\" :\t[ 1 , { \"x y\" : \" z \" } ]\r\n }":         `{"a":[1,{"x y":" z "}]}`,
		`{"a":1,"b":2,"a":3}`:                                    `{"a":3,"b":2}`,
		`{"html":"<a href='x'>&</a>","slash":"\/","u":"\u00e4"}`: `{"html":"<a href='x'>&</a>","slash":"\/","u":"\u00e4"}`,
		`{"\u0061\n\"\\":1}`:                                     `{"a\n\"\\":1}`,
		`{"\ud83d\ude00":1}`:                                     `{"😀":1}`,
		`{"":1}`:                                                 `{"":1}`,
		"{\"\xff\":\"\xfe\"}":                                    "{\"\xff\":\"\xfe\"}",
		`[]`:                                                     `{}`,
		`{"a":"\\","b":"\\\" , "}`:                               `{"a":"\\","b":"\\\" , "}`,
	} {
		if got := text(t, object(t, in)); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestObjectRefusesWhatIsNotJSON(t *testing.T) {
	for _, in := range []string{
		"", " ", "{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1}x`, `{"a":1}{}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`,
		`{"a":-}`, `{"a":1e}`, `{"a":+1}`, `{"a":NaN}`, `{"a":tru}`, `{"a":nulL}`, `{"a":"x}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\`,
		`{"a":"\ud800"}`, `{"a":"\udc00\ud800"}`, `{"a":"\ud800\u0041"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "\xef\xbb\xbf{}", `[1]`, `[`,
		`null`, `"x"`, `1`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a" 1}`, `{"a":1 "b":2}`, "{\"a\":1\x00}", `{'a':1}`, `/**/{}`,
	} {
		var o composer.Object
		if err := o.UnmarshalJSON([]byte(in)); err == nil {
			t.Errorf("%q was read as %s", in, text(t, o))
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	for _, c := range []struct {
		open, close string
	}{{"[", "]"}, {`{"a":`, "}"}} {
		nested := func(n int) []byte {
			return []byte(`{"a":` + strings.Repeat(c.open, n) + "1" + strings.Repeat(c.close, n) + "}")
		}
		var o composer.Object
		if err := o.UnmarshalJSON(nested(511)); err != nil {
			t.Errorf("512 levels of %s are refused: %v", c.open, err)
		}
		for _, n := range []int{512, 1_000_000} {
			if err := o.UnmarshalJSON(nested(n)); err == nil {
				t.Errorf("%d levels of %s are accepted", n+1, c.open)
			}
		}
	}
}

func TestObjectWithAndWithoutLeaveTheOriginalAlone(t *testing.T) {
	o := object(t, `{"a":1,"b":2,"c":3}`)
	for _, c := range []struct {
		got  composer.Object
		want string
	}{
		{o.With("b", json.RawMessage("9")), `{"a":1,"b":9,"c":3}`},
		{o.With("d", json.RawMessage("4")), `{"a":1,"b":2,"c":3,"d":4}`},
		{o.With("e", nil), `{"a":1,"b":2,"c":3,"e":null}`},
		{o.Without("a"), `{"b":2,"c":3}`},
		{o.Without("c"), `{"a":1,"b":2}`},
		{o.Without("x"), `{"a":1,"b":2,"c":3}`},
		{o, `{"a":1,"b":2,"c":3}`},
	} {
		if got := text(t, c.got); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if !o.Has("a") || o.Has("x") || string(o.Get("b")) != "2" || o.Get("x") != nil {
		t.Error("Has or Get do not see what is there")
	}
	if got := object(t, `{"a":"x\ty","b":1}`); got.Text("a") != "x\ty" || got.Text("b") != "" || got.Text("c") != "" {
		t.Error("Text reads something else than strings")
	}
}

// A hostile object names one key very often, or very many keys; neither may cost the square of its size.
func TestManyKeysAreReadInLinearTime(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 80_000 {
		fmt.Fprintf(&b, `"k%d":%d,`, i%60_000, i)
	}
	b.WriteString(`"last":1}`)
	o := object(t, b.String())
	if len(o) != 60_001 {
		t.Fatalf("got %d members, want 60001", len(o))
	}
	if got := string(o.Get("k0")); got != "60000" || o[0].Key != "k0" {
		t.Errorf("the repeated key holds %s at %q, want the last value at the first place", got, o[0].Key)
	}
}
