// Package api is the operator surface: the management API below /api/v1, health and readiness, metrics,
// and the access log that every request of the program passes through.
//
// It owns the JSON envelope, the table from errors to status codes, the administrator's authentication
// with its slowing of wrong guesses, the OpenAPI document (openapi.json, served as it is), and the names
// and labels of the HTTP metrics. It promises that every answer below /api/v1, unknown paths and wrong
// methods included, is as the OpenAPI document says, and in the envelope unless it is a manifest, a
// bundle or a backup; that every change is in the audit log before it is answered; that without an administrator's token
// nothing can be managed; that no token, query string or control character reaches the log; and that a
// request never waits for its own access line.
//
// Besides administrators it lets in CI jobs with archives and hosts of repositories with their webhooks; doors.go says
// where.
//
// What the operations do is left to the Operator, which is the proxy, and to the private packages. Listening, shutting down and
// choosing the log format are left to the command.
//
// A request passes AccessLog first, which counts, logs and recovers, then echo, then the authentication
// of this package, then a handler.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"stasis/private/access"
	"stasis/private/audit"
	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/policy"
	"stasis/store"
	"stasis/store/backup"
)

// Operator is what the management API needs from the proxy. An error matching fs.ErrNotExist means that
// the named thing is not known; errors may carry the methods listed at explain to say more. All methods
// are safe for concurrent use and honour the context.
type Operator interface {
	Status(ctx context.Context) (proxy.Status, error)
	Stats(ctx context.Context) (proxy.Stats, error)
	Purge(ctx context.Context, req proxy.PurgeRequest) (proxy.PurgeResult, error)
	Freeze(ctx context.Context, name composer.Name, req proxy.FreezeRequest) (proxy.Freeze, error)
	Unfreeze(ctx context.Context, name composer.Name) (bool, error) // whether it had been frozen
	Frozen(ctx context.Context) ([]proxy.Freeze, error)
	Alerts(ctx context.Context) ([]proxy.Alert, error)
	AckAlert(ctx context.Context, id string) (proxy.Alert, error)
	TimeMachine
}

// Backups makes backups of everything that is kept, as *store.Store does. An error comes before the first byte
// when it is a *store.BackupError.
type Backups interface {
	Backup(ctx context.Context, w io.Writer, o store.BackupOptions) (backup.Totals, error)
}

