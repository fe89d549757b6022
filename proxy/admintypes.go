package proxy

import (
	"time"

	"stasis/proxy/composer"
)

// The values an operator sees and sends. They are plain data: the methods that fill and obey them are
// on Proxy, and the api package turns them into JSON. Times are UTC instants; a zero time is left out of
// the JSON and means "never". Sizes are bytes, durations are whole seconds.

// Status is a picture of the running proxy at one moment.
type Status struct {
	// Version is the version of the program.
	Version string `json:"version"`
	// StartedAt is when this process began to serve.
	StartedAt time.Time `json:"started_at"`
	// UptimeSeconds is how long it has been serving.
	UptimeSeconds int64 `json:"uptime_seconds"`
	// Upstream tells how the registry behind this proxy is doing.
	Upstream UpstreamStatus `json:"upstream"`
	// Feed tells how far the change feed of the registry has been followed.
	Feed FeedStatus `json:"feed"`
	// Cache tells what is held and how much room is left.
	Cache CacheStatus `json:"cache"`
	// Frozen is the number of packages under a freeze.
	Frozen int `json:"frozen"`
	// Alerts is the number of alerts nobody has acknowledged.
	Alerts int `json:"alerts"`
}

// UpstreamStatus describes the registry and every host that was asked for something.
type UpstreamStatus struct {
	// URL is the configured registry, without credentials.
	URL string `json:"url"`
	// Reachable is whether the last exchange with the registry succeeded. It is true before the first one.
	Reachable bool `json:"reachable"`
	// LastSuccess is when the registry last gave a usable answer.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// LastErrorAt is when it last did not.
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// LastError is what went wrong then, as a sentence without credentials.
	LastError string `json:"last_error,omitempty"`
	// Hosts lists every host asked since the start, in name order.
	Hosts []HostStatus `json:"hosts"`
}

// HostState is the state of the circuit breaker in front of one host.
type HostState string

// The states of a circuit breaker.
const (
	HostClosed   HostState = "closed"    // requests pass
	HostOpen     HostState = "open"      // requests are refused at once
	HostHalfOpen HostState = "half-open" // one request is let through to see
)

// HostStatus describes one host that archives or metadata come from.
type HostStatus struct {
	Host  string    `json:"host"`
	State HostState `json:"state"`
	// Failures counts the consecutive failures so far.
	Failures int `json:"failures"`
	// LastError is the last failure as a sentence without credentials.
	LastError string `json:"last_error,omitempty"`
	// OpenUntil is when an open breaker tries again.
	OpenUntil time.Time `json:"open_until,omitzero"`
}

// FeedStatus describes how the registry's change feed is followed.
type FeedStatus struct {
	// Enabled is whether the registry offers a feed and the configuration follows it.
	Enabled bool `json:"enabled"`
	// Cursor is the feed's own timestamp up to which everything has been seen (ten-thousandths of a
	// second since 1970).
	Cursor int64 `json:"cursor"`
	// LastPoll is when the feed was last read with success.
	LastPoll time.Time `json:"last_poll,omitzero"`
	// LagSeconds is how long ago that was; 0 when the feed has not been read yet.
	LagSeconds int64 `json:"lag_seconds"`
	// Pending is the number of changed documents still to be fetched again.
	Pending int `json:"pending"`
	// LastError is why the last attempt failed; empty after a success.
	LastError string `json:"last_error,omitempty"`
}

// CacheStatus describes what the store holds.
type CacheStatus struct {
	// Documents is the number of distinct recorded document bodies.
	Documents int64 `json:"documents"`
	// Files is the number of metadata files that were ever asked for, absent ones included.
	Files int64 `json:"files"`
	// Archives is the number of archives held.
	Archives int64 `json:"archives"`
	// ArchiveBytes is their size, pinned ones included.
	ArchiveBytes int64 `json:"archive_bytes"`
	// PinnedBytes is the part of ArchiveBytes that eviction may not touch.
	PinnedBytes int64 `json:"pinned_bytes"`
	// LimitBytes is the configured limit for archives that are not pinned.
	LimitBytes int64 `json:"limit_bytes"`
	// DiskBytes is what the data folder occupies.
	DiskBytes int64 `json:"disk_bytes"`
	// FreeBytes is what the file system has left.
	FreeBytes int64 `json:"free_bytes"`
}

// Kind is a kind of answer: what the counters of Stats are kept by, and what a purge can be limited to.
// The set is closed, so that it can be a metric label.
type Kind string

// The kinds of answers.
const (
	KindMetadata Kind = "metadata" // package documents
	KindArchives Kind = "archives" // dist archives
	KindRoot     Kind = "root"     // packages.json
	KindAPI      Kind = "api"      // lists, search, providers, advisories, filter summary, change feed
)

// Stats counts answers since counting began; the counters survive a restart.
type Stats struct {
	// Since is when counting began.
	Since time.Time `json:"since"`
	// ByKind has the counters of every kind that was asked for.
	ByKind map[Kind]KindStats `json:"by_kind"`
	// TopPackages lists the packages asked for most, the most wanted first.
	TopPackages []PackageStats `json:"top_packages"`
}

