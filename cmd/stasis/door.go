package main

import (
	"errors"
	"net/http"

	"stasis/private/access"
	"stasis/proxy"
)

// door lets the proxy ask private/access who may read: neither knows the other.
type door struct{ access *access.Access }

// Admit implements proxy.Gate.
func (d door) Admit(r *http.Request) (proxy.Reader, error) {
	reader, err := d.access.Admit(r)
	if err != nil {
		var denied *access.Denied
		if errors.As(err, &denied) {
			h := http.Header{}
			denied.Headers(h)
			return nil, &proxy.Denial{Status: denied.Status, Message: denied.Message, Challenge: h.Get("WWW-Authenticate"), Retry: denied.RetryAfter}
		}
		return nil, err
	}
	if !reader.Can(access.RoleRead) {
		return nil, &proxy.Denial{Status: http.StatusForbidden, Message: "this token is for webhooks and reads nothing; Composer needs one of the role read"}
	}
	return guest{reader}, nil
}

// Anonymous implements proxy.Gate.
func (d door) Anonymous() proxy.Reader { return guest{d.access.Anonymous()} }

// guest is a reader as the proxy sees it.
type guest struct{ *access.Reader }

// Everything implements proxy.Reader.
func (g guest) Everything() bool { return !g.Restricted() }
