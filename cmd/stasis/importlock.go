package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"stasis/api"
)

// lockRevision is a composer.lock as it was at one time.
type lockRevision struct {
	What string // for people: a path, or a commit
	At   time.Time
	Body []byte
}

func (p *program) importLockCommand() *cobra.Command {
	var at string
	var git bool
	cmd := &cobra.Command{
		Use:   "import-lock PATH",
		Short: "Let composer.lock files prove what there was before anything was recorded",
		Long: "Takes the versions of a composer.lock as proven at the moment of --at. With --git, PATH is a folder of a git " +
			"repository, and every committed revision of the composer.lock in it is taken at the date of its commit. What was " +
			"recorded, and dated views already given, do not change.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&at, "at", "", "when the file was committed: 2026-01-31 (its beginning, UTC) or 2026-01-31T12:00:00Z")
	cmd.Flags().BoolVar(&git, "git", false, "PATH is a folder of a git repository")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		if git == (at != "") {
			return usageError("import-lock needs either --at with a file, or --git with a folder")
		}
		var in lockImport
		take := func(r lockRevision) error { return in.take(ctx, c, r) }
		if git {
			if err := walkLocks(ctx, args[0], take); err != nil {
				return err
			}
			return in.report(p)
		}
		text, err := instant("--at", at)
		if err != nil {
			return err
		}
		moment, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		if err := take(lockRevision{args[0], moment, body}); err != nil {
			return err
		}
		return in.report(p)
	})
}

// lockImport collects what the imports of several revisions brought.
type lockImport struct {
	answers []json.RawMessage
	done    []api.ImportedLock
	whats   []string
	failed  []warmFailure
}

// take imports one revision. One that is refused does not keep the others from being tried.
func (in *lockImport) take(ctx context.Context, c *client, r lockRevision) error {
	var one api.ImportedLock
	data, err := c.upload(ctx, http.MethodPost, "history/import-lock?at="+url.QueryEscape(r.At.UTC().Format(time.RFC3339)),
		"application/json", bytes.NewReader(r.Body), &one)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		in.failed = append(in.failed, warmFailure{r.What, err.Error()})
		return nil
	}
	in.answers, in.done, in.whats = append(in.answers, data), append(in.done, one), append(in.whats, r.What)
	return nil
}

// report prints what became of it, and fails if something was refused.
func (in *lockImport) report(p *program) error {
	for _, f := range in.failed {
		fmt.Fprintf(p.stderr, "%s: %s\n", printable(f.What), sentence(fmt.Errorf("%s", f.Error)))
	}
	if len(in.done) > 0 {
		err := p.showAll(in.answers, func(w io.Writer) {
			row(w, "LOCK FILE", "AT (UTC)", "NEW", "KNOWN", "BRANCHES", "SKIPPED")
			for i, one := range in.done {
				row(w, short(in.whats[i]), utc(one.At), one.Versions, one.Known, one.Branches, len(one.Skipped))
			}
		})
		if err != nil {
			return err
		}
	}
	switch {
	case len(in.failed) > 0:
		return errReported
	case len(in.done) == 0:
		return fmt.Errorf("no composer.lock was ever committed there")
	}
	return nil
}
