package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// buildWorld is what snapshots are built from: this proxy.
type buildWorld struct{ p *Proxy }

// Files implements snapshot.World.
func (b buildWorld) Files(context.Context) (list []composer.File, err error) {
	err = b.p.history.Files(func(f composer.File, _ history.State) error {
		list = append(list, f)
		return nil
	})
	return list, err
}

// Bind implements snapshot.World.
func (b buildWorld) Bind(ctx context.Context, at time.Time, f composer.File) (history.Binding, error) {
	return b.p.bind(ctx, at, f)
}

// Recorded implements snapshot.World.
func (b buildWorld) Recorded(_ context.Context, f composer.File, normalized, reference string) (composer.Object, bool, error) {
	named, err := b.p.history.References(f.Name, composer.ReferenceKey(reference))
	if err != nil {
		return nil, false, err
	}
	for _, r := range named {
		if r.Normalized == normalized && r.Reference == reference {
			o, err := policy.Entry(b.p.history, f.Name, r, b.p.now().Add(time.Second))
			return o, o != nil, err
		}
	}
	return nil, false, nil
}

// Allowed implements snapshot.World.
func (b buildWorld) Allowed(_ context.Context, f composer.File, doc *composer.Document, at time.Time) ([]composer.Version, error) {
	res, err := b.p.permitted(f, doc, world{kind: dated, at: at}, variant{})
	if err != nil {
		return nil, err
	}
	return res.Doc.Index()
}

// Held implements snapshot.World.
func (b buildWorld) Held(_ context.Context, n composer.Name, v composer.Version) (snapshot.Body, bool, error) {
	rec, ok, err := b.p.archiveRecord(keyOf(n, v))
	if err != nil || !ok || !b.p.store.HasBlob(rec.Digest) {
		return snapshot.Body{}, false, err
	}
	return snapshot.Body{Digest: rec.Digest, Content: rec.Content, Size: rec.Size}, true, nil
}

// Fetch implements snapshot.World.
func (b buildWorld) Fetch(ctx context.Context, n composer.Name, v composer.Version) (snapshot.Body, error) {
	k := keyOf(n, v)
	if err := b.p.denied(k, v.Normalized); err != nil {
		return snapshot.Body{}, err
	}
	if body, ok, err := b.Held(ctx, n, v); err != nil || ok {
		return body, err
	}
	req := composer.DistRequest{Name: n, Version: v.Normalized, Reference: k.ref, Type: k.typ}
	_, src, err := b.p.locate(ctx, req)
	if err != nil {
		return snapshot.Body{}, err
	}
	if src == nil && !strings.Contains(v.Dist.URL, "%") {
		src = &source{urls: []string{v.Dist.URL}, shasum: v.Dist.Shasum}
	}
	if src == nil { // a lock file made through a Stasis names that as the origin
		if src, err = b.p.findSource(ctx, k, req); err != nil {
			return snapshot.Body{}, err
		}
	}
	d := b.p.joinDownload(k, *src, nil)
	select {
	case <-d.ended:
	case <-ctx.Done():
		return snapshot.Body{}, ctx.Err()
	}
	if _, _, err := d.result(); err != nil {
		return snapshot.Body{}, err
	}
	body, ok, err := b.Held(ctx, n, v)
	if err == nil && !ok {
		err = fmt.Errorf("%s was lost right after it was stored", k)
	}
	return body, err
}

// keyOf names the archive of a version.
func keyOf(n composer.Name, v composer.Version) archiveKey {
	k := archiveKey{name: n, ref: composer.ReferenceKey(v.Dist.Reference), typ: v.Dist.Type}
	if !isCommit(k.ref) {
		k.version = v.Normalized
	}
	return k
}

// Adopt implements snapshot.Adopter: the archives of a bundle are served under
// their references from now on.
func (b buildWorld) Adopt(_ context.Context, list []snapshot.Archive) error {
	for _, a := range list {
		k := archiveKey{name: a.Package, ref: composer.ReferenceKey(a.Reference), typ: a.Type}
		if !isCommit(k.ref) {
			k.version = a.Version
		}
		if err := b.p.adoptArchive(k, a, "bundle"); err != nil {
			return err
		}
	}
	return nil
}

