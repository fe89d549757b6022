package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"stasis/proxy"
)

func (p *program) statusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show how Stasis and its upstream are doing", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var s proxy.Status
		data, err := c.call(ctx, http.MethodGet, "status", nil, &s)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeStatus(w, s) })
	})
}

func writeStatus(w io.Writer, s proxy.Status) {
	row(w, "version", s.Version)
	row(w, "up", fmt.Sprintf("%s, since %s", seconds(s.UptimeSeconds), moment(s.StartedAt)))
	row(w, "upstream", s.Upstream.URL)
	row(w, "reachable", yesNo(s.Upstream.Reachable))
	row(w, "last success", moment(s.Upstream.LastSuccess))
	if s.Upstream.LastError != "" {
		row(w, "last error", fmt.Sprintf("%s: %s", moment(s.Upstream.LastErrorAt), s.Upstream.LastError))
	}
	for _, h := range s.Upstream.Hosts {
		state := string(h.State)
		if h.State != proxy.HostClosed {
			state = fmt.Sprintf("%s after %d failures: %s", h.State, h.Failures, h.LastError)
		}
		row(w, "host "+h.Host, state)
	}
	switch {
	case !s.Feed.Enabled:
		row(w, "change feed", "off")
	case s.Feed.LastError != "":
		row(w, "change feed", "failing: "+s.Feed.LastError)
	default:
		row(w, "change feed", fmt.Sprintf("read %s ago, %d documents pending", seconds(s.Feed.LagSeconds), s.Feed.Pending))
	}
	row(w, "documents", fmt.Sprintf("%d of %d files", s.Cache.Documents, s.Cache.Files))
	row(w, "archives", fmt.Sprintf("%d, %s of at most %s", s.Cache.Archives, bytesText(s.Cache.ArchiveBytes), bytesText(s.Cache.LimitBytes)))
	row(w, "pinned", bytesText(s.Cache.PinnedBytes))
	row(w, "on disk", fmt.Sprintf("%s, %s free", bytesText(s.Cache.DiskBytes), bytesText(s.Cache.FreeBytes)))
	row(w, "frozen packages", s.Frozen)
	row(w, "open alerts", s.Alerts)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (p *program) statsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "stats", Short: "Show what was answered, and from where", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var s proxy.Stats
		data, err := c.call(ctx, http.MethodGet, "stats", nil, &s)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeStats(w, s) })
	})
}

func writeStats(w io.Writer, s proxy.Stats) {
	row(w, "since "+moment(s.Since))
	row(w, "KIND", "HITS", "MISSES", "STALE", "NEGATIVE", "ERRORS", "SERVED", "FETCHED")
	for _, kind := range slices.Sorted(maps.Keys(s.ByKind)) {
		k := s.ByKind[kind]
		row(w, kind, k.Hits, k.Misses, k.Stale, k.Negative, k.Errors, bytesText(k.BytesServed), bytesText(k.BytesFetched))
	}
	if len(s.TopPackages) == 0 {
		return
	}
	row(w)
	row(w, "PACKAGE", "REQUESTS", "SERVED")
	for _, top := range s.TopPackages {
		row(w, top.Package, top.Requests, bytesText(top.BytesServed))
	}
}
