package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"stasis/proxy/policy"
)

// ruleBody is what the API takes to add a rule.
type ruleBody struct {
	Package   string `json:"package"`
	Versions  string `json:"versions,omitempty"`
	Reference string `json:"reference,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Owner     string `json:"owner,omitempty"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

// ruleKind is how the rules of one kind are made on the command line.
type ruleKind struct {
	command, path string // "block", "blocks"
	noun          string // "block"
	short, add    string
	use           string // arguments of add
	least, most   int    // how many those are
	reference     bool   // whether add takes --reference
}

// ruleCommands makes a command for each kind of rule.
func (p *program) ruleCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, k := range []ruleKind{
		{"block", "blocks", string(policy.Block), "Refuse packages, versions or references, in every view",
			"Refuse a package, all packages of a pattern, the versions within a constraint, or one reference", "VENDOR/PACKAGE|PATTERN [CONSTRAINT]", 1, 2, true},
		{"waive", "waivers", string(policy.Waiver), "Let reviewed versions through although they are denied",
			"Let one version at one reference through until the waiver expires", "VENDOR/PACKAGE VERSION", 2, 2, true},
		{"exempt", "exemptions", string(policy.Exemption), "Free packages from the minimum release age",
			"Free a package, or all packages of a pattern, from the minimum release age until the exemption expires", "VENDOR/PACKAGE|PATTERN", 1, 1, false},
		{"hold", "holds", string(policy.Hold), "Show only the versions within a constraint",
			"Show only the versions within a constraint", "VENDOR/PACKAGE|PATTERN CONSTRAINT", 2, 2, false},
	} {
		cmd := parent(k.command, k.short)
		cmd.AddCommand(p.addRuleCommand(k), p.listRulesCommand(k), p.liftRuleCommand(k))
		all = append(all, cmd)
	}
	return all
}

func (p *program) addRuleCommand(k ruleKind) *cobra.Command {
	var body ruleBody
	var expires string
	cmd := &cobra.Command{Use: "add " + k.use, Short: k.add, Args: cobra.RangeArgs(k.least, k.most)}
	cmd.Flags().StringVar(&body.Reason, "reason", "", "why, for whoever meets the "+k.noun+"; needed")
	cmd.Flags().StringVar(&body.Owner, "owner", "", "who asks for it")
	cmd.Flags().StringVar(&expires, "expires", "", "when to stop: a moment, or a duration from now such as 30d")
	if k.reference {
		cmd.Flags().StringVar(&body.Reference, "reference", "", "only this reference")
	}
	return p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		body.Package = args[0]
		if len(args) > 1 {
			body.Versions = args[1]
		}
		var err error
		if body.ExpiresAt, err = deadline("--expires", expires, time.Now()); err != nil {
			return err
		}
		var r policy.Rule
		data, err := c.call(ctx, http.MethodPost, k.path, body, &r)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeRules(w, k, []policy.Rule{r}) })
	})
}

func (p *program) listRulesCommand(k ruleKind) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "list", Short: "List " + k.path, Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&all, "all", false, "those that ended, too")
	return p.manage(cmd, func(ctx context.Context, c *client, _ []string) error {
		path := k.path
		if all {
			path += "?all=true"
		}
		var rules []policy.Rule
		data, err := c.call(ctx, http.MethodGet, path, nil, &rules)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeRules(w, k, rules) })
	})
}

func (p *program) liftRuleCommand(k ruleKind) *cobra.Command {
	var who string
	cmd := &cobra.Command{Use: "lift ID...", Short: "End " + k.path, Args: cobra.MinimumNArgs(1)}
	cmd.Flags().StringVar(&who, "by", "", "who asks for it")
	return p.manage(cmd, func(ctx context.Context, c *client, ids []string) error {
		var lifted []policy.Rule
		var answers []json.RawMessage
		for _, id := range ids {
			path := k.path + "/" + url.PathEscape(id)
			if who != "" {
				path += "?by=" + url.QueryEscape(who)
			}
			var r policy.Rule
			data, err := c.call(ctx, http.MethodDelete, path, nil, &r)
			if err != nil {
				return err
			}
			lifted, answers = append(lifted, r), append(answers, data)
		}
		return p.showAll(answers, func(w io.Writer) { writeRules(w, k, lifted) })
	})
}

func writeRules(w io.Writer, k ruleKind, rules []policy.Rule) {
	if len(rules) == 0 {
		row(w, "no "+k.path)
		return
	}
	row(w, "ID", "PACKAGE", "VERSIONS", "REFERENCE", "SINCE", "UNTIL", "OWNER", "REASON")
	for _, r := range rules {
		until := moment(r.ExpiresAt)
		if !r.LiftedAt.IsZero() {
			until = fmt.Sprintf("lifted %s", by(moment(r.LiftedAt), r.LiftedBy))
		}
		versions := r.Versions
		if versions == "" {
			versions = "all"
		}
		row(w, r.ID, r.Package, versions, short(r.Reference), moment(r.CreatedAt), until, r.Owner, r.Reason)
	}
}
