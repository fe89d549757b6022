package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// What an operator can do with the past, beside the freezes.

// CreateSnapshot checks a request, reserves the name and begins to build. The
// answer is the snapshot being built; its progress is in Snapshot.
func (p *Proxy) CreateSnapshot(_ context.Context, req snapshot.Request) (snapshot.Snapshot, error) {
	if !req.Instant.IsZero() && p.now().Sub(req.Instant) < p.o.SnapshotSettle && len(req.Locks) == 0 {
		return snapshot.Snapshot{}, &invalid{fmt.Sprintf("%s is not settled yet: upstream's edges may still change it; ask again in %s, or make the snapshot from now",
			req.Instant.Format(time.RFC3339), (p.o.SnapshotSettle - p.now().Sub(req.Instant)).Round(time.Second))}
	}
	snap, err := p.snapshots.Begin(req)
	if err != nil {
		return snap, snapshotError(err)
	}
	p.spawn(func(ctx context.Context) {
		if _, err := p.snapshots.Build(ctx, snap.Name, buildWorld{p}); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "a snapshot could not be built", "snapshot", snap.Name, "error", err)
		}
	})
	return snap, nil
}

// Snapshots lists all snapshots by name.
func (p *Proxy) Snapshots(context.Context) ([]snapshot.Snapshot, error) { return p.snapshots.List() }

// Snapshot returns one snapshot, by name or by @id.
func (p *Proxy) Snapshot(_ context.Context, ref string) (snapshot.Snapshot, error) {
	snap, err := p.snapshots.Get(ref)
	return snap, snapshotError(err)
}

// SnapshotManifest returns the manifest of a sealed snapshot, in its canonical
// form: its SHA-256 is the id.
func (p *Proxy) SnapshotManifest(_ context.Context, ref string) ([]byte, error) {
	snap, err := p.snapshots.Resolve(ref)
	if err != nil {
		return nil, snapshotError(err)
	}
	m, err := p.snapshots.Manifest(snap.ID)
	if err != nil {
		return nil, err
	}
	return m.Encode()
}

// DeleteSnapshot removes a snapshot that no channel points at.
func (p *Proxy) DeleteSnapshot(_ context.Context, ref string) (snapshot.Snapshot, error) {
	snap, err := p.snapshots.Delete(ref)
	return snap, snapshotError(err)
}

// ExportSnapshot writes a sealed snapshot as one bundle.
func (p *Proxy) ExportSnapshot(ctx context.Context, w io.Writer, ref string) (snapshot.Bundle, error) {
	b, err := p.snapshots.Export(ctx, w, ref)
	return b, snapshotError(err)
}

// ImportSnapshot reads a bundle; a damaged one is refused whole.
func (p *Proxy) ImportSnapshot(ctx context.Context, r io.Reader, name, by string) (snapshot.Snapshot, error) {
	snap, err := p.snapshots.Import(ctx, r, name, by, buildWorld{p})
	return snap, snapshotError(err)
}

// Channels lists the channels by name.
func (p *Proxy) Channels(context.Context) ([]snapshot.Channel, error) { return p.snapshots.Channels() }

// Channel returns one channel.
func (p *Proxy) Channel(_ context.Context, name string) (snapshot.Channel, error) {
	c, err := p.snapshots.Channel(name)
	return c, snapshotError(err)
}

// SetChannel points a channel at a sealed snapshot.
func (p *Proxy) SetChannel(_ context.Context, name, ref, by, note string) (snapshot.Channel, error) {
	c, err := p.snapshots.SetChannel(name, ref, by, note)
	return c, snapshotError(err)
}

// RollBackChannel points a channel at what it pointed at before.
func (p *Proxy) RollBackChannel(_ context.Context, name, by, note string) (snapshot.Channel, error) {
	c, err := p.snapshots.RollBack(name, by, note)
	return c, snapshotError(err)
}

// DeleteChannel removes a channel; the snapshots stay.
func (p *Proxy) DeleteChannel(_ context.Context, name string) error {
	return snapshotError(p.snapshots.DeleteChannel(name))
}

// ChannelHistory lists the moves of a channel.
func (p *Proxy) ChannelHistory(_ context.Context, name string) ([]snapshot.Move, error) {
	list, err := p.snapshots.History(name)
	return list, snapshotError(err)
}

// PackageHistory is all that was recorded of a package.
type PackageHistory struct {
	Package    string              `json:"package"`
	Files      []FileHistory       `json:"files"`
	References []history.Reference `json:"references"` // every reference a version ever had
	Retags     []policy.SeenRetag  `json:"retags"`
	Freeze     *Freeze             `json:"freeze,omitempty"` // that counts now
	Archives   []ArchiveHistory    `json:"archives"`
}

