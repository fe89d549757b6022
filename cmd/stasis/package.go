package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/api"
	"stasis/private"
	"stasis/proxy/composer"
)

func (p *program) packageCommand() *cobra.Command {
	cmd := parent("package", "Private packages: add, look at, yank, delete")
	cmd.AddCommand(p.packageAddCommand(), p.packageListCommand(), p.packageShowCommand(), p.packageSyncCommand(),
		p.packageYankCommand(), p.packageUnyankCommand(), p.packageDeprecateCommand(),
		p.packageRemoveCommand(), p.packageRestoreCommand(), p.packageReleaseCommand())
	return cmd
}

// packagePath is where the API has a package; more may follow.
func packagePath(name string, more ...string) (string, error) {
	n, err := composer.ParseName(name)
	if err != nil {
		return "", usageError("%v", err)
	}
	path := "/packages/" + n.Vendor() + "/" + n.Package()
	for _, part := range more {
		path += "/" + url.PathEscape(part)
	}
	return path, nil
}

func (p *program) packageAddCommand() *cobra.Command {
	var src sourceFlags
	cmd := &cobra.Command{
		Use:   "add REPOSITORY",
		Short: "Publish the packages of a git repository",
		Long: "Adds a git repository as a source: every tag and branch of it that has a composer.json becomes a version. The " +
			"command waits until the repository was read. stasis source add takes the other types of sources.",
		Args: cobra.ExactArgs(1),
	}
	src.add(cmd)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body, err := src.body(p, private.Git)
		if err != nil {
			return err
		}
		body["url"] = args[0]
		return p.addSource(ctx, c, body)
	})
}

func (p *program) packageListCommand() *cobra.Command {
	var source string
	var deleted bool
	cmd := &cobra.Command{Use: "list", Short: "List private packages", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&source, "source", "", "only those of this source, by its name or id")
	cmd.Flags().BoolVar(&deleted, "deleted", false, "also those that were deleted")
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		query := url.Values{}
		if source != "" {
			query.Set("source", source)
		}
		if deleted {
			query.Set("deleted", "true")
		}
		all, data, err := pages[private.Package](ctx, c, "/packages", query)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no private packages")
				return
			}
			row(w, "PACKAGE", "LATEST", "VERSIONS", "SOURCE", "CHANGED")
			for _, pkg := range all {
				state := fmt.Sprint(pkg.Versions)
				if !pkg.DeletedAt.IsZero() {
					state = "deleted"
				}
				row(w, pkg.Name, pkg.Latest, state, pkg.Source, moment(pkg.UpdatedAt))
			}
		})
	})
}

func (p *program) packageShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show VENDOR/PACKAGE", Short: "Show a private package and its versions", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		path, err := packagePath(args[0])
		if err != nil {
			return err
		}
		var d api.PackageDetails
		data, err := c.call(ctx, http.MethodGet, path, nil, &d)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			row(w, d.Name, d.Description)
			row(w, "source", d.Source)
			row(w, "VERSION", "REFERENCE", "SIZE", "PUBLISHED", "")
			for _, v := range d.VersionList {
				note := ""
				switch {
				case !v.YankedAt.IsZero():
					note = strings.TrimSpace("yanked " + v.YankReason)
				case v.Deprecated == "true":
					note = "deprecated"
				case v.Deprecated != "":
					note = "deprecated, use " + v.Deprecated
				}
				row(w, v.Pretty, short(v.Reference), bytesText(v.Size), moment(v.PublishedAt), note)
			}
		})
	})
}

func (p *program) packageSyncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sync VENDOR/PACKAGE...",
		Short: "Read the sources of packages now",
		Args:  cobra.MinimumNArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		for _, name := range args {
			path, err := packagePath(name, "sync")
			if err != nil {
				return err
			}
			if err := p.syncAt(ctx, c, path); err != nil {
				return err
			}
		}
		return nil
	})
}

// oneVersion makes a command that does something to one version.
func (p *program) oneVersion(cmd *cobra.Command, verb, done string, body func() any) *cobra.Command {
	cmd.Args = cobra.ExactArgs(2)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		path, err := packagePath(args[0], verb, args[1])
		if err != nil {
			return err
		}
		var v api.VersionDetails
		data, err := c.call(ctx, http.MethodPost, path, body(), &v)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" "+v.Pretty+" is "+done) })
	})
}

