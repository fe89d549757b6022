package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stasis/store"
)

// alertTable keeps alerts across restarts.
var alertTable = store.Table[Alert]{Family: store.FamilyAlert, Name: "alert"}

// severities says how soon somebody should look at each kind.
var severities = map[AlertKind]Severity{
	AlertUpstreamFailure: SeverityWarning,
	AlertSourceFailure:   SeverityWarning,
	AlertFeedGap:         SeverityInfo,
	AlertCacheLimit:      SeverityInfo,
	AlertRetagged:        SeverityCritical,
	AlertDigestChanged:   SeverityCritical,
	AlertBadArchive:      SeverityWarning,
	AlertDiskFull:        SeverityCritical,
	AlertCorrupt:         SeverityCritical,
}

// maxAlerts bounds the list; the longest quiet ones go first.
const maxAlerts = 1000

// alerts is what an operator should know. Events about one subject are one
// alert with a count. They are held in memory and written behind, because they
// are raised when the disk is full, too.
type alerts struct {
	store *store.Store
	now   func() time.Time
	log   *slog.Logger
	// events counts what was raised since the start, by kind, for an alarm on the rate.
	events *prometheus.CounterVec

	mu    sync.Mutex
	list  map[string]*Alert // guarded by mu; by id
	dirty map[string]bool   // guarded by mu; true: write, false: delete
}

func newAlerts(s *store.Store, now func() time.Time, log *slog.Logger) (*alerts, error) {
	a := &alerts{store: s, now: now, log: log, list: map[string]*Alert{}, dirty: map[string]bool{}}
	a.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stasis_alert_events_total", Help: "Events that raised an alert or added to one, by kind.",
	}, []string{"kind"})
	for kind := range severities {
		a.events.WithLabelValues(string(kind)) // an alarm needs a zero to start from
	}
	err := s.View(func(tx *store.Tx) error {
		clear(a.list)
		return alertTable.Scan(tx, nil, func(key []string, al Alert) error {
			a.list[al.ID] = &al
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the alerts: %w", err)
	}
	return a, nil
}

// raise notes an event. It does not block on the disk.
func (a *alerts) raise(kind AlertKind, subject, message string) {
	a.events.WithLabelValues(string(kind)).Inc()
	id := string(kind) + "-" + store.SumDigest([]byte(subject)).String()[:12]
	now := a.now().UTC()
	a.mu.Lock()
	defer a.mu.Unlock()
	al := a.list[id]
	if al == nil {
		sev, ok := severities[kind]
		if !ok {
			sev = SeverityWarning
		}
		al = &Alert{ID: id, Kind: kind, Severity: sev, Subject: subject, FirstSeen: now}
		a.makeRoom()
		a.list[id] = al
		a.log.LogAttrs(context.Background(), slog.LevelWarn, "alert",
			slog.String("kind", string(kind)), slog.String("subject", subject), slog.String("message", message))
	}
	al.Message, al.LastSeen, al.AckedAt = message, now, time.Time{}
	al.Count++
	a.dirty[id] = true
}

// makeRoom drops the longest quiet alert when there are too many; called with
// mu held.
func (a *alerts) makeRoom() {
	if len(a.list) < maxAlerts {
		return
	}
	var oldest *Alert
	for _, al := range a.list {
		if oldest == nil || al.LastSeen.Before(oldest.LastSeen) {
			oldest = al
		}
	}
	delete(a.list, oldest.ID)
	a.dirty[oldest.ID] = false
}

// flush writes what changed.
func (a *alerts) flush() error {
	a.mu.Lock()
	todo := a.dirty
	a.dirty = map[string]bool{}
	copies := make(map[string]Alert, len(todo))
	for id := range todo {
		if al := a.list[id]; al != nil {
			copies[id] = *al
		}
	}
	a.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	err := a.store.Update(func(tx *store.Tx) error {
		for id := range todo {
			al, ok := copies[id]
			if !ok {
				if err := alertTable.Delete(tx, id); err != nil {
					return err
				}
				continue
			}
			if err := alertTable.Put(tx, al, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.mu.Lock()
		for id, v := range todo {
			if _, newer := a.dirty[id]; !newer {
				a.dirty[id] = v
			}
		}
		a.mu.Unlock()
	}
	if errors.Is(err, store.ErrNoSpace) {
		return nil // they stay in memory until there is room
	}
	return err
}

func (a *alerts) all() []Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Alert, 0, len(a.list))
	for _, al := range a.list {
		list = append(list, *al)
	}
	sort.Slice(list, func(i, j int) bool {
		if !list[i].LastSeen.Equal(list[j].LastSeen) {
			return list[i].LastSeen.After(list[j].LastSeen)
		}
		return list[i].ID < list[j].ID
	})
	return list
}

// open counts the alerts that nobody acknowledged.
func (a *alerts) open() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, al := range a.list {
		if al.AckedAt.IsZero() {
			n++
		}
	}
	return n
}

// Alerts lists all alerts, the newest event first.
func (p *Proxy) Alerts(context.Context) ([]Alert, error) { return p.alerts.all(), nil }

// AckAlert marks an alert as seen. The error matches fs.ErrNotExist when there
// is none with this id.
func (p *Proxy) AckAlert(_ context.Context, id string) (Alert, error) {
	a := p.alerts
	a.mu.Lock()
	al := a.list[id]
	if al == nil {
		a.mu.Unlock()
		return Alert{}, absence("there is no alert with the id " + id)
	}
	if al.AckedAt.IsZero() {
		al.AckedAt = a.now().UTC()
		a.dirty[id] = true
	}
	acked := *al
	a.mu.Unlock()
	return acked, a.flush()
}
