package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stasis/private/hooks"
	"stasis/private/webhook"
	"stasis/proxy/composer"
)

// Hooks takes in deliveries of webhooks, as *hooks.Hooks does.
type Hooks interface {
	Receive(ctx context.Context, p webhook.Provider, h http.Header, body []byte) (hooks.Delivery, error)
	Push(ctx context.Context, by string, h http.Header, body []byte, names []composer.Name, allowed func(composer.Name) bool) (hooks.Delivery, error)
	Deliveries(f hooks.Filter) ([]hooks.Delivery, error)
	Delivery(id string) (hooks.Delivery, error)
	Replay(ctx context.Context, id, by string) (hooks.Delivery, error)
}

const (
	// maxDelivery is what GitHub sends at most.
	maxDelivery = 25 << 20
	// deliveriesAtOnce bounds the bytes of bodies that are held until their signature is checked, since anybody may send
	// some.
	deliveriesAtOnce = 64 << 20
)

func (m *management) hooksOr() (Hooks, error) {
	if m.hooks == nil {
		return nil, &failure{status: http.StatusForbidden, code: CodeNotAvailable, message: "There are no webhooks here."}
	}
	return m.hooks, nil
}

// delivered reads the body of a delivery, if there is room for it now.
func (m *management) delivered(c *call) (body []byte, release func(), err error) {
	weight := c.r.ContentLength
	if weight < 0 || weight > maxDelivery {
		weight = maxDelivery
	}
	if !m.bodies.TryAcquire(weight) {
		return nil, nil, &failure{status: http.StatusServiceUnavailable, code: CodeUnavailable, message: "Too many deliveries are coming in; send this one again.", retryAfter: 5 * time.Second}
	}
	release = func() { m.bodies.Release(weight) }
	if body, err = c.bytes(maxDelivery); err != nil {
		release()
		return nil, nil, err
	}
	return body, release, nil
}

// webhook takes a delivery that its provider has signed.
func (m *management) webhook(c *call) (any, error) {
	h, err := m.hooksOr()
	if err != nil {
		return nil, err
	}
	p, err := webhook.ParseProvider(c.param("provider"))
	if err != nil {
		return nil, notFound(sentence(err))
	}
	body, release, err := m.delivered(c)
	if err != nil {
		return nil, err
	}
	defer release()
	var d hooks.Delivery
	err = m.auth.guess(c.r, func() error {
		d, err = h.Receive(c.r.Context(), p, c.r.Header, body)
		return err
	}, webhook.ErrSignature)
	switch {
	case errors.Is(err, webhook.ErrNoSecret):
		return nil, &failure{status: http.StatusForbidden, code: CodeNotAvailable, message: sentence(err)}
	case errors.Is(err, webhook.ErrUnsigned), errors.Is(err, webhook.ErrSignature), errors.Is(err, webhook.ErrStale), errors.Is(err, webhook.ErrNoID):
		return nil, &failure{status: http.StatusUnauthorized, code: CodeUnauthorized, message: sentence(err), header: "WWW-Authenticate", value: `Signature realm="stasis webhooks"`}
	case err != nil:
		return nil, err
	}
	return answer{accepted(d), Envelope[any]{Data: spelt(d)}}, nil
}

// genericWebhook takes a delivery whose sender has a token.
func (m *management) genericWebhook(c *call) (any, error) {
	d, err := m.pushed(c)
	return answer{accepted(d), Envelope[any]{Data: spelt(d)}}, err
}

// packetonWebhook is genericWebhook for hooks that were set up for Packeton or Packagist.
func (m *management) packetonWebhook(c *call) (any, error) {
	d, err := m.pushed(c)
	jobs := []string{}
	if d.Result == hooks.Queued {
		jobs = append(jobs, d.ID)
	}
	return answer{accepted(d), map[string]any{"status": "success", "jobs": jobs}}, err
}

