package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// The answers of the operator about the past. What it was asked is in asked, in words.

var anID = store.SumDigest([]byte("a manifest"))

func (o *operator) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, fmt.Sprintf(format, args...))
}

func (o *operator) aSnapshot(name string) snapshot.Snapshot {
	if o.empty {
		return snapshot.Snapshot{Name: name, State: snapshot.Building, From: "now", Instant: noon, CreatedAt: noon,
			Options:  snapshot.Options{Rest: "instant", Archives: "lazy", Advisories: "asof", Private: "asof"},
			Progress: &snapshot.Progress{Phase: "metadata"}}
	}
	return snapshot.Snapshot{
		Name: name, ID: anID, State: snapshot.Sealed, From: "lock", Instant: noon, CreatedAt: noon, CreatedBy: "ops", Note: "n", SealedAt: noon, ImportedAt: noon, ImportedBy: "x",
		Options:  snapshot.Options{Rest: "closed", Archives: "eager", Advisories: "off", Private: "live"},
		Packages: 1, Files: 2, Fidelity: map[history.Fidelity]int{history.Exact: 2}, Archives: 3, Bytes: 4,
		Missing: []snapshot.Missing{{Package: "a/b", Version: "1.0", Reference: "r", Reason: "It is gone."}}, MissingTotal: 1,
	}
}

func (o *operator) CreateSnapshot(_ context.Context, r snapshot.Request) (snapshot.Snapshot, error) {
	o.note("snapshot %q of %s with %d locks %q, %+v, by %q: %q", r.Name, r.Instant.Format(time.RFC3339), len(r.Locks), r.Locks, r.Options, r.By, r.Note)
	return o.aSnapshot("made"), o.err
}

func (o *operator) Snapshots(context.Context) ([]snapshot.Snapshot, error) {
	if o.empty {
		return nil, o.err
	}
	return []snapshot.Snapshot{o.aSnapshot("one"), o.aSnapshot("two")}, o.err
}

func (o *operator) Snapshot(_ context.Context, ref string) (snapshot.Snapshot, error) {
	return o.aSnapshot(ref), o.err
}

func (o *operator) SnapshotManifest(context.Context, string) ([]byte, error) {
	return []byte(`{"format":1}`), o.err
}

func (o *operator) DeleteSnapshot(_ context.Context, ref string) (snapshot.Snapshot, error) {
	o.note("delete %s", ref)
	return o.aSnapshot(ref), o.err
}

func (o *operator) VerifySnapshot(context.Context, string) (snapshot.Verification, error) {
	if o.empty {
		return snapshot.Verification{ID: anID}, o.err
	}
	return snapshot.Verification{ID: anID, Documents: 1, Archives: 2, Bytes: 3, Problems: []snapshot.Missing{{Reason: "It is damaged."}}}, o.err
}

func (o *operator) BeginVerification(_ context.Context, ref string) (proxy.Job, error) {
	return proxy.Job{ID: "j1", Kind: "verify", Subject: ref, State: proxy.JobRunning, StartedAt: noon}, o.err
}

func (o *operator) BeginDiff(_ context.Context, from, to string, only []composer.Name) (proxy.Job, error) {
	o.note("begin to compare %s with %s in %v", from, to, only)
	return proxy.Job{ID: "j2", Kind: "diff", Subject: from + " to " + to, State: proxy.JobRunning, StartedAt: noon,
		Progress: snapshot.Progress{Phase: "metadata", Total: 3}}, o.err
}

func (o *operator) Job(_ context.Context, id string) (proxy.Job, error) {
	j := proxy.Job{ID: id, Kind: "verify", Subject: "one", State: proxy.JobDone, StartedAt: noon, EndedAt: noon,
		Progress: snapshot.Progress{Phase: "archives", Done: 2, Total: 2, Bytes: 3}, Result: snapshot.Verification{ID: anID}}
	switch {
	case id == "failed":
		j.State, j.Result, j.Err = proxy.JobFailed, nil, errors.New("read /var/lib/stasis: broken")
	case o.empty:
		j.Kind, j.Result = "diff", snapshot.Difference{}
	}
	return j, o.err
}

