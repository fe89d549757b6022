package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/snapshot"
	"stasis/proxy/upstream"
	"stasis/store"
)

// Sources provide the packages that do not come from the proxied registry. All
// methods are safe for concurrent use.
type Sources interface {
	// Reserved reports whether a name is never asked of the registry, whether
	// or not a source has a package of that name. It is asked for every request
	// and must not block.
	Reserved(n composer.Name) bool
	// Observe asks the source that provides f, given what is recorded. mine is
	// false when no source provides it and the registry may be asked. An
	// observation without a body says that the package does not exist; a source
	// that cannot tell returns an error.
	Observe(ctx context.Context, f composer.File, prev history.State) (o history.Observation, mine bool, err error)
	// Open returns an archive whose dist URL begins with composer.LocalScheme, and
	// its size, or -1. The error matches fs.ErrNotExist when it can never be had.
	Open(ctx context.Context, url string) (io.ReadCloser, int64, error)
	// Packages lists the packages that sources provide, sorted.
	Packages() []composer.Summary
	// Explain says in a sentence where a name comes from; "" when from the
	// registry.
	Explain(n composer.Name) string
}

// NoSources is a Sources that provides nothing.
type NoSources struct{}

func (NoSources) Reserved(composer.Name) bool { return false }
func (NoSources) Observe(context.Context, composer.File, history.State) (history.Observation, bool, error) {
	return history.Observation{}, false, nil
}
func (NoSources) Open(_ context.Context, url string) (io.ReadCloser, int64, error) {
	return nil, 0, absence("nothing provides " + url)
}
func (NoSources) Packages() []composer.Summary { return nil }
func (NoSources) Explain(composer.Name) string { return "" }

// observe asks whoever provides f.
func (p *Proxy) observe(ctx context.Context, f composer.File, prev history.State) (history.Observation, error) {
	obs, mine, err := p.o.Sources.Observe(ctx, f, prev)
	switch {
	case err != nil:
		p.alerts.raise(AlertSourceFailure, f.Name.String(), fmt.Sprintf("the source of %s gave no usable answer, copies are being served where there are any: %v", f, err))
		return obs, err
	case mine:
		return obs, nil
	case p.o.Sources.Reserved(f.Name):
		return obs, absence(fmt.Sprintf("%s is not known here, and its name is never asked of a public registry", f.Name))
	case !p.o.Enabled:
		return obs, absence(fmt.Sprintf("%s is not known here, and the proxy is switched off", f.Name))
	}
	if prev.Source != "" {
		prev = history.State{} // what is held is another package's
	}
	obs, err = p.askRegistry(ctx, f, prev)
	if err != nil {
		p.upstreamFailed(f.String(), err)
		return obs, err
	}
	p.upstreamAnswered()
	return obs, nil
}

// foreign reports whether what is recorded of a name is the registry's although
// the name is ours: then it does not count.
func (p *Proxy) foreign(n composer.Name, st history.State) bool {
	return st.Known() && st.Source == "" && p.o.Sources.Reserved(n)
}

// displaced is history.ErrUnknown for a file of which only the registry's
// revisions are recorded although its name is ours.
func (p *Proxy) displaced(f composer.File) error {
	st, err := p.history.State(f)
	if err == nil && p.foreign(f.Name, st) {
		err = history.ErrUnknown
	}
	return err
}

// Rerouted takes note that names come from other sources than before.
func (p *Proxy) Rerouted() { p.rulesChanged() }

// Changed takes note that a source has other documents of a package since an
// instant: until then, what is recorded was right. When it returns nil, clients
// see the new ones.
func (p *Proxy) Changed(ctx context.Context, n composer.Name, since time.Time) error {
	for _, f := range filesOf(n) {
		st, err := p.history.State(f)
		if err != nil {
			return fmt.Errorf("look up %s: %w", f, err)
		}
		if st.Known() && st.Source != "" && since.After(st.LastConfirmed) {
			until := history.Observation{AskedAt: since, Unchanged: true, Source: st.Source, Via: history.Poll}
			if _, err := p.history.Observe(f, until); err != nil {
				return err
			}
		}
		// Who joins a fetch that began before may be told what was before.
		for asked := p.now(); !st.Checked.After(asked) || st.Checked.After(asked.Add(maxSkew)); {
			seen := asked
			if st.Checked.After(seen) {
				seen = st.Checked // by a clock that was ahead
			}
			if st, err = p.refresh(ctx, f, history.Poll, seen); err != nil {
				return fmt.Errorf("record %s: %w", f, err)
			}
			if !p.now().After(asked) {
				break // a clock that stands still
			}
		}
	}
	p.hot.remove(answerEntry(listKey))
	return nil
}

// Revalidate asks for the documents of a package, whatever their age.
func (p *Proxy) Revalidate(ctx context.Context, n composer.Name) error {
	for _, f := range filesOf(n) {
		if _, err := p.refresh(ctx, f, history.Poll, whatever); err != nil {
			return fmt.Errorf("revalidate %s: %w", f, err)
		}
	}
	return nil
}

// Keep records the archive of a package that a source provides. Its bytes are
// in the store. Bytes that come later under the same reference must have the
// same content.
func (p *Proxy) Keep(_ context.Context, n composer.Name, v composer.Version, digest store.Digest, size int64, content string) error {
	return p.adoptArchive(keyOf(n, v), snapshot.Archive{SHA256: digest, Size: size, Content: content}, v.Dist.URL)
}

// openArchive opens the origin of an archive, in the name of the source that
// named it. What the registry names is never looked for among our own archives.
func (p *Proxy) openArchive(ctx context.Context, owner, url string) (*upstream.Response, error) {
	if owner == "" || !strings.HasPrefix(url, composer.LocalScheme) {
		return p.up.Do(ctx, upstream.Request{URL: url, Class: upstream.ClassArchive, Owner: owner})
	}
	body, size, err := p.o.Sources.Open(ctx, url)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absence(err.Error())
	}
	if err != nil {
		return nil, err
	}
	return &upstream.Response{Status: http.StatusOK, Body: body, ContentLength: size}, nil
}
