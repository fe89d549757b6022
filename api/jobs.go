package api

import (
	"log/slog"

	"stasis/proxy"
	"stasis/proxy/snapshot"
)

// Job is work that was begun with wait=false.
type Job struct {
	proxy.Job
	// Problem is why it failed.
	Problem *Problem `json:"problem,omitempty"`
}

// waits reads the parameter wait: false lets the work go on in the background, and answers at once with the job.
func (c *call) waits() (bool, error) {
	q := c.r.URL.Query()
	if wait := q.Get("wait"); q.Has("wait") && wait != "true" && wait != "false" {
		return false, invalid(`The parameter wait must be "true" or "false".`)
	}
	return q.Get("wait") != "false", nil
}

func (m *management) job(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	const none = "There is no job with this id; only the last ones are kept, and none after a restart."
	id := c.param("id")
	if !isID(id) {
		return nil, notFound(none)
	}
	j, err := op.Job(c.r.Context(), id)
	if err != nil {
		return nil, missing(err, none)
	}
	return m.jobAnswer(c, j), nil
}

// jobAnswer makes a job presentable: the error of one that failed goes through the same table as any other.
func (m *management) jobAnswer(c *call, j proxy.Job) Job {
	if j.Err != nil {
		f, log := explain(j.Err)
		if log {
			m.log.LogAttrs(c.r.Context(), slog.LevelWarn, "a job failed", slog.String("job", j.ID), slog.String("kind", j.Kind),
				slog.String("subject", loggable(j.Subject, maxLoggedPath)), slog.String("error", loggable(j.Err.Error(), maxLoggedError)))
		}
		return Job{Job: j, Problem: &Problem{Code: f.code, Message: f.message}}
	}
	switch r := j.Result.(type) {
	case snapshot.Verification:
		j.Result = verification(r)
	case snapshot.Difference:
		j.Result = difference(r)
	}
	return Job{Job: j}
}

func verification(v snapshot.Verification) snapshot.Verification {
	v.Problems = list(v.Problems)
	return v
}

func difference(d snapshot.Difference) snapshot.Difference {
	d.Added, d.Removed, d.Retagged = list(d.Added), list(d.Removed), list(d.Retagged)
	d.Denied, d.Allowed, d.Fidelity = list(d.Denied), list(d.Allowed), list(d.Fidelity)
	return d
}