// pushed takes a delivery about the packages in the address, or else about the repository in the body.
func (m *management) pushed(c *call) (hooks.Delivery, error) {
	h, err := m.hooksOr()
	if err != nil {
		return hooks.Delivery{}, err
	}
	names, err := packagesIn(c)
	if err != nil {
		return hooks.Delivery{}, err
	}
	body, release, err := m.delivered(c)
	if err != nil {
		return hooks.Delivery{}, err
	}
	defer release()
	var allowed func(composer.Name) bool
	if c.reader.Restricted() {
		allowed = c.reader.Within
	}
	return h.Push(c.r.Context(), c.reader.Token(), c.r.Header, body, names, allowed)
}

// packagesIn reads the packages that the path or the query names.
func packagesIn(c *call) ([]composer.Name, error) {
	var texts []string
	if vendor := c.param("vendor"); vendor != "" {
		texts = append(texts, vendor+"/"+c.param("package"))
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query string is malformed.")
	}
	if list := q.Get("composer_package_name"); list != "" {
		texts = append(texts, strings.Split(list, ",")...)
	}
	const enough = 100
	if len(texts) > enough {
		return nil, invalid(fmt.Sprintf("More than %d packages are named.", enough))
	}
	var names []composer.Name
	for _, t := range texts {
		n, err := composer.ParseName(strings.TrimSpace(t))
		if err != nil {
			return nil, invalid(sentence(err))
		}
		names = append(names, n)
	}
	return names, nil
}

// accepted is the status of an answer to a delivery: 202 while something is being done.
func accepted(d hooks.Delivery) int {
	if d.Result == hooks.Queued {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// spelt is a delivery as JSON shows it.
func spelt(d hooks.Delivery) hooks.Delivery {
	d.Repositories, d.Packages, d.Refs, d.Sources = list(d.Repositories), list(d.Packages), list(d.Refs), list(d.Sources)
	return d
}

var results = []hooks.Result{hooks.Queued, hooks.Unmatched, hooks.Ignored, hooks.Refused}

// deliveries lists the log of deliveries.
func (m *management) deliveries(c *call) (any, error) {
	h, err := m.hooksOr()
	if err != nil {
		return nil, err
	}
	q, err := c.query("source", "provider", "result", "limit")
	if err != nil {
		return nil, err
	}
	f := hooks.Filter{Source: q.Get("source"), Provider: webhook.Provider(q.Get("provider")), Result: hooks.Result(q.Get("result"))}
	if q.Has("provider") && !slices.Contains(webhook.Providers, f.Provider) {
		return nil, invalid("The parameter provider must be github, gitlab, gitea, forgejo, bitbucket or generic.")
	}
	if q.Has("result") && !slices.Contains(results, f.Result) {
		return nil, invalid("The parameter result must be queued, unmatched, ignored or refused.")
	}
	return deliveries(h, q, f)
}

// deliveries lists those that a filter leaves, as many as the query says.
func deliveries(h Hooks, q url.Values, f hooks.Filter) (_ any, err error) {
	if f.Limit, err = number(q, "limit", hooks.DefaultLimit, hooks.MaxLimit); err != nil {
		return nil, err
	}
	all, err := h.Deliveries(f)
	for i := range all {
		all[i] = spelt(all[i])
	}
	return list(all), err
}

const noDelivery = "There is no delivery with this id."

func (m *management) delivery(c *call) (any, error) {
	h, err := m.hooksOr()
	if err != nil {
		return nil, err
	}
	if _, err := c.query(); err != nil {
		return nil, err
	}
	d, err := h.Delivery(c.param("id"))
	if err != nil {
		return nil, missing(err, noDelivery)
	}
	return spelt(d), nil
}

// replayDelivery does again what a delivery led to.
func (m *management) replayDelivery(c *call) (any, error) {
	h, err := m.hooksOr()
	if err != nil {
		return nil, err
	}
	if _, err := c.query(); err != nil {
		return nil, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	d, err := h.Replay(c.r.Context(), c.param("id"), c.reader.Token())
	if err != nil {
		return nil, missing(err, noDelivery)
	}
	return spelt(d), nil
}
