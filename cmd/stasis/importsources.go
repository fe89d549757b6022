package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"stasis/private"
	"stasis/private/satis"
)

// Imported is what came of one source of an import.
type Imported struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	From     string   `json:"from,omitempty"` // URL or folder
	Packages []string `json:"packages,omitempty"`
	// Result is added, read or failed; with --dry-run it is planned.
	Result string       `json:"result"`
	Error  string       `json:"error,omitempty"`
	Run    *private.Run `json:"run,omitempty"`
}

// ImportReport is what an import did, and what it did not carry over.
type ImportReport struct {
	Sources []Imported   `json:"sources"`
	Notes   []satis.Note `json:"notes"`
}

// addImports gives the import command its forms beside the bundle.
func (p *program) addImports(cmd *cobra.Command) *cobra.Command {
	cmd.AddCommand(p.importSatisCommand(), p.importGitCommand(), p.importFolderCommand())
	return cmd
}

// importFlags are what all imports of sources can be told.
type importFlags struct{ dry, skipSync bool }

func (f *importFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be added, and add nothing")
	cmd.Flags().BoolVar(&f.skipSync, "skip-sync", false, "do not wait until the sources were read")
}

func (p *program) importSatisCommand() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use:   "satis SATIS.JSON",
		Short: "Add the repositories of a satis.json as sources",
		Long: "Adds the repositories of a satis.json as sources, in their order, and reports which settings have no counterpart " +
			"here. Credentials that the file has are stored encrypted.",
		Args: cobra.ExactArgs(1),
	}
	flags.add(cmd)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		text, err := p.readFile(args[0])
		if err != nil {
			return err
		}
		plan, err := satis.Parse([]byte(text))
		if err != nil {
			return err
		}
		return p.runImport(ctx, c, plan, flags)
	})
}

func (p *program) importGitCommand() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use:   "git FILE",
		Short: "Add the git repositories in a list, one address a line, as sources",
		Args:  cobra.ExactArgs(1),
	}
	flags.add(cmd)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		text, err := p.readFile(args[0])
		if err != nil {
			return err
		}
		plan, err := satis.ParseList([]byte(text))
		if err != nil {
			return err
		}
		return p.runImport(ctx, c, plan, flags)
	})
}

