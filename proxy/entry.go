package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// entry is what memory holds about one resource: what is known about it, and
// its ready renditions.
type entry struct {
	key   string
	pkg   composer.Name // of a document in the live world
	state atomic.Pointer[history.State]
	// freeze is set when the package is held: the state is then the held one.
	freeze *Freeze
	// view is set in worlds other than the live one.
	view *view
	// source is upstream's body, where it is at hand for rendering.
	source []byte

	mu         sync.Mutex // held while a rendition is added
	renditions atomic.Pointer[[]*rendition]
}

// maxRenditions bounds how many audiences of one resource are kept ready: more
// than a few come only from invented Host headers.
const maxRenditions = 4

func newEntry(key string, st history.State) *entry {
	e := &entry{key: key}
	e.state.Store(&st)
	e.renditions.Store(new([]*rendition))
	return e
}

// newFileEntry is the entry of a file in the live world.
func newFileEntry(f composer.File, st history.State) *entry {
	e := newEntry(f.String(), st)
	e.pkg = f.Name
	return e
}

// name is the package that an entry is about.
func (e *entry) name() string {
	name := e.key
	if e.view != nil {
		name = e.view.file.String()
	}
	name, _ = strings.CutSuffix(name, "~dev")
	return name
}

// rendition returns what is ready for an audience now. The clock is only asked
// when it matters: reading it costs a tenth of answering from memory.
func (e *entry) rendition(v variant, now func() time.Time) *rendition {
	for _, r := range *e.renditions.Load() {
		if r.serves(v) && (r.until.IsZero() || now().Before(r.until)) {
			return r
		}
	}
	return nil
}

// add keeps r ready, dropping the oldest when there are too many. It returns
// the bytes by which the entry grew.
func (e *entry) add(r *rendition) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := slices.Clone(*e.renditions.Load())
	grew := r.bytes()
	old = slices.DeleteFunc(old, func(o *rendition) bool {
		if o.variant != r.variant {
			return false
		}
		grew -= o.bytes() // its time is over
		return true
	})
	if len(old) == maxRenditions {
		grew -= old[0].bytes()
		old = old[1:]
	}
	next := append(append(make([]*rendition, 0, len(old)+1), old...), r)
	e.renditions.Store(&next)
	return grew
}

// variant names the audience of a rendition.
type variant struct {
	base   string // external URL that dist URLs point below
	legacy bool   // Composer 2.0, which does not know placeholders in dist URLs
	lists  bool   // Composer 2.10 and later, which say why a filter list denies a version
	only   string // constraint on the versions that the reader sees; "" for all
}

// rendition is one body in its encodings, with header values ready to be
// assigned. It never changes, except that encodings are added on demand.
type rendition struct {
	variant      variant
	lastModified time.Time
	modified     []string  // the Last-Modified header
	etag         string    // of the identity body, without quotes
	denied       []string  // the X-Snapshot-Denied header; nil for none
	until        time.Time // when the rules say something else; zero: never

	mu     sync.Mutex // held while an encoding is added
	plain  []byte     // the body until the first encoding is made; guarded by mu
	bodies [encodings]atomic.Pointer[encoded]
}

// serves reports whether the rendition is right for an audience. Where nothing
// was denied, it does not matter what the client knows of filter lists.
func (r *rendition) serves(v variant) bool {
	if r.denied == nil {
		v.lists = r.variant.lists
	}
	return r.variant == v
}

type encoded struct {
	body     []byte
	etag     []string
	length   []string
	encoding []string // nil for identity
}

// newRendition makes a rendition. It is compressed when somebody asks, in the
// encoding that is asked for; the plain body is not kept after that, since
// hardly any client wants it and it is ten times larger.
func newRendition(v variant, body []byte, lastModified time.Time) *rendition {
	return &rendition{
		variant: v, lastModified: lastModified, plain: body,
		modified: []string{lastModified.UTC().Format(http.TimeFormat)},
		etag:     store.SumDigest(body).String()[:20],
	}
}

func (r *rendition) set(e encoding, body []byte) *encoded {
	enc := &encoded{body: body, length: []string{strconv.Itoa(len(body))}}
	switch e {
	case identity:
		enc.etag = []string{`"` + r.etag + `"`}
	default:
		enc.etag = []string{`"` + r.etag + "-" + encodingNames[e] + `"`}
		enc.encoding = []string{encodingNames[e]}
	}
	r.bodies[e].Store(enc)
	return enc
}

// encoded returns the body in an encoding, making it first if need be; grew is
// the number of bytes that were added.
func (r *rendition) encoded(e encoding) (enc *encoded, grew int64, err error) {
	if enc := r.bodies[e].Load(); enc != nil {
		return enc, 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if enc := r.bodies[e].Load(); enc != nil {
		return enc, 0, nil
	}
	body, err := r.decoded()
	if err != nil {
		return nil, 0, err
	}
	enc = r.set(e, encode(e, body))
	grew = int64(len(enc.body) - len(r.plain))
	r.plain = nil
	return enc, grew, nil
}

// decoded returns the plain body; called with mu held.
func (r *rendition) decoded() ([]byte, error) {
	if r.plain != nil {
		return r.plain, nil
	}
	for e := range r.bodies {
		if enc := r.bodies[e].Load(); enc != nil {
			return decode(encoding(e), enc.body)
		}
	}
	return nil, nil // an empty body
}

// body returns the plain body.
func (r *rendition) body() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoded()
}

func (r *rendition) bytes() (n int64) {
	r.mu.Lock()
	n = int64(len(r.plain))
	r.mu.Unlock()
	for i := range r.bodies {
		if enc := r.bodies[i].Load(); enc != nil {
			n += int64(len(enc.body))
		}
	}
	return n
}
