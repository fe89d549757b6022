package access

import (
	"maps"
	"slices"
	"strings"
	"time"

	"stasis/proxy/composer"
)

// Status is whether an owner's tokens count.
type Status string

// The states of an owner.
const (
	Active    Status = "active"
	Suspended Status = "suspended" // its tokens are refused with 403
)

// Owner is somebody who has tokens: a customer, a team. What an owner may see of the private packages is what was
// granted; a token can only be narrower. Times are UTC; a zero time means never.
type Owner struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Email is for people; Stasis writes to nobody.
	Email string `json:"email,omitempty"`
	// ExternalID is the owner's name in some other system, unique when given.
	ExternalID string `json:"external_id,omitempty"`
	Status     Status `json:"status"`
	// Reason is why the owner is suspended; whoever uses its tokens is told.
	Reason      string    `json:"reason,omitempty"`
	SuspendedAt time.Time `json:"suspended_at,omitzero"`
	// FrozenAt is the instant as of which the owner sees the whole registry.
	FrozenAt time.Time `json:"frozen_at,omitzero"`
	// FrozenVersions are the only versions the owner sees, by package; of private packages it sees no others.
	FrozenVersions map[string]string `json:"frozen_versions,omitempty"`
	// Packages are the private packages the owner may see; without any it sees none.
	Packages  []Grant   `json:"packages"`
	CreatedAt time.Time `json:"created_at"`
}

// Grant opens the private packages of a pattern, in the versions of a constraint; an empty one means all. Where
// several grants apply to a package, each opens its versions.
type Grant struct {
	Package    string `json:"package"`
	Constraint string `json:"constraint,omitempty"`
}

// check brings the fields that a client chooses into form.
func (o *Owner) check() error {
	for _, f := range []struct {
		field, text string
		needed      bool
	}{{"name", o.Name, true}, {"email", o.Email, false}, {"external_id", o.ExternalID, false}, {"reason", o.Reason, false}} {
		if err := plain(f.field, f.text, f.needed); err != nil {
			return err
		}
	}
	if len(o.Packages) > maxPatterns || len(o.FrozenVersions) > maxPatterns {
		return wrongf("There are more than %d packages.", maxPatterns)
	}
	grants := make([]Grant, 0, len(o.Packages))
	for _, g := range o.Packages {
		p, err := parsePattern(g.Package)
		if err != nil {
			return err
		}
		if g.Constraint, err = checkVersions(g.Constraint); err != nil {
			return err
		}
		g.Package = string(p)
		// The last word on a pattern counts.
		grants = slices.DeleteFunc(grants, func(old Grant) bool { return old.Package == g.Package })
		grants = append(grants, g)
	}
	slices.SortFunc(grants, func(a, b Grant) int { return strings.Compare(a.Package, b.Package) })
	o.Packages = grants
	frozen := make(map[string]string, len(o.FrozenVersions))
	for name, versions := range o.FrozenVersions {
		n, err := composer.ParseName(name)
		if err != nil {
			return wrongf("%.100q is not the name of a package.", name)
		}
		if frozen[n.String()], err = checkVersions(versions); err != nil {
			return err
		}
	}
	o.FrozenVersions = frozen
	return nil
}

func (o Owner) clone() Owner {
	o.Packages = slices.Clone(o.Packages)
	o.FrozenVersions = maps.Clone(o.FrozenVersions)
	return o
}
