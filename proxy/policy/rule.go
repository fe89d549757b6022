package policy

import (
	"strings"
	"time"

	"stasis/proxy/composer"
)

// Kind is what a rule does.
type Kind string

// The kinds of rules.
const (
	Block     Kind = "block"     // refuses packages, versions or references, in every view
	Waiver    Kind = "waiver"    // lets one reviewed version at one reference through
	Exemption Kind = "exemption" // frees packages from the minimum release age
	Hold      Kind = "hold"      // shows only the versions within a constraint
)

// Rule is one decision of the operator. It is written once; only the fields
// about its end are filled in later.
type Rule struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Package is a name or a pattern such as "vendor/*"; a waiver names one.
	Package string `json:"package"`
	// Versions is a constraint; a waiver names one version. Empty means all.
	Versions string `json:"versions,omitempty"`
	// Reference limits a block to one reference; a waiver names one.
	Reference string `json:"reference,omitempty"`
	Reason    string `json:"reason"`
	Owner     string `json:"owner"`
	// CreatedAt, ExpiresAt and LiftedAt bound the time in which the rule
	// counts: the first included, the others not. Zero means open.
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	LiftedAt  time.Time `json:"lifted_at,omitzero"`
	LiftedBy  string    `json:"lifted_by,omitempty"`
}

// ActiveAt reports whether the rule counts at t.
func (r *Rule) ActiveAt(t time.Time) bool {
	return !r.CreatedAt.After(t) &&
		(r.ExpiresAt.IsZero() || t.Before(r.ExpiresAt)) &&
		(r.LiftedAt.IsZero() || t.Before(r.LiftedAt))
}

// same reports whether two rules say the same, whoever said it and when.
func (r *Rule) same(o *Rule) bool {
	return r.Kind == o.Kind && r.Package == o.Package && r.Versions == o.Versions &&
		r.Reference == o.Reference && r.Reason == o.Reason && r.ExpiresAt.Equal(o.ExpiresAt)
}

// compiled is a rule ready to be asked.
type compiled struct {
	Rule
	pattern    pattern
	versions   composer.Constraint
	normalized string // of a waiver
}

// maxText bounds what an operator may write as reason or owner.
const maxText = 1000

// compile checks a rule and spells it in one way.
func compile(r Rule) (*compiled, error) {
	c := &compiled{Rule: r}
	var err error
	if c.pattern, err = readPattern(r.Package); err != nil {
		return nil, err
	}
	c.Package = string(c.pattern)
	c.Versions, c.Reference = strings.TrimSpace(r.Versions), strings.TrimSpace(r.Reference)
	c.Reason, c.Owner = strings.TrimSpace(r.Reason), strings.TrimSpace(r.Owner)
	if len(c.Reason) > maxText || len(c.Owner) > maxText || len(c.Reference) > maxText {
		return nil, invalidf("reason, owner and reference may have %d characters each", maxText)
	}
	if c.Reason == "" {
		return nil, invalidf("a reason is missing: whoever meets this %s has to know why it is there", r.Kind)
	}
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(r.CreatedAt) {
		return nil, invalidf("the %s would expire before it begins", r.Kind)
	}
	if c.Versions != "" && r.Kind != Waiver {
		if c.versions, err = composer.ParseConstraint(c.Versions); err != nil {
			return nil, invalidf("%v", err)
		}
	}
	switch r.Kind {
	case Block:
	case Hold:
		if c.Versions == "" {
			return nil, invalidf("a hold needs a version constraint; to stop a package where it is, freeze it")
		}
	case Exemption:
		if c.Versions != "" || c.Reference != "" {
			return nil, invalidf("an exemption counts for all versions of its packages; to let one version through, waive it")
		}
		if r.ExpiresAt.IsZero() {
			return nil, invalidf("an exemption needs an expiry, since nobody remembers to lift one")
		}
	case Waiver:
		if !c.pattern.exact() || c.Versions == "" || c.Reference == "" {
			return nil, invalidf("a waiver needs one package, one version and the reference that was reviewed")
		}
		if r.ExpiresAt.IsZero() {
			return nil, invalidf("a waiver needs an expiry, since nobody remembers to lift one")
		}
		if c.normalized, err = composer.NormalizeVersion(c.Versions); err != nil {
			return nil, invalidf("%v", err)
		}
	default:
		return nil, invalidf("there is no rule of kind %q", r.Kind)
	}
	if c.Reference != "" && r.Kind == Hold {
		return nil, invalidf("a hold has a version constraint, not a reference")
	}
	return c, nil
}

// covers reports whether a block, hold or exemption speaks of a version.
func (c *compiled) covers(normalized, reference string) bool {
	return c.versions.Matches(normalized) && (c.Reference == "" || c.Reference == reference)
}

// waives reports whether a waiver speaks of a version at a reference.
func (c *compiled) waives(normalized, reference string) bool {
	return c.normalized == normalized && c.Reference == reference
}
