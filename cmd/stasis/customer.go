package main

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"stasis/private/access"
)

func (p *program) customerCommand() *cobra.Command {
	cmd := parent("customer", "Those whom tokens belong to, and the private packages they may have")
	cmd.AddCommand(p.customerCreateCommand(), p.customerListCommand(), p.customerGrantCommand(),
		p.customerChangeCommand("suspend ID", "Refuse the tokens of a customer", "suspend", "suspended"),
		p.customerChangeCommand("reactivate ID", "Accept the tokens of a customer again", "reactivate", "active"),
		p.customerChangeCommand("unfreeze ID", "Let a customer see new releases again", "unfreeze", "not frozen any more"),
		p.customerFreezeCommand(), p.customerRemoveCommand())
	return cmd
}

func (p *program) customerCreateCommand() *cobra.Command {
	var external string
	var packages []string
	cmd := &cobra.Command{Use: "create NAME", Short: "Add a customer", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&external, "external-id", "", "its name in some other system")
	cmd.Flags().StringSliceVar(&packages, "packages", nil, "patterns of the private packages it may have; none without")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := map[string]any{"name": args[0]}
		if external != "" {
			body["external_id"] = external
		}
		grants := []access.Grant{}
		for _, pattern := range packages {
			grants = append(grants, access.Grant{Package: pattern})
		}
		if len(grants) > 0 {
			body["packages"] = grants
		}
		var o access.Owner
		data, err := c.call(ctx, http.MethodPost, "/customers", body, &o)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, o.ID, o.Name) })
	})
}

func (p *program) customerListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List customers", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		all, data, err := pages[access.Owner](ctx, c, "/customers", url.Values{})
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no customers")
				return
			}
			row(w, "CUSTOMER", "NAME", "STATE", "PACKAGES")
			for _, o := range all {
				granted := ""
				for _, g := range o.Packages {
					granted += " " + g.Package
				}
				row(w, o.ID, o.Name, o.Status, granted)
			}
		})
	})
}

func (p *program) customerGrantCommand() *cobra.Command {
	var constraint string
	cmd := &cobra.Command{Use: "grant ID PATTERN", Short: "Let a customer have private packages", Args: cobra.ExactArgs(2)}
	cmd.Flags().StringVar(&constraint, "versions", "", "only versions that match this, such as ^2.0")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := map[string]string{"package": args[1]}
		if constraint != "" {
			body["constraint"] = constraint
		}
		data, err := c.call(ctx, http.MethodPost, "/customers/"+url.PathEscape(args[0])+"/packages", body, nil)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" may have "+args[1]) })
	})
}

// customerChangeCommand makes a command that changes the state of a customer.
func (p *program) customerChangeCommand(use, short, verb, done string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		data, err := c.call(ctx, http.MethodPost, "/customers/"+url.PathEscape(args[0])+"/"+verb, nil, nil)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" is "+done) })
	})
}

func (p *program) customerFreezeCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{Use: "freeze ID", Short: "Let a customer see the registry as it is now, or was", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&at, "at", "", "the moment: 2026-01-31 (its beginning, UTC) or 2026-01-31T12:00:00Z")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := map[string]string{}
		when, err := instant("--at", at)
		if err != nil {
			return err
		}
		if when != "" {
			body["at"] = when
		}
		data, err := c.call(ctx, http.MethodPost, "/customers/"+url.PathEscape(args[0])+"/freeze", body, nil)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" is frozen") })
	})
}

func (p *program) customerRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "remove ID", Short: "Remove a customer; its tokens end", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		data, err := c.call(ctx, http.MethodDelete, "/customers/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" is removed") })
	})
}
