package proxy_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"stasis/proxy"
	"stasis/proxy/snapshot"
)

// slow is the work of a job that goes on until it is let go.
func slow(let chan struct{}, err error) func(context.Context, func(snapshot.Progress)) (any, error) {
	return func(ctx context.Context, report func(snapshot.Progress)) (any, error) {
		report(snapshot.Progress{Phase: "metadata", Done: 1, Total: 2})
		select {
		case <-let:
			return snapshot.Verification{Documents: 2}, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *rig) job(id string) proxy.Job {
	w.Helper()
	j, err := w.p.Job(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return j
}

func TestAJobGoesOnAndTellsItsResult(t *testing.T) {
	w := newRig(t)
	let := make(chan struct{})
	id, err := w.p.StartJob("one", slow(let, nil))
	if err != nil {
		t.Fatal(err)
	}
	failing, err := w.p.StartJob("two", slow(let, errors.New("broken")))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := w.p.StartJob("one", slow(let, nil)); err != nil || same != id {
		t.Errorf("the same work was begun twice: %s and %s, %v", id, same, err)
	}
	if j := w.job(id); j.State != proxy.JobRunning || j.Result != nil || !j.EndedAt.IsZero() {
		t.Errorf("while it runs: %+v", j)
	}
	close(let)
	w.p.Settle()
	if j := w.job(id); j.State != proxy.JobDone || j.Result.(snapshot.Verification).Documents != 2 || j.Progress.Total != 2 || j.EndedAt.IsZero() {
		t.Errorf("in the end: %+v", j)
	}
	if j := w.job(failing); j.State != proxy.JobFailed || j.Result != nil || j.Err == nil {
		t.Errorf("the one that failed: %+v", j)
	}
	if again, err := w.p.StartJob("one", slow(let, nil)); err != nil || again == id {
		t.Errorf("what has ended is not begun again: %s, %v", again, err)
	}
}

func TestNotTooManyJobsRunOrAreKept(t *testing.T) {
	w := newRig(t)
	let := make(chan struct{})
	first := ""
	running := 0
	for ; running < 100; running++ {
		id, err := w.p.StartJob("", slow(let, nil))
		var conflict interface{ Conflict() bool }
		if errors.As(err, &conflict) && conflict.Conflict() {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = id
		}
	}
	if running < 2 || running == 100 {
		t.Errorf("%d jobs run at the same time", running)
	}
	close(let)
	w.p.Settle()
	for range 100 {
		if _, err := w.p.StartJob("", slow(let, nil)); err != nil {
			t.Fatal(err)
		}
		w.p.Settle()
	}
	if _, err := w.p.Job(w.Context(), first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first of many jobs: %v", err)
	}
}

func TestJobsEndWithTheProxy(t *testing.T) {
	w := newRig(t)
	id, err := w.p.StartJob("one", slow(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.p.Close(); err != nil {
		t.Fatal(err)
	}
	if j := w.job(id); j.State != proxy.JobFailed || !errors.Is(j.Err, context.Canceled) {
		t.Errorf("after Close: %+v", j)
	}
	if _, err := w.p.StartJob("two", slow(nil, nil)); err == nil {
		t.Error("a job begins after Close")
	}
}

// Who waits and leaves gets their own error; the work goes on.
func TestWhoWaitsForAJobMayLeave(t *testing.T) {
	w := newRig(t)
	let := make(chan struct{})
	id, err := w.p.StartJob("one", slow(let, nil))
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(w.Context())
	leave()
	if _, err := w.p.AwaitJob(gone, "one", slow(let, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("after leaving: %v", err)
	}
	close(let)
	if v, err := w.p.AwaitJob(w.Context(), "one", slow(let, nil)); err != nil || v.Documents != 2 {
		t.Errorf("staying: %+v, %v", v, err)
	}
	w.p.Settle()
	if j := w.job(id); j.State != proxy.JobDone {
		t.Errorf("the job ended as %+v", j)
	}
}
