package remote

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"stasis/proxy/upstream"
)

// unusable is an answer from which nothing can be learned.
type unusable struct {
	from string // a URL, without its query
	err  error
}

func (e *unusable) Error() string {
	return fmt.Sprintf("the answer of %s cannot be used: %v", e.from, e.err)
}
func (e *unusable) Unwrap() error     { return e.err }
func (e *unusable) Unavailable() bool { return true }

// errMoved is matched by the error for a document that the root names and that
// is not there, or is another: the root changed in between.
var errMoved = errors.New("it is not the document that the repository's root names; the repository may be changing right now")

func bad(address string, err error) error { return &unusable{plain(address), err} }

// badStatus explains a status that is neither a document nor its absence.
func badStatus(resp *upstream.Response) error {
	switch resp.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return bad(resp.URL, fmt.Errorf("it wants other credentials (status %d)", resp.Status))
	}
	return bad(resp.URL, fmt.Errorf("status %d", resp.Status))
}

// plain is an address without what may be secret: user, query and fragment.
func plain(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		head, _, _ := strings.Cut(address, "?")
		return head
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