// Options is what the operator surface is made of.
type Options struct {
	// Operator does the work. Nil means that the proxy is switched off: the routes exist and say so.
	Operator Operator
	// Access knows the administrators, the tokens and their owners. Nil lets nobody manage anything.
	Access *access.Access
	// Packages are the private packages.
	Packages Packages
	// Backups makes backups. Nil means that there are none.
	Backups Backups
	// Audit takes note of every change, and of every try at one. Nil takes none.
	Audit *audit.Log
	// Uploads publishes archives. Nil means that none are taken.
	Uploads Uploads
	// Hooks takes in deliveries of webhooks. Nil means that none are taken.
	Hooks Hooks
	// BaseURL is the external URL of the program; empty means that it is derived from each request.
	BaseURL string
	// Logger receives what goes wrong; nil discards it.
	Logger *slog.Logger
	// Registerer receives the metrics of this package; nil keeps them to itself.
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows; nil leaves the path out.
	Gatherer prometheus.Gatherer
	// MetricsPrivate asks for the administrator's token at /metrics, too.
	MetricsPrivate bool
	// Ready says whether requests should be sent here; nil means always. An error of type NotReady is
	// shown to whoever asks, any other is only logged.
	Ready func(ctx context.Context) error
	// Version is the version of the program.
	Version string
	// TrustedProxies are the peers whose forwarding headers are believed.
	TrustedProxies []netip.Prefix
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// route is one operation of the management API. The table of them is also what tells a wrong method from
// an unknown path, and what the tests compare with the OpenAPI document.
type route struct {
	method, path string
	serve        func(*management, *call) (any, error)
	// change is what the audit log calls the operation; it is empty where nothing is changed.
	change string
}

// VersionPaths is where the paths begin that may end with a version. That of a branch may have slashes, as they are or
// escaped: the router gives the rest of a path to its last parameter.
const VersionPaths = "/api/v1/packages/"

var routes = []route{
	{http.MethodGet, "/api/v1/packages", (*management).listPackages, ""},
	{http.MethodPost, "/api/v1/packages", (*management).addPackage, "package.add"},
	{http.MethodGet, "/api/v1/packages/:vendor/:package", (*management).showPackage, ""},
	{http.MethodDelete, "/api/v1/packages/:vendor/:package", (*management).deletePackage, "package.delete"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/restore", (*management).restorePackage, "package.restore"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/release", (*management).releaseName, "package.release"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/sync", (*management).syncPackage, "package.sync"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/abandon", (*management).abandonPackage, "package.abandon"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/yank/:version", (*management).yankVersion, "package.yank"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/unyank/:version", (*management).unyankVersion, "package.unyank"},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/deprecate/:version", (*management).deprecateVersion, "package.deprecate"},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/readme", (*management).readme, ""},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/validate", (*management).validatePackage, ""},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/download/:version", (*management).downloadVersion, ""},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/webhook-deliveries", (*management).packageDeliveries, ""},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/customers", (*management).packageCustomers, ""},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/monorepo", (*management).monorepo, ""},
	{http.MethodGet, "/api/v1/packages/:vendor/:package/monorepo/children", (*management).monorepoPackages, ""},
	{http.MethodPost, "/api/v1/packages/:vendor/:package/monorepo/sync", (*management).syncMonorepo, "package.sync"},

	{http.MethodGet, "/api/v1/sources", (*management).listSources, ""},
	{http.MethodPost, "/api/v1/sources", (*management).addSource, "source.add"},
	{http.MethodGet, "/api/v1/sources/:source", (*management).showSource, ""},
	{http.MethodPatch, "/api/v1/sources/:source", (*management).updateSource, "source.update"},
	{http.MethodDelete, "/api/v1/sources/:source", (*management).deleteSource, "source.delete"},
	{http.MethodPost, "/api/v1/sources/:source/sync", (*management).syncSource, "source.sync"},
	{http.MethodGet, "/api/v1/sources/:source/runs", (*management).listRuns, ""},

	{http.MethodGet, "/api/v1/tokens", (*management).tokens, ""},
	{http.MethodPost, "/api/v1/tokens", (*management).createToken, "token.create"},
	{http.MethodGet, "/api/v1/tokens/:token", (*management).token, ""},
	{http.MethodDelete, "/api/v1/tokens/:token", (*management).revokeToken, "token.revoke"},
	{http.MethodPost, "/api/v1/tokens/:token/rotate", (*management).rotateToken, "token.rotate"},

	{http.MethodGet, "/api/v1/customers", (*management).customers, ""},
	{http.MethodPost, "/api/v1/customers", (*management).createCustomer, "customer.create"},
	{http.MethodGet, "/api/v1/customers/by-external/:external", (*management).customerByExternalID, ""},
	{http.MethodGet, "/api/v1/customers/:customer", (*management).customer, ""},
	{http.MethodPatch, "/api/v1/customers/:customer", (*management).updateCustomer, "customer.update"},
	{http.MethodDelete, "/api/v1/customers/:customer", (*management).deleteCustomer, "customer.delete"},
	{http.MethodPost, "/api/v1/customers/:customer/suspend", (*management).suspendCustomer, "customer.suspend"},
	{http.MethodPost, "/api/v1/customers/:customer/reactivate", (*management).reactivateCustomer, "customer.reactivate"},
	{http.MethodPost, "/api/v1/customers/:customer/freeze", (*management).freezeCustomer, "customer.freeze"},
	{http.MethodPost, "/api/v1/customers/:customer/unfreeze", (*management).unfreezeCustomer, "customer.unfreeze"},
	{http.MethodGet, "/api/v1/customers/:customer/packages", (*management).grants, ""},
	{http.MethodPut, "/api/v1/customers/:customer/packages", (*management).setGrants, "customer.grants"},
	{http.MethodPost, "/api/v1/customers/:customer/packages", (*management).addGrant, "customer.grant"},
	{http.MethodDelete, "/api/v1/customers/:customer/packages/:vendor/:package", (*management).removeGrant, "customer.ungrant"},
	{http.MethodGet, "/api/v1/customers/:customer/tokens", (*management).tokens, ""},
	{http.MethodPost, "/api/v1/customers/:customer/tokens", (*management).createToken, "token.create"},
	{http.MethodGet, "/api/v1/customers/:customer/tokens/:token", (*management).token, ""},
	{http.MethodDelete, "/api/v1/customers/:customer/tokens/:token", (*management).revokeToken, "token.revoke"},
	{http.MethodPost, "/api/v1/customers/:customer/tokens/:token/rotate", (*management).rotateToken, "token.rotate"},

	{http.MethodGet, "/api/v1/webhooks/deliveries", (*management).deliveries, ""},
	{http.MethodGet, "/api/v1/webhooks/deliveries/:id", (*management).delivery, ""},
	{http.MethodPost, "/api/v1/webhooks/deliveries/:id/replay", (*management).replayDelivery, "webhook.replay"},

	{http.MethodGet, "/api/v1/audit", (*management).auditLog, ""},
	{http.MethodGet, "/api/v1/audit/verify", (*management).verifyAudit, ""},

	{http.MethodGet, "/api/v1/proxy/status", (*management).status, ""},
	{http.MethodGet, "/api/v1/proxy/stats", (*management).stats, ""},
	{http.MethodGet, "/api/v1/proxy/backup", (*management).backup, "backup.take"},
	{http.MethodPost, "/api/v1/proxy/purge", (*management).purge, purging},
	{http.MethodPost, "/api/v1/proxy/freeze/:vendor/:package", (*management).freeze, "package.freeze"},
	{http.MethodPost, "/api/v1/proxy/unfreeze/:vendor/:package", (*management).unfreeze, "package.unfreeze"},
	{http.MethodGet, "/api/v1/proxy/frozen", (*management).frozen, ""},
	{http.MethodPost, "/api/v1/proxy/freezes", (*management).freezePattern, "pattern.freeze"},
	{http.MethodDelete, "/api/v1/proxy/freezes", (*management).unfreezePattern, "pattern.unfreeze"},
	{http.MethodGet, "/api/v1/proxy/alerts", (*management).alerts, ""},
	{http.MethodPost, "/api/v1/proxy/alerts/:id/ack", (*management).ackAlert, "alert.ack"},

	{http.MethodGet, "/api/v1/proxy/snapshots", (*management).snapshots, ""},
	{http.MethodPost, "/api/v1/proxy/snapshots", (*management).createSnapshot, "snapshot.create"},
	{http.MethodPost, "/api/v1/proxy/snapshots/import", (*management).importSnapshot, "snapshot.import"},
	{http.MethodGet, "/api/v1/proxy/snapshots/:ref", (*management).snapshot, ""},
	{http.MethodDelete, "/api/v1/proxy/snapshots/:ref", (*management).deleteSnapshot, "snapshot.delete"},
	{http.MethodGet, "/api/v1/proxy/snapshots/:ref/manifest", (*management).manifest, ""},
	{http.MethodGet, "/api/v1/proxy/snapshots/:ref/missing", (*management).missingFrom, ""},
	{http.MethodPost, "/api/v1/proxy/snapshots/:ref/verify", (*management).verifySnapshot, ""},
	{http.MethodGet, "/api/v1/proxy/snapshots/:ref/export", (*management).exportSnapshot, ""},

	{http.MethodGet, "/api/v1/proxy/channels", (*management).channels, ""},
	{http.MethodGet, "/api/v1/proxy/channels/:name", (*management).channel, ""},
	{http.MethodPut, "/api/v1/proxy/channels/:name", (*management).setChannel, "channel.set"},
	{http.MethodDelete, "/api/v1/proxy/channels/:name", (*management).deleteChannel, "channel.delete"},
	{http.MethodPost, "/api/v1/proxy/channels/:name/rollback", (*management).rollBackChannel, "channel.rollback"},
	{http.MethodGet, "/api/v1/proxy/channels/:name/history", (*management).channelHistory, ""},

	{http.MethodGet, "/api/v1/proxy/diff", (*management).diff, ""},
	{http.MethodPost, "/api/v1/proxy/diff", (*management).diff, ""},
	{http.MethodGet, "/api/v1/proxy/jobs/:id", (*management).job, ""},
	{http.MethodGet, "/api/v1/proxy/packages/:vendor/:package/history", (*management).packageHistory, ""},
	{http.MethodGet, "/api/v1/proxy/packages/:vendor/:package/explain", (*management).explainVersion, ""},
	{http.MethodGet, "/api/v1/proxy/instants", (*management).instants, ""},
	{http.MethodPost, "/api/v1/proxy/history/import-lock", (*management).importLock, "history.import-lock"},

	{http.MethodGet, "/api/v1/proxy/blocks", rules(policy.Block), ""},
	{http.MethodPost, "/api/v1/proxy/blocks", addRule(policy.Block), "block.add"},
	{http.MethodDelete, "/api/v1/proxy/blocks/:id", liftRule(policy.Block), "block.lift"},
	{http.MethodGet, "/api/v1/proxy/waivers", rules(policy.Waiver), ""},
	{http.MethodPost, "/api/v1/proxy/waivers", addRule(policy.Waiver), "waiver.add"},
	{http.MethodDelete, "/api/v1/proxy/waivers/:id", liftRule(policy.Waiver), "waiver.lift"},
	{http.MethodGet, "/api/v1/proxy/exemptions", rules(policy.Exemption), ""},
	{http.MethodPost, "/api/v1/proxy/exemptions", addRule(policy.Exemption), "exemption.add"},
	{http.MethodDelete, "/api/v1/proxy/exemptions/:id", liftRule(policy.Exemption), "exemption.lift"},
	{http.MethodGet, "/api/v1/proxy/holds", rules(policy.Hold), ""},
	{http.MethodPost, "/api/v1/proxy/holds", addRule(policy.Hold), "hold.add"},
	{http.MethodDelete, "/api/v1/proxy/holds/:id", liftRule(policy.Hold), "hold.lift"},
}

