// Package remote makes any other Composer repository a source of packages.
//
// It owns the reading of such repositories, in every form that Composer still
// reads: documents per package (metadata-url), everything in the root and what
// it includes, indexes of hashed files (providers-url), and unhashed files per
// package (providers-lazy-url). Whatever the form, it answers with the two
// metadata documents of a package that Composer 2 would have been given, so
// that a package is recorded, dated and served like Packagist's.
//
// It promises that absence is said only when the repository says so while it
// is well: for a package that was there before, past every cache on the way.
// It promises that what a hash contradicts is never used, that the root is read
// once for all packages asked for at about the same time, and that however much
// a root holds inline, only its compressed packages stay in memory.
//
// A document is the repository's own, byte for byte, where nothing in it has to
// be put right. What is: relative addresses of archives become absolute, the
// mirrors that the root names are attached to each archive, versions that would
// end the run of a client are left out, and each version stands in the document
// it belongs to.
//
// It leaves to others which names a repository may provide, what becomes of its
// answers, and credentials, which its client knows.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
)

// Options configure a Repository. URL and Client are required.
type Options struct {
	// URL is the repository as composer.json names it: the address below which
	// packages.json lies, or that of a root with another name, with its query.
	URL string
	// Client makes the requests.
	Client *upstream.Client
	// Owner is in whose name they are made, see upstream.Request.
	Owner string
	// MaxDocument bounds what one package may take, in bytes after inflation
	// (128 MiB).
	MaxDocument int64
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil discards
}

// Repository is another Composer repository. It is safe for concurrent use.
type Repository struct {
	url    string
	client *upstream.Client
	owner  string
	max    int64
	now    func() time.Time
	log    *slog.Logger

	background context.Context // ends with Close
	stop       context.CancelFunc
	loading    sync.WaitGroup
	flights    singleflight.Group
	following  following

	mu      sync.Mutex // guards the rest
	held    *catalog   // what the root said last; nil before
	failure error      // of reading the root, until failed is a while ago
	failed  time.Time
}

// New returns a Repository that nobody was asked about yet. The error says what
// is wrong with its address.
func New(o Options) (*Repository, error) {
	address := strings.TrimSpace(o.URL)
	if rest, ok := strings.CutPrefix(address, "https?://"); ok { // Composer's old way to say https
		address = "https://" + rest
	}
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, errors.New("the address of the repository is not an http or https URL")
	case u.User != nil:
		return nil, fmt.Errorf("the address of the repository %s holds a user or a password; they belong to its credentials", u.Host)
	}
	u.Fragment = ""
	if u.RawQuery == "" {
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	}
	r := &Repository{url: u.String(), client: o.Client, owner: o.Owner, max: o.MaxDocument, now: o.Now, log: o.Logger}
	if r.max <= 0 {
		r.max = 128 << 20
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.background, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Close gives up reading the root and waits until that has ended.
func (r *Repository) Close() {
	r.stop()
	r.mu.Lock() // whoever loads now has said so, and nobody begins to
	defer r.loading.Wait()
	defer r.mu.Unlock()
}

// String names the repository without its query, which may hold a token.
func (r *Repository) String() string { return plain(r.url) }

// Observe asks the repository about one metadata document. prev is what is
// recorded of it; it is believed to come from here only if it says so itself.
//
// An observation with neither Body nor Unchanged says that there is no such
// package. Whatever else goes wrong is an error: an *upstream.Error when no
// answer came, or a sentence about an answer that cannot be used.
func (r *Repository) Observe(ctx context.Context, f composer.File, prev history.State) (history.Observation, error) {
	since, announced := prev.Checked, r.following.at(f)
	if announced.After(since) {
		since = announced
	}
	if now := r.now(); since.After(now) { // by a clock ahead of ours
		since = now
	}
	cat, err := r.catalog(ctx, since, false)
	if err != nil {
		return history.Observation{}, err
	}
	q := question{file: f, prev: prev, announced: announced, ours: prev.Present() && madeBy(prev.ETag) == cat.tag}
	obs, err := r.answer(ctx, cat, q)
	switch {
	case errors.Is(err, errMoved), err == nil && absent(obs) && prev.Present():
		// The index changed between the root and the document, or a package is
		// gone that was there. The root as it is now decides.
		q.past = true
		if cat, err = r.catalog(ctx, r.now(), true); err == nil {
			obs, err = r.answer(ctx, cat, q)
		}
	case err == nil && q.behind(obs):
		// A cache on the way has an older document than we, or than was
		// announced. What the repository itself says is believed, be it older.
		q.past = true
		obs, err = r.answer(ctx, cat, q)
		obs.Origin = err == nil
	}
	return obs, err
}

// Refresh reads the root again if it changed. What was asked for until now is
// not remembered any longer: the next answers are at least as new.
func (r *Repository) Refresh(ctx context.Context) error {
	_, err := r.catalog(ctx, r.now(), false)
	return err
}

// question is what is asked about one document.
type question struct {
	file      composer.File
	prev      history.State
	announced time.Time // when the repository said that it changed
	ours      bool      // prev is a document of this repository, made as we would make it now
	past      bool      // past every cache on the way, and without a condition
}

// conditional returns what is held of the document, if it may be asked whether
// that has changed.
func (q question) conditional(now time.Time) history.State {
	if !q.ours || q.past || !q.prev.Conditional(now) {
		return history.State{}
	}
	return q.prev
}

// behind reports whether an answer is older than what is held or was announced.
func (q question) behind(o history.Observation) bool {
	date := o.LastModified
	if o.Unchanged {
		date = q.prev.LastModified
	}
	got, ok := history.ParseHTTPTime(date)
	if !ok {
		return false
	}
	held, had := history.ParseHTTPTime(q.prev.LastModified)
	return had && q.ours && got.Before(held) || got.Before(q.announced)
}

func absent(o history.Observation) bool { return o.Body == nil && !o.Unchanged }

// answer asks the place at which the catalog says that the package is.
func (r *Repository) answer(ctx context.Context, cat *catalog, q question) (history.Observation, error) {
	n := q.file.Name
	if pieces, ok := cat.inline[n]; ok && cat.mode != hashed {
		return r.fromRoot(cat, q, pieces)
	}
	sum, indexed := cat.hash(n)
	switch {
	case cat.mode == documents && cat.lists(n):
		return r.fromDocument(ctx, cat, q)
	case indexed:
		return r.fromHashed(ctx, cat, q, sum)
	case cat.mode == lazy:
		return r.fromLazy(ctx, cat, q)
	}
	return history.Observation{AskedAt: cat.asked}, nil
}
