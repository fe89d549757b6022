package integration_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestC80WhatClientsSendIsNotPassedOn(t *testing.T) {
	s, d := pair(t, "PROXY_NOTIFY_UPSTREAM=true", "ADMIN_TOKEN=client-secret") // a right token, or nothing would be asked
	made(s)
	secrets := []string{"Authorization", "Bearer client-secret", "Cookie", "session=client-secret", "Private-Token", "client-secret", "X-Api-Key", "client-secret", "Proxy-Authorization", "Basic client-secret"}
	link := d.distURL("acme/a", "v1.0.0")
	s.Forget()
	for _, path := range []string{"/packages.json", "/p2/acme/b.json", "/p2/acme/unknown.json", link, "/search.json?q=acme", "/packages/list.json", "/providers/acme/virtual.json", "/lists/all/summary.json", "/packages/acme/a.json"} {
		_ = d.get(path, secrets...)
	}
	_ = d.do(http.MethodPost, "/api/security-advisories/", []byte("packages[0]=acme/a"), append([]string{"Content-Type", form}, secrets...)...)
	_ = d.do(http.MethodPost, "/downloads/", []byte(`{"downloads":[{"name":"acme/a","version":"1.0.0.0"}]}`), append([]string{"Content-Type", "application/json"}, secrets...)...)
	if err := s.AwaitDone(within(t), "/downloads/", 1); err != nil {
		t.Fatal(err)
	}
	records := s.Records("*")
	if len(records) < 5 {
		t.Errorf("upstream was asked only %d times: %v", len(records), uris(s))
	}
	for _, r := range records {
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), "client-secret") {
				t.Errorf("%s reached upstream with %s: %q", name, r.URI, values)
			}
		}
	}
	d.stop()
	if strings.Contains(d.log.String(), "client-secret") {
		t.Error("the log repeats the client's credentials")
	}
}
