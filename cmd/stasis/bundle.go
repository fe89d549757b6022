package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"stasis/proxy/snapshot"
)

func (p *program) exportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export NAME|ID",
		Short: "Write a sealed snapshot as one bundle",
		Long: "Writes a sealed snapshot, its manifest, documents and archives, as one bundle to standard output or a file. Another " +
			"Stasis that imports it serves the same snapshot with the same id.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the file to write; it must not exist yet")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		path := "snapshots/" + url.PathEscape(args[0]) + "/export"
		if output == "" {
			if isTerminal(p.stdout) {
				return usageError("a bundle is not for a terminal; name a file with --output, or redirect standard output")
			}
			_, err := c.download(ctx, path, p.stdout)
			return err
		}
		n, err := writeNew(output, 0o644, func(w io.Writer) (int64, error) { return c.download(ctx, path, w) })
		if err != nil {
			return err
		}
		if p.asJSON {
			return printJSON(p.stdout, map[string]any{"file": output, "bytes": n})
		}
		_, err = fmt.Fprintf(p.stdout, "%s has %s\n", printable(output), bytesText(n))
		return err
	})
}

// writeNew makes a file that appears whole or not at all.
func writeNew(name string, mode os.FileMode, write func(io.Writer) (int64, error)) (n int64, err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	if n, err = write(file); err != nil {
		return n, err
	}
	return n, file.Sync()
}

func (p *program) importCommand() *cobra.Command {
	var name, who string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Read a bundle that was exported elsewhere",
		Long:  "Reads a bundle from a file, or with - from standard input. A damaged bundle is refused whole.",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&name, "name", "", "what to call the snapshot here (default its name there)")
	cmd.Flags().StringVar(&who, "by", "", "who asks for it")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		bundle := p.stdin
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			bundle = file
		}
		q := url.Values{}
		if name != "" {
			q.Set("name", name)
		}
		if who != "" {
			q.Set("by", who)
		}
		path := "snapshots/import"
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		var s snapshot.Snapshot
		data, err := c.upload(ctx, http.MethodPost, path, "application/octet-stream", bundle, &s)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeSnapshot(w, s) })
	})
}