// runImport adds what a plan has, one after the other: a source that cannot be added keeps none of the others away.
func (p *program) runImport(ctx context.Context, c *client, plan satis.Import, flags importFlags) error {
	report := ImportReport{Sources: []Imported{}, Notes: plan.Notes}
	if report.Notes == nil {
		report.Notes = []satis.Note{}
	}
	failed := 0
	for i, src := range plan.Sources {
		done := Imported{Name: src.Name, Type: src.Type, From: src.URL + src.Folder, Packages: src.Packages, Result: "planned"}
		if !flags.dry {
			p.importOne(ctx, c, src, i, flags, &done)
		}
		if done.Result == "failed" {
			failed++
		}
		report.Sources = append(report.Sources, done)
		if !p.asJSON {
			fmt.Fprintln(p.stdout, printable(done.line()))
		}
	}
	if !flags.dry {
		failed += p.importAbandoned(ctx, c, plan)
	}
	if p.asJSON {
		if err := printJSON(p.stdout, report); err != nil {
			return err
		}
	} else {
		for _, n := range report.Notes {
			fmt.Fprintln(p.stdout, printable(strings.TrimSpace("note: "+n.Key+" "+n.Text)))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d could not be imported", failed, len(plan.Sources))
	}
	return nil
}

func (d Imported) line() string {
	text := fmt.Sprintf("%s: %s %s", d.Result, d.Type, d.Name)
	if d.Run != nil {
		text += fmt.Sprintf(" (%d versions, %d skipped)", d.Run.Counts.Published, d.Run.Counts.Skipped)
	}
	if d.Error != "" {
		text += ": " + d.Error
	}
	return text
}

func (p *program) importOne(ctx context.Context, c *client, src satis.Source, order int, flags importFlags, done *Imported) {
	body := map[string]any{"type": src.Type, "name": src.Name, "priority": order}
	for key, value := range map[string]string{"url": src.URL, "folder": src.Folder} {
		if value != "" {
			body[key] = value
		}
	}
	if src.Definitions != nil {
		body["definitions"] = src.Definitions
	}
	if len(src.Packages) > 0 {
		body["packages"] = src.Packages
	}
	if src.Credentials != nil {
		body["credentials"] = map[string]string{"username": src.Credentials.Username, "password": src.Credentials.Password}
	}
	var added private.Source
	_, err := c.call(ctx, http.MethodPost, "/sources", body, &added)
	done.Result = "added"
	if err == nil && !flags.skipSync {
		var run private.Run
		if run, _, err = c.firstRun(ctx, added.ID); err == nil {
			done.Result, done.Run = "read", &run
			if run.Result == "failed" {
				err = fmt.Errorf("it was added, and could not be read: %s", run.Error)
			}
		}
	}
	if err != nil {
		done.Result, done.Error = "failed", err.Error()
	}
}

// importAbandoned marks packages as the configuration did, and returns how many could not be.
func (p *program) importAbandoned(ctx context.Context, c *client, plan satis.Import) (failed int) {
	names := make([]string, 0, len(plan.Abandoned))
	instead := map[string]string{}
	for n, replacement := range plan.Abandoned {
		names = append(names, n.String())
		instead[n.String()] = replacement
	}
	sort.Strings(names)
	for _, name := range names {
		body := map[string]string{}
		if instead[name] != "" {
			body["replacement"] = instead[name]
		}
		if _, err := c.call(ctx, http.MethodPost, "/packages/"+name+"/abandon", body, nil); err != nil {
			failed++
			fmt.Fprintf(p.stderr, "%s is not marked as abandoned: %s\n", printable(name), printable(err.Error()))
		}
	}
	return failed
}

func (p *program) importFolderCommand() *cobra.Command {
	var flags importFlags
	var source string
	cmd := &cobra.Command{
		Use:   "folder DIR",
		Short: "Upload the archives in a folder of this machine",
		Long: "Uploads the archives in a folder and below it, each with the name and version in its composer.json. A folder that " +
			"the server can see itself is better watched: stasis source add artifact FOLDER.",
		Args: cobra.ExactArgs(1),
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&source, "source", "", "the source of type artifact to upload to")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		files, err := archivesIn(args[0])
		if err != nil {
			return err
		}
		report := ImportReport{Sources: []Imported{}, Notes: []satis.Note{}}
		failed := 0
		for _, file := range files {
			done := Imported{Name: filepath.Base(file), Type: "artifact", From: file, Result: "planned"}
			if !flags.dry {
				done.Result = "added"
				if err := uploadArchive(ctx, c, file, source); err != nil {
					done.Result, done.Error = "failed", err.Error()
					failed++
				}
			}
			report.Sources = append(report.Sources, done)
			if !p.asJSON {
				fmt.Fprintln(p.stdout, printable(done.line()))
			}
		}
		if p.asJSON {
			if err := printJSON(p.stdout, report); err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d archives were not taken", failed, len(files))
		}
		return nil
	})
}

// archivesIn lists the archives in a folder and below it.
func archivesIn(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, ext := range []string{".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2"} {
			if strings.HasSuffix(strings.ToLower(path), ext) {
				files = append(files, path)
				break
			}
		}
		return nil
	})
	return files, err
}

// uploadArchive sends one archive.
func uploadArchive(ctx context.Context, c *client, file, source string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	query := url.Values{"filename": {filepath.Base(file)}}
	if source != "" {
		query.Set("source", source)
	}
	_, err = c.upload(ctx, http.MethodPost, "/packages/upload?"+query.Encode(), "application/octet-stream", f, nil)
	return err
}