// FileHistory is what was recorded of one metadata file.
type FileHistory struct {
	File      string             `json:"file"`
	Revisions []history.Revision `json:"revisions"` // oldest first
	Instants  history.Instants   `json:"instants"`
	Imported  int                `json:"imported"` // versions that lock files prove
}

// ArchiveHistory is what is remembered of one archive.
type ArchiveHistory struct {
	Reference string    `json:"reference"` // as in archive addresses
	Type      string    `json:"type"`
	SHA256    string    `json:"sha256"`
	Content   string    `json:"content,omitempty"` // content digest c1
	Size      int64     `json:"size"`
	FirstSeen time.Time `json:"first_seen"`
	Held      bool      `json:"held"` // whether the bytes are here
	Refusals  int       `json:"refusals,omitempty"`
}

// PackageHistory returns what was recorded of a package. The error matches
// fs.ErrNotExist when nothing was.
func (p *Proxy) PackageHistory(_ context.Context, n composer.Name) (PackageHistory, error) {
	out := PackageHistory{Package: n.String(), Files: []FileHistory{}, Archives: []ArchiveHistory{}}
	for _, f := range filesOf(n) {
		revs, err := p.history.Revisions(f)
		if err != nil {
			return out, err
		}
		instants, err := p.history.Instants(f)
		if err != nil {
			return out, err
		}
		proofs, err := p.history.Imports(f)
		if err != nil {
			return out, err
		}
		if len(revs) > 0 || len(proofs) > 0 {
			out.Files = append(out.Files, FileHistory{File: f.String(), Revisions: revs, Instants: instants, Imported: len(proofs)})
		}
	}
	if len(out.Files) == 0 {
		return out, absence(fmt.Sprintf("nothing was recorded of %s", n))
	}
	var err error
	if out.References, err = p.history.AllReferences(n); err != nil {
		return out, err
	}
	if out.Retags, err = p.policy.Retags(n); err != nil {
		return out, err
	}
	out.Freeze = p.activeFreeze(n, p.now())
	err = p.store.View(func(tx *store.Tx) error {
		out.Archives = out.Archives[:0]
		return archives.Scan(tx, []string{n.String()}, func(key []string, rec archiveRecord) error {
			out.Archives = append(out.Archives, ArchiveHistory{
				Reference: key[1], Type: rec.Type, SHA256: rec.Digest.String(), Content: rec.Content, Size: rec.Size,
				FirstSeen: rec.FirstSeen, Held: p.store.HasBlob(rec.Digest), Refusals: len(rec.Refusals),
			})
			return nil
		})
	})
	return out, err
}

// Explanation says why a version is or is not visible somewhere.
type Explanation struct {
	Package   string `json:"package"`
	Version   string `json:"version"`
	At        string `json:"at"` // the world that was looked at; "now" is the live one
	Visible   bool   `json:"visible"`
	Rule      string `json:"rule,omitempty"` // the rule that decided
	Reference string `json:"reference,omitempty"`
	Fidelity  string `json:"fidelity,omitempty"`
	// Sentence says it for people.
	Sentence string `json:"sentence"`
}

