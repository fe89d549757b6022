package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stasis/proxy/composer"
	"stasis/proxy/snapshot"
)

func (p *program) snapshotCommand() *cobra.Command {
	cmd := parent("snapshot", "Make, check and compare named snapshots")
	cmd.AddCommand(p.snapshotCreateCommand(), p.snapshotListCommand(), p.snapshotShowCommand(), p.snapshotVerifyCommand(),
		p.snapshotDeleteCommand(), p.snapshotDiffCommand())
	return cmd
}

// parent makes a command that only has others below it.
func parent(use, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
}

func (p *program) snapshotListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List snapshots", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var all []snapshot.Snapshot
		data, err := c.call(ctx, http.MethodGet, "snapshots", nil, &all)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no snapshots")
				return
			}
			row(w, "NAME", "STATE", "INSTANT (UTC)", "PACKAGES", "ARCHIVES", "SIZE", "ID", "NOTE")
			for _, s := range all {
				row(w, s.Name, s.State, utc(s.Instant), s.Packages, s.Archives, bytesText(s.Bytes), shortID(s), s.Note)
			}
		})
	})
}

func (p *program) snapshotShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME|ID", Short: "Show a snapshot and what it lacks", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var s snapshot.Snapshot
		data, err := c.call(ctx, http.MethodGet, "snapshots/"+url.PathEscape(args[0]), nil, &s)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeSnapshot(w, s) })
	})
}

func (p *program) snapshotVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify NAME|ID",
		Short: "Hash every document and archive of a snapshot again",
		Long: "Hashes every document and archive of a sealed snapshot again. The exit code is 1 when something is damaged or gone. " +
			"Interrupting the command does not stop that.",
		Args: cobra.ExactArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var v snapshot.Verification
		data, err := p.perform(ctx, c, http.MethodPost, "snapshots/"+url.PathEscape(args[0])+"/verify?wait=false", "", nil, &v)
		if err != nil {
			return err
		}
		err = p.show(data, func(w io.Writer) {
			row(w, "documents", v.Documents)
			row(w, "archives", v.Archives)
			row(w, "read", bytesText(v.Bytes))
			row(w, "problems", len(v.Problems))
			writeMissing(w, v.Problems)
		})
		if err == nil && len(v.Problems) > 0 {
			err = errReported
		}
		return err
	})
}

func (p *program) snapshotDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete NAME|ID",
		Short: "Delete a snapshot that no channel points at",
		Long:  "Deletes a snapshot that no channel points at. Recorded documents stay; its archives are no longer pinned.",
		Args:  cobra.ExactArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var s snapshot.Snapshot
		data, err := c.call(ctx, http.MethodDelete, "snapshots/"+url.PathEscape(args[0]), nil, &s)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, s.Name, "is deleted") })
	})
}

func (p *program) snapshotDiffCommand() *cobra.Command {
	var packages []string
	var lock string
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "Show what changed between two worlds",
		Long:  "Shows what changed between two worlds, each a date, an instant, a snapshot, a channel, or now.",
		Args:  cobra.ExactArgs(2),
	}
	cmd.Flags().StringSliceVar(&packages, "package", nil, "only these packages")
	cmd.Flags().StringVar(&lock, "lock", "", "only the packages of this composer.lock")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		q := url.Values{"from": {args[0]}, "to": {args[1]}, "wait": {"false"}}
		for i, text := range packages {
			name, err := composer.ParseName(text)
			if err != nil {
				return usageError("%v", err)
			}
			packages[i] = name.String()
		}
		if len(packages) > 0 {
			q.Set("package", strings.Join(packages, ","))
		}
		method, kind, body := http.MethodGet, "", io.Reader(nil)
		if lock != "" {
			file, err := os.Open(lock)
			if err != nil {
				return err
			}
			defer file.Close()
			method, kind, body = http.MethodPost, "application/json", file
		}
		var d snapshot.Difference
		data, err := p.perform(ctx, c, method, "diff?"+q.Encode(), kind, body, &d)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeDifference(w, d) })
	})
}

func writeDifference(w io.Writer, d snapshot.Difference) {
	if d.Empty() {
		row(w, fmt.Sprintf("no difference in %d files", d.Files))
		return
	}
	for _, group := range []struct {
		what string
		list []snapshot.Change
	}{{"added", d.Added}, {"removed", d.Removed}, {"re-tagged", d.Retagged}, {"denied", d.Denied}, {"allowed", d.Allowed}} {
		for _, c := range group.list {
			reference := short(c.Reference)
			if c.OldReference != "" {
				reference = short(c.OldReference) + " -> " + reference
			}
			row(w, group.what, c.Package, c.Version, reference, c.Reason)
		}
	}
	for _, f := range d.Fidelity {
		row(w, "fidelity", f.File, "", orUnknown(string(f.From))+" -> "+orUnknown(string(f.To)), "")
	}
}

func orUnknown(fidelity string) string {
	if fidelity == "" {
		return "unknown"
	}
	return fidelity
}

func writeSnapshot(w io.Writer, s snapshot.Snapshot) {
	row(w, "name", s.Name)
	if !s.ID.IsZero() {
		row(w, "id", s.ID)
	}
	row(w, "state", s.State)
	if pr := s.Progress; pr != nil {
		row(w, "progress", fmt.Sprintf("%s, %d of %d", pr.Phase, pr.Done, pr.Total))
	}
	row(w, "from", s.From)
	row(w, "instant", utc(s.Instant)+" UTC")
	row(w, "options", fmt.Sprintf("world %s, archives %s, advisories %s, private %s", s.Options.Rest, s.Options.Archives, s.Options.Advisories, s.Options.Private))
	row(w, "created", by(moment(s.CreatedAt), s.CreatedBy))
	if !s.SealedAt.IsZero() {
		row(w, "sealed", moment(s.SealedAt))
	}
	if !s.ImportedAt.IsZero() {
		row(w, "imported", by(moment(s.ImportedAt), s.ImportedBy))
	}
	if s.Note != "" {
		row(w, "note", s.Note)
	}
	row(w, "packages", s.Packages)
	var kinds []string
	for _, f := range slices.Sorted(maps.Keys(s.Fidelity)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.Fidelity[f], f))
	}
	row(w, "files", strings.TrimSpace(fmt.Sprintf("%d  %s", s.Files, strings.Join(kinds, ", "))))
	row(w, "archives", fmt.Sprintf("%d, %s", s.Archives, bytesText(s.Bytes)))
	if s.MissingTotal > 0 {
		row(w, "missing", s.MissingTotal)
		writeMissing(w, s.Missing)
	}
}

func writeMissing(w io.Writer, list []snapshot.Missing) {
	for _, m := range list {
		row(w, "", strings.TrimSpace(m.Package+" "+m.Version), m.Reason)
	}
}

// by says who did something, if that is known.
func by(what, who string) string {
	if who == "" {
		return what
	}
	return what + " by " + who
}

func shortID(s snapshot.Snapshot) string {
	if s.ID.IsZero() {
		return ""
	}
	return short(s.ID.String())
}

// short cuts a reference or an id to what people compare.
func short(reference string) string {
	if len(reference) > 12 {
		return reference[:12]
	}
	return reference
}
