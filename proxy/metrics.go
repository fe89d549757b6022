package proxy

import "github.com/prometheus/client_golang/prometheus"

// registerMetrics exports what is held; answers are counted by stats and
// requests to upstream by the upstream client.
func (p *Proxy) registerMetrics(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("stasis_hot_bytes", "Bytes of ready answers held in memory.", func() float64 { _, n := p.hot.usage(); return float64(n) })
	gauge("stasis_hot_entries", "Ready answers held in memory.", func() float64 { n, _ := p.hot.usage(); return float64(n) })
	gauge("stasis_alerts_open", "Alerts that nobody acknowledged.", func() float64 { return float64(p.alerts.open()) })
	gauge("stasis_feed_lag_seconds", "Seconds since the change feed was last read; 0 before the first time.", func() float64 { return float64(p.feedStatusNow().LagSeconds) })
	gauge("stasis_archives", "Archives held.", func() float64 { return float64(p.store.Usage().Blobs) })
	gauge("stasis_archive_bytes", "Bytes of archives held.", func() float64 { return float64(p.store.Usage().Bytes) })
	gauge("stasis_archive_pinned_bytes", "Bytes of archives that eviction may not touch.", func() float64 { return float64(p.store.Usage().PinnedBytes) })
	gauge("stasis_disk_bytes", "Bytes that the data folder occupies.", func() float64 { return float64(p.store.Usage().DiskBytes) })
	gauge("stasis_disk_free_bytes", "Bytes left on the disk of the data folder.", func() float64 { return float64(p.store.Usage().FreeBytes) })
	gauge("stasis_downloads_active", "Archive downloads under way.", func() float64 {
		p.downloads.mu.Lock()
		defer p.downloads.mu.Unlock()
		return float64(len(p.downloads.m))
	})
}
