package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// redirect says where an answer with a 3xx status leads and with which method. A request body
// never travels to another origin.
func (c *Client) redirect(from *url.URL, method string, hasBody bool, resp *http.Response) (*url.URL, string, *Error) {
	bad := func(kind Kind, err error) (*url.URL, string, *Error) {
		return nil, "", &Error{Host: hostOf(from), Status: resp.StatusCode, Kind: kind, Err: err}
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodHead {
			method = http.MethodGet
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return bad(BadRedirect, fmt.Errorf("the status %d names no place to go", resp.StatusCode))
	}
	location := resp.Header.Get("Location")
	if location == "" {
		return bad(BadRedirect, errors.New("the redirect names no place to go"))
	}
	to, err := parseURL(from, location)
	if err != nil {
		return bad(BadRedirect, err)
	}
	// User information in a redirect is the sender's idea of our credentials; ours come from the table.
	to.User = nil
	if from.Scheme == "https" && to.Scheme == "http" && !c.guard.allowed.hasURL(to) {
		return bad(Insecure, fmt.Errorf("it redirects from https to http on %s, which is not one of the allowed hosts", to.Hostname()))
	}
	if method != http.MethodGet && method != http.MethodHead && hasBody && originOf(from) != originOf(to) {
		return bad(BadRedirect, errors.New("it redirects a request body to another origin"))
	}
	return to, method, nil
}
