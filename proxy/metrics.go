package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"stasis/store"
)

// registerMetrics exports what is held; answers are counted by stats and
// requests to upstream by the upstream client.
func (p *Proxy) registerMetrics(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("stasis_hot_bytes", "Bytes of ready answers held in memory.", func() float64 { _, n := p.ready(); return float64(n) })
	gauge("stasis_hot_entries", "Ready answers held in memory.", func() float64 { n, _ := p.ready(); return float64(n) })
	gauge("stasis_alerts_open", "Alerts that nobody acknowledged.", func() float64 { return float64(p.alerts.open()) })
	gauge("stasis_feed_lag_seconds", "Seconds since the change feed was last read; 0 before the first time.", func() float64 { return float64(p.feedStatusNow().LagSeconds) })
	gauge("stasis_downloads_active", "Archive downloads under way.", func() float64 {
		p.downloads.mu.Lock()
		defer p.downloads.mu.Unlock()
		return float64(len(p.downloads.m))
	})
	reg.MustRegister(p.alerts.events, storeCollector{p.store})
}

// storeCollector exports what the store holds. The figures are taken together,
// once a scrape, because measuring the folder is work.
type storeCollector struct{ store *store.Store }

var (
	archivesDesc = prometheus.NewDesc("stasis_archives", "Archives held.", nil, nil)
	bytesDesc    = prometheus.NewDesc("stasis_archive_bytes", "Bytes of archives held.", nil, nil)
	pinnedDesc   = prometheus.NewDesc("stasis_archive_pinned_bytes", "Bytes of archives that eviction may not touch.", nil, nil)
	documentDesc = prometheus.NewDesc("stasis_documents", "Recorded document bodies.", nil, nil)
	diskDesc     = prometheus.NewDesc("stasis_disk_bytes", "Bytes that the data folder occupies.", nil, nil)
	freeDesc     = prometheus.NewDesc("stasis_disk_free_bytes", "Bytes left on the disk of the data folder.", nil, nil)
)

// Describe implements prometheus.Collector.
func (storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{archivesDesc, bytesDesc, pinnedDesc, documentDesc, diskDesc, freeDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c storeCollector) Collect(ch chan<- prometheus.Metric) {
	u := c.store.Usage()
	for d, v := range map[*prometheus.Desc]int64{
		archivesDesc: int64(u.Blobs), bytesDesc: u.Bytes, pinnedDesc: u.PinnedBytes,
		documentDesc: u.Documents, diskDesc: u.DiskBytes, freeDesc: u.FreeBytes,
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
}