func (p *program) packageYankCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "yank VENDOR/PACKAGE VERSION",
		Short: "Hide a version; lock files that have it go on working",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever wonders")
	return p.oneVersion(cmd, "yank", "yanked", func() any { return map[string]string{"reason": reason} })
}

func (p *program) packageUnyankCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "unyank VENDOR/PACKAGE VERSION", Short: "Show a version again"}
	return p.oneVersion(cmd, "unyank", "visible", func() any { return nil })
}

func (p *program) packageDeprecateCommand() *cobra.Command {
	var instead string
	var undo bool
	cmd := &cobra.Command{Use: "deprecate VENDOR/PACKAGE VERSION", Short: "Let Composer warn of a version"}
	cmd.Flags().StringVar(&instead, "instead", "", "the package to use instead")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the mark away")
	return p.oneVersion(cmd, "deprecate", "marked", func() any {
		body := map[string]string{}
		if instead != "" {
			body["replacement"] = instead
		}
		if undo {
			body["undo"] = "true"
		}
		return body
	})
}

// wholeCommand makes a command that does something to whole packages.
func (p *program) wholeCommand(cmd *cobra.Command, method, done string, more ...string) *cobra.Command {
	cmd.Args = cobra.MinimumNArgs(1)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var failures []error
		for _, name := range args {
			path, err := packagePath(name, more...)
			if err != nil {
				return err
			}
			data, err := c.call(ctx, method, path, nil, nil)
			if err == nil {
				err = p.show(data, func(w io.Writer) { row(w, name+" is "+done) })
			}
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	})
}

func (p *program) packageRemoveCommand() *cobra.Command {
	return p.wholeCommand(&cobra.Command{
		Use:   "remove VENDOR/PACKAGE...",
		Short: "Take packages away; their names stay private",
		Long: "Takes packages away. Nobody else's package can take their place: their names stay private until they are released. " +
			"Dated views of the time before stay what they were, and stasis package restore brings a package back.",
	}, http.MethodDelete, "deleted")
}

func (p *program) packageRestoreCommand() *cobra.Command {
	return p.wholeCommand(&cobra.Command{Use: "restore VENDOR/PACKAGE...", Short: "Bring removed packages back"}, http.MethodPost, "back", "restore")
}

func (p *program) packageReleaseCommand() *cobra.Command {
	return p.wholeCommand(&cobra.Command{
		Use:   "release VENDOR/PACKAGE...",
		Short: "Give up the names of removed packages",
		Long: "Gives up the names of removed packages: from then on a package of that name comes from wherever it is found, the " +
			"public registry included, unless a pattern still reserves the name.",
	}, http.MethodPost, "not private any more", "release")
}

// syncAt has something read, and tells what came of it.
func (p *program) syncAt(ctx context.Context, c *client, path string) error {
	var run private.Run
	data, err := c.call(ctx, http.MethodPost, path, nil, &run)
	if err != nil {
		return err
	}
	return p.showRun(data, run)
}

// showRun tells what came of the reading of a source, and fails if that did.
func (p *program) showRun(data json.RawMessage, run private.Run) error {
	if err := p.show(data, func(w io.Writer) { writeRun(w, run) }); err != nil {
		return err
	}
	if run.Result == "failed" {
		return errReported
	}
	return nil
}

// writeRun tells what came of the reading of a source.
func writeRun(w io.Writer, r private.Run) {
	took := r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond)
	row(w, fmt.Sprintf("%s: %d found, %d published, %d removed, %d skipped (%s)", r.Result, r.Counts.Found, r.Counts.Published, r.Counts.Removed, r.Counts.Skipped, took))
	if r.Error != "" {
		row(w, r.Error)
	}
	for _, v := range r.Retagged {
		row(w, "RE-TAGGED", v)
	}
	for _, s := range append(r.Skipped, r.Notes...) {
		row(w, strings.TrimSpace(s.Ref+" "+s.Path), s.Reason)
	}
}