// Explain names the rule that shows or hides one version of a package: now
// (at empty or "now"), in a dated view or snapshot, or in a cooldown written
// as "cooldown=7d".
func (p *Proxy) Explain(ctx context.Context, n composer.Name, version, at string) (Explanation, error) {
	out := Explanation{Package: n.String(), Version: version, At: at}
	normal, err := composer.NormalizeVersion(version)
	if err != nil {
		return out, &invalid{fmt.Sprintf("%q is not a version: %v", version, err)}
	}
	in, err := p.worldNamed(at)
	if err != nil {
		return out, &invalid{err.Error()}
	}
	if out.At == "" {
		out.At = "now"
	}
	f := composer.File{Name: n, Dev: composer.IsDev(normal)}
	doc, fidelity, held, err := p.documentIn(ctx, in, f)
	if errors.Is(err, fs.ErrNotExist) && p.o.Sources.Reserved(n) {
		out.Rule, out.Sentence = "private", fmt.Sprintf("%s is a private name: it is never asked of, or taken from, a public registry", n)
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Fidelity = string(fidelity)
	pv := p.policyView(in, variant{})
	facts, err := p.policy.Gather(p.history, n, pv)
	if err != nil {
		return out, err
	}
	x, err := p.policy.Explain(f, doc, version, facts, pv)
	if err != nil {
		return out, &invalid{err.Error()}
	}
	out.Visible, out.Rule, out.Reference, out.Sentence = x.Visible, string(x.Rule), x.Reference, x.Sentence
	if from := p.o.Sources.Explain(n); from != "" {
		out.Sentence += "; " + from
	}
	if held != nil {
		reason := ""
		if held.Reason != "" {
			reason = " (" + held.Reason + ")"
		}
		out.Sentence += fmt.Sprintf("; %s is frozen at %s by %s%s", held.Package, held.At.Format(time.RFC3339), held.Owner, reason)
		if !out.Visible && x.Rule == policy.RuleAbsent {
			out.Rule = "freeze"
		}
	}
	return out, nil
}

// worldNamed finds the world that an operator's words mean.
func (p *Proxy) worldNamed(at string) (world, error) {
	if age, ok := strings.CutPrefix(at, "cooldown="); ok {
		return cooldownWorld(age)
	}
	if at != "" && at != "now" && at != "live" {
		return p.worldAt(at)
	}
	if p.o.MinReleaseAge > 0 {
		return world{kind: cooldown, age: p.o.MinReleaseAge}, nil
	}
	return world{}, nil
}

// documentIn finds the document of a file in a world before the rules, and the
// freeze that led to it.
func (p *Proxy) documentIn(ctx context.Context, in world, f composer.File) (*composer.Document, history.Fidelity, *Freeze, error) {
	moment := p.now()
	if in.kind == dated || in.kind == sealed {
		moment = in.at
	}
	held := p.activeFreeze(f.Name, moment)
	if in.kind == live && held != nil && !held.holds(f) {
		in = world{kind: dated, at: held.At}
	}
	if in.kind == live {
		e, _, err := p.current(ctx, f, nil)
		if err != nil {
			return nil, "", held, err
		}
		st := e.state.Load()
		if !st.Present() {
			return nil, history.Absent, held, nil
		}
		doc, err := p.recorded(f, st.Document)
		return doc, history.Exact, held, err
	}
	e, _, err := p.look(ctx, in, f, "")
	if err != nil {
		return nil, "", held, err
	}
	if !e.state.Load().Present() {
		return nil, e.view.binding.Fidelity, held, nil
	}
	doc, err := p.contentOf(e.view)
	return doc, e.view.binding.Fidelity, held, err
}

// Instants says which instants can be asked for, and how well they are known.
type Instants struct {
	history.Span
	// SettledUntil is the latest instant that can be asked for at present.
	SettledUntil time.Time `json:"settled_until"`
}

// Instants describes what was recorded as a whole.
func (p *Proxy) Instants(context.Context) (Instants, error) {
	span, err := p.history.Span()
	return Instants{Span: span, SettledUntil: p.now().Add(-p.o.SnapshotSettle).UTC().Truncate(time.Second)}, err
}

// ImportLock takes the versions of a composer.lock as proven at an instant.
func (p *Proxy) ImportLock(_ context.Context, body []byte, at time.Time) (history.ImportResult, error) {
	lock, err := composer.ParseLock(body)
	if err != nil {
		return history.ImportResult{}, &invalid{"the lock file cannot be used: " + err.Error()}
	}
	if at.IsZero() || at.After(p.now()) {
		return history.ImportResult{}, &invalid{"a lock file needs the instant at which it was committed, in the past"}
	}
	return p.history.ImportLock(lock, at)
}

// Rules lists the rules of one kind; with all also those that ended.
func (p *Proxy) Rules(_ context.Context, kind policy.Kind, all bool) ([]policy.Rule, error) {
	return p.policy.Rules(kind, all), nil
}

// AddRule adds a block, waiver, exemption or hold.
func (p *Proxy) AddRule(_ context.Context, r policy.Rule) (policy.Rule, error) {
	added, err := p.policy.Add(r)
	if err != nil {
		return added, ruleError(err)
	}
	p.rulesChanged()
	return added, nil
}

// LiftRule ends a rule.
func (p *Proxy) LiftRule(_ context.Context, kind policy.Kind, id, by string) (policy.Rule, error) {
	lifted, err := p.policy.Lift(kind, id, by)
	if err != nil {
		return lifted, ruleError(err)
	}
	p.rulesChanged()
	return lifted, nil
}

func ruleError(err error) error {
	var bad *policy.Invalid
	if errors.As(err, &bad) {
		return &invalid{bad.Error()}
	}
	return err
}
