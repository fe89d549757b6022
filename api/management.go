package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"stasis/private/access"
	"stasis/proxy"
	"stasis/proxy/composer"
)

// management has the handlers of the management API.
type management struct {
	operator Operator
	packages Packages
	backups  Backups
	auth     *authenticator
	access   *access.Access
	uploads  Uploads
	hooks    Hooks
	bodies   *semaphore.Weighted // of deliveries being read
	audit    *recorder
	log      *slog.Logger
	now      func() time.Time
	base     string
	trusted  []netip.Prefix
}

// begin is the common beginning of the operations of the proxy: it returns the operator, or says that there is
// none, and refuses query parameters nobody would read.
func (m *management) begin(c *call, parameters ...string) (Operator, error) {
	if m.operator == nil {
		return nil, &failure{status: http.StatusForbidden, code: CodeNotAvailable, message: "The proxy is switched off by PROXY_ENABLED=false."}
	}
	_, err := c.query(parameters...)
	return m.operator, err
}

// query returns the query parameters and refuses those nobody would read, since a misspelt filter must not pass for
// none.
func (c *call) query(parameters ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query string is malformed.")
	}
	for name, values := range q {
		if !slices.Contains(parameters, name) {
			return nil, invalid(fmt.Sprintf("The query parameter %q is not known here.", loggable(name, 64)))
		}
		if len(values) > 1 {
			return nil, invalid(fmt.Sprintf("The query parameter %q is given more than once.", name))
		}
	}
	return q, nil
}

func (m *management) status(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	s, err := op.Status(c.r.Context())
	s.Upstream.Hosts = list(s.Upstream.Hosts)
	return s, err
}

func (m *management) stats(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	s, err := op.Stats(c.r.Context())
	if s.ByKind == nil {
		s.ByKind = map[proxy.Kind]proxy.KindStats{}
	}
	s.TopPackages = list(s.TopPackages)
	return s, err
}

// purge takes an empty body for everything; what is given limits it. A field that is there but says
// nothing (null, "") is an error, so that an unset variable in a script does not purge everything.
func (m *management) purge(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("package", "kind")
	if err != nil {
		return nil, err
	}
	var req proxy.PurgeRequest
	if name, given := body["package"]; given {
		if req.Package, err = composer.ParseName(name); err != nil {
			return nil, invalid(sentence(err))
		}
	}
	if kind, given := body["kind"]; given {
		req.Kind = proxy.Kind(kind)
		if req.Kind != proxy.KindArchives && req.Kind != proxy.KindMetadata {
			return nil, invalid(fmt.Sprintf("The kind %q is not known; it must be %q or %q.", loggable(kind, 64), proxy.KindArchives, proxy.KindMetadata))
		}
	}
	res, err := op.Purge(c.r.Context(), req)
	if err != nil {
		return nil, missing(err, "Nothing is known about the package "+req.Package.String()+".")
	}
	return res, nil
}

const (
	maxReason = 500 // characters of a freeze's reason
	maxOwner  = 100 // characters of a freeze's owner
)

