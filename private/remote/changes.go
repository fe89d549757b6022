package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/upstream"
)

// Changes is what a repository says has changed since a moment (protocol 5.5).
type Changes struct {
	Actions []Action `json:"actions"`
	// Timestamp is the moment to ask from next, in 10⁻⁴ s since 1970.
	Timestamp int64 `json:"timestamp"`
}

// Action is one change. Its Type is update or delete, or resync when the
// repository cannot say what changed.
type Action struct {
	Type    string `json:"type"`
	Package string `json:"package"` // a composer.File; for delete a name, for resync *
	Time    int64  `json:"time"`    // Unix seconds
}

// maxChanges bounds one answer of a change feed.
const maxChanges = 64 << 20

// Changes asks what has changed since the timestamp of an earlier answer, 0 for
// where to begin. offered is false when the repository has no change feed.
func (r *Repository) Changes(ctx context.Context, since int64) (c Changes, offered bool, err error) {
	cat, err := r.catalog(ctx, time.Time{}, false)
	if err != nil || cat.root.MetadataChangesURL == "" {
		return c, false, err
	}
	address := composer.Resolve(r.url, cat.root.MetadataChangesURL)
	if since > 0 {
		sep := "?"
		if strings.Contains(address, "?") {
			sep = "&"
		}
		address += sep + "since=" + strconv.FormatInt(since, 10)
	}
	resp, err := r.client.Do(ctx, upstream.Request{URL: address, Class: upstream.ClassFeed, Owner: r.owner})
	if err != nil {
		return c, true, fmt.Errorf("read the change feed of %s: %w", r, err)
	}
	// 400 is how the feed tells where to begin.
	if resp.Status != http.StatusOK && (since > 0 || resp.Status != http.StatusBadRequest) {
		_ = resp.Body.Close()
		return c, true, badStatus(resp)
	}
	body, err := r.client.ReadAll(resp, maxChanges)
	if err != nil {
		return c, true, failed(address, err)
	}
	if err := json.Unmarshal(body, &c); err != nil || c.Timestamp <= 0 {
		return Changes{}, true, bad(address, fmt.Errorf("it is not the answer of a change feed"))
	}
	return c, true, nil
}
