package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"stasis/private/access"
)

// authenticator lets administrators in: whoever has the token of the configuration, or one of the role admin. Only
// bearer tokens count, because browsers send Basic credentials by themselves, also on behalf of other sites.
type authenticator struct {
	access   *access.Access // nil lets nobody in
	failures *prometheus.CounterVec
}

func newAuthenticator(o Options) *authenticator {
	return &authenticator{
		access: o.Access,
		failures: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "stasis_admin_auth_failures_total",
			Help: "Refused management requests by reason: no token, a wrong one, too many wrong ones, one without the right role, or none configured.",
		}, []string{"reason"}),
	}
}

// admit returns the administrator who sent the request, and a 401, 403 or 429 for everybody else. With a 403 it also
// returns who that was, if that is known.
func (a *authenticator) admit(r *http.Request) (*access.Reader, error) {
	if a.access == nil || !a.access.Manageable() {
		return nil, a.refuse("closed", "The management API is closed because no administrator token is configured; set ADMIN_TOKEN or ADMIN_TOKEN_HASH and start again.")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return nil, a.refuse("missing", "The management API needs the administrator's token in the header Authorization: Bearer <token>.")
	}
	reader, err := a.access.Admit(r)
	var denied *access.Denied
	switch {
	case errors.As(err, &denied) && denied.Status == http.StatusTooManyRequests:
		a.failures.WithLabelValues(denied.Reason).Inc()
		return nil, &failure{status: denied.Status, code: CodeRateLimited, retryAfter: denied.RetryAfter, message: denied.Message}
	case errors.As(err, &denied) && denied.Reason == "wrong":
		return nil, a.refuse(denied.Reason, "The administrator's token is not the right one.")
	case errors.As(err, &denied) && denied.Status == http.StatusUnauthorized:
		return nil, a.refuse(denied.Reason, denied.Message)
	case err != nil && denied == nil:
		return nil, err
	case err != nil || !reader.Can(access.RoleAdmin):
		a.failures.WithLabelValues("forbidden").Inc()
		return reader, &failure{status: http.StatusForbidden, code: CodeForbidden, message: "This token may not manage Stasis; that takes the administrator's token or one of the role admin."}
	}
	return reader, nil
}

func (a *authenticator) refuse(reason, message string) error {
	a.failures.WithLabelValues(reason).Inc()
	return &failure{status: http.StatusUnauthorized, code: CodeUnauthorized, message: message,
		header: "WWW-Authenticate", value: `Bearer realm="stasis management"`}
}
