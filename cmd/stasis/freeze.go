package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/api"
	"stasis/config"
	"stasis/proxy"
	"stasis/proxy/composer"
)

// freezeBody is what the API takes to freeze a package.
type freezeBody struct {
	Reason    string `json:"reason,omitempty"`
	At        string `json:"at,omitempty"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

// patternBody is what the API takes to freeze a pattern.
type patternBody struct {
	Pattern string `json:"pattern"`
	freezeBody
}

func (p *program) freezeCommand() *cobra.Command {
	var reason, at, expires string
	cmd := &cobra.Command{
		Use:   "freeze VENDOR/PACKAGE|PATTERN...",
		Short: "Hold packages at what is recorded of them",
		Long: "Holds packages as they are recorded now, or were at a moment in the past, until they are unfrozen or the freeze " +
			"expires. Freezing a frozen package changes its freeze. A pattern such as 'acme/*' holds all packages it matches, each as it " +
			"is seen at that moment; quote it, so that the shell leaves it alone.",
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever wonders")
	cmd.Flags().StringVar(&at, "at", "", "the moment to hold them at: 2026-01-31 (its beginning, UTC) or 2026-01-31T12:00:00Z")
	cmd.Flags().StringVar(&expires, "expires", "", "when to stop: a moment, or a duration from now such as 30d")
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body := freezeBody{Reason: reason}
		var err error
		if body.At, err = instant("--at", at); err != nil {
			return err
		}
		if body.ExpiresAt, err = deadline("--expires", expires, time.Now()); err != nil {
			return err
		}
		var freezes []proxy.Freeze
		answers, err := each(ctx, c, args, func(name string, pattern bool) request {
			if pattern {
				return request{http.MethodPost, "freezes", patternBody{name, body}}
			}
			return request{http.MethodPost, "freeze/" + name, body}
		}, &freezes)
		if err != nil {
			return err
		}
		return p.showAll(answers, func(w io.Writer) { writeFreezes(w, freezes) })
	})
}

func (p *program) unfreezeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unfreeze VENDOR/PACKAGE|PATTERN...",
		Short: "Let packages follow upstream again",
		Long:  "Lets packages follow upstream again. What a pattern holds is let go with the same pattern.",
		Args:  cobra.MinimumNArgs(1),
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		var results []api.Unfrozen
		answers, err := each(ctx, c, args, func(name string, pattern bool) request {
			if pattern {
				return request{http.MethodDelete, "freezes?pattern=" + url.QueryEscape(name), nil}
			}
			return request{http.MethodPost, "unfreeze/" + name, nil}
		}, &results)
		if err != nil {
			return err
		}
		return p.showAll(answers, func(w io.Writer) {
			for _, r := range results {
				if r.Unfrozen {
					row(w, r.Package, "follows upstream again")
				} else {
					row(w, r.Package, "was not frozen")
				}
			}
		})
	})
}

func (p *program) frozenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "frozen", Short: "List frozen packages", Args: cobra.NoArgs}
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		var freezes []proxy.Freeze
		data, err := c.call(ctx, http.MethodGet, "frozen", nil, &freezes)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeFreezes(w, freezes) })
	})
}

func writeFreezes(w io.Writer, freezes []proxy.Freeze) {
	if len(freezes) == 0 {
		row(w, "no package is frozen")
		return
	}
	row(w, "PACKAGE", "HELD AT", "EXPIRES", "REASON")
	for _, f := range freezes {
		row(w, f.Package, moment(f.At), moment(f.ExpiresAt), f.Reason)
	}
}

// request is what the API is asked for one package or pattern.
type request struct {
	method, path string
	body         any
}

// each asks the API for every named package or pattern. All names are checked before the first is sent.
func each[T any](ctx context.Context, c *client, args []string, ask func(name string, pattern bool) request, out *[]T) ([]json.RawMessage, error) {
	var requests []request
	for _, arg := range args {
		if strings.Contains(arg, "*") {
			requests = append(requests, ask(strings.ToLower(arg), true))
			continue
		}
		name, err := composer.ParseName(arg)
		if err != nil {
			return nil, usageError("%v", err)
		}
		requests = append(requests, ask(name.String(), false))
	}
	var answers []json.RawMessage
	for _, r := range requests {
		var one T
		data, err := c.call(ctx, r.method, r.path, r.body, &one)
		if err != nil {
			return nil, err
		}
		answers, *out = append(answers, data), append(*out, one)
	}
	return answers, nil
}

// instant reads a date or an RFC 3339 time and writes it as the API wants it. Nothing stays nothing.
func instant(flag, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Format(time.RFC3339), nil
		}
	}
	return "", usageError("%s=%q must be a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z", flag, text)
}

// deadline is instant, which also reads a duration from now.
func deadline(flag, text string, now time.Time) (string, error) {
	if d, err := config.ParseDuration(text); err == nil {
		return now.Add(d).UTC().Format(time.RFC3339), nil
	}
	at, err := instant(flag, text)
	if err != nil {
		return "", usageError("%s=%q must be a duration such as 30d, a date or a time such as 2026-01-31T12:00:00Z", flag, text)
	}
	return at, nil
}
