package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"stasis/proxy"
	"stasis/proxy/snapshot"
)

// jobData is work that goes on in Stasis, as the API tells of it.
type jobData struct {
	ID       string            `json:"id"`
	State    proxy.JobState    `json:"state"`
	Progress snapshot.Progress `json:"progress"`
	Result   json.RawMessage   `json:"result"`
	Problem  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"problem"`
}

// firstPoll is how soon a job is asked for that may be a matter of moments.
const firstPoll = 20 * time.Millisecond

// perform begins a job, draws its progress until it has ended, and decodes what it found into out. It returns that as it
// came. Interrupting it does not end the job.
func (p *program) perform(ctx context.Context, c *client, method, path, contentType string, body io.Reader, out any) (json.RawMessage, error) {
	var j jobData
	if _, err := c.upload(ctx, method, path, contentType, body, &j); err != nil {
		return nil, err
	}
	draw, done := p.newBuildProgress()
	defer done()
	for pause := firstPoll; j.State == proxy.JobRunning; pause = min(2*pause, pollInterval) {
		if j.Progress.Phase != "" {
			draw(j.Progress)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		id := j.ID
		j = jobData{}
		if _, err := c.call(ctx, http.MethodGet, "jobs/"+url.PathEscape(id), nil, &j); err != nil {
			return nil, err
		}
	}
	switch {
	case j.Problem != nil:
		return nil, fmt.Errorf("%s (%s)", trimStop(j.Problem.Message), j.Problem.Code)
	case j.State != proxy.JobDone || json.Unmarshal(j.Result, out) != nil:
		return nil, fmt.Errorf("%s answered with data of another form, as another version of Stasis would", c.base)
	}
	return j.Result, nil
}
