package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
)

// Gate decides who may read. It is asked for every request before anything
// else, and must not block.
type Gate interface {
	// Admit tells who asks. An error of type *Denial is answered as it says.
	Admit(r *http.Request) (Reader, error)
	// Anonymous is who asks without credentials. It is always the same one.
	Anonymous() Reader
}

// Reader is who asks, as far as it matters for what is seen. What a reader does
// not see does not exist for it.
type Reader interface {
	// Everything reports whether the other methods restrict nothing.
	Everything() bool
	// Sees reports whether a package exists for the reader.
	Sees(n composer.Name) bool
	// Versions is the constraint that a package's versions must match to be
	// seen; "" for all.
	Versions(n composer.Name) string
	// World is the world the reader is bound to, as a path prefix without
	// slashes at its ends, such as "snapshot/prod" or "cooldown/7d"; "" leaves
	// the choice to the reader.
	World() string
	// Anonymous reports whether no credentials were needed, so that caches may
	// share the answer.
	Anonymous() bool
}

// Denial is a Gate's refusal to let somebody read.
type Denial struct {
	Status    int           // 401, 403 or 429; Composer ends its run at 401 and 403 alike when it has sent credentials (protocol 2.10)
	Message   string        // a sentence for the client
	Challenge string        // WWW-Authenticate; "" for none
	Retry     time.Duration // Retry-After; 0 for none
}

func (d *Denial) Error() string { return d.Message }

type openGate struct{}

func (openGate) Admit(*http.Request) (Reader, error) { return everybody{}, nil }
func (openGate) Anonymous() Reader                   { return everybody{} }

// everybody sees everything.
type everybody struct{}

func (everybody) Everything() bool              { return true }
func (everybody) Sees(composer.Name) bool       { return true }
func (everybody) Versions(composer.Name) string { return "" }
func (everybody) World() string                 { return "" }
func (everybody) Anonymous() bool               { return true }

type readerKey struct{}

// admit lets the gate look at a request. The request it returns knows its
// reader; nil means that it was answered. One without credentials needs no new
// request, which keeps the common case free.
func (p *Proxy) admit(w http.ResponseWriter, r *http.Request) *http.Request {
	reader, err := p.o.Gate.Admit(r)
	if err != nil {
		var d *Denial
		if !errors.As(err, &d) {
			p.fail(w, r, fmt.Errorf("tell who may read: %w", err))
			return nil
		}
		if d.Challenge != "" {
			w.Header().Set("WWW-Authenticate", d.Challenge)
		}
		refuseAloud(w, r, d.Status, d.Message, d.Retry)
		return nil
	}
	if reader.Anonymous() {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), readerKey{}, reader))
}

// readerOf is who sent an admitted request.
func (p *Proxy) readerOf(r *http.Request) Reader {
	if reader, ok := r.Context().Value(readerKey{}).(Reader); ok {
		return reader
	}
	return p.anonymous
}

// audience adds to a variant what its reader sees of a package. The error says
// that it is nothing.
func (v variant) audience(reader Reader, n composer.Name) (variant, error) {
	if reader.Everything() {
		return v, nil
	}
	if !reader.Sees(n) {
		return v, absence(n.String() + " is hidden")
	}
	v.only = reader.Versions(n)
	return v, nil
}

// matchingOnly drops the versions that a constraint does not match.
func matchingOnly(doc *composer.Document, constraint string) (*composer.Document, error) {
	c, err := composer.ParseConstraint(constraint)
	if err != nil {
		return nil, fmt.Errorf("apply the constraint %q of an access token: %w", constraint, err)
	}
	return composer.Keep(doc, func(v composer.Version, _ composer.Object) bool { return c.Matches(v.Normalized) }), nil
}

