package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sync/semaphore"
)

// Options configure a Client. Zero values mean the defaults given here.
type Options struct {
	// UserAgent is sent with every request. Packagist asks for product, version and a contact.
	UserAgent string
	// Timeout (60s) bounds a metadata, api or feed request with its body and its retries, and
	// for archives the wait for a header and every silence within the body.
	Timeout time.Duration
	// Concurrency (10) bounds metadata, api and feed requests in flight, over all hosts.
	Concurrency int
	// ArchiveConcurrency (16) bounds archive requests in flight.
	ArchiveConcurrency int
	// AllowedHosts may have special addresses and may be redirected to from https over http:
	// host, host:port, address, address:port, CIDR range, *.domain.
	AllowedHosts []string
	// Auth holds the credentials; nil for an empty table.
	Auth *Auth
	// Now is the clock for cool-downs and Retry-After; nil for time.Now.
	Now func() time.Time
	// Logger is told about hosts that are left alone and come back; nil discards.
	Logger *slog.Logger
	// Registerer receives the metrics; nil for none.
	Registerer prometheus.Registerer
	// MaxRedirects is how many redirects are followed (10).
	MaxRedirects int
	// Retries is how often a GET or HEAD is repeated after a failure that may pass (2);
	// negative for never.
	Retries int
	// BreakerFailures in a row (5) close the way to a host for BreakerCooldown (10s), which
	// doubles with every failed probe up to five minutes.
	BreakerFailures int
	BreakerCooldown time.Duration
	// RootCAs replace the system's certificate authorities.
	RootCAs *x509.CertPool
	// UseEnvProxy honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY as they are when New is called.
	// The proxy then resolves names, so only addresses written out in URLs can be refused.
	UseEnvProxy bool
	// DialContext replaces resolving and connecting, in tests. Addresses written out in URLs
	// are judged before it is called; where it connects a name to is its own affair.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

const connectTimeout = 5 * time.Second

// Client makes requests. It is safe for concurrent use.
type Client struct {
	opts     Options
	guard    *guard
	hosts    *hostTable
	metrics  *metrics
	keep     *http.Transport // keeps connections
	fresh    *http.Transport // a new connection for every request
	slots    *semaphore.Weighted
	archives *semaphore.Weighted
}

// New checks the options and returns a Client that has connected to nobody yet.
func New(o Options) (*Client, error) {
	o = o.withDefaults()
	if !httpguts.ValidHeaderFieldValue(o.UserAgent) {
		return nil, errors.New("the user agent holds characters that no header may have")
	}
	allowed, err := parseAllowList(o.AllowedHosts)
	if err != nil {
		return nil, err
	}
	proxy, proxies, err := envProxy(o.UseEnvProxy)
	if err != nil {
		return nil, err
	}
	guard := newGuard(append(allowed, proxies...), min(connectTimeout, o.Timeout), o.DialContext)
	hosts := newHostTable(o.BreakerFailures, o.BreakerCooldown, o.Now, o.Logger)
	metrics, err := newMetrics(o.Registerer, hosts)
	if err != nil {
		return nil, err
	}
	keep := &http.Transport{
		Proxy:                  proxy,
		DialContext:            guard.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    min(2*connectTimeout, o.Timeout),
		ForceAttemptHTTP2:      true, // a custom dialer turns it off otherwise
		DisableCompression:     true, // inflation is ours, with a limit
		MaxIdleConns:           4 * (o.Concurrency + o.ArchiveConcurrency),
		MaxIdleConnsPerHost:    max(o.Concurrency, o.ArchiveConcurrency),
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	fresh := keep.Clone()
	fresh.DisableKeepAlives = true
	return &Client{
		opts: o, guard: guard, hosts: hosts, metrics: metrics, keep: keep, fresh: fresh,
		slots:    semaphore.NewWeighted(int64(o.Concurrency)),
		archives: semaphore.NewWeighted(int64(o.ArchiveConcurrency)),
	}, nil
}

func (o Options) withDefaults() Options {
	if o.UserAgent == "" {
		o.UserAgent = "Stasis"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	positive(&o.Timeout, time.Minute)
	positive(&o.BreakerCooldown, 10*time.Second)
	positive(&o.Concurrency, 10)
	positive(&o.ArchiveConcurrency, 16)
	positive(&o.MaxRedirects, 10)
	positive(&o.BreakerFailures, 5)
	if o.Retries == 0 {
		o.Retries = 2
	}
	o.Retries = max(o.Retries, 0)
	if o.Auth == nil {
		o.Auth = NewAuth()
	}
	return o
}

func positive[T int | time.Duration](v *T, fallback T) {
	if *v <= 0 {
		*v = fallback
	}
}

// envProxy reads the environment's proxies. Their own addresses, usually private, have to be
// reachable, so they join the allowed hosts.
func envProxy(use bool) (func(*http.Request) (*url.URL, error), allowList, error) {
	if !use {
		return nil, nil, nil
	}
	env := httpproxy.FromEnvironment()
	var hosts allowList
	for _, value := range []string{env.HTTPProxy, env.HTTPSProxy} {
		if value == "" {
			continue
		}
		probe := httpproxy.Config{HTTPProxy: value}
		u, err := probe.ProxyFunc()(&url.URL{Scheme: "http", Host: "registry.example"})
		if err != nil || u == nil || u.Hostname() == "" {
			return nil, nil, errors.New("the proxy named by the environment is not a URL")
		}
		entry, err := parseAllowEntry(net.JoinHostPort(u.Hostname(), proxyPort(u)))
		if err != nil {
			return nil, nil, fmt.Errorf("the proxy named by the environment: %w", err)
		}
		hosts = append(hosts, entry)
	}
	choose := env.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }, hosts, nil
}

func proxyPort(u *url.URL) string {
	switch {
	case u.Port() == "" && (u.Scheme == "socks5" || u.Scheme == "socks5h"):
		return "1080"
	default:
		return portOf(u)
	}
}

// Auth is the table of credentials, to which owners bring their own.
func (c *Client) Auth() *Auth { return c.opts.Auth }

// Hosts lists what is known about the hosts asked lately, by name.
func (c *Client) Hosts() []HostState { return c.hosts.states() }

// CloseIdleConnections closes connections that nobody is using.
func (c *Client) CloseIdleConnections() {
	c.keep.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}
