package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/api"
	"stasis/private/access"
)

func (p *program) tokenCommand() *cobra.Command {
	cmd := parent("token", "Access tokens for Composer, uploads, webhooks and administrators")
	cmd.AddCommand(p.tokenCreateCommand(), p.tokenListCommand(), p.tokenShowCommand(), p.tokenRotateCommand(), p.tokenRevokeCommand())
	return cmd
}

func (p *program) tokenCreateCommand() *cobra.Command {
	var role, owner, versions, view, expires string
	var packages []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token; its text is shown this once",
		Long: "Makes a token and shows its text, which is kept nowhere. The roles are read (Composer), developer (read and upload), " +
			"webhook and admin. Limits concern private packages; a view holds for everything.",
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "read", "what it may do: read, developer, webhook or admin")
	f.StringVar(&owner, "customer", "", "the id of the customer it belongs to")
	f.StringSliceVar(&packages, "packages", nil, "patterns of the private packages it is for, such as acme/*")
	f.StringVar(&versions, "versions", "", "a constraint on the versions of private packages, such as ^2.0")
	f.StringVar(&view, "view", "", "the world it is bound to, such as snapshot/prod or cooldown/7d")
	f.StringVar(&expires, "expires", "", "when it ends: a moment, or a duration from now such as 90d")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := map[string]any{"name": args[0], "role": role}
		for key, value := range map[string]string{"owner": owner, "versions": versions, "view": view} {
			if value != "" {
				body[key] = value
			}
		}
		if len(packages) > 0 {
			body["packages"] = packages
		}
		at, err := deadline("--expires", expires, time.Now())
		if err != nil {
			return err
		}
		if at != "" {
			body["expires_at"] = at
		}
		return p.issue(ctx, c, "/tokens", body)
	})
}

// issue asks for a token and shows its text.
func (p *program) issue(ctx context.Context, c *client, path string, body any) error {
	var t api.IssuedToken
	data, err := c.call(ctx, http.MethodPost, path, body, &t)
	if err != nil {
		return err
	}
	return p.show(data, func(w io.Writer) {
		row(w, t.Token.ID, t.Token.Role, t.Token.Name)
		row(w, t.PlainToken)
		host := t.ComposerAuth.RepositoryURL
		if u, err := url.Parse(host); err == nil && u.Host != "" {
			host = u.Host
		}
		row(w, fmt.Sprintf("composer config --global --auth http-basic.%s token %s", host, t.PlainToken))
	})
}

func (p *program) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List tokens", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		all, data, err := pages[access.Token](ctx, c, "/tokens", url.Values{})
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			if len(all) == 0 {
				row(w, "no tokens")
				return
			}
			row(w, "TOKEN", "ROLE", "NAME", "PACKAGES", "LAST USED", "STATE")
			for _, t := range all {
				row(w, t.ID, t.Role, t.Name, strings.Join(t.Packages, " "), moment(t.LastUsedAt), tokenState(t))
			}
		})
	})
}

func tokenState(t access.Token) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked"
	case !t.ExpiresAt.IsZero():
		return "until " + moment(t.ExpiresAt)
	}
	return ""
}

func (p *program) tokenShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show what a token is for, and when it was last used", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var t access.Token
		data, err := c.call(ctx, http.MethodGet, "/tokens/"+url.PathEscape(args[0]), nil, &t)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) {
			row(w, t.ID, t.Role, t.Name, tokenState(t))
			for _, pair := range [][2]string{{"customer", t.Owner}, {"packages", strings.Join(t.Packages, " ")}, {"versions", t.Versions}, {"view", t.View}} {
				if pair[1] != "" {
					row(w, pair[0], pair[1])
				}
			}
			row(w, "made", moment(t.CreatedAt))
			row(w, "last used", strings.TrimSpace(moment(t.LastUsedAt)+" "+t.LastUsedFrom))
		})
	})
}

func (p *program) tokenRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Give a token a new text; the old one ends at once",
		Args:  cobra.ExactArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		return p.issue(ctx, c, "/tokens/"+url.PathEscape(args[0])+"/rotate", nil)
	})
}

func (p *program) tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Short: "End a token for good", Args: cobra.ExactArgs(1)}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		data, err := c.call(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { row(w, args[0]+" is revoked") })
	})
}
