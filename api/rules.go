package api

import (
	"strings"

	"stasis/proxy"
	"stasis/proxy/policy"
)

type handler = func(*management, *call) (any, error)

// rules lists the rules of a kind that count, or with all=true also those that ended.
func rules(kind policy.Kind) handler {
	return func(m *management, c *call) (any, error) {
		op, err := m.begin(c, "all")
		if err != nil {
			return nil, err
		}
		q := c.r.URL.Query()
		if all := q.Get("all"); q.Has("all") && all != "true" && all != "false" {
			return nil, invalid(`The parameter all must be "true" or "false".`)
		}
		found, err := op.Rules(c.r.Context(), kind, q.Get("all") == "true")
		return list(found), err
	}
}

func addRule(kind policy.Kind) handler {
	return func(m *management, c *call) (any, error) {
		op, err := m.begin(c)
		if err != nil {
			return nil, err
		}
		body, err := c.body("package", "versions", "reference", "reason", "owner", "expires_at")
		if err != nil {
			return nil, err
		}
		for _, field := range []string{"package", "versions", "reference"} {
			if text, given := body[field]; given && text == "" {
				return nil, invalid("The field " + field + " must not be empty; leave it out.")
			}
			if _, err := plainText(body, field, maxReason); err != nil {
				return nil, err
			}
		}
		r := policy.Rule{Kind: kind, Package: body["package"], Versions: body["versions"], Reference: body["reference"]}
		if r.Reason, err = plainText(body, "reason", maxReason); err != nil {
			return nil, err
		}
		if r.Owner, err = plainText(body, "owner", maxOwner); err != nil {
			return nil, err
		}
		expires, err := instant(body, "expires_at")
		if err != nil {
			return nil, err
		}
		if expires != nil {
			if !expires.After(m.now()) {
				return nil, invalid("The field expires_at must be in the future.")
			}
			r.ExpiresAt = *expires
		}
		added, err := op.AddRule(c.r.Context(), r)
		if err != nil {
			return nil, err
		}
		c.subject, c.by = strings.TrimSpace(added.Package+" "+added.Versions+" "+added.Reference), added.Owner
		return added, nil
	}
}

func liftRule(kind policy.Kind) handler {
	return func(m *management, c *call) (any, error) {
		op, err := m.begin(c, "by")
		if err != nil {
			return nil, err
		}
		q, err := c.texts("by")
		if err != nil {
			return nil, err
		}
		if _, err := c.body(); err != nil {
			return nil, err
		}
		lifted, err := op.LiftRule(c.r.Context(), kind, c.param("id"), q["by"])
		if err != nil {
			return nil, missing(err, "There is no "+string(kind)+" with this id, or it has ended.")
		}
		c.subject, c.by = lifted.Package, lifted.LiftedBy
		return lifted, nil
	}
}

func (m *management) freezePattern(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("pattern", "reason", "at", "expires_at", "owner")
	if err != nil {
		return nil, err
	}
	req, err := m.freezeRequest(body)
	if err != nil {
		return nil, err
	}
	if body["pattern"] == "" {
		return nil, invalid("The field pattern must be a pattern like acme/*.")
	}
	f, err := op.FreezePattern(c.r.Context(), body["pattern"], req)
	if err != nil {
		return nil, err
	}
	f.Documents = list(f.Documents)
	c.subject, c.by = f.Package, f.Owner
	return f, nil
}

// freezeRequest reads what the freezes of packages and of patterns have in common.
func (m *management) freezeRequest(body map[string]string) (req proxy.FreezeRequest, err error) {
	if req.Reason, err = plainText(body, "reason", maxReason); err != nil {
		return req, err
	}
	if req.Owner, err = plainText(body, "owner", maxOwner); err != nil {
		return req, err
	}
	if req.At, err = instant(body, "at"); err != nil {
		return req, err
	}
	if req.ExpiresAt, err = instant(body, "expires_at"); err != nil {
		return req, err
	}
	if now := m.now(); req.At != nil && req.At.After(now) {
		return req, invalid("The field at must not be in the future: what upstream will serve then is not known.")
	} else if req.ExpiresAt != nil && !req.ExpiresAt.After(now) {
		return req, invalid("The field expires_at must be in the future.")
	}
	return req, nil
}

func (m *management) unfreezePattern(c *call) (any, error) {
	op, err := m.begin(c, "pattern")
	if err != nil {
		return nil, err
	}
	pattern := strings.ToLower(c.r.URL.Query().Get("pattern"))
	if pattern == "" {
		return nil, invalid("The parameter pattern must be the pattern of a freeze, like acme/*.")
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	was, err := op.UnfreezePattern(c.r.Context(), pattern)
	if err != nil {
		return nil, err
	}
	c.subject = pattern
	return Unfrozen{Package: pattern, Unfrozen: was}, nil
}
