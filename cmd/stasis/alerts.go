package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"stasis/proxy"
)

func (p *program) alertsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List what an operator should know",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "acknowledged alerts, too")
	p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		path := "alerts?acked=false"
		if all {
			path = "alerts"
		}
		var alerts []proxy.Alert
		data, err := c.call(ctx, http.MethodGet, path, nil, &alerts)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeAlerts(w, alerts) })
	})
	list := &cobra.Command{Use: "list", Short: "List alerts, as the command without a verb does", Args: cobra.NoArgs}
	list.Flags().BoolVar(&all, "all", false, "acknowledged alerts, too")
	work := cmd.RunE
	p.manage(list, nil)
	list.RunE = work
	cmd.AddCommand(list, p.ackCommand())
	return cmd
}

func (p *program) ackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ack ID...",
		Short: "Acknowledge alerts, until they happen again",
		Args:  cobra.MinimumNArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, ids []string) error {
		var acked []proxy.Alert
		var answers []json.RawMessage
		for _, id := range ids {
			var a proxy.Alert
			data, err := c.call(ctx, http.MethodPost, "alerts/"+url.PathEscape(id)+"/ack", nil, &a)
			if err != nil {
				return err
			}
			acked, answers = append(acked, a), append(answers, data)
		}
		return p.showAll(answers, func(w io.Writer) { writeAlerts(w, acked) })
	})
}

func writeAlerts(w io.Writer, alerts []proxy.Alert) {
	if len(alerts) == 0 {
		row(w, "no alerts")
		return
	}
	row(w, "ID", "SEVERITY", "KIND", "SUBJECT", "COUNT", "LAST SEEN", "ACKNOWLEDGED", "MESSAGE")
	for _, a := range alerts {
		acked := "no"
		if !a.AckedAt.IsZero() {
			acked = moment(a.AckedAt)
		}
		row(w, a.ID, a.Severity, a.Kind, a.Subject, a.Count, moment(a.LastSeen), acked, a.Message)
	}
}