func (o *operator) ExportSnapshot(_ context.Context, w io.Writer, ref string) (snapshot.Bundle, error) {
	if o.err != nil {
		return snapshot.Bundle{}, o.err
	}
	_, err := io.WriteString(w, "a bundle of "+ref)
	if err == nil {
		err = o.breaks
	}
	return snapshot.Bundle{}, err
}

func (o *operator) ImportSnapshot(_ context.Context, r io.Reader, name, by string) (snapshot.Snapshot, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	o.note("import %q as %q by %q", body, name, by)
	return o.aSnapshot("imported"), o.err
}

func aChannel(name string) snapshot.Channel {
	return snapshot.Channel{Name: name, ID: anID, Snapshot: "one", At: noon, By: "ops", Note: "n", Move: 3}
}

func (o *operator) Channels(context.Context) ([]snapshot.Channel, error) {
	if o.empty {
		return nil, o.err
	}
	return []snapshot.Channel{aChannel("prod")}, o.err
}

func (o *operator) Channel(_ context.Context, name string) (snapshot.Channel, error) {
	return aChannel(name), o.err
}

func (o *operator) SetChannel(_ context.Context, name, ref, by, note string) (snapshot.Channel, error) {
	o.note("set %s to %s by %q: %q", name, ref, by, note)
	return aChannel(name), o.err
}

func (o *operator) RollBackChannel(_ context.Context, name, by, note string) (snapshot.Channel, error) {
	o.note("roll %s back by %q: %q", name, by, note)
	return aChannel(name), o.err
}

func (o *operator) DeleteChannel(_ context.Context, name string) error {
	o.note("delete channel %s", name)
	return o.err
}

func (o *operator) ChannelHistory(context.Context, string) ([]snapshot.Move, error) {
	if o.empty {
		return nil, o.err
	}
	return []snapshot.Move{{Number: 2, ID: anID, Snapshot: "one", At: noon, Rollback: true, Back: 1}, {Number: 1, ID: anID, Snapshot: "two", At: noon, By: "ops", Note: "n"}}, o.err
}

func (o *operator) Diff(_ context.Context, from, to string, only []composer.Name) (snapshot.Difference, error) {
	o.note("diff %s %s %v", from, to, only)
	if o.empty {
		return snapshot.Difference{}, o.err
	}
	name, _ := composer.ParseName("a/b")
	c := []snapshot.Change{{Package: name, Version: "1.0", Dev: true, Reference: "new", OldReference: "old", Reason: "It is bad."}}
	return snapshot.Difference{Added: c, Removed: c, Retagged: c, Denied: c, Allowed: c, Files: 2,
		Fidelity: []snapshot.FidelityChange{{File: "a/b~dev", From: "", To: history.Exact}}}, o.err
}

