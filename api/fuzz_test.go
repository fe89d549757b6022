package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/labstack/echo/v4"

	"stasis/api"
)

// Whatever is sent, the answer is in the envelope, and nothing is purged that was not named.
func FuzzPurgeBody(f *testing.F) {
	for _, s := range []string{"", "{}", " { } ", `{"package":"a/b"}`, `{"kind":"archives"}`, `{"kind":null}`, `{"\u0070ackage":"a/b"}`, `{"package":"a/b","package":null}`, "[]", `{}{}`, "{\"kind\":\"\xff\"}", "\f", "\u00a0{}"} {
		f.Add(s)
	}
	op := &operator{}
	e := echo.New()
	api.Register(e, options(f, op))
	f.Fuzz(func(t *testing.T, body string) {
		op.purged = nil
		r := httptest.NewRequest(http.MethodPost, "/api/v1/proxy/purge", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, r)
		var env api.Envelope[json.RawMessage]
		if err := json.Unmarshal(rec.Body.Bytes(), &env); err != nil || (rec.Code == 200) == (env.Error != nil) || !slices.Contains([]int{200, 400, 413}, rec.Code) {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if len(op.purged) == 0 {
			return
		}
		req := op.purged[0]
		bare := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(body)
		if everything := req.Package.IsZero() && req.Kind == ""; everything && bare != "" && bare != "{}" {
			t.Errorf("the body %q purges everything", body)
		}
	})
}

var locksMember = regexp.MustCompile(`"locks"\s*:`)

// Whatever is sent, the answer is in the envelope, and a snapshot is only begun of a body without surprises.
func FuzzSnapshotBody(f *testing.F) {
	for _, s := range []string{"", "{}", `{"name":"a","from":"2026-01-01"}`, `{"locks":[{"packages":[]},"x"]}`, `{"locks":["\u0000",{}]}`, `{"locks":[ {} , null]}`, `{"from":"2026-01-01T00:00:00Z","locks":[]}`, `{"locks":{"a":[]}}`, `{"note":null}`} {
		f.Add(s)
	}
	op := &operator{}
	e := echo.New()
	api.Register(e, options(f, op))
	f.Fuzz(func(t *testing.T, body string) {
		op.asked = nil
		r := httptest.NewRequest(http.MethodPost, "/api/v1/proxy/snapshots", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, r)
		var env api.Envelope[json.RawMessage]
		if err := json.Unmarshal(rec.Body.Bytes(), &env); err != nil || (rec.Code == 200) == (env.Error != nil) || !slices.Contains([]int{200, 400, 413}, rec.Code) {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if (rec.Code == 200) != (len(op.asked) == 1) {
			t.Fatalf("%d after %q", rec.Code, op.asked)
		}
		if locks := locksMember.MatchString(body); rec.Code == 200 && locks && strings.Contains(op.asked[0], "with 0 locks") {
			t.Errorf("the lock files of %q are passed over", body)
		}
	})
}

func FuzzLoggable(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\x1b[31m\u202e\xff\u2028", 7)
	f.Add("ééé", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 || limit > 4096 {
			return
		}
		got := api.Loggable(s, limit)
		if len(got) > 3*limit || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%+q becomes %+q", s, got)
		}
		if again := api.Loggable(got, len(got)); again != got {
			t.Errorf("%+q is cleaned again to %+q", got, again)
		}
	})
}