// Register mounts everything on e.
func Register(e *echo.Echo, o Options) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &management{
		operator: o.Operator, packages: o.Packages, backups: o.Backups, auth: newAuthenticator(o), access: o.Access, log: o.Logger, now: o.Now,
		uploads: o.Uploads, hooks: o.Hooks, bodies: semaphore.NewWeighted(deliveriesAtOnce),
		audit: newRecorder(o), base: o.BaseURL, trusted: o.TrustedProxies,
	}
	for _, d := range doors {
		h := m.endpoint(d.route, d.admit)
		e.Add(d.method, d.path, h)
		if d.method == http.MethodGet {
			e.HEAD(d.path, h)
		}
	}
	for _, rt := range routes {
		h := m.endpoint(rt, (*authenticator).admit)
		e.Add(rt.method, rt.path, h)
		if rt.method == http.MethodGet {
			e.HEAD(rt.path, h)
		}
	}
	e.GET(openAPIPath, echo.WrapHandler(http.HandlerFunc(serveOpenAPI)))
	e.HEAD(openAPIPath, echo.WrapHandler(http.HandlerFunc(serveOpenAPI)))
	// RouteNotFound also catches known paths asked with another method.
	unknown := m.endpoint(route{serve: (*management).unknown}, (*authenticator).admit)
	e.RouteNotFound("/api/v1", unknown)
	e.RouteNotFound("/api/v1/*", unknown)

	registerHealth(e, o)
	registerMetrics(e, o, m)
}

