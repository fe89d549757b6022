package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"stasis/private/access"
)

// DeletedCustomer says what became of a customer's tokens.
type DeletedCustomer struct {
	ID string `json:"id"`
	// RevokedTokens is how many tokens ended with the customer.
	RevokedTokens int `json:"revoked_tokens"`
}

const noCustomer = "There is no customer with this id."

func (m *management) customers(c *call) (any, error) {
	q, err := c.query("status", "page", "per_page")
	if err != nil {
		return nil, err
	}
	status := access.Status(q.Get("status"))
	if q.Has("status") && status != access.Active && status != access.Suspended {
		return nil, invalid(`The parameter status must be "active" or "suspended".`)
	}
	return paged(c, m.access.Owners(status))
}

func (m *management) createCustomer(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.object(maxBody, "name", "email", "external_id", "packages")
	if err != nil {
		return nil, err
	}
	var o access.Owner
	if err := describe(&o, body); err != nil {
		return nil, err
	}
	if raw, given := body["packages"]; given {
		if o.Packages, err = grantsOf(raw); err != nil {
			return nil, err
		}
	}
	if o, err = m.access.CreateOwner(o); err != nil {
		return nil, err
	}
	c.subject, c.details = o.ID, map[string]string{"name": loggable(o.Name, maxOwner)}
	return shown(o), nil
}