func (o *operator) PackageHistory(_ context.Context, n composer.Name) (proxy.PackageHistory, error) {
	if o.empty {
		return proxy.PackageHistory{Package: n.String(), Files: []proxy.FileHistory{{File: n.String()}}, Freeze: &proxy.Freeze{Package: "a/*", At: noon, CreatedAt: noon, LiftedAt: noon}}, o.err
	}
	return proxy.PackageHistory{
		Package: n.String(),
		Files: []proxy.FileHistory{{File: n.String(), Imported: 1,
			Revisions: []history.Revision{{Seq: 1, Document: anID, ValidFrom: noon, FirstSeen: noon, LastConfirmed: noon, LastModified: "x", Via: history.Demand}, {Seq: 2, Via: history.Feed}},
			Instants:  history.Instants{First: noon, Imported: noon, Known: []history.Interval{{From: noon, Until: noon}}}}},
		References: []history.Reference{{Version: "v1", Normalized: "1.0.0.0", Reference: "r", Type: "zip", URL: "u", Shasum: "s", SourceURL: "x", SourceReference: "y",
			Time: noon, Published: noon, FirstSeen: noon, GoneAt: noon, LastDocument: anID, Initial: true, Via: history.Import}},
		Retags:   []policy.SeenRetag{{Package: n.String(), Version: "1.0.0.0", Old: "a", New: "b", At: noon, Document: anID}},
		Freeze:   &proxy.Freeze{Package: n.String(), At: noon, CreatedAt: noon},
		Archives: []proxy.ArchiveHistory{{Reference: "r", Type: "zip", SHA256: anID.String(), Content: "c1:x", Size: 5, FirstSeen: noon, Held: true, Refusals: 2}},
	}, o.err
}

func (o *operator) Explain(_ context.Context, n composer.Name, version, at string) (proxy.Explanation, error) {
	o.note("explain %s %s at %q", n, version, at)
	return proxy.Explanation{Package: n.String(), Version: version, At: "now", Visible: true, Rule: "r", Reference: "x", Fidelity: "exact", Sentence: "It is visible."}, o.err
}

func (o *operator) Instants(context.Context) (proxy.Instants, error) {
	if o.empty {
		return proxy.Instants{SettledUntil: noon}, o.err
	}
	return proxy.Instants{Span: history.Span{First: noon, Files: 1, FeedUntil: noon, Holes: []history.Interval{{From: noon, Until: noon}}}, SettledUntil: noon}, o.err
}

func (o *operator) ImportLock(_ context.Context, body []byte, at time.Time) (history.ImportResult, error) {
	o.note("import lock %s at %s", body, at.Format(time.RFC3339))
	if o.empty {
		return history.ImportResult{}, o.err
	}
	name, _ := composer.ParseName("a/b")
	return history.ImportResult{Versions: 1, Known: 2, Branches: 3, Skipped: []string{"c/d"}, Files: []composer.File{{Name: name}}}, o.err
}

func (o *operator) FreezePattern(_ context.Context, pattern string, req proxy.FreezeRequest) (proxy.Freeze, error) {
	o.note("freeze %s: %s", pattern, req.Reason)
	return proxy.Freeze{Package: pattern, At: noon, CreatedAt: noon, Reason: req.Reason, Owner: req.Owner}, o.err
}

func (o *operator) UnfreezePattern(_ context.Context, pattern string) (bool, error) {
	o.note("unfreeze %s", pattern)
	return !o.empty, o.err
}

func (o *operator) Rules(_ context.Context, kind policy.Kind, all bool) ([]policy.Rule, error) {
	o.note("%ss, all %v", kind, all)
	if o.empty {
		return nil, o.err
	}
	return []policy.Rule{{ID: "1", Kind: kind, Package: "a/b", Versions: "^1.0", Reference: "r", Reason: "x", Owner: "ops", CreatedAt: noon, ExpiresAt: noon, LiftedAt: noon, LiftedBy: "ops"}}, o.err
}

func (o *operator) AddRule(_ context.Context, r policy.Rule) (policy.Rule, error) {
	o.note("add %s", strings.Join([]string{string(r.Kind), r.Package, r.Versions, r.Reference, r.Reason, r.Owner, r.ExpiresAt.Format(time.RFC3339)}, "|"))
	r.ID, r.CreatedAt = "7", noon
	return r, o.err
}

func (o *operator) LiftRule(_ context.Context, kind policy.Kind, id, by string) (policy.Rule, error) {
	o.note("lift %s %s by %q", kind, id, by)
	return policy.Rule{ID: id, Kind: kind, Package: "a/b", Reason: "x", Owner: "ops", CreatedAt: noon, LiftedAt: noon, LiftedBy: by}, o.err
}
