package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/config"
	"stasis/private"
)

func (p *program) sourceCommand() *cobra.Command {
	cmd := parent("source", "Where private packages come from: git, other Composer repositories, archives, definitions")
	cmd.AddCommand(p.sourceAddCommand(), p.sourceListCommand(), p.sourceShowCommand(), p.sourceSyncCommand(), p.sourceRemoveCommand())
	return cmd
}

// sourceFlags are what sources of several types can be given.
type sourceFlags struct {
	name, username, passwordFile, keyFile, knownHosts, interval string
	packages, paths                                             []string
	priority                                                    int
	includeSource                                               bool
}

func (s *sourceFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "what to call the source")
	f.StringSliceVar(&s.packages, "packages", nil, "the names it may provide, such as acme/*; they are asked of nobody else")
	f.StringSliceVar(&s.paths, "path", nil, "globs of the folders of a monorepo that hold packages, such as packages/*")
	f.IntVar(&s.priority, "priority", 0, "the lower one wins where two sources have the same package")
	f.StringVar(&s.interval, "interval", "", "how often it is read, such as 1h; 0 for never by itself")
	f.BoolVar(&s.includeSource, "include-source", false, "let clients clone the repository")
	f.StringVar(&s.username, "username", "", "the user name of its credentials")
	f.StringVar(&s.passwordFile, "password-file", "", "the file with the password or token of its credentials; - for standard input")
	f.StringVar(&s.keyFile, "ssh-key", "", "the file with the SSH key (PEM) of its credentials")
	f.StringVar(&s.knownHosts, "known-hosts", "", "the file with the host keys that are expected, as OpenSSH has it")
}

// body is what the API takes to add such a source.
func (s *sourceFlags) body(p *program, kind private.SourceType) (map[string]any, error) {
	body := map[string]any{"type": kind}
	if s.name != "" {
		body["name"] = s.name
	}
	if s.packages != nil {
		body["packages"] = s.packages
	}
	if s.paths != nil {
		body["paths"] = s.paths
	}
	if s.priority != 0 {
		body["priority"] = s.priority
	}
	if s.includeSource {
		body["include_source"] = true
	}
	if s.interval != "" {
		d, err := config.ParseDuration(s.interval)
		if err != nil {
			return nil, usageError("--interval: %v", err)
		}
		body["interval"] = int(d / time.Second)
	}
	secret := map[string]string{}
	if s.username != "" {
		secret["username"] = s.username
	}
	for field, file := range map[string]string{"password": s.passwordFile, "ssh_key": s.keyFile, "known_hosts": s.knownHosts} {
		if file == "" {
			continue
		}
		text, err := p.readFile(file)
		if err != nil {
			return nil, err
		}
		if field == "password" {
			text = strings.TrimRight(text, "\r\n")
		}
		secret[field] = text
	}
	if len(secret) > 0 {
		body["credentials"] = secret
	}
	return body, nil
}

// readFile reads a file that is named on the command line; - is standard input.
func (p *program) readFile(name string) (string, error) {
	if name == "-" {
		text, err := io.ReadAll(p.stdin)
		return string(text), err
	}
	text, err := os.ReadFile(name)
	return string(text), err
}

func (p *program) sourceAddCommand() *cobra.Command {
	var src sourceFlags
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "add git|composer URL | artifact [FOLDER] | package FILE",
		Short: "Add a source of packages",
		Long: "Adds a source: a git repository, another Composer repository, a watched folder of archives (below " +
			"PRIVATE_ARTIFACT_FOLDER) or, without a folder, a place for uploads, or a file with definitions as in Composer's " +
			"package repository. Credentials are given in files, so that they do not show in the list of processes; they are " +
			"stored encrypted with ENCRYPTION_KEY.",
		Args: cobra.RangeArgs(1, 2),
	}
	src.add(cmd)
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "let uploads replace versions that exist")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		kind := private.SourceType(args[0])
		body, err := src.body(p, kind)
		if err != nil {
			return err
		}
		if overwrite {
			body["overwrite"] = true
		}
		switch {
		case kind == private.Artifact && len(args) == 1:
		case len(args) == 1:
			return usageError("a source of type %s needs a second argument; see stasis source add --help", kind)
		case kind == private.Git, kind == private.Composer:
			body["url"] = args[1]
		case kind == private.Artifact:
			body["folder"] = args[1]
		case kind == private.Inline:
			text, err := p.readFile(args[1])
			if err != nil {
				return err
			}
			if !json.Valid([]byte(text)) {
				return usageError("%s is not JSON", args[1])
			}
			body["definitions"] = json.RawMessage(text)
		default:
			return usageError("the type %q is not known; it is git, composer, artifact or package", kind)
		}
		return p.addSource(ctx, c, body)
	})
}

