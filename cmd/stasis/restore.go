package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"stasis/config"
	"stasis/store"
	"stasis/store/backup"
)

// restoreReport is what "stasis restore --json" prints.
type restoreReport struct {
	Backup    backup.Header    `json:"backup"` // the last one
	Records   int64            `json:"records"`
	Documents int64            `json:"documents"`
	Archives  int64            `json:"archives"`
	Bytes     int64            `json:"bytes"`
	Missing   []backup.Missing `json:"missing"`
	Problems  []verifyProblem  `json:"problems"`
}

func (p *program) restoreCommand() *cobra.Command {
	var check bool
	cmd := p.addJSON(&cobra.Command{
		Use:   "restore FILE...|FOLDER",
		Short: "Make a data folder from backups",
		Long: "Makes a data folder (STORE_PATH, empty or new) from a full backup and those that continue it, in the order in which they " +
			"were made; of a folder that stasis backup --to keeps, from the newest. Everything is read back and compared at the end, as " +
			"by stasis verify. A damaged backup is refused. Until it is over the folder cannot be used; a restore that was interrupted " +
			"is taken up by the same command.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			files, err := p.backupFiles(args)
			if err != nil {
				return err
			}
			if check {
				return p.checkBackups(files)
			}
			return p.restore(cmd, loaded.Config, files)
		},
	})
	cmd.Flags().BoolVar(&check, "check", false, "only read the backups and see whether they could be restored")
	config.AddFlags(cmd.Flags(), "STORE_PATH", "STORE_ARCHIVES", "STORE_MIN_FREE_SPACE", "LOG_FORMAT", "LOG_LEVEL")
	return cmd
}

// backupFiles are the files to restore, the full backup first.
func (p *program) backupFiles(args []string) ([]string, error) {
	info, err := os.Stat(args[0])
	if err != nil || !info.IsDir() {
		return args, nil // what cannot be read is told when it is opened
	}
	if len(args) > 1 {
		return nil, usageError("name one folder, or files")
	}
	files, err := backup.ReadFolder(args[0])
	if err != nil {
		fmt.Fprintln(p.stderr, "passed over:", printable(err.Error()))
	}
	chain := backup.Newest(files)
	if len(chain) == 0 {
		return nil, fmt.Errorf("there is no backup in %s that can be restored", args[0])
	}
	var names []string
	for _, f := range chain {
		names = append(names, f.Path)
	}
	return names, nil
}

// opened are files being read, with a bar that shows how far.
type opened struct {
	readers []io.Reader
	files   []*os.File
	bar     io.Closer
}

func (p *program) open(what string, names []string) (*opened, error) {
	o := &opened{}
	var total int64
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		o.files = append(o.files, f)
		if info, err := f.Stat(); err == nil {
			total += info.Size()
		}
	}
	bar := p.transfer(what, total)
	o.bar = bar
	for _, f := range o.files {
		o.readers = append(o.readers, io.TeeReader(f, bar))
	}
	return o, nil
}

func (o *opened) Close() error {
	if o.bar != nil {
		_ = o.bar.Close()
	}
	for _, f := range o.files {
		_ = f.Close()
	}
	return nil
}

func (p *program) restore(cmd *cobra.Command, c config.Config, names []string) error {
	in, err := p.open("restoring", names)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(restoreMemory)
	}
	report := restoreReport{Missing: []backup.Missing{}, Problems: []verifyProblem{}}
	restored, err := store.Restore(cmd.Context(), store.Options{
		Path: c.Store.Path, Archives: c.Store.Archives, MinFreeSpace: int64(c.Store.MinFreeSpace), Logger: newLogger(p.stderr, c.Log),
	}, in.readers, func(problem store.Problem) {
		report.Problems = append(report.Problems, verifyProblem{problem.Kind, problem.Subject, problem.Err.Error()})
		fmt.Fprintf(p.stderr, "DAMAGED: %s %s: %s\n", problem.Kind, printable(problem.Subject), printable(problem.Err.Error()))
	})
	if err != nil {
		return err
	}
	v := restored.Verified
	report.Backup, report.Missing = restored.Backup, append(report.Missing, restored.Missing...)
	report.Records, report.Documents, report.Archives, report.Bytes = v.Records, v.Documents, v.Blobs, v.Bytes
	if p.asJSON {
		return printJSON(p.stdout, report)
	}
	p.warnMissing(restored.Missing)
	fmt.Fprintf(p.stdout, "%s is as of %s: %d records, %d documents and %d archives (%s), read back and compared; %d missing\n",
		printable(c.Store.Path), restored.Backup.Moment(), v.Records, v.Documents, v.Blobs, bytesText(v.Bytes), len(restored.Missing))
	return nil
}

// restoreMemory makes the runtime collect the garbage of a restore early: it is large and quickly looked through. GOMEMLIMIT
// says otherwise.
const restoreMemory = 256 << 20

// checkBackups reads backups as restoring them would.
func (p *program) checkBackups(names []string) error {
	in, err := p.open("checking", names)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	chain, err := backup.Chain(in.readers)
	if err != nil {
		return err
	}
	all := make([]takenBackup, 0, len(chain))
	for i, b := range chain {
		totals, missing, err := b.Check()
		if err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		all = append(all, takenBackup{File: names[i], Backup: b.Header(), Totals: totals, Missing: append([]backup.Missing{}, missing...)})
	}
	if p.asJSON {
		return printJSON(p.stdout, all)
	}
	for _, t := range all {
		if err := p.showBackup(p.stdout, t); err != nil {
			return err
		}
	}
	return nil
}
