package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stasis/config"
)

// manage makes a command that talks to a running Stasis.
func (p *program) manage(cmd *cobra.Command, work func(ctx context.Context, c *client, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.connect(cmd)
		if err != nil {
			return err
		}
		return work(cmd.Context(), c, args)
	}
	config.AddFlags(cmd.Flags(), "STASIS_URL", "ADMIN_TOKEN")
	return p.addJSON(cmd)
}

// show prints the data as JSON when that was asked for, and otherwise as text.
func (p *program) show(data json.RawMessage, text func(w io.Writer)) error {
	if p.asJSON {
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return err
		}
		b.WriteByte('\n')
		_, err := p.stdout.Write(b.Bytes())
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// showAll is show for a command that asked several times: JSON becomes a list.
func (p *program) showAll(all []json.RawMessage, text func(w io.Writer)) error {
	if len(all) == 1 {
		return p.show(all[0], text)
	}
	list, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return p.show(list, text)
}

// row writes the cells of a table.
func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, printable(fmt.Sprint(cell)))
	}
	fmt.Fprintln(w)
}

// moment writes a time for people, in their zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// seconds writes a number of seconds for people.
func seconds(n int64) string { return config.FormatDuration(time.Duration(n) * time.Second) }

// bytesText writes a number of bytes for people, rounded.
func bytesText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), ""
	for _, u := range units {
		if value < 1024 && value > -1024 {
			break
		}
		value, unit = value/1024, u
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
