package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// Status describes the running proxy.
func (p *Proxy) Status(ctx context.Context) (Status, error) {
	now := p.now().UTC()
	s := Status{
		Version: p.o.Version, StartedAt: p.started.UTC(), UptimeSeconds: int64(now.Sub(p.started).Seconds()),
		Alerts: p.alerts.open(),
	}
	frozen, err := p.Frozen(ctx)
	if err != nil {
		return s, err
	}
	s.Frozen = len(frozen)
	s.Upstream = p.upstreamStatus()
	s.Feed = p.feedStatusNow()
	if s.Cache, err = p.cacheStatus(); err != nil {
		return s, err
	}
	return s, nil
}

func (p *Proxy) upstreamStatus() UpstreamStatus {
	p.health.mu.Lock()
	u := UpstreamStatus{
		URL: redacted(p.o.PackagistURL), LastSuccess: p.health.lastSuccess,
		LastErrorAt: p.health.lastErrorAt, LastError: p.health.lastError,
		Reachable: !p.health.lastErrorAt.After(p.health.lastSuccess),
		Hosts:     []HostStatus{},
	}
	p.health.mu.Unlock()
	for _, h := range p.up.Hosts() {
		state := HostState(h.State)
		if state != HostClosed && state != HostHalfOpen {
			state = HostOpen
		}
		u.Hosts = append(u.Hosts, HostStatus{Host: h.Host, State: state, Failures: h.Failures, LastError: h.LastError, OpenUntil: h.OpenUntil})
	}
	return u
}

// redacted is a URL without user information.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

func (p *Proxy) feedStatusNow() FeedStatus {
	st := p.history.Feed()
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	f := FeedStatus{
		Enabled:  p.o.FeedInterval > 0 && (p.endpoints.Load().changes != "" || st.Cursor > 0),
		Cursor:   st.Cursor,
		LastPoll: p.feed.lastPoll, LastError: p.feed.lastErr, Pending: p.feed.pending,
	}
	if !f.LastPoll.IsZero() {
		f.LagSeconds = int64(p.now().Sub(f.LastPoll).Seconds())
	}
	return f
}

func (p *Proxy) cacheStatus() (CacheStatus, error) {
	u := p.store.Usage()
	c := CacheStatus{
		Documents: u.Documents, Archives: int64(u.Blobs), ArchiveBytes: u.Bytes,
		PinnedBytes: u.PinnedBytes, LimitBytes: u.Limit, DiskBytes: u.DiskBytes, FreeBytes: u.FreeBytes,
	}
	err := p.history.Files(func(composer.File, history.State) error {
		c.Files++
		return nil
	})
	return c, err
}

// Stats counts answers since counting began.
func (p *Proxy) Stats(context.Context) (Stats, error) {
	s := p.stats.snapshot()
	s.TopPackages = s.TopPackages[:min(topListed, len(s.TopPackages))]
	if s.TopPackages == nil {
		s.TopPackages = []PackageStats{}
	}
	return s, nil
}

// Purge makes cached answers go away so that they are fetched anew. What was
// recorded stays: if upstream cannot be asked, the last good document is still
// served.
func (p *Proxy) Purge(ctx context.Context, req PurgeRequest) (PurgeResult, error) {
	var res PurgeResult
	if req.Kind != "" && req.Kind != KindMetadata && req.Kind != KindArchives {
		return res, &invalid{fmt.Sprintf("kind is %q; allowed are metadata and archives", req.Kind)}
	}
	if req.Kind != KindArchives {
		n, err := p.purgeMetadata(req.Package)
		if err != nil {
			return res, fmt.Errorf("purge metadata: %w", err)
		}
		res.Metadata = n
	}
	if req.Kind == KindMetadata {
		return res, nil
	}
	if !req.Package.IsZero() {
		return res, p.purgeArchives(req.Package, &res)
	}
	pinned := p.store.Usage().PinnedBlobs
	n, bytes, err := p.store.EvictAll()
	res.Archives, res.Bytes, res.Kept = int64(n), bytes, int64(pinned)
	return res, err
}

// purgeMetadata makes files stale, so that each is revalidated when it is next
// asked for.
func (p *Proxy) purgeMetadata(n composer.Name) (int64, error) {
	if !n.IsZero() {
		var count int64
		for _, f := range filesOf(n) {
			p.hot.remove(f.String())
			expired, err := p.history.Expire(f)
			if err != nil {
				return count, err
			}
			if expired {
				count++
			}
		}
		return count, nil
	}
	p.hot.clear()
	count, err := p.history.ExpireAll()
	if err != nil {
		return count, err
	}
	return count, p.expireAnswers()
}

// expireAnswers makes the root, lists and the like stale.
func (p *Proxy) expireAnswers() error {
	keys := map[string]keptAnswer{}
	err := p.store.View(func(tx *store.Tx) error {
		clear(keys)
		return keptAnswers.Scan(tx, nil, func(key []string, k keptAnswer) error {
			keys[key[0]] = k
			return nil
		})
	})
	for key, k := range keys {
		if err != nil {
			return err
		}
		k.Checked = longAgo
		err = p.touchAnswer(key, &k)
	}
	return err
}

// purgeArchives removes the bytes of a package's archives; digests stay.
func (p *Proxy) purgeArchives(n composer.Name, res *PurgeResult) error {
	var held []archiveRecord
	err := p.store.View(func(tx *store.Tx) error {
		held = held[:0]
		return archives.Scan(tx, []string{n.String()}, func(_ []string, rec archiveRecord) error {
			held = append(held, rec)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("purge the archives of %s: %w", n, err)
	}
	for _, rec := range held {
		if !p.store.HasBlob(rec.Digest) {
			continue
		}
		switch err := p.store.DeleteBlob(rec.Digest); {
		case errors.Is(err, store.ErrPinned):
			res.Kept++
		case err != nil:
			return fmt.Errorf("purge the archives of %s: %w", n, err)
		default:
			res.Archives++
			res.Bytes += rec.Size
		}
	}
	return nil
}

// Maintain does what is due now and then: old answers and feed entries are
// dropped, and the store tidies up.
func (p *Proxy) Maintain(ctx context.Context) error {
	return errors.Join(p.forgetAnswers(), p.forgetChanges(), p.store.Maintain(ctx))
}