func (m *management) freeze(c *call) (any, error) {
	op, name, err := m.named(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("reason", "at", "expires_at", "owner")
	if err != nil {
		return nil, err
	}
	req, err := m.freezeRequest(body)
	if err != nil {
		return nil, err
	}
	f, err := op.Freeze(c.r.Context(), name, req)
	if err != nil {
		return nil, missing(err, "Nothing is recorded about the package "+name.String()+" that it could be held at.")
	}
	f.Documents = list(f.Documents)
	return f, nil
}

// Unfrozen is the answer to unfreeze.
type Unfrozen struct {
	Package string `json:"package"`
	// Unfrozen is whether the package had been frozen.
	Unfrozen bool `json:"unfrozen"`
}

func (m *management) unfreeze(c *call) (any, error) {
	op, name, err := m.named(c)
	if err != nil {
		return nil, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	was, err := op.Unfreeze(c.r.Context(), name)
	if err != nil {
		return nil, missing(err, "Nothing is known about the package "+name.String()+".")
	}
	return Unfrozen{Package: name.String(), Unfrozen: was}, nil
}

func (m *management) frozen(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	fs, err := op.Frozen(c.r.Context())
	for i := range fs {
		fs[i].Documents = list(fs[i].Documents)
	}
	return list(fs), err
}

var severities = []proxy.Severity{proxy.SeverityInfo, proxy.SeverityWarning, proxy.SeverityCritical}

// alerts lists alerts, optionally only those of a severity, or only those (not) acknowledged.
func (m *management) alerts(c *call) (any, error) {
	op, err := m.begin(c, "severity", "acked")
	if err != nil {
		return nil, err
	}
	q := c.r.URL.Query()
	severity, acked := proxy.Severity(q.Get("severity")), q.Get("acked")
	if q.Has("severity") && !slices.Contains(severities, severity) {
		return nil, invalid(`The parameter severity must be "info", "warning" or "critical".`)
	}
	if q.Has("acked") && acked != "true" && acked != "false" {
		return nil, invalid(`The parameter acked must be "true" or "false".`)
	}
	all, err := op.Alerts(c.r.Context())
	kept := make([]proxy.Alert, 0, len(all))
	for _, a := range all {
		if severity != "" && a.Severity != severity || acked != "" && strconv.FormatBool(!a.AckedAt.IsZero()) != acked {
			continue
		}
		kept = append(kept, a)
	}
	return kept, err
}

func (m *management) ackAlert(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	id := c.param("id")
	const none = "There is no alert with this id."
	if !isID(id) {
		return nil, notFound(none)
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	a, err := op.AckAlert(c.r.Context(), id)
	if err != nil {
		return nil, missing(err, none)
	}
	return a, nil
}

// unknown answers whatever no route matched: with 405 when only the method is wrong.
func (m *management) unknown(c *call) (any, error) {
	var allow []string
	known := append(slices.Clone(routes), route{method: http.MethodGet, path: openAPIPath})
	for _, d := range doors {
		known = append(known, d.route)
	}
	for _, rt := range known {
		if pathMatches(rt.path, c.r.URL.EscapedPath()) {
			allow = append(allow, rt.method)
			if rt.method == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
	}
	if len(allow) == 0 {
		return nil, notFound("There is nothing at this path; /api/v1/openapi.json describes what there is.")
	}
	methods := strings.Join(allow, ", ")
	return nil, &failure{status: http.StatusMethodNotAllowed, code: CodeMethodNotAllowed, header: "Allow", value: methods,
		message: "This path answers to " + methods + " only."}
}

// pathMatches compares segment by segment; a ":name" segment of the pattern matches anything.
func pathMatches(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == g || strings.HasPrefix(w, ":") && g != "" })
}

// named is the common beginning of the operations on one package.
func (m *management) named(c *call, parameters ...string) (Operator, composer.Name, error) {
	op, err := m.begin(c, parameters...)
	if err != nil {
		return nil, composer.Name{}, err
	}
	name, err := composer.ParseName(c.param("vendor") + "/" + c.param("package"))
	if err != nil {
		return nil, composer.Name{}, invalid(sentence(err))
	}
	return op, name, nil
}

func instant(body map[string]string, field string) (*time.Time, error) {
	s, given := body[field]
	if !given {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, invalid(fmt.Sprintf("The field %s must be an RFC 3339 instant such as 2026-01-31T00:00:00Z.", field))
	}
	at = at.UTC()
	return &at, nil
}

func plainText(body map[string]string, field string, limit int) (string, error) {
	s := body[field]
	if utf8.RuneCountInString(s) > limit {
		return "", invalid(fmt.Sprintf("The field %s is longer than %d characters.", field, limit))
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", invalid(fmt.Sprintf("The field %s must not contain control characters.", field))
	}
	return s, nil
}

// isID accepts what the ids of alerts are made of.
func isID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

// sentence makes an error's text presentable.
func sentence(err error) string {
	s := loggable(err.Error(), maxLoggedError)
	if s != "" {
		r, n := utf8.DecodeRuneInString(s)
		s = string(unicode.ToUpper(r)) + s[n:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// list makes an empty list of none, so that JSON shows [] and not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
