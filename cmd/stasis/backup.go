package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"stasis/store"
	"stasis/store/backup"
)

func (p *program) backupCommand() *cobra.Command {
	var since, archives, output, to, fullEvery string
	var keep int
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up a running Stasis",
		Long: "Writes a backup of everything that a running Stasis keeps, as of one moment, to standard output or a file: all records " +
			"and metadata documents, and the archives that are pinned by snapshots, freezes and private packages. With --since it " +
			"holds only what changed after an earlier backup. With --to it is kept in a folder: a full backup now and then, and in " +
			"between what changed since the one before. stasis restore makes a data folder of it.",
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&since, "since", "", "the file or the id of an earlier backup of the same Stasis, not older than 90 days")
	cmd.Flags().StringVar(&archives, "archives", "", `which archives to include: "pinned", "all" or "none" (default as before with --since, else pinned)`)
	cmd.Flags().StringVarP(&output, "output", "o", "", "the file to write; it must not exist yet")
	cmd.Flags().StringVar(&to, "to", "", "the folder to keep backups in")
	cmd.Flags().StringVar(&fullEvery, "full-every", "7d", "with --to: how old a full backup may get before the next one")
	cmd.Flags().IntVar(&keep, "keep", 0, "with --to: how many full backups to keep, with those that continue them; 0 keeps all")
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		switch archives {
		case "", store.BackupPinned, store.BackupAll, store.BackupNone:
		default:
			return usageError("--archives is %q, and must be %q, %q or %q", archives, store.BackupPinned, store.BackupAll, store.BackupNone)
		}
		if to != "" {
			if since != "" || output != "" {
				return usageError("--to chooses file and base itself; leave out --since and --output")
			}
			return p.keepBackup(ctx, c, keeping{folder: to, archives: archives, fullEvery: fullEvery, keep: keep})
		}
		id, err := backupID(since)
		if err != nil {
			return err
		}
		if output != "" {
			var taken takenBackup
			_, err := writeNew(output, 0o600, func(w io.Writer) (n int64, err error) {
				taken, err = p.takeBackup(ctx, c, id, archives, w)
				taken.File = output
				return taken.Totals.Bytes, err
			})
			if err != nil {
				return err
			}
			return p.showBackup(p.stdout, taken)
		}
		switch {
		case isTerminal(p.stdout):
			return usageError("a backup is not for a terminal; name a file with --output, or redirect standard output")
		case p.asJSON:
			return usageError("--json needs --output or --to, because the backup itself goes to standard output")
		}
		taken, err := p.takeBackup(ctx, c, id, archives, p.stdout)
		if err != nil {
			return err
		}
		return p.showBackup(p.stderr, taken)
	})
}

var idPattern = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// backupID is the id of a backup that is named by it or by its file.
func backupID(since string) (string, error) {
	if since == "" || idPattern.MatchString(since) {
		return since, nil
	}
	h, err := backup.ReadHeader(since)
	if err != nil {
		return "", fmt.Errorf("--since: %w", err)
	}
	return h.ID, nil
}

// takenBackup is what "stasis backup --json" prints.
type takenBackup struct {
	File    string           `json:"file,omitempty"`
	Backup  backup.Header    `json:"backup"`
	Totals  backup.Totals    `json:"totals"`
	Missing []backup.Missing `json:"missing"`
}

// takeBackup fetches a backup and checks it while it is written to w.
func (p *program) takeBackup(ctx context.Context, c *client, since, archives string, w io.Writer) (takenBackup, error) {
	q := url.Values{}
	if since != "" {
		q.Set("since", since)
	}
	if archives != "" {
		q.Set("archives", archives)
	}
	path := "backup"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	resp, err := c.request(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return takenBackup{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, err := c.decode(resp, nil)
		return takenBackup{}, err
	}
	progress := p.transfer("backing up", -1)
	defer progress.Close()
	t := takenBackup{Missing: []backup.Missing{}}
	header, totals, missing, err := backup.Check(io.TeeReader(resp.Body, io.MultiWriter(w, progress)))
	if err != nil {
		return t, fmt.Errorf("the transfer from %s did not come to its end, and what was written is worth nothing: %w", c.base, err)
	}
	t.Backup, t.Totals, t.Missing = header, totals, append(t.Missing, missing...)
	return t, nil
}

// transfer draws how many bytes have passed on a terminal; total is -1 when it is not known.
func (p *program) transfer(what string, total int64) io.WriteCloser {
	if !isTerminal(p.stderr) {
		return nowhere{}
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.stderr), progressbar.OptionShowBytes(true),
		progressbar.OptionFullWidth(), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish(),
		progressbar.OptionSpinnerType(14))
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// showBackup says what a backup has, and what it lacks.
func (p *program) showBackup(w io.Writer, t takenBackup) error {
	if p.asJSON {
		return printJSON(w, t)
	}
	p.warnMissing(t.Missing)
	kind := "full backup"
	if !t.Backup.Full() {
		kind = "what changed since " + t.Backup.Since
	}
	if t.File != "" {
		fmt.Fprintf(w, "%s: ", printable(t.File))
	}
	n := t.Totals
	fmt.Fprintf(w, "%s, as of %s, id %s: %d records, %d removed, %d documents, %d of %d archives (%s), %s in all\n", kind, t.Backup.Moment(),
		t.Backup.ID, n.Records, n.Removed, n.Documents, n.Archives, n.Held, bytesText(n.ArchiveBytes), bytesText(n.Bytes))
	return nil
}

// warnMissing names what a backup could not include.
func (p *program) warnMissing(missing []backup.Missing) {
	for _, m := range missing {
		fmt.Fprintf(p.stderr, "MISSING: %s %s: %s\n", m.Kind, printable(m.Subject), printable(m.Why))
	}
}