// answer is an answer that is not 200, or not in the envelope.
type answer struct {
	status int
	body   any
}

// call is one request to the management API.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	reader *access.Reader           // who asks; nil where anybody may
	param  func(name string) string // path parameter, percent-decoded once

	// What a change was about and who asked for it, for the audit log, where the path does not say; and more about it.
	subject, by string
	details     map[string]string
}

// endpoint authenticates, calls, takes note of what was done, and answers in the envelope or, with a *stream, outside of
// it.
func (m *management) endpoint(rt route, admit admission) echo.HandlerFunc {
	return func(c echo.Context) error {
		w, r := c.Response(), c.Request()
		request := &call{w: w, r: r, param: func(name string) string {
			v := c.Param(name)
			if r.URL.RawPath == "" { // the router matched the decoded path
				return v
			}
			if decoded, err := url.PathUnescape(v); err == nil {
				return decoded
			}
			return v
		}}
		reader, err := admit(m.auth, r)
		request.reader = reader
		var data any
		switch {
		case err != nil && rt.change != "":
			m.audit.refused(rt, request, reader, err)
		case err == nil:
			if err = m.audit.room(rt); err != nil {
				break
			}
			if data, err = rt.serve(m, request); rt.change != "" {
				err = m.audit.done(rt, request, reader, err)
			}
		}
		if err != nil {
			m.fail(w, r, err)
			return nil
		}
		switch data := data.(type) {
		case *stream:
			m.stream(w, r, data)
		case *redirect:
			m.redirect(w, data)
		case page:
			writeJSON(w, http.StatusOK, Envelope[any]{Data: data.items, Pagination: &data.Pagination})
		case answer:
			writeJSON(w, data.status, data.body)
		default:
			writeJSON(w, http.StatusOK, Envelope[any]{Data: data})
		}
		return nil
	}
}
