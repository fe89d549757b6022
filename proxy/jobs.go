package proxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// Job is work that an operator asked for and need not wait for: it goes on
// when whoever asked has gone. Jobs are kept in memory, the last keptJobs of
// them, and are gone after a restart.
type Job struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`    // "verify" or "diff"
	Subject string   `json:"subject"` // what it is about, for people
	State   JobState `json:"state"`
	// Progress is how far it has come.
	Progress  snapshot.Progress `json:"progress"`
	StartedAt time.Time         `json:"started_at"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	// Result is a snapshot.Verification or a snapshot.Difference when it is
	// done, shared with others who ask.
	Result any `json:"result,omitempty"`
	// Err is why it failed.
	Err error `json:"-"`
}

// JobState is how far a job has come.
type JobState string

// The states of a job.
const (
	JobRunning JobState = "running"
	JobDone    JobState = "done"
	JobFailed  JobState = "failed"
)

const (
	keptJobs    = 32
	runningJobs = 8 // at the same time: each reads as fast as it can
)

// jobs are those of this process.
type jobs struct {
	mu   sync.Mutex
	list []*job // oldest first; guarded by mu
}

type job struct {
	Job   // guarded by jobs.mu
	key   string
	ended chan struct{}
}

// startJob lets run work in the background. Who asks for what a job that is
// running does gets that one; key says what that is, and nothing when it is
// empty.
func (p *Proxy) startJob(kind, subject, key string, run func(context.Context, func(snapshot.Progress)) (any, error)) (*job, error) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	running := 0
	for _, j := range p.jobs.list {
		if j.State != JobRunning {
			continue
		}
		if key != "" && j.Kind == kind && j.key == key {
			return j, nil
		}
		running++
	}
	if running == runningJobs {
		return nil, &conflict{fmt.Errorf("%d jobs are running already; wait until one of them has ended", running)}
	}
	if !p.running.begin() {
		return nil, store.ErrClosed
	}
	j := &job{key: key, ended: make(chan struct{}), Job: Job{
		ID: strings.ToLower(rand.Text()), Kind: kind, Subject: subject, State: JobRunning, StartedAt: p.now().UTC(),
	}}
	p.jobs.forget()
	p.jobs.list = append(p.jobs.list, j)
	go func() {
		defer p.running.end()
		result, err := run(p.background, func(pr snapshot.Progress) {
			p.jobs.mu.Lock()
			defer p.jobs.mu.Unlock()
			j.Progress = pr
		})
		p.jobs.mu.Lock()
		defer p.jobs.mu.Unlock()
		if j.State, j.Result = JobDone, result; err != nil {
			j.State, j.Result, j.Err = JobFailed, nil, err
		}
		j.EndedAt = p.now().UTC()
		close(j.ended)
	}()
	return j, nil
}

// forget makes room for one more; called with mu held.
func (s *jobs) forget() {
	for i, j := range s.list {
		if len(s.list) < keptJobs {
			return
		}
		if j.State != JobRunning {
			s.list = append(s.list[:i:i], s.list[i+1:]...)
			return
		}
	}
}

// now returns a job as it is now.
func (s *jobs) now(j *job) Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.Job
}

// Job returns a job by its id. The error matches fs.ErrNotExist when there is
// none.
func (p *Proxy) Job(_ context.Context, id string) (Job, error) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	for _, j := range p.jobs.list {
		if j.ID == id {
			return j.Job, nil
		}
	}
	return Job{}, absence(fmt.Sprintf("there is no job %q: only the last %d are kept, and none after a restart", id, keptJobs))
}

// awaitJob waits until a job has ended.
func awaitJob[T any](ctx context.Context, p *Proxy, j *job, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	select {
	case <-j.ended:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	done := p.jobs.now(j)
	if done.Err != nil {
		return none, done.Err
	}
	return done.Result.(T), nil
}

// VerifySnapshot hashes every document and archive of a snapshot again.
func (p *Proxy) VerifySnapshot(ctx context.Context, ref string) (snapshot.Verification, error) {
	j, err := p.verification(ref)
	return awaitJob[snapshot.Verification](ctx, p, j, err)
}

// BeginVerification begins what VerifySnapshot does.
func (p *Proxy) BeginVerification(_ context.Context, ref string) (Job, error) {
	j, err := p.verification(ref)
	if err != nil {
		return Job{}, err
	}
	return p.jobs.now(j), nil
}

func (p *Proxy) verification(ref string) (*job, error) {
	snap, err := p.snapshots.Resolve(ref)
	if err != nil {
		return nil, snapshotError(err)
	}
	return p.startJob("verify", snap.Name, snap.ID.String(), func(ctx context.Context, report func(snapshot.Progress)) (any, error) {
		v, err := p.snapshots.Verify(ctx, "@"+snap.ID.String(), report)
		return v, snapshotError(err)
	})
}

// Diff compares two worlds: dates, instants, snapshots, channels or "now".
// With names only those packages are compared.
func (p *Proxy) Diff(ctx context.Context, from, to string, names []composer.Name) (snapshot.Difference, error) {
	j, err := p.comparison(ctx, from, to, names)
	return awaitJob[snapshot.Difference](ctx, p, j, err)
}

// BeginDiff begins what Diff does.
func (p *Proxy) BeginDiff(ctx context.Context, from, to string, names []composer.Name) (Job, error) {
	j, err := p.comparison(ctx, from, to, names)
	if err != nil {
		return Job{}, err
	}
	return p.jobs.now(j), nil
}

func (p *Proxy) comparison(ctx context.Context, from, to string, names []composer.Name) (*job, error) {
	a, err := p.worldForDiff(ctx, from)
	if err != nil {
		return nil, err
	}
	b, err := p.worldForDiff(ctx, to)
	if err != nil {
		return nil, err
	}
	return p.startJob("diff", from+" to "+to, "", func(ctx context.Context, report func(snapshot.Progress)) (any, error) {
		d, err := snapshot.Diff(ctx, a, b, names, report)
		return d, err
	})
}
