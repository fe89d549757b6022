package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stasis/api"
	"stasis/config"
	"stasis/private"
	"stasis/private/access"
	"stasis/private/audit"
	"stasis/private/git"
	"stasis/private/hooks"
	"stasis/private/vault"
	"stasis/private/webhook"
	"stasis/proxy"
	"stasis/proxy/upstream"
	"stasis/store"
)

// buildHandler makes the parts and the handler that answers with them. The context ends when the shutdown begins, while
// requests in flight go on: background work ends with it, and readiness is denied from then on. Closing the parts comes
// after the last request. Access lines go to accessLog.
func buildHandler(ctx context.Context, cfg config.Config, logger *slog.Logger, accessLog io.Writer) (http.Handler, io.Closer, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	version := readBuild().Version

	keys, err := vault.ParseKeys(cfg.Access.EncryptionKey.Reveal(), cfg.Access.EncryptionKeyOld.Reveal())
	if err != nil {
		return nil, nil, err
	}
	client, err := newUpstream(cfg.Proxy, reg, logger)
	if err != nil {
		return nil, nil, err
	}
	var p *proxy.Proxy
	var alert lateAlert
	st, err := store.Open(ctx, storeOptions(cfg, logger, alert.raise))
	if err != nil {
		return nil, nil, err
	}
	spool := filepath.Join(cfg.Store.Path, "spool")
	if err := errors.Join(os.RemoveAll(spool), os.MkdirAll(spool, 0o700)); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	ours, err := newPrivate(cfg, st, keys, client, logger)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	doors, err := access.New(access.Options{
		Store: st, Anonymous: access.Policy(cfg.Access.PublicRead),
		AdminToken: cfg.Admin.Token.Reveal(), AdminTokenHash: cfg.Admin.TokenHash.Reveal(),
		Private: ours.Private, CheckView: func(view string) error { return p.CheckView(view) },
		Settle: cfg.Proxy.SnapshotSettle, TrustedProxies: cfg.Server.TrustedProxies,
		Registerer: reg, Logger: logger,
	})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	p, err = proxy.New(proxy.Options{
		TempDir: spool,
		Store:   st, Upstream: client,
		Enabled:      cfg.Proxy.Enabled,
		PackagistURL: cfg.Proxy.PackagistURL,
		BaseURL:      cfg.Server.BaseURL, TrustedProxies: cfg.Server.TrustedProxies,
		MetadataTTL: cfg.Proxy.MetadataTTL, StaleWhileRevalidate: cfg.Proxy.StaleWhileRevalidate,
		RevalidateWait: cfg.Proxy.RevalidateWait, NegativeTTL: cfg.Proxy.NegativeTTL,
		ArchiveTTL: cfg.Proxy.ArchiveTTL, FeedInterval: cfg.Proxy.FeedInterval,
		UpstreamTimeout: cfg.Proxy.UpstreamTimeout,
		MaxArchiveSize:  int64(cfg.Proxy.MaxArchiveSize), HotSize: hotSize(cfg.Proxy.HotSize),
		Mirror:         cfg.Proxy.DistMode == "mirror",
		NotifyUpstream: cfg.Proxy.NotifyUpstream,
		MinReleaseAge:  cfg.Proxy.MinReleaseAge, EnforceOnDownload: cfg.Proxy.EnforceOnDownload,
		SecurityGrace: cfg.Proxy.SecurityGrace, Retag: cfg.Proxy.RetagPolicy,
		SnapshotSettle: cfg.Proxy.SnapshotSettle,
		Sources:        ours,
		Gate:           door{doors},
		Version:        version, Registerer: reg, Logger: logger,
	})
	if err != nil {
		return nil, nil, errors.Join(err, doors.Close(), st.Close())
	}
	alert.to(p.Alert)

	deliveries, err := newHooks(cfg.Private, st, ours, reg, logger)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close(), doors.Close(), st.Close())
	}
	lines := api.NewLogWriter(accessLog, reg)
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	acts := audit.New(audit.Options{Store: st, Retention: time.Duration(cfg.Admin.AuditRetention) * 24 * time.Hour, Logger: logger})
	api.Register(e, api.Options{
		Operator: p, Packages: ours, Backups: st, Access: doors, Audit: acts, BaseURL: cfg.Server.BaseURL,
		Uploads: ours, Hooks: deliveries,
		Logger: logger, Registerer: reg, Gatherer: reg,
		MetricsPrivate: !cfg.Admin.MetricsPublic,
		Ready: func(context.Context) error {
			switch {
			case ctx.Err() != nil:
				return api.NotReady("shutting down")
			case st.Low():
				return api.NotReady("the disk of the data folder is full: copies are served, nothing new is kept")
			}
			return nil
		},
		Version: version, TrustedProxies: cfg.Server.TrustedProxies,
	})
	p.Register(e)
	p.Start()
	ours.Start(p)
	if err := deliveries.Resume(ctx); err != nil {
		logger.Error("what webhooks asked for before the start may be done later", "error", err)
	}
	doors.Start()
	tidying := make(chan struct{})
	go func() {
		defer close(tidying)
		maintain(ctx, cfg.Proxy.CleanupInterval, logger, p.Maintain, acts.Trim, ours.Maintain)
	}()

	options := api.AccessOptions{
		TextLines: cfg.Log.Format == "text",
		Logger:    logger, Registerer: reg, TrustedProxies: cfg.Server.TrustedProxies,
		BasePath: basePath(cfg.Server.BaseURL),
	}
	if logger.Enabled(ctx, slog.LevelInfo) {
		options.Lines = lines.Lossy()
	}
	handler := api.AccessLog(proxy.Canonical(cfg.Server.BaseURL, e, api.VersionPaths), options)
	return handler, closer(func() error {
		<-tidying
		return errors.Join(ours.Close(), p.Close(), doors.Close(), st.Close(), lines.Close())
	}), nil
}

