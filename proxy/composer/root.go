package composer

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// Root is the packages.json of a repository. Addresses are as they stand there; Resolve makes them absolute.
// Whatever has an unexpected type counts as absent.
type Root struct {
	MetadataURL        string // with %package%; empty for a repository of Composer 1
	ListURL            string
	SearchURL          string // with %query% and %type%
	ProvidersURL       string // the "providers-api", with %package%
	MetadataChangesURL string
	NotifyURL          string // the "notify-batch"

	AdvisoriesURL      string // security-advisories.api-url
	AdvisoriesMetadata bool   // security-advisories.metadata: documents carry advisories
	FilterURL          string // filter.api-url
	FilterSummaryURL   string // filter.summary-url
	FilterMetadata     bool   // filter.metadata; when false clients ignore the whole filter
	AvailablePackages  []string
	AvailablePatterns  []string
	Mirrors            []Mirror
	Members            Object // everything, as it was read
}

// Mirror is a template for other addresses of a repository's archives, see ExpandTemplate and Origins.
type Mirror struct {
	DistURL   string
	Preferred bool
}

// ParseRoot reads a repository root.
func ParseRoot(body []byte) (*Root, error) {
	var o Object
	err := scan(body, func(s *scanner) (err error) {
		if s.peek() != '{' {
			return s.unexpected("where an object belongs")
		}
		o, err = s.object(0, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("repository root: %w", err)
	}
	return newRoot(o), nil
}

// DefaultRoot is what a repository like Packagist is taken to offer while its root has never been seen, all of it at the
// usual paths below its own host.
func DefaultRoot() *Root {
	root, err := ParseRoot([]byte(`{
		"packages": [],
		"metadata-url": "/p2/%package%.json",
		"notify-batch": "/downloads/",
		"metadata-changes-url": "/metadata/changes.json",
		"search": "/search.json?q=%query%&type=%type%",
		"list": "/packages/list.json",
		"security-advisories": {"metadata": true, "api-url": "/api/security-advisories/"},
		"providers-api": "/providers/%package%.json",
		"filter": {"metadata": true, "lists": {"malware": {"enabled": true}}, "summary-url": "/lists/all/summary.json"}
	}`))
	if err != nil {
		panic(err) // a constant that no input reaches
	}
	return root
}

func newRoot(o Object) *Root {
	advisories, filter := o.object("security-advisories"), o.object("filter")
	r := &Root{
		MetadataURL:        o.Text("metadata-url"),
		ListURL:            o.Text("list"),
		SearchURL:          o.Text("search"),
		ProvidersURL:       o.Text("providers-api"),
		MetadataChangesURL: o.Text("metadata-changes-url"),
		NotifyURL:          o.Text("notify-batch"),
		AdvisoriesURL:      advisories.Text("api-url"),
		AdvisoriesMetadata: isTrue(advisories.Get("metadata")),
		FilterURL:          filter.Text("api-url"),
		FilterSummaryURL:   filter.Text("summary-url"),
		FilterMetadata:     isTrue(filter.Get("metadata")),
		AvailablePackages:  o.texts("available-packages"),
		AvailablePatterns:  o.texts("available-package-patterns"),
		Members:            o,
	}
	r.Mirrors = readMirrors(o.list("mirrors"), "dist-url")
	return r
}

// readMirrors reads the mirrors of a root or of one dist, which name their address differently.
func readMirrors(list []json.RawMessage, address string) (mirrors []Mirror) {
	for _, value := range list {
		m := parseObject(value)
		if u := m.Text(address); u != "" {
			mirrors = append(mirrors, Mirror{DistURL: u, Preferred: isTrue(m.Get("preferred"))})
		}
	}
	return mirrors
}

func isTrue(v json.RawMessage) bool { return string(v) == "true" }

// parseObject reads a value known to be valid; one that is no object gives none.
func parseObject(value json.RawMessage) Object {
	if len(value) == 0 || value[0] != '{' {
		return nil
	}
	s := scanner{data: value}
	o, _ := s.object(0, nil)
	return o
}

func (o Object) object(key string) Object { return parseObject(o.Get(key)) }

func (o Object) list(key string) []json.RawMessage { return elementsOf(o.Get(key)) }

// elementsOf returns the elements of a list known to be valid, or nothing.
func elementsOf(value json.RawMessage) (out []json.RawMessage) {
	if len(value) == 0 || value[0] != '[' {
		return nil
	}
	s := scanner{data: value}
	_ = s.elements(0, func() error {
		v, err := s.raw(1)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out
}

func (o Object) texts(key string) (out []string) {
	for _, v := range o.list(key) {
		if s, ok := textOf(v); ok {
			out = append(out, s)
		}
	}
	return out
}

// RootURL is where the root of a repository lies: a repository address whose path names a .json file is that address
// itself, any other gets "/packages.json".
func RootURL(repository string) string {
	if u, err := url.Parse(repository); err == nil && strings.Contains(u.Path, ".json") {
		return repository
	}
	return strings.TrimRight(repository, "/") + "/packages.json"
}

// Resolve makes an address found in the root of repository absolute, as Composer does: one that starts with a slash
// belongs to the host of the repository, whatever the repository's own path. Addresses without slash or scheme, at which
// Composer gives up, are taken to lie beside the root.
func Resolve(repository, value string) string {
	if value == "" || schemeOf(value) != "" {
		return value
	}
	if strings.HasPrefix(value, "/") {
		return origin(repository) + value
	}
	base, _, _ := strings.Cut(repository, "#")
	base, _, _ = strings.Cut(base, "?")
	if i := strings.LastIndexByte(base, '/'); i > len(origin(repository)) && strings.HasSuffix(base, ".json") {
		base = base[:i]
	}
	return strings.TrimRight(base, "/") + "/" + value
}

// schemeOf returns the "https://" of an address, or "".
func schemeOf(address string) string {
	i := strings.Index(address, "://")
	if i <= 0 {
		return ""
	}
	for j := range i {
		if c := address[j] | 0x20; c < 'a' || 'z' < c {
			return ""
		}
	}
	return address[:i+3]
}

// origin is the scheme and authority of an address, user-info included.
func origin(address string) string {
	scheme := schemeOf(address)
	rest := address[len(scheme):]
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + rest
}
