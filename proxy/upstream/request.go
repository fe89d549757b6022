package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// The classes of requests. A class is a label in metrics and chooses slots and timeouts.
const (
	ClassMetadata = "metadata"
	ClassArchive  = "archive"
	ClassAPI      = "api"
	ClassFeed     = "feed"
)

// Request is one thing to be asked. Of Header, Accept, Accept-Language, Cache-Control,
// Content-Type, If-Modified-Since, If-None-Match, If-Range and Range are sent and nothing else.
// User information in URL becomes basic authentication for the URL's own origin unless the
// table of credentials knows that origin.
type Request struct {
	Method string // GET when empty; only GET and HEAD are retried
	URL    string
	Header http.Header
	Body   []byte
	Class  string // ClassMetadata when empty
	// Owner is in whose name the request is made: what it brought to the table of credentials is
	// sent to where it belongs, beside what is for every request. Empty for nobody.
	Owner string
	// UserAgent replaces our own where a client's is to be passed on; empty keeps ours.
	UserAgent string
}

var passedHeaders = []string{
	"Accept", "Accept-Language", "Cache-Control", "Content-Type",
	"If-Modified-Since", "If-None-Match", "If-Range", "Range",
}

// Response is an answer whose header has arrived. The body must be read to its end or closed;
// until then it holds one of the slots that bound concurrency.
type Response struct {
	Status int
	Header http.Header
	// Body is inflated when the answer was compressed as asked for, and then Content-Encoding
	// and Content-Length are gone from Header. Archives come as they are. A body that ends
	// early gives an error that matches io.ErrUnexpectedEOF, as far as its end is marked.
	Body io.ReadCloser
	// ContentLength is that of Body, -1 when unknown.
	ContentLength int64
	// Unframed says that nothing but the end of the connection marks the end of Body, so that a
	// body cut short cannot be told from a whole one.
	Unframed bool
	// URL is where the answer came from after redirects, without user information. Its query
	// may hold a token that the origin handed out: it is not for logs.
	URL string
}

// call is a checked Request.
type call struct {
	method string
	url    *url.URL // without user information
	user   *url.Userinfo
	header http.Header
	body   []byte
	class  string
	owner  string
	agent  string // empty for our own
}

func newCall(r Request) (*call, error) {
	k := &call{method: r.Method, body: r.Body, class: r.Class, owner: r.Owner, header: http.Header{}}
	if k.method == "" {
		k.method = http.MethodGet
	}
	invalid := func(host string, err error) (*call, error) {
		return nil, &Error{Host: host, Op: k.method, Kind: Invalid, Err: err, neutral: true}
	}
	switch k.method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return invalid("", errors.New("the method is unknown"))
	}
	switch k.class {
	case "":
		k.class = ClassMetadata
	case ClassMetadata, ClassArchive, ClassAPI, ClassFeed:
	default:
		return invalid("", fmt.Errorf("the class %q is unknown", k.class))
	}
	u, err := parseURL(nil, r.URL)
	if err != nil {
		return invalid("", err)
	}
	if httpguts.ValidHeaderFieldValue(r.UserAgent) {
		k.agent = r.UserAgent
	}
	k.url, k.user = u, u.User
	u.User = nil
	for _, name := range passedHeaders {
		if values := r.Header.Values(name); len(values) > 0 {
			k.header[name] = values
		}
	}
	return k, nil
}

// parseURL reads an absolute http or https URL, or resolves a reference against base. Its
// errors do not repeat the URL.
func parseURL(base *url.URL, raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return nil, errors.New("the URL cannot be parsed")
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the URL is neither http nor https")
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return nil, errors.New("the URL has no host")
	}
	host, err := asciiHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port != "" && !validPort(port) {
		return nil, errors.New("the URL's port is not a port")
	}
	u.Host = joinHostPort(host, port)
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// idempotent says whether the call may be repeated.
func (k *call) idempotent() bool { return k.method == http.MethodGet || k.method == http.MethodHead }

// header returns what is sent to u: the caller's few headers, ours, and the credentials of that
// origin alone.
func (c *Client) header(k *call, u *url.URL) http.Header {
	h := k.header.Clone()
	h.Set("User-Agent", cmp.Or(k.agent, c.opts.UserAgent))
	if k.class == ClassArchive {
		h.Set("Accept-Encoding", "identity")
	} else {
		h.Set("Accept-Encoding", "gzip")
	}
	if !c.opts.Auth.apply(k.owner, u, h) && k.user != nil && originOf(u) == originOf(k.url) {
		password, _ := k.user.Password()
		h.Set("Authorization", "Basic "+basic(k.user.Username(), password))
	}
	return h
}

// PastCaches returns a URL for what u names that no cache on the way holds an answer for, since
// nobody asked for it before: caches tell answers apart by the whole URL.
func PastCaches(u string, now time.Time) string {
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
	}
	return fmt.Sprintf("%s%sfresh=%d", u, sep, now.UnixNano())
}