// KindStats are the counters of one kind of answer.
type KindStats struct {
	// Hits were answered from the store or from memory, fresh.
	Hits int64 `json:"hits"`
	// Misses had to wait for upstream.
	Misses int64 `json:"misses"`
	// Stale were answered from the store although their time had passed.
	Stale int64 `json:"stale"`
	// Negative were "no such package", known without asking upstream.
	Negative int64 `json:"negative"`
	// Errors could not be answered.
	Errors int64 `json:"errors"`
	// BytesServed were sent to clients as bodies.
	BytesServed int64 `json:"bytes_served"`
	// BytesFetched were received from upstream as bodies.
	BytesFetched int64 `json:"bytes_fetched"`
}

// PackageStats says how much one package is wanted.
type PackageStats struct {
	Package     string `json:"package"`
	Requests    int64  `json:"requests"`
	BytesServed int64  `json:"bytes_served"`
}

// PurgeRequest says what to forget. The zero value means everything. Purging makes cached answers go
// away so that they are fetched anew; recorded history, freezes and pinned archives stay.
type PurgeRequest struct {
	// Package limits the purge to one package; the zero Name means all of them.
	Package composer.Name
	// Kind limits it to KindArchives or KindMetadata; empty means both.
	Kind Kind
}

// PurgeResult says what a purge did.
type PurgeResult struct {
	// Metadata is the number of metadata files that will be fetched anew when they are next asked for.
	Metadata int64 `json:"metadata"`
	// Archives is the number of archives removed.
	Archives int64 `json:"archives"`
	// Bytes is their size.
	Bytes int64 `json:"bytes"`
	// Kept is the number of archives left in place because a freeze or a snapshot needs them.
	Kept int64 `json:"kept"`
}

// FreezeRequest says how to hold a package. The zero value holds it as it is now, until it is unfrozen.
type FreezeRequest struct {
	// Reason is shown to whoever wonders why nothing new arrives.
	Reason string
	// At is the instant the package is held at; nil means now.
	At *time.Time
	// ExpiresAt is when the freeze ends by itself; nil means never.
	ExpiresAt *time.Time
	// Owner is who asked for it; empty means the administrator.
	Owner string
}

// Freeze is one package, or all packages of a pattern, being held.
type Freeze struct {
	// Package is the package's name, or a pattern such as acme/*.
	Package string `json:"package"`
	// At is the instant the package is held at.
	At time.Time `json:"at"`
	// CreatedAt is when the freeze was made or last changed.
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when it ends by itself.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// LiftedAt is when somebody ended it.
	LiftedAt time.Time `json:"lifted_at,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Owner    string    `json:"owner,omitempty"`
	// Documents are the recorded revisions that are served while the freeze lasts.
	Documents []FrozenDocument `json:"documents"`
}

// FrozenDocument names the revision a freeze holds for one of a package's two files.
type FrozenDocument struct {
	// File is "vendor/name" or "vendor/name~dev".
	File string `json:"file"`
	// SHA256 is the digest of the upstream document in lower-case hex; empty when the file was absent.
	SHA256 string `json:"sha256,omitempty"`
	// ValidFrom is since when upstream has been serving that revision.
	ValidFrom time.Time `json:"valid_from,omitzero"`
	// Absent is whether upstream had no such file.
	Absent bool `json:"absent"`
}

// AlertKind says what an alert is about.
type AlertKind string

// The kinds of alerts.
const (
	AlertUpstreamFailure AlertKind = "upstream_failure" // upstream does not answer, or not usably
	AlertSourceFailure   AlertKind = "source_failure"   // a source of packages does not answer, or not usably
	AlertFeedGap         AlertKind = "feed_gap"         // the change feed has a hole: revisions may have been missed
	AlertCacheLimit      AlertKind = "cache_limit"      // archives are evicted because the limit is reached
	AlertRetagged        AlertKind = "retagged"         // a stable version points at another commit than before
	AlertDigestChanged   AlertKind = "digest_changed"   // the same reference came with other bytes
	AlertBadArchive      AlertKind = "bad_archive"      // an archive was refused because it is damaged
	AlertDiskFull        AlertKind = "disk_full"        // the free-space floor is reached
	AlertCorrupt         AlertKind = "corrupt"          // a stored record or body is damaged
)

// Severity says how soon somebody should look.
type Severity string

// The severities, mildest first.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Alert is something an operator should know. Repeated events about the same subject are one alert
// with a count.
type Alert struct {
	// ID names the alert in URLs: letters, digits, '-' and '_'.
	ID       string    `json:"id"`
	Kind     AlertKind `json:"kind"`
	Severity Severity  `json:"severity"`
	// Subject is the package, host or folder it is about.
	Subject string `json:"subject"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// Count is how often it happened.
	Count     int64     `json:"count"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// AckedAt is when somebody acknowledged it; an event after that makes it unacknowledged again.
	AckedAt time.Time `json:"acked_at,omitzero"`
}
