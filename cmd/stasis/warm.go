package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// warmWorkers is how many things are fetched at a time, fewer than Composer itself asks for.
const warmWorkers = 8

func (p *program) warmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "warm COMPOSER.LOCK...",
		Short: "Fetch and keep everything that lock files need",
		Long: "Asks the running Stasis for every document and archive of the packages in the lock files, so that they can be " +
			"installed from it later, whatever becomes of their origins.",
		Args: cobra.MinimumNArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, files []string) error {
		list, err := readLocks(files)
		if err != nil {
			return err
		}
		progress := p.newProgress(len(list))
		var summary warmSummary
		for r := range c.fetchAll(ctx, list) {
			summary.add(r)
			progress(r)
		}
		return p.report(summary)
	})
}

// fetched is how one wanted thing went.
type fetched struct {
	wanted
	Bytes   int64
	Already bool // Stasis had it
	Err     error
}

// fetchAll asks for everything, some at a time. The channel is closed after the last result.
func (c *client) fetchAll(ctx context.Context, list []wanted) <-chan fetched {
	results := make(chan fetched)
	go func() {
		defer close(results)
		var group errgroup.Group
		group.SetLimit(warmWorkers)
		for _, w := range list {
			group.Go(func() error {
				results <- c.fetch(ctx, w)
				return nil
			})
		}
		_ = group.Wait()
	}()
	return results
}

// fetch reads a whole answer: what comes without a break is what a client of Composer would get.
func (c *client) fetch(ctx context.Context, w wanted) fetched {
	result := fetched{wanted: w}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+w.Path, nil)
	if err != nil {
		result.Err = err
		return result
	}
	resp, err := c.do(req)
	if err != nil {
		result.Err = err
		return result
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		result.Err = refusal(resp)
		return result
	}
	result.Already = strings.HasPrefix(resp.Header.Get("Cache-Status"), "Stasis; hit")
	if result.Bytes, err = io.Copy(io.Discard, resp.Body); err != nil {
		result.Err = fmt.Errorf("the transfer broke off: %w", err)
	}
	return result
}

// refusal is the reason Stasis gives for an answer that is none.
func refusal(resp *http.Response) error {
	var problem struct {
		Message string `json:"message"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && json.Unmarshal(text, &problem) == nil && problem.Message != "" {
		return fmt.Errorf("%s (status %d)", trimStop(problem.Message), resp.StatusCode)
	}
	return fmt.Errorf("status %d", resp.StatusCode)
}

// warmSummary is what "stasis warm --json" prints.
type warmSummary struct {
	Fetched int           `json:"fetched"`
	Already int           `json:"already_there"`
	Bytes   int64         `json:"bytes"`
	Failed  []warmFailure `json:"failed"`
}

type warmFailure struct {
	What  string `json:"what"`
	Error string `json:"error"`
}

func (s *warmSummary) add(r fetched) {
	s.Bytes += r.Bytes
	switch {
	case r.Err != nil:
		s.Failed = append(s.Failed, warmFailure{r.What, r.Err.Error()})
	case r.Already:
		s.Already++
	default:
		s.Fetched++
	}
}

// newProgress returns what is called with each result: it moves a bar on a terminal, and prints lines elsewhere.
func (p *program) newProgress(total int) func(fetched) {
	switch {
	case isTerminal(p.stderr):
		bar := progressbar.NewOptions(total,
			progressbar.OptionSetWriter(p.stderr), progressbar.OptionShowCount(), progressbar.OptionFullWidth(),
			progressbar.OptionSetDescription("warming"), progressbar.OptionClearOnFinish())
		return func(fetched) { _ = bar.Add(1) }
	case p.asJSON:
		return func(fetched) {}
	}
	return func(r fetched) {
		switch {
		case r.Err != nil: // listed at the end
		case r.Already:
			fmt.Fprintf(p.stdout, "already there: %s\n", r.What)
		default:
			fmt.Fprintf(p.stdout, "fetched: %s (%s)\n", r.What, bytesText(r.Bytes))
		}
	}
}

// report prints the summary, and fails if something could not be fetched.
func (p *program) report(s warmSummary) error {
	if s.Failed == nil {
		s.Failed = []warmFailure{}
	}
	if p.asJSON {
		if err := printJSON(p.stdout, s); err != nil {
			return err
		}
	} else {
		for _, f := range s.Failed {
			fmt.Fprintf(p.stdout, "FAILED: %s: %s\n", printable(f.What), f.Error)
		}
		fmt.Fprintf(p.stdout, "%d fetched, %d already there, %d failed (%s)\n", s.Fetched, s.Already, len(s.Failed), bytesText(s.Bytes))
	}
	if len(s.Failed) > 0 {
		return errReported
	}
	return nil
}
