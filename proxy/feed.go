package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
	"stasis/store"
)

// changes is the answer of the change feed (protocol 5.5). Timestamps are
// Unix time in 10⁻⁴ s.
type changes struct {
	Actions   []change `json:"actions"`
	Timestamp int64    `json:"timestamp"`
}

// change is one action of the feed.
type change struct {
	Type    string `json:"type"` // update, delete or resync
	Package string `json:"package"`
	Time    int64  `json:"time"` // Unix seconds
}

// feedStatus is what the status page says about the feed.
type feedStatus struct {
	mu       sync.Mutex
	lastPoll time.Time // guarded by mu
	lastErr  string    // guarded by mu
	pending  int       // guarded by mu

	// left are the files that were announced and not fetched yet; nil until
	// they were looked up once after the start. Only polls use it, one at a time.
	left map[composer.File]bool
}

func (s *feedStatus) polled(at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.lastErr = err.Error()
		return
	}
	s.lastPoll, s.lastErr = at, ""
}

func (s *feedStatus) setPending(n int) {
	s.mu.Lock()
	s.pending = n
	s.mu.Unlock()
}

// feedLoop reads the change feed until ctx ends, at jittered intervals so that
// many instances do not ask in step.
func (p *Proxy) feedLoop(ctx context.Context) {
	for {
		pause := p.o.FeedInterval + time.Duration(rand.Int64N(int64(p.o.FeedInterval)/5+1))
		err := p.PollFeed(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.log.InfoContext(ctx, "the change feed could not be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// PollFeed reads the change feed once and fetches what it announces among the
// files that were ever asked for. It is called by the loop that Start begins;
// a failed poll changes nothing, so that the next one continues where this one
// began.
func (p *Proxy) PollFeed(ctx context.Context) error {
	err := p.pollFeed(ctx)
	p.feed.polled(p.now(), err)
	return err
}

func (p *Proxy) pollFeed(ctx context.Context) error {
	target := p.endpointsFor(ctx).changes
	if target == "" {
		return nil // this registry has none; the TTL does the work
	}
	st := p.history.Feed()
	asked := p.now().UTC()
	if st.Cursor == 0 {
		return p.startFeed(ctx, target, asked)
	}
	c, err := p.readFeed(ctx, target+"?since="+strconv.FormatInt(st.Cursor, 10))
	if err != nil {
		return err
	}
	for _, a := range c.Actions {
		if a.Type == "resync" {
			p.alerts.raise(AlertFeedGap, p.o.PackagistURL, "the change feed has a hole since "+st.Until.Format(time.RFC3339)+"; every known document is being revalidated")
			st.Since, st.Until, st.Cursor, st.Resync = asked, asked, c.Timestamp, true
			if err := p.history.SetFeed(st); err != nil {
				return err
			}
			return p.resync(ctx)
		}
	}
	pending, err := p.announce(c.Actions)
	if err != nil {
		return err
	}
	st.Until, st.Cursor = feedTime(c.Timestamp, asked), max(c.Timestamp, st.Cursor)
	if err := p.history.SetFeed(st); err != nil {
		return err
	}
	if st.Resync {
		return p.resync(ctx)
	}
	return p.fetchAnnounced(ctx, pending)
}

// startFeed begins to follow the feed: asking without since is answered with
// the timestamp to start from.
func (p *Proxy) startFeed(ctx context.Context, target string, asked time.Time) error {
	c, err := p.readFeed(ctx, target)
	if err != nil {
		return err
	}
	if c.Timestamp == 0 {
		return &badUpstream{"the change feed", errors.New("it has no timestamp")}
	}
	at := feedTime(c.Timestamp, asked)
	return p.history.SetFeed(history.FeedState{Since: at, Until: at, Cursor: c.Timestamp})
}

func (p *Proxy) readFeed(ctx context.Context, url string) (changes, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.UpstreamTimeout)
	defer cancel()
	var c changes
	resp, err := p.up.Do(ctx, upstream.Request{URL: url, Class: "feed"})
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	// 400 is how the feed tells where to begin.
	if resp.Status != http.StatusOK && resp.Status != http.StatusBadRequest {
		return c, &badUpstream{"the change feed", fmt.Errorf("status %d", resp.Status)}
	}
	body, err := p.up.ReadAll(resp, 64<<20)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, &badUpstream{"the change feed", err}
	}
	return c, nil
}

// feedTime is the instant of a feed timestamp, never after when we asked.
func feedTime(timestamp int64, asked time.Time) time.Time {
	t := time.UnixMicro(timestamp * 100).UTC()
	if t.After(asked) {
		return asked
	}
	return t
}

// announce records which tracked files the feed lists and returns them with
// the time of their change.
func (p *Proxy) announce(actions []change) (map[composer.File]time.Time, error) {
	pending := map[composer.File]time.Time{}
	for _, a := range actions {
		f, err := composer.ParseFile(a.Package)
		if err != nil {
			continue
		}
		files := []composer.File{f}
		if a.Type == "delete" {
			files = []composer.File{{Name: f.Name}, {Name: f.Name, Dev: true}}
		}
		for _, f := range files {
			at := time.Unix(a.Time, 0).UTC()
			tracked, err := p.history.Announce(f, at, a.Type == "delete")
			if err != nil {
				return nil, fmt.Errorf("note the change of %s: %w", f, err)
			}
			if !tracked {
				continue
			}
			pending[f] = at
			if e := p.hot.get(f.String()); e != nil && e.freeze == nil {
				st := *e.state.Load()
				st.AnnouncedAt = at
				e.state.Store(&st)
			}
		}
	}
	return pending, nil
}

// feedWorkers is below the upstream bound, so that clients' misses find room.
const feedWorkers = 4

// edgePauses is how long to wait for an edge of the CDN that is behind its own
// feed, as Packagist asks of mirrors; after that the next poll tries again.
var edgePauses = []time.Duration{2 * time.Second, 4 * time.Second}

// fetchAnnounced refetches what the feed listed until each file is as new as
// its announcement.
func (p *Proxy) fetchAnnounced(ctx context.Context, fresh map[composer.File]time.Time) error {
	if err := p.loadLeft(); err != nil {
		return err
	}
	for f := range fresh {
		p.feed.left[f] = true
	}
	for f := range p.feed.left { // of earlier polls, too
		fresh[f] = time.Time{}
	}
	p.feed.setPending(len(fresh))
	defer p.feed.setPending(0)
	var g errgroup.Group
	g.SetLimit(feedWorkers)
	var mu sync.Mutex // guards left while the workers run
	for f := range fresh {
		g.Go(func() error {
			for i := 0; ; i++ {
				st, err := p.refresh(ctx, f, history.Feed, whatever)
				if err == nil && st.AnnouncedAt.IsZero() {
					mu.Lock()
					delete(p.feed.left, f)
					mu.Unlock()
					return nil
				}
				if err != nil || i == len(edgePauses) {
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(edgePauses[i]):
				}
			}
		})
	}
	return g.Wait()
}

// loadLeft looks up, once, what was announced before the program started.
func (p *Proxy) loadLeft() error {
	if p.feed.left != nil {
		return nil
	}
	left := map[composer.File]bool{}
	err := p.history.Files(func(f composer.File, st history.State) error {
		if !st.AnnouncedAt.IsZero() {
			left[f] = true
		}
		return nil
	})
	if err == nil {
		p.feed.left = left
	}
	return err
}

// resync revalidates every known file, after a hole in the feed.
func (p *Proxy) resync(ctx context.Context) error {
	var files []composer.File
	since := p.history.Feed().Since
	err := p.history.Files(func(f composer.File, st history.State) error {
		if st.Present() && st.Checked.Before(since) {
			files = append(files, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.feed.setPending(len(files))
	defer p.feed.setPending(0)
	var g errgroup.Group
	g.SetLimit(feedWorkers)
	for _, f := range files {
		g.Go(func() error {
			_, err := p.refresh(ctx, f, history.Poll, whatever)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	st := p.history.Feed()
	st.Resync = false
	return p.history.SetFeed(st)
}

// The feed that we offer ourselves: every change of what we serve.

var ownChanges = store.Table[change]{Family: store.FamilyFeed, Name: "own"}

const (
	ownFeedAge  = 24 * time.Hour
	ownFeedSize = 100000
	// firstFeed is Packagist's own lower bound of since (1 April 2020).
	firstFeed = 15850612240000
)

// changed puts a change of a served file into our feed. Failing to is logged:
// mirrors behind us then see the change with their next full revalidation.
func (p *Proxy) changed(f composer.File, st history.State) {
	c := change{Type: "update", Package: f.String(), Time: st.ValidFrom.Unix()}
	if !st.Present() {
		if !st.Ever {
			return
		}
		c = change{Type: "delete", Package: f.Name.String(), Time: p.now().Unix()}
	}
	err := p.store.Update(func(tx *store.Tx) error {
		return ownChanges.Put(tx, c, store.TimeKey(p.now()), f.String())
	})
	if err != nil {
		p.log.Warn("a change was not put into the change feed", "package", f.String(), "error", err)
	}
}

// serveChanges answers GET /metadata/changes.json (protocol 5.5, C73 to C75).
func (p *Proxy) serveChanges(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	stamp := now.UnixMicro() / 100
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if err != nil || since < firstFeed {
		body := fmt.Appendf(nil, `{"error":"Invalid or missing \"since\" query parameter, make sure you store the timestamp at the initial point you started mirroring, then send that to begin receiving changes, e.g. %d","timestamp":%d}`, stamp, stamp)
		h := w.Header()
		h["Content-Type"], h["Cache-Control"] = headerJSON, headerNoStore
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(body)
		return
	}
	from := time.UnixMicro(since * 100)
	out := changes{Actions: []change{}, Timestamp: stamp}
	if from.Before(now.Add(-ownFeedAge)) || from.After(now.Add(maxSkew)) { // long ago, or by a clock that was set back since
		out.Actions = append(out.Actions, change{Type: "resync", Package: "*", Time: now.Unix()})
	} else if out.Actions, err = p.changesBetween(from, time.UnixMicro(stamp*100)); err != nil {
		p.fail(w, r, err)
		return
	}
	if reader := p.readerOf(r); !reader.Everything() {
		out.Actions = slices.DeleteFunc(out.Actions, func(c change) bool {
			f, err := composer.ParseFile(c.Package)
			return c.Type != "resync" && (err != nil || !reader.Sees(f.Name))
		})
	}
	body, err := json.Marshal(out)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.writeJSON(w, r, body, cacheLocal)
}

// changesBetween lists what changed in [from, to): the latest action per file.
func (p *Proxy) changesBetween(from, to time.Time) ([]change, error) {
	latest := map[string]change{}
	n := 0
	err := p.store.View(func(tx *store.Tx) error {
		clear(latest)
		n = 0
		return ownChanges.ScanFrom(tx, nil, store.TimeKey(from), func(key []string, c change) error {
			if key[0] >= store.TimeKey(to) && key[0] < store.TimeKey(to.Add(maxSkew)) {
				return nil // for the next time; what lies further ahead is from when our clock did
			}
			latest[c.Package] = c
			n++
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if n > ownFeedSize {
		return []change{{Type: "resync", Package: "*", Time: to.Unix()}}, nil
	}
	list := make([]change, 0, len(latest))
	for _, c := range latest {
		list = append(list, c)
	}
	sortChanges(list)
	return list, nil
}

// forgetChanges drops what is older than the feed promises.
func (p *Proxy) forgetChanges() error {
	limit := store.TimeKey(p.now().Add(-ownFeedAge - time.Hour))
	for {
		var drop [][]string
		err := p.store.View(func(tx *store.Tx) error {
			drop = drop[:0]
			return ownChanges.Scan(tx, nil, func(key []string, _ change) error {
				if key[0] >= limit || len(drop) == 1000 {
					return store.Stop
				}
				drop = append(drop, append([]string(nil), key...))
				return nil
			})
		})
		if err != nil || len(drop) == 0 {
			return err
		}
		if err := p.store.Update(func(tx *store.Tx) error {
			for _, key := range drop {
				if err := ownChanges.Delete(tx, key...); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// sortChanges orders updates by time, then deletes, as Packagist does.
func sortChanges(list []change) {
	slices.SortFunc(list, func(a, b change) int {
		return cmp.Or(
			-cmp.Compare(a.Type, b.Type), // update before delete
			cmp.Compare(a.Time, b.Time),
			cmp.Compare(a.Package, b.Package),
		)
	})
}
