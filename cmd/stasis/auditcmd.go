package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"stasis/api"
)

func (p *program) auditCommand() *cobra.Command {
	var actor, action, subject, since, until string
	var limit int
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List what administrators did, the newest first",
		Args:  cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&actor, "actor", "", "only what this token did; admin is the one of the configuration")
	f.StringVar(&action, "action", "", "only this, such as token.create")
	f.StringVar(&subject, "subject", "", "only what was done to this")
	f.StringVar(&since, "since", "", "only from this moment on")
	f.StringVar(&until, "until", "", "only up to this moment")
	f.IntVar(&limit, "limit", 50, "how many")
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		query := url.Values{"limit": {fmt.Sprint(limit)}}
		for key, value := range map[string]string{"actor": actor, "action": action, "subject": subject} {
			if value != "" {
				query.Set(key, value)
			}
		}
		for key, value := range map[string]string{"since": since, "until": until} {
			at, err := instant("--"+key, value)
			if err != nil {
				return err
			}
			if at != "" {
				query.Set(key, at)
			}
		}
		var page api.AuditPage
		data, err := c.call(ctx, http.MethodGet, "/audit?"+query.Encode(), nil, &page)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(page.Entries) == 0 {
				row(w, "nothing was done")
				return
			}
			row(w, "AT", "WHO", "FROM", "WHAT", "TO", "RESULT")
			for _, e := range page.Entries {
				row(w, moment(e.At), e.Actor, e.From, e.Action, e.Subject, e.Result)
			}
		})
	})
}
