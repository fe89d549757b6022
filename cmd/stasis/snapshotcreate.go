package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"stasis/proxy/snapshot"
)

// snapshotBody is what the API takes to make a snapshot.
type snapshotBody struct {
	Name       string   `json:"name,omitempty"`
	From       string   `json:"from,omitempty"`
	Locks      []string `json:"locks,omitempty"`
	World      string   `json:"world,omitempty"`
	Archives   string   `json:"archives,omitempty"`
	Advisories string   `json:"advisories,omitempty"`
	Private    string   `json:"private,omitempty"`
	Note       string   `json:"note,omitempty"`
	By         string   `json:"by,omitempty"`
}

func (p *program) snapshotCreateCommand() *cobra.Command {
	var body snapshotBody
	var locks []string
	var detach bool
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Make a snapshot of now, of an instant, or of lock files",
		Long: "Makes a snapshot and waits until it is sealed. The exit code is 1 when it stays incomplete; what is missing is " +
			"listed. Interrupting the command does not stop the snapshot from being made.",
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&body.From, "from", "", "now, a date with its whole day, or an instant (default now)")
	f.StringSliceVar(&locks, "lock", nil, "composer.lock files: exactly what they name is in the snapshot")
	f.StringVar(&body.World, "world", "", "what other packages look like: closed (they do not exist) or instant")
	f.StringVar(&body.Archives, "archives", "", "which archives are kept: eager (all), lazy (when they come) or none")
	f.StringVar(&body.Advisories, "advisories", "", "which security advisories are shown: live, asof or off")
	f.StringVar(&body.Private, "private", "", "which state of our own packages is shown: asof or live")
	f.StringVar(&body.Note, "note", "", "why, for whoever wonders")
	f.StringVar(&body.By, "by", "", "who asks for it")
	f.BoolVar(&detach, "detach", false, "do not wait")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 0 {
			body.Name = args[0]
		}
		for _, path := range locks {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			body.Locks = append(body.Locks, string(text))
		}
		var s snapshot.Snapshot
		data, err := c.call(ctx, http.MethodPost, "snapshots", body, &s)
		if err == nil && !detach {
			data, err = p.await(ctx, c, data, &s)
		}
		if err != nil {
			return err
		}
		if err := p.show(data, func(w io.Writer) { writeSnapshot(w, s) }); err != nil {
			return err
		}
		if s.State == snapshot.Incomplete {
			return errReported
		}
		return nil
	})
}

// pollInterval is how often the progress of a snapshot is asked for.
const pollInterval = 300 * time.Millisecond

// await draws the progress of a snapshot until it is no longer being built.
func (p *program) await(ctx context.Context, c *client, data json.RawMessage, s *snapshot.Snapshot) (json.RawMessage, error) {
	draw, done := p.newBuildProgress()
	defer done()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	path := "snapshots/" + url.PathEscape(s.Name)
	for s.State == snapshot.Building {
		if s.Progress != nil {
			draw(*s.Progress)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		var err error
		*s = snapshot.Snapshot{}
		if data, err = c.call(ctx, http.MethodGet, path, nil, s); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// newBuildProgress returns what shows how far a build is, as a bar on a terminal and as a line for each phase elsewhere,
// and what ends that.
func (p *program) newBuildProgress() (draw func(snapshot.Progress), done func()) {
	phase := ""
	if !isTerminal(p.stderr) {
		return func(pr snapshot.Progress) {
			if pr.Phase != phase && !p.asJSON {
				phase = pr.Phase
				fmt.Fprintf(p.stderr, "%s: %d to do\n", printable(phase), pr.Total)
			}
		}, func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(p.stderr), progressbar.OptionShowCount(),
		progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	return func(pr snapshot.Progress) {
		if pr.Phase != phase {
			phase = pr.Phase
			bar.Reset()
			bar.Describe(printable(phase))
		}
		if pr.Total > 0 {
			bar.ChangeMax(pr.Total)
			_ = bar.Set(pr.Done)
		}
	}, func() { _ = bar.Clear() }
}
