// Package hooks takes in what hosts of git repositories send after a push, and has the sources concerned read at once.
//
// It owns the secrets of the hooks while the program runs, the log of deliveries, and the memory of which came already:
// one that is sent again within a day does nothing. It promises that a delivery is answered without waiting for a source,
// and that one which was accepted is acted upon also when the program ends right afterwards.
//
// It leaves signatures and payloads to private/webhook, the reading of sources to private, and HTTP to api.
package hooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"stasis/private"
	"stasis/private/webhook"
	"stasis/proxy/composer"
	"stasis/store"
)

// Sources is what is read after a push; private.Service is one.
type Sources interface {
	Sources(ctx context.Context) ([]private.Source, error)
	// List lists the packages of a source, or with "" of all.
	List(ctx context.Context, source string, deleted bool) ([]private.Package, error)
	// Sync begins to read a source, and does not wait for it.
	Sync(id, trigger string)
}

// Options configure Hooks. Store and Sources are required.
type Options struct {
	Store   *store.Store
	Sources Sources
	// Secrets are those that the provider signs with; while one replaces another there are two. A provider without any
	// is not listened to.
	Secrets    map[webhook.Provider][]string
	Now        func() time.Time // nil means time.Now
	Logger     *slog.Logger     // nil discards
	Registerer prometheus.Registerer
}

// Hooks is safe for concurrent use.
type Hooks struct {
	o       Options
	secrets map[webhook.Provider][][]byte
	counts  *prometheus.CounterVec

	mu      sync.Mutex         // guards what follows
	seen    map[string]arrival // deliveries that were acted upon, by provider and its id
	refused []Delivery         // the last ones, oldest first
	kept    int                // deliveries in the log
}

// arrival is a delivery that came.
type arrival struct {
	id string
	at time.Time
}

const (
	memory   = 24 * time.Hour // how long repetitions are known
	logged   = 1000           // deliveries kept at least; those of the last day are kept whatever their number
	refusals = 100            // kept, in memory
)

// Result is what became of a delivery.
type Result string

// The results.
const (
	Queued    Result = "queued"    // sources are being read
	Unmatched Result = "unmatched" // no source has the repository
	Ignored   Result = "ignored"   // it is about something else, or a try
	Repeated  Result = "repeated"  // it came before; nothing is done
	Refused   Result = "refused"   // it could not be verified or read
)

// Delivery is one entry of the log.
type Delivery struct {
	ID         string           `json:"id"`
	ReceivedAt time.Time        `json:"received_at"`
	Provider   webhook.Provider `json:"provider"`
	// Delivery is the provider's own id of it.
	Delivery string `json:"delivery,omitempty"`
	Event    string `json:"event,omitempty"`
	Result   Result `json:"result"`
	// Reason says in a sentence why nothing was done.
	Reason string `json:"reason,omitempty"`
	// By is the id of the token that sent it, or "signature".
	By string `json:"by,omitempty"`
	// Replays is the id of the delivery that was done again.
	Replays      string        `json:"replays,omitempty"`
	Repositories []string      `json:"repositories"`
	Path         string        `json:"path,omitempty"`
	Packages     []string      `json:"packages"`
	Refs         []webhook.Ref `json:"refs"`
	// Sources are the ids of those that were read.
	Sources []string `json:"sources"`
}

// New reads the log.
func New(o Options) (*Hooks, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hooks{o: o, secrets: map[webhook.Provider][][]byte{}, seen: map[string]arrival{}}
	for p, list := range o.Secrets {
		for _, s := range list {
			h.secrets[p] = append(h.secrets[p], []byte(s))
		}
	}
	h.counts = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "stasis_webhook_deliveries_total",
		Help: "Deliveries of webhooks by provider and by what became of them.",
	}, []string{"provider", "result"})
	return h, h.load()
}

// Receive takes in a delivery that is signed. The error is one of webhook.Verify when nothing shows that the provider sent
// it, and has the method Validation when it cannot be read; everything else has a result.
func (h *Hooks) Receive(ctx context.Context, p webhook.Provider, header http.Header, body []byte) (Delivery, error) {
	d := Delivery{Provider: p}
	who, err := webhook.Verify(p, h.secrets[p], header, body, h.o.Now())
	if err != nil {
		h.refuse(d, err)
		return Delivery{}, err
	}
	d.Delivery, d.Event, d.By = who.ID, who.Event, Signature
	return h.read(ctx, d, header, body, nil)
}

// Signature is who sent a delivery that is signed.
const Signature = "signature"

// Push takes in a delivery whose sender is known by a token, and may have those packages read that allowed says; nil
// allows everything. The packages that names name are meant besides those that the body is about, which may then be
// empty.
func (h *Hooks) Push(ctx context.Context, by string, header http.Header, body []byte, names []composer.Name, allowed func(composer.Name) bool) (Delivery, error) {
	d := Delivery{Provider: webhook.Recognize(header), By: by}
	if len(names) == 0 {
		return h.read(ctx, d, header, body, allowed)
	}
	var push webhook.Push
	for _, n := range names {
		push.Packages = append(push.Packages, n.String())
	}
	return h.act(ctx, d, push, allowed)
}