// newPrivate makes what private packages come from. Without git all of it works but git sources.
func newPrivate(cfg config.Config, st *store.Store, keys vault.Keys, client *upstream.Client, logger *slog.Logger) (*private.Service, error) {
	secrets, err := vault.Open(st, keys, logger)
	if err != nil {
		return nil, err
	}
	g, err := git.New(git.Options{
		Dir:     filepath.Join(cfg.Store.Path, "git"),
		MaxSize: int64(cfg.Private.GitMaxSize), MaxUnpacked: int64(cfg.Proxy.MaxArchiveSize),
		AllowPlain: cfg.Private.GitAllowPlain, AllowLocal: cfg.Private.GitAllowLocal, AllowedHosts: cfg.Proxy.AllowedHosts,
		CAFile: cfg.Private.GitCAFile, SSHAgent: cfg.Private.GitSSHAgent, Logger: logger,
	})
	if err != nil {
		logger.Warn("there will be no packages from git repositories", "error", err)
		g = nil
	}
	return private.New(private.Options{
		Store: st, Vault: secrets, Git: g, Upstream: client, Vendors: cfg.Private.Vendors, Folder: cfg.Private.ArtifactFolder,
		MaxArchiveSize: int64(cfg.Proxy.MaxArchiveSize), SyncTimeout: cfg.Private.SyncTimeout, Logger: logger,
	})
}

// newHooks makes what webhooks come to.
func newHooks(cfg config.Private, st *store.Store, ours *private.Service, reg prometheus.Registerer, logger *slog.Logger) (*hooks.Hooks, error) {
	secrets := map[webhook.Provider][]string{}
	for provider, secret := range map[webhook.Provider]config.Secret{
		webhook.GitHub: cfg.GitHubSecret, webhook.GitLab: cfg.GitLabSecret, webhook.Gitea: cfg.GiteaSecret,
		webhook.Forgejo: cfg.ForgejoSecret, webhook.Bitbucket: cfg.BitbucketSecret,
	} {
		secrets[provider] = strings.Fields(secret.Reveal())
	}
	return hooks.New(hooks.Options{Store: st, Sources: ours, Secrets: secrets, Registerer: reg, Logger: logger})
}

