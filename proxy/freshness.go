package proxy

import (
	"math"
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

// ageOf is how long ago something was checked. What was checked in the future was so by a clock that was ahead, and may be
// of any age.
func ageOf(checked, now time.Time) time.Duration {
	if age := now.Sub(checked); age >= -maxSkew {
		return age
	}
	return math.MaxInt64
}

// judge decides by age alone. TTL is freshness, never deletion: an old copy is
// never worse than no answer.
func (o *Options) judge(st *history.State, now time.Time) verdict {
	if !st.Known() {
		return fetchFirst
	}
	age := ageOf(st.Checked, now)
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
