package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"stasis/api"
)

func TestProbes(t *testing.T) {
	var state error
	s := serve(t, api.Options{Ready: func(context.Context) error { return state }})
	probe := func(path string, status int, want api.Health) {
		t.Helper()
		a := s.do("GET", path, "", "Authorization: ")
		var got api.Health
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != status || got != want {
			t.Errorf("%s: %d %s, want %d %+v", path, a.StatusCode, a.body, status, want)
		}
		if h := s.do(http.MethodHead, path, "", "Authorization: "); h.StatusCode != status || len(h.body) != 0 {
			t.Errorf("HEAD %s: %d", path, h.StatusCode)
		}
	}
	ok := api.Health{Status: "ok"}
	probe("/readyz", 200, ok)
	state = errors.Join(errors.New("/var/lib/stasis is closed"), api.NotReady("the server is draining"))
	probe("/readyz", 503, api.Health{Status: "unavailable", Reason: "the server is draining"})
	state = errors.New("/var/lib/stasis is closed")
	probe("/readyz", 503, api.Health{Status: "unavailable"})
	probe("/healthz", 200, ok)
	probe("/livez", 200, ok)
	state = nil
	probe("/readyz", 200, ok)
	if log := s.log.String(); strings.Count(log, "no longer ready") != 1 || strings.Count(log, "ready again") != 1 {
		t.Errorf("the log does not tell the two changes once each:\n%s", log)
	}
}

func TestAReadinessCheckThatHangsIsEnded(t *testing.T) {
	s := serve(t, api.Options{Ready: func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			return nil
		}
		return api.NotReady("there is a deadline")
	}})
	if a := s.do("GET", "/readyz", ""); !strings.Contains(string(a.body), "there is a deadline") {
		t.Errorf("the check has no deadline: %s", a.body)
	}
}

func TestVersion(t *testing.T) {
	s := serve(t, api.Options{Version: "9.9.9"})
	if a := s.do("GET", "/version", "", "Authorization: "); strings.TrimSpace(string(a.body)) != `{"name":"stasis","version":"9.9.9"}` {
		t.Errorf("version: %s", a.body)
	}
}
