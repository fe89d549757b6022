package api

import (
	"errors"
	"net/http"

	"stasis/private/access"
	"stasis/private/webhook"
)

// door is a route that is not for administrators: a way in for CI jobs with archives, and for hosts of repositories.
type door struct {
	route
	admit admission
}

// admission says who sent a request, and refuses those who may not ask.
type admission func(*authenticator, *http.Request) (*access.Reader, error)

// doors are all of them. Some have the paths and answers of other programs, so that what was set up for those goes on
// working.
var doors = []door{
	{route{http.MethodPut, "/api/v1/packages/upload", (*management).upload, "package.upload"}, developer},
	{route{http.MethodPost, "/api/v1/packages/upload", (*management).upload, "package.upload"}, developer},
	{route{http.MethodPut, "/api/v1/packages/upload/:vendor/:package", (*management).upload, "package.upload"}, developer},
	{route{http.MethodPost, "/api/v1/packages/upload/:vendor/:package", (*management).upload, "package.upload"}, developer},
	{route{http.MethodPut, "/api/v1/packages/upload/:vendor/:package/:version", (*management).upload, "package.upload"}, developer},
	{route{http.MethodPost, "/api/v1/packages/upload/:vendor/:package/:version", (*management).upload, "package.upload"}, developer},

	{route{http.MethodPut, "/packages/upload/:vendor/:package/:version", (*management).uploadToPacketon, "package.upload"}, developer}, // and Nexus
	{route{http.MethodPost, "/packages/upload/:vendor/:package/:version", (*management).uploadToPacketon, "package.upload"}, developer},
	{route{http.MethodPut, "/api/packages/upload/:vendor/:package/:version", (*management).uploadToPacketon, "package.upload"}, developer},
	{route{http.MethodPut, "/api/packages/:owner/composer", (*management).uploadToGitea, "package.upload"}, developer},

	{route{http.MethodPost, "/api/webhooks/:provider", (*management).webhook, ""}, anybody},
	{route{http.MethodPost, "/api/webhooks/generic", (*management).genericWebhook, ""}, sender},
	{route{http.MethodPost, "/api/update-package", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodGet, "/api/update-package", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodPost, "/api/update-package/:vendor/:package", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodGet, "/api/update-package/:vendor/:package", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodPost, "/api/github", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodPost, "/api/bitbucket", (*management).packetonWebhook, ""}, sender},
	{route{http.MethodPost, "/api/hooks/:alias/:id", (*management).packetonWebhook, ""}, sender},
}

// developer lets in who may publish.
func developer(a *authenticator, r *http.Request) (*access.Reader, error) {
	return a.member(access.RoleDeveloper, r)
}

// sender lets in who may say that something changed. The token stands where hooks have it, which may be the query.
func sender(a *authenticator, r *http.Request) (*access.Reader, error) {
	if token := webhook.Token(r.Header, r.URL.Query()); token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return a.member(access.RoleWebhook, r)
}

// anybody lets everybody in: the handler looks at the signature.
func anybody(*authenticator, *http.Request) (*access.Reader, error) { return nil, nil }

// member lets in whoever has a token of the role, as bearer or as Composer sends it.
func (a *authenticator) member(role access.Role, r *http.Request) (*access.Reader, error) {
	if a.access == nil {
		return nil, a.refuse("closed", "There are no tokens here.")
	}
	// Browsers send Basic credentials by themselves, also on behalf of other sites.
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		a.failures.WithLabelValues("forbidden").Inc()
		return nil, &failure{status: http.StatusForbidden, code: CodeForbidden, message: "This cannot be asked for on behalf of another site."}
	}
	if r.Header.Get("Authorization") == "" && r.Header.Get(access.TokenHeader) == "" {
		return nil, a.challenge("missing", "This needs a token of the role "+string(role)+", as bearer or as the password of Basic authentication.")
	}
	reader, err := a.access.Admit(r)
	var denied *access.Denied
	switch {
	case errors.As(err, &denied) && denied.Status == http.StatusTooManyRequests:
		a.failures.WithLabelValues(denied.Reason).Inc()
		return nil, &failure{status: denied.Status, code: CodeRateLimited, retryAfter: denied.RetryAfter, message: denied.Message}
	case errors.As(err, &denied) && denied.Status == http.StatusForbidden:
		a.failures.WithLabelValues(denied.Reason).Inc()
		return nil, &failure{status: denied.Status, code: CodeForbidden, message: denied.Message}
	case errors.As(err, &denied):
		return nil, a.challenge(denied.Reason, denied.Message)
	case err != nil:
		return nil, err
	case reader.Anonymous():
		return nil, a.challenge("missing", "This needs a token of the role "+string(role)+", as bearer or as the password of Basic authentication.")
	case !reader.Can(role):
		a.failures.WithLabelValues("forbidden").Inc()
		return reader, &failure{status: http.StatusForbidden, code: CodeForbidden, message: "This takes a token of the role " + string(role) + "."}
	}
	return reader, nil
}

// challenge is refuse for those who may also send Basic credentials.
func (a *authenticator) challenge(reason, message string) error {
	a.failures.WithLabelValues(reason).Inc()
	return &failure{status: http.StatusUnauthorized, code: CodeUnauthorized, message: message,
		header: "WWW-Authenticate", value: `Basic realm="stasis"`}
}

// guess runs a check of a secret for a client that was not wrong too often.
func (a *authenticator) guess(r *http.Request, try func() error, wrong error) error {
	if a.access == nil {
		return try()
	}
	err := a.access.Guess(r, func() (bool, error) {
		err := try()
		return errors.Is(err, wrong), err
	})
	var denied *access.Denied
	if errors.As(err, &denied) {
		a.failures.WithLabelValues(denied.Reason).Inc()
		return &failure{status: denied.Status, code: CodeRateLimited, retryAfter: denied.RetryAfter, message: denied.Message}
	}
	return err
}
