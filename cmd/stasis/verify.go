package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"stasis/config"
	"stasis/store"
)

// verifyReport is what "stasis verify --json" prints.
type verifyReport struct {
	Records   int64           `json:"records"`
	Documents int64           `json:"documents"`
	Archives  int64           `json:"archives"`
	Bytes     int64           `json:"bytes"`
	Problems  []verifyProblem `json:"problems"`
}

type verifyProblem struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Error   string `json:"error"`
}

func (p *program) verifyCommand() *cobra.Command {
	cmd := p.addJSON(&cobra.Command{
		Use:   "verify",
		Short: "Read everything in the data folder and report damage",
		Long: "Reads every record, document and archive in the data folder and compares them with their checksums. Stasis must not " +
			"be running on the same folder. A damaged archive is dropped, so that it is fetched again when it is next asked for. " +
			"The exit code is 1 when there is damage.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			return p.verify(cmd, loaded.Config)
		},
	})
	config.AddFlags(cmd.Flags(), "STORE_PATH", "STORE_ARCHIVES", "STORE_MIN_FREE_SPACE", "LOG_FORMAT", "LOG_LEVEL")
	return cmd
}

func (p *program) verify(cmd *cobra.Command, c config.Config) (err error) {
	if _, err := os.Stat(c.Store.Path); err != nil {
		return fmt.Errorf("there is no data folder to verify (STORE_PATH): %w", err)
	}
	// No size limit: looking at the data must not evict any of it.
	s, err := store.Open(cmd.Context(), store.Options{
		Path:         c.Store.Path,
		Archives:     c.Store.Archives,
		MinFreeSpace: int64(c.Store.MinFreeSpace),
		Logger:       newLogger(p.stderr, c.Log),
	})
	if err != nil {
		return err
	}
	report := verifyReport{Problems: []verifyProblem{}}
	summary, err := s.Verify(cmd.Context(), func(problem store.Problem) {
		report.Problems = append(report.Problems, verifyProblem{problem.Kind, problem.Subject, problem.Err.Error()})
		if !p.asJSON {
			fmt.Fprintf(p.stdout, "DAMAGED: %s %s: %s\n", problem.Kind, printable(problem.Subject), printable(problem.Err.Error()))
		}
	})
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	report.Records, report.Documents, report.Archives, report.Bytes = summary.Records, summary.Documents, summary.Blobs, summary.Bytes
	if p.asJSON {
		if err := printJSON(p.stdout, report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.stdout, "%d records, %d documents and %d archives (%s) read, %d damaged\n",
			summary.Records, summary.Documents, summary.Blobs, bytesText(summary.Bytes), summary.Problems)
	}
	if summary.Problems > 0 {
		return errReported
	}
	return nil
}