// addSource adds a source and waits until it was read once.
func (p *program) addSource(ctx context.Context, c *client, body map[string]any) error {
	var added private.Source
	if _, err := c.call(ctx, http.MethodPost, "/sources", body, &added); err != nil {
		return err
	}
	if !p.asJSON {
		if _, err := fmt.Fprintf(p.stdout, "%s was added as %s\n", printable(added.Name), added.ID); err != nil {
			return err
		}
	}
	run, data, err := c.firstRun(ctx, added.ID)
	if err != nil {
		return err
	}
	return p.showRun(data, run)
}

// firstRun waits until a source that was just added was read, and returns what came of that.
func (c *client) firstRun(ctx context.Context, id string) (run private.Run, data json.RawMessage, err error) {
	path := "/sources/" + id
	if _, err := c.call(ctx, http.MethodPost, path+"/sync", nil, nil); err != nil {
		return run, nil, err
	}
	var runs []private.Run
	if _, err := c.call(ctx, http.MethodGet, path+"/runs", nil, &runs); err != nil {
		return run, nil, err
	}
	if len(runs) == 0 {
		return run, nil, fmt.Errorf("nothing is known of the reading of %s", id)
	}
	run = runs[len(runs)-1]
	data, err = json.Marshal(run)
	return run, data, err
}

func (p *program) sourceListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List sources in the order in which they are asked", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var all []private.Source
		data, err := c.call(ctx, http.MethodGet, "/sources", nil, &all)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no sources")
				return
			}
			row(w, "SOURCE", "TYPE", "NAME", "PACKAGES", "LAST READ", "RESULT")
			for _, src := range all {
				at, result := "never", ""
				if src.LastRun != nil {
					at, result = moment(src.LastRun.StartedAt), src.LastRun.Result
				}
				row(w, src.ID, src.Type, src.Name, strings.Join(src.Packages, " "), at, result)
			}
		})
	})
}

func (p *program) sourceShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show SOURCE", Short: "Show a source and what came of its last readings", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var src private.Source
		path := "/sources/" + url.PathEscape(args[0])
		data, err := c.call(ctx, http.MethodGet, path, nil, &src)
		if err != nil {
			return err
		}
		var runs []private.Run
		if _, err := c.call(ctx, http.MethodGet, path+"/runs", nil, &runs); err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			row(w, src.ID, src.Type, src.Name)
			for _, r := range runs {
				row(w, moment(r.StartedAt), r.Trigger)
				writeRun(w, r)
			}
		})
	})
}

func (p *program) sourceSyncCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sync SOURCE...", Short: "Read sources now", Args: cobra.MinimumNArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		for _, ref := range args {
			if err := p.syncAt(ctx, c, "/sources/"+url.PathEscape(ref)+"/sync"); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *program) sourceRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove SOURCE",
		Short: "Remove a source; its packages stay as they are",
		Args:  cobra.ExactArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var src private.Source
		data, err := c.call(ctx, http.MethodDelete, "/sources/"+url.PathEscape(args[0]), nil, &src)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, src.Name+" is removed") })
	})
}

// pages reads all pages of a list.
func pages[T any](ctx context.Context, c *client, path string, query url.Values) (all []T, data json.RawMessage, err error) {
	const size = 500
	query.Set("per_page", fmt.Sprint(size))
	all = []T{}
	for page := 1; ; page++ {
		query.Set("page", fmt.Sprint(page))
		var part []T
		if _, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &part); err != nil {
			return nil, nil, err
		}
		if all = append(all, part...); len(part) < size {
			break
		}
	}
	data, err = json.Marshal(all)
	return all, data, err
}
