package main

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"stasis/proxy"
	"stasis/proxy/composer"
)

func (p *program) explainCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "explain VENDOR/PACKAGE VERSION",
		Short: "Say why a version is or is not visible",
		Args:  cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&at, "at", "", "where to look: a date, an instant, a snapshot, a channel, or an age such as cooldown=7d (default now)")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		name, err := composer.ParseName(args[0])
		if err != nil {
			return usageError("%v", err)
		}
		q := url.Values{"version": {args[1]}}
		if at != "" {
			q.Set("at", at)
		}
		var x proxy.Explanation
		data, err := c.call(ctx, http.MethodGet, "packages/"+name.String()+"/explain?"+q.Encode(), nil, &x)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, x.Sentence) })
	})
}
