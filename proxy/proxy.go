// Package proxy is the Composer side of Stasis: what PHP projects see instead
// of Packagist.
//
// It owns Packagist's semantics: when a metadata document is fresh, how it is
// fetched once for however many clients wait, how it is recorded, rewritten
// and served; and the same for dist archives, which reach the client while
// they are being stored. It promises that what was once served stays
// servable when upstream is slow, wrong or gone, that "not found" is only ever
// said when upstream said so while it was well, and that no archive becomes a
// cache entry before it was checked.
//
// It leaves the wire protocol's pure rules to proxy/composer, the recorded
// past to proxy/history, the checking of archives to proxy/archive, the
// network to proxy/upstream, and durability and space to store.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
	"stasis/proxy/upstream"
	"stasis/store"
)

// Options configure a Proxy. Store, Upstream and PackagistURL are required.
// Durations of zero mean "no time at all"; other zero values mean the default
// named beside them.
type Options struct {
	Store    *store.Store
	Upstream *upstream.Client

	// Enabled is false to answer only for what is held here (private packages).
	Enabled bool
	// PackagistURL is the upstream repository, without a trailing slash.
	PackagistURL string
	// BaseURL is the external URL of this program; empty means that it is
	// derived from each request.
	BaseURL string
	// TrustedProxies may say with forwarding headers how clients reached us.
	TrustedProxies []netip.Prefix

	MetadataTTL          time.Duration // how long a document is fresh
	StaleWhileRevalidate time.Duration // how long after that it is served while being revalidated
	RevalidateWait       time.Duration // how long a client waits for a revalidation when a copy exists
	NegativeTTL          time.Duration // how long "no such package" is believed
	ArchiveTTL           time.Duration // how long an archive with a movable reference is trusted
	FeedInterval         time.Duration // how often the change feed is read; 0 means never
	UpstreamTimeout      time.Duration // bound of one shared metadata fetch, retries included; default 60 s
	MaxDocumentSize      int64         // bytes of one metadata document; default 128 MiB
	MaxArchiveSize       int64         // bytes of one archive; default 2 GiB
	HotSize              int64         // bytes of ready answers kept in memory; default 128 MiB, negative for none

	// Mirror keeps upstream's dist URLs and advertises this program as their
	// preferred mirror, instead of rewriting them.
	Mirror bool
	// NotifyUpstream forwards download notifications.
	NotifyUpstream bool
	// MinReleaseAge holds young releases back at the plain addresses; 0 does not.
	MinReleaseAge time.Duration
	// SecurityGrace is how old a security fix must be to pass nevertheless.
	SecurityGrace time.Duration
	// EnforceOnDownload refuses the archives of young releases, too.
	EnforceOnDownload bool
	// Retag says what happens to stable versions whose reference changed:
	// keep-first (the default), follow or hide.
	Retag string
	// TempDir takes bundles while they are checked; empty means the system's.
	TempDir string
	// SnapshotSettle is how old an instant must be to be asked for.
	SnapshotSettle time.Duration
	// Sources provide packages that do not come from the registry; nil: none.
	Sources Sources
	// Gate decides who may read what; nil lets everybody read everything.
	Gate Gate

	Version    string
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Now        func() time.Time
}

