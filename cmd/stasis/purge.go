package main

import (
	"context"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"stasis/proxy"
	"stasis/proxy/composer"
)

// purgeBody is what the API takes to purge; an empty one means everything.
type purgeBody struct {
	Package string `json:"package,omitempty"`
	Kind    string `json:"kind,omitempty"`
}

func (p *program) purgeCommand() *cobra.Command {
	var all bool
	var kind string
	cmd := &cobra.Command{
		Use:   "purge [VENDOR/PACKAGE | --all]",
		Short: "Forget cached answers, so that they are fetched anew",
		Long:  "Forgets what is cached of one package or of all. Recorded history, freezes and pinned archives stay.",
		Args:  cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, "every package")
	cmd.Flags().StringVar(&kind, "kind", "", "only archives, or only metadata")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := purgeBody{Kind: kind}
		switch {
		case all == (len(args) == 1):
			return usageError("purge needs either a package or --all")
		case kind != "" && kind != string(proxy.KindArchives) && kind != string(proxy.KindMetadata):
			return usageError("--kind=%q must be %s or %s", kind, proxy.KindArchives, proxy.KindMetadata)
		case !all:
			name, err := composer.ParseName(args[0])
			if err != nil {
				return usageError("%v", err)
			}
			body.Package = name.String()
		}
		var result proxy.PurgeResult
		data, err := c.call(ctx, http.MethodPost, "purge", body, &result)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			row(w, "metadata to fetch anew", result.Metadata)
			row(w, "archives removed", result.Archives)
			row(w, "bytes freed", bytesText(result.Bytes))
			row(w, "archives kept (pinned)", result.Kept)
		})
	})
}
