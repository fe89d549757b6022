package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
)

const (
	// rootTTL is how long the root is believed: the packages of one run of
	// Composer, which are asked for within seconds, share it.
	rootTTL = time.Minute
	// failurePause is how long a root that could not be read is not asked for
	// again.
	failurePause = 5 * time.Second
	// loadTimeout bounds reading the root with all that it includes.
	loadTimeout = 10 * time.Minute
)

// catalog returns what the root says, asked for after since and not long ago.
// It is read once for all who want it at the same time; who leaves does not end
// that. With past it is read anew, past every cache on the way.
func (r *Repository) catalog(ctx context.Context, since time.Time, past bool) (*catalog, error) {
	// Who joins a load that began too early asks once more.
	for range 2 {
		if !past {
			if cat, err := r.remembered(since); cat != nil || err != nil {
				return cat, err
			}
		}
		cat, err := r.join(ctx, past)
		if err != nil || !cat.asked.Before(since) {
			return cat, err
		}
	}
	return r.join(ctx, past)
}

// remembered returns what is known of the root and need not be asked again.
func (r *Repository) remembered(since time.Time) (*catalog, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.held != nil && r.held.asked.After(since) && now.Sub(r.held.asked) < rootTTL {
		return r.held, nil
	}
	if now.Sub(r.failed) < failurePause {
		return nil, r.failure
	}
	return nil, nil
}

func (r *Repository) join(ctx context.Context, past bool) (*catalog, error) {
	ch := r.flights.DoChan(fmt.Sprint(past), func() (any, error) { return r.load(past) })
	select {
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*catalog), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load reads the root and what it includes, and remembers the outcome.
func (r *Repository) load(past bool) (*catalog, error) {
	r.mu.Lock()
	if err := r.background.Err(); err != nil {
		r.mu.Unlock()
		return nil, err
	}
	r.loading.Add(1)
	defer r.loading.Done()
	held := r.held
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(r.background, loadTimeout)
	defer cancel()
	cat, err := r.readRoot(ctx, held, past)
	if !past && (errors.Is(err, errMoved) || err == nil && held != nil && older(cat.lastModified, held.lastModified)) {
		// The root is older than what it names, or than the one we had.
		cat, err = r.readRoot(ctx, held, true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.background.Err() == nil {
			r.failure, r.failed = err, r.now()
		}
		return nil, err
	}
	r.failure = nil
	if r.held == nil || !cat.asked.Before(r.held.asked) {
		r.held = cat
	}
	return cat, nil
}

// older reports whether both dates can be read and got is before held.
func older(got, held string) bool {
	g, ok := history.ParseHTTPTime(got)
	h, had := history.ParseHTTPTime(held)
	return ok && had && g.Before(h)
}

func (r *Repository) readRoot(ctx context.Context, held *catalog, past bool) (*catalog, error) {
	address := composer.RootURL(r.url)
	header := http.Header{}
	if held != nil && !past {
		condition(header, held.lastModified, held.etag)
	}
	asked := r.now()
	resp, err := r.get(ctx, address, header, past)
	if err != nil {
		return nil, fmt.Errorf("read the root of %s: %w", r, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.Status == http.StatusOK:
	case resp.Status == http.StatusNotModified && len(header) > 0:
		again := *held
		again.asked = asked
		return &again, nil
	default:
		return nil, badStatus(resp)
	}
	c, err := readContent(resp.Body, r.max)
	if err != nil {
		return nil, failed(address, err)
	}
	cat, err := newCatalog(r.url, c, asked)
	if err != nil {
		return nil, bad(address, err)
	}
	cat.lastModified, cat.etag = resp.Header.Get("Last-Modified"), resp.Header.Get("Etag")
	in := includer{r: r, cat: cat, held: held, seen: map[string]bool{}, past: past}
	return cat, in.root(ctx, c)
}

// failed tells a body that did not arrive from one that makes no sense.
func failed(address string, err error) error {
	var e *upstream.Error
	if errors.As(err, &e) {
		return fmt.Errorf("read %s: %w", plain(address), err)
	}
	return bad(address, err)
}

func condition(h http.Header, lastModified, etag string) {
	if lastModified != "" {
		h.Set("If-Modified-Since", lastModified)
	} else if etag != "" {
		h.Set("If-None-Match", etag)
	}
}

// get sends one request. past adds a query that no cache on the way knows.
func (r *Repository) get(ctx context.Context, address string, header http.Header, past bool) (*upstream.Response, error) {
	if past {
		address = upstream.PastCaches(address, r.now())
	}
	return r.client.Do(ctx, upstream.Request{URL: address, Header: header, Class: upstream.ClassMetadata, Owner: r.owner})
}
