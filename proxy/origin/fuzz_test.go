package origin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"stasis/proxy/origin"
)

func FuzzBaseURL(f *testing.F) {
	f.Add("p.example:8080", "https", "q.example", "8443", "/x", "")
	f.Add("[::1]:80", "", "", "", "", `for=1.2.3.4;host="a:1";proto=http, for=_x`)
	f.Add("a", "http", "a, b", "1", "/a/b/", `for="\"`)
	f.Fuzz(func(t *testing.T, host, proto, fhost, port, prefix, forwarded string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Host: host, Header: http.Header{}}
		for k, v := range map[string]string{"X-Forwarded-Proto": proto, "X-Forwarded-Host": fhost, "X-Forwarded-Port": port, "X-Forwarded-Prefix": prefix, "Forwarded": forwarded} {
			if v != "" {
				r.Header[k] = []string{v}
			}
		}
		origin.ClientAddr(r, trusted)
		got, err := origin.BaseURL(r, "", trusted)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Errorf("the error %q carries control characters", err)
			}
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("%q is not a plain base URL (%v)", got, err)
		}
		if u.String() != got || strings.HasSuffix(got, "/") {
			t.Errorf("%q is not canonical: %q", got, u)
		}
		if b, _ := json.Marshal(got); string(b) != `"`+got+`"` {
			t.Errorf("%q needs escaping in JSON", got)
		}
		again, err := origin.BaseURL(&http.Request{Host: u.Host}, "", nil)
		if err != nil || again != "http://"+u.Host && again != "http://"+strings.TrimSuffix(u.Host, ":80") {
			t.Errorf("the host of %q is not accepted again: %q, %v", got, again, err)
		}
	})
}

func FuzzClientAddr(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.2", "for=1.2.3.4", "203.0.113.9:1")
	f.Add("[::1]:2", `for="[::1]:_x";;, ,for=unknown`, "x")
	f.Fuzz(func(t *testing.T, xff, forwarded, peer string) {
		with := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {xff}, "Forwarded": {forwarded}}}
		without := &http.Request{RemoteAddr: peer}
		origin.ClientAddr(&http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"Forwarded": {forwarded}}}, trusted)
		got := origin.ClientAddr(with, trusted)
		if !origin.Trusted(with, trusted) && got != origin.ClientAddr(without, nil) {
			t.Errorf("a peer that is not trusted changed its address from %q to %s", peer, got)
		}
	})
}
