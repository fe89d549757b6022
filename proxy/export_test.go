package proxy

import (
	"context"
	"io"
	"net/http"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
)

// What tests in package proxy_test look at from within.

const (
	FetchFirst      = fetchFirst
	Serve           = serve
	ServeAndRefresh = serveAndRefresh
	RefreshFirst    = refreshFirst

	HoldBack = holdBack
	Day      = 24 * time.Hour
)

// Judge is the verdict of the options about a state.
func Judge(o Options, st history.State, now time.Time) verdict { return o.judge(&st, now) }

// Negotiate names the coding chosen for an Accept-Encoding header.
func Negotiate(header string) string { return encodingNames[negotiate(header)] }

// Encode compresses in a named coding.
func Encode(name string, body []byte) []byte {
	for e, n := range encodingNames {
		if n == name {
			return encode(encoding(e), body)
		}
	}
	panic("no coding " + name)
}

// Settle waits for fetches and downloads that have reached upstream.
func (p *Proxy) Settle() { p.running.wg.Wait() }

// HotUsage is what memory holds.
func (p *Proxy) HotUsage() (entries int, bytes int64) { return p.hot.usage() }

// HotBytes counts what memory really holds, renditions and all.
func (p *Proxy) HotBytes() (n int64) {
	p.hot.mu.Lock()
	defer p.hot.mu.Unlock()
	for _, i := range p.hot.lru.Values() {
		for _, r := range *i.value.renditions.Load() {
			n += r.bytes()
		}
	}
	return n
}

// History is the recorded past.
func (p *Proxy) History() *history.History { return p.history }

// ServeDocument is the handler behind /p2/, without routing.
func (p *Proxy) ServeDocument(w http.ResponseWriter, r *http.Request, file string) {
	p.serveDocument(w, r, file)
}

// FileOf parses a p2 file name.
func FileOf(s string) composer.File {
	f, err := composer.ParseFile(s)
	if err != nil {
		panic(err)
	}
	return f
}

// PassThrough copies an archive as it is passed on without being kept.
func PassThrough(w io.Writer, typ string, r io.Reader) error {
	t, err := newTail(typ, r)
	if err != nil {
		return err
	}
	_, err = t.WriteTo(w)
	return err
}

// StartJob begins a job and returns its id.
func (p *Proxy) StartJob(key string, run func(context.Context, func(snapshot.Progress)) (any, error)) (string, error) {
	j, err := p.startJob("verify", key, key, run)
	if err != nil {
		return "", err
	}
	return p.jobs.now(j).ID, nil
}

// AwaitJob begins a job and waits for it.
func (p *Proxy) AwaitJob(ctx context.Context, key string, run func(context.Context, func(snapshot.Progress)) (any, error)) (snapshot.Verification, error) {
	j, err := p.startJob("verify", key, key, run)
	return awaitJob[snapshot.Verification](ctx, p, j, err)
}

// HotArchives is what memory holds of archives.
func (p *Proxy) HotArchives() (entries int, bytes int64) { return p.hotBodies.usage() }
