package main

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"stasis/api"
	"stasis/proxy/snapshot"
)

// channelBody is what the API takes to move a channel.
type channelBody struct {
	Snapshot string `json:"snapshot,omitempty"`
	Note     string `json:"note,omitempty"`
	By       string `json:"by,omitempty"`
}

func (p *program) channelCommand() *cobra.Command {
	cmd := parent("channel", "Point names such as prod at sealed snapshots")
	cmd.AddCommand(p.channelSetCommand(), p.channelRollbackCommand(), p.channelHistoryCommand(), p.channelListCommand(), p.channelDeleteCommand())
	return cmd
}

func (p *program) channelSetCommand() *cobra.Command {
	var body channelBody
	cmd := &cobra.Command{Use: "set CHANNEL SNAPSHOT", Short: "Point a channel, new or not, at a sealed snapshot", Args: cobra.ExactArgs(2)}
	body.flags(cmd)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body.Snapshot = args[1]
		return p.moveChannel(ctx, c, http.MethodPut, "channels/"+url.PathEscape(args[0]), body)
	})
}

func (p *program) channelRollbackCommand() *cobra.Command {
	var body channelBody
	cmd := &cobra.Command{
		Use:   "rollback CHANNEL",
		Short: "Point a channel at what it pointed at before",
		Long:  "Points a channel at what it pointed at before. Doing it again goes back further.",
		Args:  cobra.ExactArgs(1),
	}
	body.flags(cmd)
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		return p.moveChannel(ctx, c, http.MethodPost, "channels/"+url.PathEscape(args[0])+"/rollback", body)
	})
}

func (b *channelBody) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.Note, "note", "", "why, for whoever wonders")
	cmd.Flags().StringVar(&b.By, "by", "", "who asks for it")
}

func (p *program) moveChannel(ctx context.Context, c *client, method, path string, body channelBody) error {
	var ch snapshot.Channel
	data, err := c.call(ctx, method, path, body, &ch)
	if err != nil {
		return err
	}
	return p.show(data, func(w io.Writer) { row(w, ch.Name, "points at "+ch.Snapshot, short(ch.ID.String())) })
}

func (p *program) channelListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List channels", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var all []snapshot.Channel
		data, err := c.call(ctx, http.MethodGet, "channels", nil, &all)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no channels")
				return
			}
			row(w, "CHANNEL", "SNAPSHOT", "ID", "SINCE", "BY", "NOTE")
			for _, ch := range all {
				row(w, ch.Name, ch.Snapshot, short(ch.ID.String()), moment(ch.At), ch.By, ch.Note)
			}
		})
	})
}

func (p *program) channelHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "history CHANNEL", Short: "List the moves of a channel, the newest first", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var moves []snapshot.Move
		data, err := c.call(ctx, http.MethodGet, "channels/"+url.PathEscape(args[0])+"/history", nil, &moves)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			row(w, "MOVE", "AT", "SNAPSHOT", "ID", "BY", "NOTE")
			for _, m := range moves {
				name := m.Snapshot
				if m.Rollback {
					name += " (rolled back)"
				}
				row(w, m.Number, moment(m.At), name, short(m.ID.String()), m.By, m.Note)
			}
		})
	})
}

func (p *program) channelDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete CHANNEL", Short: "Delete a channel; the snapshots stay", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var d api.Deleted
		data, err := c.call(ctx, http.MethodDelete, "channels/"+url.PathEscape(args[0]), nil, &d)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, d.Name, "is deleted") })
	})
}