// read reads a delivery and acts upon it.
func (h *Hooks) read(ctx context.Context, d Delivery, header http.Header, body []byte, allowed func(composer.Name) bool) (Delivery, error) {
	push, err := webhook.Parse(d.Provider, header, body)
	switch {
	case errors.Is(err, webhook.ErrIgnored):
		d.Result, d.Reason = Ignored, "This kind of event changes no code."
		return h.log(d), nil
	case err != nil:
		h.refuse(d, err)
		return Delivery{}, &invalid{err}
	case push.Ping:
		d.Result, d.Reason = Ignored, "The webhook works; this was a try."
		return h.log(d), nil
	}
	return h.act(ctx, d, push, allowed)
}

// act has the sources read that a push is about.
func (h *Hooks) act(ctx context.Context, d Delivery, push webhook.Push, allowed func(composer.Name) bool) (Delivery, error) {
	d.Repositories, d.Path, d.Packages, d.Refs = push.Repositories, push.Path, push.Packages, push.Refs
	var err error
	if d.Sources, err = h.concerned(ctx, push, allowed); err != nil {
		return Delivery{}, fmt.Errorf("find the sources of a delivery: %w", err)
	}
	if d.Result = Queued; len(d.Sources) == 0 {
		d.Result, d.Reason = Unmatched, "No source has this repository or package."
		return h.log(d), nil
	}
	if was, repeated := h.claim(&d); repeated {
		h.counts.WithLabelValues(string(d.Provider), string(Repeated)).Inc()
		was.Result, was.Reason = Repeated, "This delivery came before, and nothing is done; replay it here if its sources are to be read again."
		return was, nil
	}
	d = h.log(d)
	for _, id := range d.Sources {
		h.o.Sources.Sync(id, "webhook")
	}
	return d, nil
}

// concerned finds the sources that a push is about.
func (h *Hooks) concerned(ctx context.Context, push webhook.Push, allowed func(composer.Name) bool) ([]string, error) {
	sources, err := h.o.Sources.Sources(ctx)
	if err != nil {
		return nil, err
	}
	var named, open map[string]bool // by source
	if len(push.Packages) > 0 || allowed != nil {
		packages, err := h.o.Sources.List(ctx, "", false)
		if err != nil {
			return nil, err
		}
		named, open = map[string]bool{}, map[string]bool{}
		for _, p := range packages {
			named[p.Source] = named[p.Source] || slices.Contains(push.Packages, p.Name.String())
			open[p.Source] = open[p.Source] || allowed != nil && allowed(p.Name)
		}
	}
	var ids []string
	for _, src := range sources {
		if (named[src.ID] || src.URL != "" && push.Concerns(src.URL)) && (allowed == nil || open[src.ID]) {
			ids = append(ids, src.ID)
		}
	}
	return ids, nil
}

// claim gives a delivery its name, and returns the one that was acted upon within a day under the provider's name of it.
func (h *Hooks) claim(d *Delivery) (was Delivery, repeated bool) {
	now := h.o.Now()
	d.ID, d.ReceivedAt = newID(now), now.UTC()
	if d.Delivery == "" || d.Replays != "" {
		return Delivery{}, false
	}
	h.mu.Lock()
	a, ok := h.seen[d.key()]
	if repeated = ok && now.Sub(a.at) <= memory; !repeated {
		h.seen[d.key()] = arrival{d.ID, now}
	}
	h.mu.Unlock()
	if !repeated {
		return Delivery{}, false
	}
	was, err := h.Delivery(a.id)
	if err != nil { // it could not be written down
		was = *d
		was.ID, was.ReceivedAt = a.id, a.at.UTC()
	}
	return was, true
}

func (d Delivery) key() string { return string(d.Provider) + " " + d.Delivery }

// sentence makes an error one that stands alone.
func sentence(err error) string {
	s := strings.TrimSuffix(err.Error(), ".") + "."
	return strings.ToUpper(s[:1]) + s[1:]
}

// refuse notes a delivery that was not accepted. Anybody can send those, so they are kept in memory, and few.
func (h *Hooks) refuse(d Delivery, err error) {
	d.ID, d.ReceivedAt, d.Result, d.Reason, d.By = newID(h.o.Now()), h.o.Now().UTC(), Refused, sentence(err), ""
	h.counts.WithLabelValues(string(d.Provider), string(Refused)).Inc()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused = append(h.refused, d); len(h.refused) > refusals {
		h.refused = slices.Delete(h.refused, 0, 1)
	}
}

// newID names a delivery so that ids sort by time.
func newID(at time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "dlv_" + store.TimeKey(at) + hex.EncodeToString(b[:])
}

// invalid is an error that the sender is told.
type invalid struct{ error }

func (e *invalid) Validation() bool { return true }
func (e *invalid) Unwrap() error    { return e.error }