// describe takes over the fields that a customer is described by, where they are given.
func describe(o *access.Owner, body map[string]json.RawMessage) (err error) {
	for name, field := range map[string]*string{"name": &o.Name, "email": &o.Email, "external_id": &o.ExternalID} {
		if raw, given := body[name]; given {
			if *field, err = textOf(name, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// shown makes empty lists of none.
func shown(o access.Owner) access.Owner {
	o.Packages = list(o.Packages)
	return o
}

func (m *management) customer(c *call) (any, error) {
	return m.found(c, func() (access.Owner, error) { return m.access.Owner(c.param("customer")) })
}

func (m *management) customerByExternalID(c *call) (any, error) {
	return m.found(c, func() (access.Owner, error) { return m.access.OwnerByExternalID(c.param("external")) })
}

func (m *management) found(c *call, find func() (access.Owner, error)) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	o, err := find()
	if err != nil {
		return nil, missing(err, noCustomer)
	}
	return shown(o), nil
}

func (m *management) updateCustomer(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.object(maxBody, "name", "email", "external_id")
	if err != nil {
		return nil, err
	}
	return m.edited(c, func(id string) (access.Owner, error) {
		return m.access.UpdateOwner(id, func(o *access.Owner) error { return describe(o, body) })
	})
}

// edited is the common end of the operations that change a customer.
func (m *management) edited(c *call, edit func(id string) (access.Owner, error)) (any, error) {
	o, err := edit(c.param("customer"))
	if err != nil {
		return nil, missing(err, noCustomer)
	}
	c.subject = o.ID
	c.details = withDetail(c.details, "name", loggable(o.Name, maxOwner))
	return shown(o), nil
}

func (m *management) deleteCustomer(c *call) (any, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	id := c.param("customer")
	ended, err := m.access.DeleteOwner(id)
	if err != nil {
		return nil, missing(err, noCustomer)
	}
	c.details = map[string]string{"revoked_tokens": fmt.Sprint(ended)}
	return DeletedCustomer{ID: id, RevokedTokens: ended}, nil
}

func (m *management) suspendCustomer(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.body("reason")
	if err != nil {
		return nil, err
	}
	if body["reason"] != "" {
		c.details = map[string]string{"reason": loggable(body["reason"], maxReason)}
	}
	return m.edited(c, func(id string) (access.Owner, error) { return m.access.SuspendOwner(id, body["reason"]) })
}

func (m *management) reactivateCustomer(c *call) (any, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	return m.edited(c, m.access.ReactivateOwner)
}

func (m *management) freezeCustomer(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.object(maxBody, "at", "versions")
	if err != nil {
		return nil, err
	}
	var at time.Time
	if raw, given := body["at"]; given {
		text, err := textOf("at", raw)
		if err != nil {
			return nil, err
		}
		when, err := instant(map[string]string{"at": text}, "at")
		if err != nil {
			return nil, err
		}
		at = *when
	}
	versions := map[string]string{}
	if raw, given := body["versions"]; given {
		var list []struct{ Package, Version string }
		if err := strict(raw, &list); err != nil || len(list) == 0 {
			return nil, invalid(`The field "versions" must be a list of objects like {"package": "acme/lib", "version": "1.2.3"}.`)
		}
		for _, v := range list {
			versions[strings.ToLower(v.Package)] = v.Version
		}
	}
	return m.edited(c, func(id string) (access.Owner, error) {
		o, err := m.access.FreezeOwner(id, at, versions)
		if err == nil {
			c.details = withDetail(c.details, "frozen_versions", fmt.Sprint(len(o.FrozenVersions)))
			if !o.FrozenAt.IsZero() {
				c.details["frozen_at"] = o.FrozenAt.Format(time.RFC3339)
			}
		}
		return o, err
	})
}

func (m *management) unfreezeCustomer(c *call) (any, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	return m.edited(c, m.access.UnfreezeOwner)
}

// grants lists what a customer may see.
func (m *management) grants(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	o, err := m.access.Owner(c.param("customer"))
	if err != nil {
		return nil, missing(err, noCustomer)
	}
	return list(o.Packages), nil
}

// setGrants replaces all of a customer's grants.
func (m *management) setGrants(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.object(maxBody, "packages")
	if err != nil {
		return nil, err
	}
	raw, given := body["packages"]
	if !given {
		return nil, invalid(`The field "packages" must be the list of all grants; an empty one takes every grant back.`)
	}
	grants, err := grantsOf(raw)
	if err != nil {
		return nil, err
	}
	return m.regrant(c, func([]access.Grant) ([]access.Grant, error) { return grants, nil })
}

// addGrant adds one, or changes the constraint of one.
func (m *management) addGrant(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.body("package", "constraint")
	if err != nil {
		return nil, err
	}
	g := access.Grant{Package: body["package"], Constraint: body["constraint"]}
	return m.regrant(c, func(old []access.Grant) ([]access.Grant, error) { return append(old, g), nil })
}

func (m *management) removeGrant(c *call) (any, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	pattern := strings.ToLower(c.param("vendor") + "/" + c.param("package"))
	return m.regrant(c, func(old []access.Grant) ([]access.Grant, error) {
		kept := slices.DeleteFunc(slices.Clone(old), func(g access.Grant) bool { return g.Package == pattern })
		if len(kept) == len(old) {
			return nil, notFound("The customer has no grant for " + loggable(pattern, maxLoggedPath) + ".")
		}
		return kept, nil
	})
}

func (m *management) regrant(c *call, change func([]access.Grant) ([]access.Grant, error)) (any, error) {
	o, err := m.edited(c, func(id string) (access.Owner, error) {
		return m.access.UpdateOwner(id, func(o *access.Owner) (err error) {
			o.Packages, err = change(o.Packages)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	grants := o.(access.Owner).Packages
	var all []string
	for _, g := range grants {
		all = append(all, strings.TrimSpace(g.Package+" "+g.Constraint))
	}
	c.details["grants"] = loggable(strings.Join(all, ", "), maxLoggedError)
	return grants, nil
}

func grantsOf(raw json.RawMessage) ([]access.Grant, error) {
	var grants []access.Grant
	if err := strict(raw, &grants); err != nil || grants == nil {
		return nil, invalid(`The field "packages" must be a list of objects like {"package": "acme/*", "constraint": "^1.0"}.`)
	}
	return grants, nil
}

// strict decodes a value whose members are all known.
func strict(raw json.RawMessage, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}