// hotSize turns the setting's 0, nothing in memory, into the proxy's way to say so.
func hotSize(s config.Size) int64 {
	if s == 0 {
		return -1
	}
	return int64(s)
}

// basePath is the path of the external URL.
func basePath(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Path
}

// storeOptions are the same for serving and verifying.
func storeOptions(cfg config.Config, logger *slog.Logger, alert func(kind, subject, message string)) store.Options {
	return store.Options{
		Path: cfg.Store.Path, Archives: cfg.Store.Archives,
		MaxCacheSize: int64(cfg.Proxy.MaxCacheSize), MaxPinnedSize: int64(cfg.Proxy.MaxPinnedSize),
		MinFreeSpace: int64(cfg.Store.MinFreeSpace),
		Logger:       logger, Alert: alert,
	}
}

func newUpstream(cfg config.Proxy, reg prometheus.Registerer, logger *slog.Logger) (*upstream.Client, error) {
	auth, err := readAuth(cfg, logger)
	if err != nil {
		return nil, fmt.Errorf("PROXY_AUTH_JSON: %w", err)
	}
	u, err := url.Parse(cfg.PackagistURL)
	if err != nil {
		return nil, fmt.Errorf("PROXY_PACKAGIST_URL: %w", err)
	}
	return upstream.New(upstream.Options{
		UserAgent: cfg.UserAgent,
		Timeout:   cfg.UpstreamTimeout, Concurrency: cfg.UpstreamConcurrency,
		// The operator named the registry, so its address needs no permission.
		AllowedHosts: append([]string{hostAndPort(u)}, cfg.AllowedHosts...),
		Auth:         auth, Logger: logger, Registerer: reg,
	})
}

// readAuth reads the credentials, if there are any, and says what of them it does not use.
func readAuth(cfg config.Proxy, logger *slog.Logger) (*upstream.Auth, error) {
	text, err := cfg.ReadAuthJSON()
	if text == nil || err != nil {
		return nil, err
	}
	auth, err := upstream.ParseAuthJSON(text)
	if err != nil {
		return nil, err
	}
	if ignored := auth.Ignored(); len(ignored) > 0 {
		logger.Warn("some credentials are of no use here", "setting", "PROXY_AUTH_JSON", "ignored", ignored)
	}
	return auth, nil
}

// hostAndPort names the host of a URL with its port, also where that is the usual one.
func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// maintain tidies up at intervals until ctx ends.
func maintain(ctx context.Context, interval time.Duration, logger *slog.Logger, work ...func(context.Context) error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, tidy := range work {
				if err := tidy(ctx); err != nil && ctx.Err() == nil {
					logger.Error("tidying up failed", "error", err)
				}
			}
		}
	}
}

// lateAlert passes alerts of the store on to the proxy, which is made after it. What comes before is kept until then.
type lateAlert struct {
	mu    sync.Mutex
	sink  func(kind, subject, message string) // guarded by mu
	early [][3]string                         // guarded by mu
}

func (l *lateAlert) raise(kind, subject, message string) {
	l.mu.Lock()
	sink := l.sink
	if sink == nil {
		l.early = append(l.early, [3]string{kind, subject, message})
	}
	l.mu.Unlock()
	if sink != nil {
		sink(kind, subject, message)
	}
}

func (l *lateAlert) to(sink func(kind, subject, message string)) {
	l.mu.Lock()
	l.sink = sink
	early := l.early
	l.early = nil
	l.mu.Unlock()
	for _, a := range early {
		sink(a[0], a[1], a[2])
	}
}

type closer func() error

func (c closer) Close() error { return c() }