// keepForSnapshots pins an archive that has just come for the snapshots that
// keep their archives as they come.
func (p *Proxy) keepForSnapshots(ctx context.Context, k archiveKey, d store.Digest) {
	has := func(v composer.Version) bool { return v.Dist != nil && keyOf(k.name, v) == k }
	if _, err := p.snapshots.Keep(ctx, k.name, has, d); err != nil && ctx.Err() == nil {
		p.alerts.raise(AlertCacheLimit, k.name.String(), fmt.Sprintf("%s could not be kept for a snapshot: %v", k, err))
	}
}

// resumeSnapshots goes on with snapshots whose building was interrupted.
func (p *Proxy) resumeSnapshots(ctx context.Context) {
	names, err := p.snapshots.Unfinished()
	if err != nil {
		p.log.ErrorContext(ctx, "unfinished snapshots could not be listed", "error", err)
		return
	}
	for _, name := range names {
		if _, err := p.snapshots.Build(ctx, name, buildWorld{p}); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "a snapshot could not be finished", "snapshot", name, "error", err)
		}
	}
}

// diffView is an instant, or the present, to be compared.
type diffView struct {
	p  *Proxy
	in world
}

// Files implements snapshot.View.
func (v diffView) Files(ctx context.Context) ([]composer.File, error) {
	return buildWorld{v.p}.Files(ctx)
}

// File implements snapshot.View.
func (v diffView) File(ctx context.Context, f composer.File) (snapshot.FileView, error) {
	vw := &view{in: v.in, file: f}
	out := snapshot.FileView{}
	if v.in.kind == live {
		st, err := v.p.history.State(f)
		if err != nil || !st.Known() {
			return out, err
		}
		out.Fidelity = history.Exact
		if !st.Present() {
			out.Fidelity = history.Absent
			return out, nil
		}
		vw.in.kind, vw.st = cooldown, st
	} else {
		b, err := v.p.bind(ctx, v.in.at, f)
		if err != nil {
			return out, err
		}
		vw.binding = b
		out.Fidelity = b.Fidelity
		if b.Kind == history.AbsentDocument {
			return out, nil
		}
	}
	out.Versions = func(ctx context.Context) ([]snapshot.VersionView, error) {
		doc, err := v.p.contentOf(vw)
		if err != nil {
			return nil, err
		}
		return v.p.lookAt(ctx, f, doc, v.in)
	}
	return out, nil
}

// lookAt lists the versions of a document with what the rules say to them.
func (p *Proxy) lookAt(_ context.Context, f composer.File, doc *composer.Document, in world) ([]snapshot.VersionView, error) {
	if doc == nil {
		return nil, nil
	}
	list, err := snapshot.VersionsOf(doc)
	if err != nil {
		return nil, err
	}
	pv := p.policyView(in, variant{})
	facts, err := p.policy.Gather(p.history, f.Name, pv)
	if err != nil {
		return nil, err
	}
	res, err := p.policy.Apply(f, doc, facts, pv)
	if err != nil {
		return nil, err
	}
	hidden := map[string]policy.Hidden{}
	for _, h := range res.Hidden {
		hidden[h.Normalized] = h
	}
	out := list[:0]
	for _, v := range list {
		h, ok := hidden[v.Normalized]
		switch {
		case ok && (h.Rule == policy.RuleBlock || h.Rule == policy.RuleMalware):
			v.Denied = h.Sentence
		case ok && h.Instead != "":
			v.Reference = h.Instead
		case ok:
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

// worldForDiff finds what a name means in a comparison; "now" is the present.
func (p *Proxy) worldForDiff(ctx context.Context, name string) (snapshot.View, error) {
	if name == "" || name == "now" || name == "live" {
		return diffView{p, world{}}, nil
	}
	in, err := p.worldAt(name)
	if err != nil {
		return nil, &invalid{err.Error()}
	}
	if in.kind == sealed {
		return p.snapshots.View(in.id, func(ctx context.Context, f composer.File, doc *composer.Document, at time.Time) ([]snapshot.VersionView, error) {
			return p.lookAt(ctx, f, doc, world{kind: dated, at: at})
		})
	}
	return diffView{p, in}, nil
}

// snapshotError gives errors of snapshots the methods that the API asks for.
func snapshotError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, snapshot.ErrInvalid), errors.Is(err, snapshot.ErrDamaged):
		return &invalid{err.Error()}
	case errors.Is(err, snapshot.ErrExists), errors.Is(err, snapshot.ErrNotSealed), errors.Is(err, snapshot.ErrInUse):
		return &conflict{err}
	}
	return err
}
