package proxy

import (
	"time"

	"stasis/proxy/history"
)

// verdict is what to do with a request for a file, given what is held.
type verdict int

const (
	// fetchFirst: nothing is known; the client waits for upstream.
	fetchFirst verdict = iota
	// serve: the copy is fresh.
	serve
	// serveAndRefresh: the copy is stale but young enough to be served while it
	// is revalidated behind.
	serveAndRefresh
	// refreshFirst: the copy is old; the client waits a little for upstream and
	// gets the copy if that takes too long or fails.
	refreshFirst
)

// judge decides by age alone. TTL is freshness, never deletion: an old copy is
// never worse than no answer.
func (o *Options) judge(st *history.State, now time.Time) verdict {
	if !st.Known() {
		return fetchFirst
	}
	age := now.Sub(st.Checked)
	if !st.Present() {
		if age < o.NegativeTTL {
			return serve
		}
		return refreshFirst
	}
	switch {
	case !st.AnnouncedAt.IsZero():
		return serveAndRefresh
	case age < o.MetadataTTL:
		return serve
	case age < o.MetadataTTL+o.StaleWhileRevalidate:
		return serveAndRefresh
	}
	return refreshFirst
}
