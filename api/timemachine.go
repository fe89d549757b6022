package api

import (
	"context"
	"io"
	"time"

	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/policy"
	"stasis/proxy/snapshot"
)

// TimeMachine is the part of the Operator that deals with the past and with the rules about what may be
// seen. A snapshot is named by its name or its id; where a sealed one is needed, a channel names it, too.
type TimeMachine interface {
	CreateSnapshot(ctx context.Context, req snapshot.Request) (snapshot.Snapshot, error) // begins to build
	Snapshots(ctx context.Context) ([]snapshot.Snapshot, error)
	Snapshot(ctx context.Context, ref string) (snapshot.Snapshot, error)
	SnapshotManifest(ctx context.Context, ref string) ([]byte, error)
	DeleteSnapshot(ctx context.Context, ref string) (snapshot.Snapshot, error)
	VerifySnapshot(ctx context.Context, ref string) (snapshot.Verification, error)
	BeginVerification(ctx context.Context, ref string) (proxy.Job, error)
	ExportSnapshot(ctx context.Context, w io.Writer, ref string) (snapshot.Bundle, error)
	ImportSnapshot(ctx context.Context, r io.Reader, name, by string) (snapshot.Snapshot, error)

	Channels(ctx context.Context) ([]snapshot.Channel, error)
	Channel(ctx context.Context, name string) (snapshot.Channel, error)
	SetChannel(ctx context.Context, name, ref, by, note string) (snapshot.Channel, error)
	RollBackChannel(ctx context.Context, name, by, note string) (snapshot.Channel, error)
	DeleteChannel(ctx context.Context, name string) error
	ChannelHistory(ctx context.Context, name string) ([]snapshot.Move, error)

	Diff(ctx context.Context, from, to string, only []composer.Name) (snapshot.Difference, error)
	BeginDiff(ctx context.Context, from, to string, only []composer.Name) (proxy.Job, error)
	Job(ctx context.Context, id string) (proxy.Job, error)
	PackageHistory(ctx context.Context, name composer.Name) (proxy.PackageHistory, error)
	Explain(ctx context.Context, name composer.Name, version, at string) (proxy.Explanation, error)
	Instants(ctx context.Context) (proxy.Instants, error)
	ImportLock(ctx context.Context, body []byte, at time.Time) (history.ImportResult, error)

	FreezePattern(ctx context.Context, pattern string, req proxy.FreezeRequest) (proxy.Freeze, error)
	UnfreezePattern(ctx context.Context, pattern string) (bool, error)
	Rules(ctx context.Context, kind policy.Kind, all bool) ([]policy.Rule, error)
	AddRule(ctx context.Context, r policy.Rule) (policy.Rule, error)
	LiftRule(ctx context.Context, kind policy.Kind, id, by string) (policy.Rule, error)
}
