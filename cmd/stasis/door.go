package main

import (
	"errors"
	"net/http"

	"stasis/private"
	"stasis/private/access"
	"stasis/proxy"
	"stasis/proxy/composer"
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
	return guest{reader}, nil
}

// guest is a reader as the proxy sees it.
type guest struct{ *access.Reader }

// Everything implements proxy.Reader.
func (g guest) Everything() bool { return !g.Restricted() }

// ownNames are names that are ours and come from nowhere.
type ownNames struct {
	proxy.NoSources
	private.Names
}

// Reserved implements proxy.Sources.
func (o ownNames) Reserved(n composer.Name) bool { return o.Has(n) }