// readable reports, as an error, why a reader may not have an archive. What it
// may have is told by what is recorded of the reference, not by the version in
// the address, which the reader chose.
func (p *Proxy) readable(ctx context.Context, reader Reader, req composer.DistRequest) error {
	if reader.Everything() {
		return nil
	}
	if !reader.Sees(req.Name) {
		return noArchive(req)
	}
	only, bound := reader.Versions(req.Name), reader.World() != ""
	if only == "" && !bound {
		return nil
	}
	refs, err := p.history.References(req.Name, composer.ReferenceKey(req.Reference))
	if err != nil {
		return fmt.Errorf("look up %s: %w", req.Name, err)
	}
	refs = slices.DeleteFunc(refs, func(ref history.Reference) bool {
		return !isCommit(composer.ReferenceKey(req.Reference)) && !sameVersion(ref, req.Version)
	})
	if len(refs) == 0 {
		return noArchive(req)
	}
	if only != "" {
		c, err := composer.ParseConstraint(only)
		if err != nil {
			return fmt.Errorf("apply the constraint %q of an access token: %w", only, err)
		}
		refs = slices.DeleteFunc(refs, func(ref history.Reference) bool { return !c.Matches(ref.Normalized) })
	}
	if len(refs) == 0 {
		return absence(fmt.Sprintf("%s has no such archive among the versions this access token sees", req.Name))
	}
	if !bound {
		return nil
	}
	in, err := p.boundWorld(reader)
	if err != nil {
		return err
	}
	if in.kind == cooldown {
		view := policy.View{Now: p.now(), MinAge: in.age}
		facts, err := p.policy.Gather(p.history, req.Name, view)
		if err != nil {
			return err
		}
		d, err := p.policy.Archive(req.Name, refs[0].Normalized, refs[0].Reference, facts, view)
		if err == nil && d != nil {
			err = &refusal{d.Sentence}
		}
		return err
	}
	if slices.ContainsFunc(refs, func(ref history.Reference) bool { return existedAt(ref, in.at) }) {
		return nil
	}
	// A document may have been current before we saw it, and so its versions.
	offered, err := p.offered(ctx, in, req)
	if err != nil {
		return err
	}
	if !offered {
		return absence(fmt.Sprintf("this archive of %s is younger than %s, where this access token sees the registry", req.Name, in.at.Format(time.RFC3339)))
	}
	return nil
}

// offered reports whether the documents of a world announce an archive.
func (p *Proxy) offered(ctx context.Context, in world, req composer.DistRequest) (bool, error) {
	for _, f := range filesOf(req.Name) {
		e, _, err := p.look(ctx, in, f, in.prefix()+" "+f.String())
		if err != nil {
			return false, err
		}
		if !e.state.Load().Present() {
			continue
		}
		doc, err := p.contentOf(e.view)
		if err != nil {
			return false, err
		}
		all, err := doc.Index()
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(all, func(v composer.Version) bool {
			return v.Dist != nil && composer.ReferenceKey(v.Dist.Reference) == composer.ReferenceKey(req.Reference)
		}) {
			return true, nil
		}
	}
	return false, nil
}

// existedAt reports whether a reference was published by an instant, as far as
// is known.
func existedAt(ref history.Reference, at time.Time) bool {
	since := ref.Published
	if since.IsZero() {
		since = ref.FirstSeen
	}
	return !since.After(at)
}

// seenBy drops the names that a reader does not see.
func seenBy(reader Reader, names []string) []string {
	if reader.Everything() {
		return names
	}
	return slices.DeleteFunc(names, func(s string) bool {
		n, err := composer.ParseName(s)
		return err != nil || !reader.Sees(n)
	})
}

// boundWorld finds the world a reader is bound to.
func (p *Proxy) boundWorld(reader Reader) (world, error) { return p.worldOf(reader.World()) }

// CheckView reports, as an error, why a view such as "snapshot/prod" or "cooldown/7d" is none that a reader could be
// bound to now.
func (p *Proxy) CheckView(view string) error {
	_, err := p.worldOf(view)
	return err
}

func (p *Proxy) worldOf(view string) (world, error) {
	kind, what, _ := strings.Cut(view, "/")
	switch kind {
	case "snapshot":
		return p.worldAt(what)
	case "s":
		return p.worldAt("@" + what)
	case "cooldown":
		return cooldownWorld(what)
	}
	return world{}, fmt.Errorf("an access token is bound to %q, which is no view", view)
}

// mayEnter reports, as an error, why a reader may not look at a world it named
// in the path. One that is bound to a channel may go on in the snapshot that
// the channel pointed at when its run began.
func (p *Proxy) mayEnter(reader Reader, in world) error {
	if reader.World() == "" {
		return nil
	}
	own, err := p.boundWorld(reader)
	if err != nil || own == in {
		return err
	}
	if name, ok := strings.CutPrefix(reader.World(), "snapshot/"); ok && in.kind == sealed {
		if past, err := p.snapshots.PointedAt(name, in.id); err != nil || past {
			return err
		}
	}
	return absence(fmt.Sprintf("this access token sees the registry at %s only", reader.World()))
}