func (o Options) withDefaults() Options {
	if o.UpstreamTimeout == 0 {
		o.UpstreamTimeout = time.Minute
	}
	if o.MaxDocumentSize == 0 {
		o.MaxDocumentSize = 128 << 20
	}
	if o.MaxArchiveSize == 0 {
		o.MaxArchiveSize = 2 << 30
	}
	if o.HotSize == 0 {
		o.HotSize = 128 << 20
	}
	if o.Sources == nil {
		o.Sources = NoSources{}
	}
	if o.Gate == nil {
		o.Gate = openGate{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.PackagistURL = strings.TrimRight(o.PackagistURL, "/")
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	return o
}

// Proxy answers Composer clients. It is safe for concurrent use.
type Proxy struct {
	o       Options
	store   *store.Store
	up      *upstream.Client
	history *history.History
	log     *slog.Logger
	now     func() time.Time
	started time.Time

	hot       *hot[string, *entry]
	hotBodies *hot[archiveKey, *hotArchive]
	flights   singleflight.Group // one fetch or one rendering per key
	downloads downloads
	jobs      jobs
	endpoints atomic.Pointer[endpoints]
	slow      patience // upstream kept a client waiting too long lately
	stats     *stats
	alerts    *alerts
	health    health
	notices   chan notice
	freezes   freezes
	packages  packageStates
	policy    *policy.Policy
	snapshots *snapshot.Snapshots
	verdicts  verdicts
	anonymous Reader
	skew      atomic.Int64 // ns by which our clock was ahead of the registry's
	feed      feedStatus

	background context.Context // ends when Close is called
	stop       context.CancelFunc
	running    work // background work; Close waits for it
}

// New opens the proxy on a store. Close must be called before the store is
// closed.
func New(o Options) (*Proxy, error) {
	o = o.withDefaults()
	if o.Store == nil || o.Upstream == nil {
		return nil, errors.New("proxy: a store and an upstream client are needed")
	}
	if _, err := url.Parse(o.PackagistURL); err != nil {
		return nil, fmt.Errorf("proxy: the upstream URL: %w", err)
	}
	h, err := history.New(o.Store, o.Now)
	if err != nil {
		return nil, fmt.Errorf("proxy: open the history: %w", err)
	}
	p := &Proxy{
		o: o, store: o.Store, up: o.Upstream, history: h, log: o.Logger, now: o.Now, started: o.Now(),
		hot:       newHot[string, *entry](o.HotSize - o.HotSize/archiveShare),
		hotBodies: newHot[archiveKey, *hotArchive](o.HotSize / archiveShare),
		notices:   make(chan notice, noticeQueue), anonymous: o.Gate.Anonymous(),
	}
	p.downloads.init()
	p.background, p.stop = context.WithCancel(context.Background())
	if p.stats, err = newStats(o.Store, o.Registerer, o.Now); err != nil {
		return nil, err
	}
	if p.alerts, err = newAlerts(o.Store, o.Now, o.Logger); err != nil {
		return nil, err
	}
	p.packages.m = map[composer.Name]*packageState{}
	if err := p.loadFreezes(); err != nil {
		return nil, fmt.Errorf("read the freezes: %w", err)
	}
	if err := p.loadEndpoints(); err != nil {
		return nil, err
	}
	p.policy, err = policy.New(policy.Options{
		Store: o.Store, Retag: policy.Mode(o.Retag), SecurityGrace: o.SecurityGrace,
		EnforceOnDownload: o.EnforceOnDownload, Now: o.Now, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	if p.snapshots, err = snapshot.New(snapshot.Config{Store: o.Store, Documents: h, Now: o.Now, TempDir: o.TempDir}); err != nil {
		return nil, err
	}
	if p.verdicts.cache, err = lru.New[verdictKey, archiveVerdict](verdictsKept); err != nil {
		return nil, err
	}
	p.registerMetrics(o.Registerer)
	return p, nil
}

// Start begins the background work: the change feed, forwarded notifications,
// and the writing of counters.
func (p *Proxy) Start() {
	p.spawn(p.flushLoop)
	if p.o.Enabled && p.o.FeedInterval > 0 {
		p.spawn(p.feedLoop)
	}
	if p.o.NotifyUpstream {
		p.spawn(p.notifyLoop)
	}
	p.spawn(p.resumeSnapshots)
}

// Close ends background work and waits for shared fetches to finish or give up.
func (p *Proxy) Close() error {
	p.running.close()
	p.stop()
	p.running.wg.Wait()
	return errors.Join(p.stats.flush(), p.alerts.flush())
}

// detached returns a context for work that others wait for: it outlives the
// request that began it and ends with the proxy or after limit (0: no limit).
func (p *Proxy) detached(limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(p.background)
	}
	return context.WithTimeout(p.background, limit)
}

// flushLoop writes counters and alerts now and then, so that a crash loses
// little of them.
func (p *Proxy) flushLoop(ctx context.Context) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := errors.Join(p.stats.flush(), p.alerts.flush()); err != nil {
				p.log.Warn("counters and alerts were not written", "error", err)
			}
		}
	}
}

// Alert is called by the store when it notices something.
func (p *Proxy) Alert(kind, subject, message string) {
	p.alerts.raise(AlertKind(kind), subject, message)
}
