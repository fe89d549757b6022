package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"stasis/proxy/composer"
	"stasis/store"
)

// Options configure a Policy.
type Options struct {
	Store *store.Store
	// Retag is what happens to stable versions whose reference changed; the
	// default is KeepFirst. A change of it counts from the moment of New.
	Retag Mode
	// SecurityGrace is how old a security fix must be to be exempt from the
	// minimum release age.
	SecurityGrace time.Duration
	// EnforceOnDownload refuses archives of versions that are too young, too,
	// so that a lock file made elsewhere does not get around the age.
	EnforceOnDownload bool
	// DenyLists are the filter lists of upstream whose entries are denied;
	// nil means the malware list.
	DenyLists []string
	Now       func() time.Time
	Logger    *slog.Logger
}

// Policy keeps the rules and evaluates them. It is safe for concurrent use.
type Policy struct {
	o     Options
	store *store.Store
	now   func() time.Time
	log   *slog.Logger

	writing sync.Mutex // one change of the rules at a time
	current atomic.Pointer[book]
	// unfiltered remembers documents without filter lists, so that they are not
	// read again only to find none.
	unfiltered *lru.Cache[store.Digest, struct{}]
}

const unfilteredKept = 1 << 14

// book is all that was ever ruled. It is never changed once it is current.
type book struct {
	generation uint64
	rules      []*compiled            // by id, oldest first
	byName     map[string][]*compiled // rules for one package
	byPattern  []*compiled            // rules with a "*"
	modes      []setting              // oldest first
}

var (
	rules    = store.Table[Rule]{Family: store.FamilyOverlay, Name: "rule"}
	settings = store.Table[setting]{Family: store.FamilyOverlay, Name: "retag policy"}
)

// New reads the rules from the store and notes a changed re-tag policy.
func New(o Options) (*Policy, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Retag == "" {
		o.Retag = KeepFirst
	}
	if o.DenyLists == nil {
		o.DenyLists = []string{malwareList}
	}
	p := &Policy{o: o, store: o.Store, now: o.Now, log: o.Logger}
	var err error
	if p.unfiltered, err = lru.New[store.Digest, struct{}](unfilteredKept); err != nil {
		return nil, err
	}
	if err := p.reload(); err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	if err := p.SetRetag(o.Retag); err != nil {
		return nil, err
	}
	return p, nil
}

// Generation changes whenever a rule or the re-tag policy does. What was
// evaluated under another generation has to be evaluated again.
func (p *Policy) Generation() uint64 { return p.current.Load().generation }

// reload reads everything from the store and makes it current.
func (p *Policy) reload() error {
	b := &book{byName: map[string][]*compiled{}}
	err := p.store.View(func(tx *store.Tx) error {
		b.rules, b.modes = nil, nil
		if err := rules.Scan(tx, nil, func(_ []string, r Rule) error {
			c, err := compile(r)
			if err != nil {
				return fmt.Errorf("%s %s: %w", r.Kind, r.ID, err)
			}
			b.rules = append(b.rules, c)
			return nil
		}); err != nil {
			return err
		}
		return settings.Scan(tx, nil, func(_ []string, s setting) error {
			b.modes = append(b.modes, s)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, c := range b.rules {
		if c.pattern.exact() {
			b.byName[c.Package] = append(b.byName[c.Package], c)
		} else {
			b.byPattern = append(b.byPattern, c)
		}
	}
	if old := p.current.Load(); old != nil {
		b.generation = old.generation + 1
	}
	p.current.Store(b)
	return nil
}

// rulesFor lists every rule, past ones included, that speaks of a package.
func (b *book) rulesFor(n composer.Name) []*compiled {
	list := b.byName[n.String()]
	for _, c := range b.byPattern {
		if c.pattern.matches(n.String()) {
			list = append(list[:len(list):len(list)], c)
		}
	}
	return list
}

// Add writes a rule that counts from now on. Its ID and its times besides the
// expiry are filled in. A rule that already counts and says the same is
// returned instead of a second one.
func (p *Policy) Add(r Rule) (Rule, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	now := p.now().UTC()
	r.ID, r.CreatedAt, r.ExpiresAt = "", now, r.ExpiresAt.UTC()
	r.LiftedAt, r.LiftedBy = time.Time{}, ""
	if r.Owner == "" {
		r.Owner = "admin"
	}
	c, err := compile(r)
	if err != nil {
		return Rule{}, err
	}
	b := p.current.Load()
	next := uint64(1)
	for _, held := range b.rules {
		if held.ActiveAt(now) && held.same(&c.Rule) {
			return held.Rule, nil
		}
		if n, err := strconv.ParseUint(held.ID, 10, 64); err == nil && n >= next {
			next = n + 1
		}
	}
	r = c.Rule
	r.ID = strconv.FormatUint(next, 10)
	if err := p.store.Update(func(tx *store.Tx) error { return rules.Put(tx, r, store.SeqKey(next)) }); err != nil {
		return Rule{}, fmt.Errorf("keep the %s of %s: %w", r.Kind, r.Package, err)
	}
	p.log.Info("a rule was added", "kind", r.Kind, "id", r.ID, "package", r.Package, "versions", r.Versions,
		"reference", r.Reference, "owner", r.Owner, "reason", r.Reason, "expires", r.ExpiresAt)
	return r, p.reload()
}

// Lift ends a rule now. It returns the rule as it is then; the error matches
// fs.ErrNotExist when no rule of that kind and id counts.
func (p *Policy) Lift(kind Kind, id, by string) (Rule, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	now := p.now().UTC()
	if by == "" {
		by = "admin"
	}
	seq, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return Rule{}, missing(kind, id)
	}
	var r Rule
	err = p.store.Update(func(tx *store.Tx) (err error) {
		if r, err = rules.Get(tx, store.SeqKey(seq)); err != nil {
			return err
		}
		if r.Kind != kind || !r.ActiveAt(now) {
			return fs.ErrNotExist
		}
		r.LiftedAt, r.LiftedBy = now, by
		return rules.Put(tx, r, store.SeqKey(seq))
	})
	if errors.Is(err, fs.ErrNotExist) {
		return Rule{}, missing(kind, id)
	}
	if err != nil {
		return Rule{}, fmt.Errorf("lift %s %s: %w", kind, id, err)
	}
	p.log.Info("a rule was lifted", "kind", r.Kind, "id", r.ID, "package", r.Package, "by", by)
	return r, p.reload()
}

func missing(kind Kind, id string) error {
	return fmt.Errorf("there is no %s %q in force: %w", kind, id, fs.ErrNotExist)
}

// Rules lists the rules of one kind that count now, oldest first; with all
// also those that did once.
func (p *Policy) Rules(kind Kind, all bool) []Rule {
	list := []Rule{}
	now := p.now()
	for _, c := range p.current.Load().rules {
		if c.Kind == kind && (all || c.ActiveAt(now)) {
			list = append(list, c.Rule)
		}
	}
	return list
}
