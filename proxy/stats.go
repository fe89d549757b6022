package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"stasis/store"
)

// outcome is how an answer came about: the bounded label of the counters.
type outcome int

const (
	hit outcome = iota
	miss
	stale
	negative
	failed
	outcomes // their number
)

var outcomeNames = [outcomes]string{"hit", "miss", "stale", "negative", "error"}

func outcomeOf(cache []string) outcome {
	switch cache[0] {
	case cacheStale[0]:
		return stale
	case cacheNegative[0]:
		return negative
	case cacheMiss[0], cacheRefresh[0], cachePass[0]:
		return miss
	}
	return hit
}

var kinds = [...]Kind{KindMetadata, KindArchives, KindRoot, KindAPI}

func kindIndex(k Kind) int {
	for i, name := range kinds {
		if name == k {
			return i
		}
	}
	panic("unknown kind " + string(k)) // a closed set
}

// counters of one kind.
type counters struct {
	outcomes [outcomes]atomic.Int64
	served   atomic.Int64
	fetched  atomic.Int64
}

// keptStats is what of the counters survives a restart.
type keptStats struct {
	Since  time.Time           `json:"since"`
	ByKind map[Kind]KindStats  `json:"by_kind"`
	Top    map[string][2]int64 `json:"top"` // package → requests, bytes
}

var statTable = store.Table[keptStats]{Family: store.FamilyCounter, Name: "stats"}

const (
	statKey     = "proxy"
	topRemember = 5000 // packages counted one by one; the seldom asked drop out
	topKept     = 200  // of them across a restart
	topListed   = 20
)

type stats struct {
	store *store.Store
	now   func() time.Time
	since time.Time
	kinds [len(kinds)]counters

	mu  sync.Mutex
	top *simplelru.LRU[string, *PackageStats] // guarded by mu
}

func newStats(s *store.Store, reg prometheus.Registerer, now func() time.Time) (*stats, error) {
	st := &stats{store: s, now: now, since: now().UTC()}
	lru, err := simplelru.NewLRU[string, *PackageStats](topRemember, nil)
	if err != nil {
		return nil, err
	}
	st.top = lru
	var kept keptStats
	err = s.View(func(tx *store.Tx) (err error) {
		kept, err = statTable.Get(tx, statKey)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrCorrupt):
	case err != nil:
		return nil, fmt.Errorf("read the counters: %w", err)
	default:
		st.restore(kept)
	}
	if reg != nil {
		reg.MustRegister(st)
	}
	return st, nil
}

func (s *stats) restore(kept keptStats) {
	s.since = kept.Since
	for i, k := range kinds {
		v, c := kept.ByKind[k], &s.kinds[i]
		for o, n := range [outcomes]int64{v.Hits, v.Misses, v.Stale, v.Negative, v.Errors} {
			c.outcomes[o].Store(n)
		}
		c.served.Store(v.BytesServed)
		c.fetched.Store(v.BytesFetched)
	}
	for name, n := range kept.Top {
		s.top.Add(name, &PackageStats{Package: name, Requests: n[0], BytesServed: n[1]})
	}
}

// count notes one answer; pkg is empty where no package is meant.
func (s *stats) count(k Kind, o outcome, bytes int64, pkg string) {
	c := &s.kinds[kindIndex(k)]
	c.outcomes[o].Add(1)
	c.served.Add(bytes)
	if pkg == "" || o == negative || o == failed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.top.Get(pkg)
	if !ok {
		t = &PackageStats{Package: pkg}
		s.top.Add(pkg, t)
	}
	t.Requests++
	t.BytesServed += bytes
}

// fetched notes bytes received from upstream.
func (s *stats) fetched(k Kind, bytes int64) { s.kinds[kindIndex(k)].fetched.Add(bytes) }

func (s *stats) snapshot() Stats {
	out := Stats{Since: s.since, ByKind: map[Kind]KindStats{}}
	for i, k := range kinds {
		c := &s.kinds[i]
		out.ByKind[k] = KindStats{
			Hits: c.outcomes[hit].Load(), Misses: c.outcomes[miss].Load(), Stale: c.outcomes[stale].Load(),
			Negative: c.outcomes[negative].Load(), Errors: c.outcomes[failed].Load(),
			BytesServed: c.served.Load(), BytesFetched: c.fetched.Load(),
		}
	}
	s.mu.Lock()
	for _, t := range s.top.Values() {
		out.TopPackages = append(out.TopPackages, *t)
	}
	s.mu.Unlock()
	sort.Slice(out.TopPackages, func(i, j int) bool {
		a, b := out.TopPackages[i], out.TopPackages[j]
		if a.Requests != b.Requests {
			return a.Requests > b.Requests
		}
		return a.Package < b.Package
	})
	return out
}

func (s *stats) flush() error {
	snap := s.snapshot()
	kept := keptStats{Since: snap.Since, ByKind: snap.ByKind, Top: map[string][2]int64{}}
	for _, t := range snap.TopPackages[:min(topKept, len(snap.TopPackages))] {
		kept.Top[t.Package] = [2]int64{t.Requests, t.BytesServed}
	}
	err := s.store.Update(func(tx *store.Tx) error { return statTable.Put(tx, kept, statKey) })
	if errors.Is(err, store.ErrNoSpace) {
		return nil
	}
	return err
}

var (
	answersDesc = prometheus.NewDesc("stasis_cache_answers_total", "Answers by kind and by how they came about.", []string{"kind", "result"}, nil)
	servedDesc  = prometheus.NewDesc("stasis_cache_served_bytes_total", "Body bytes sent to clients.", []string{"kind"}, nil)
	fetchedDesc = prometheus.NewDesc("stasis_cache_fetched_bytes_total", "Body bytes received from upstream.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (s *stats) Describe(ch chan<- *prometheus.Desc) {
	ch <- answersDesc
	ch <- servedDesc
	ch <- fetchedDesc
}

// Collect implements prometheus.Collector.
func (s *stats) Collect(ch chan<- prometheus.Metric) {
	for i, k := range kinds {
		c := &s.kinds[i]
		for o, name := range outcomeNames {
			ch <- prometheus.MustNewConstMetric(answersDesc, prometheus.CounterValue, float64(c.outcomes[o].Load()), string(k), name)
		}
		ch <- prometheus.MustNewConstMetric(servedDesc, prometheus.CounterValue, float64(c.served.Load()), string(k))
		ch <- prometheus.MustNewConstMetric(fetchedDesc, prometheus.CounterValue, float64(c.fetched.Load()), string(k))
	}
}
