package access

import (
	"net/http"
	"time"

	"stasis/proxy/composer"
)

// Reader is who asks, and what of the registry that is open to whoever it is. The limits of tokens and owners are
// about private packages: what is public is open to every token that may read, so that one repository serves a whole
// project. The exceptions concern everything: a view, and an owner frozen at an instant or to versions.
//
// A Reader does not change and may be shared; a change of tokens or owners makes new ones.
type Reader struct {
	id      string // of the token; admin for the administrator's, "" for anonymous
	role    Role   // "" for anonymous
	owner   string
	private func(composer.Name) bool

	everything bool // private packages need no grant: the administrator, or anonymous with PUBLIC_READ=true
	packages   []pattern
	versions   string
	granted    bool // whether grants decide
	grants     []grant
	frozen     map[string]string
	world      string

	expires time.Time
	use     *use
}

type grant struct {
	pattern  pattern
	versions string
}

// admin is what the token of the configuration is called.
const admin = "admin"

// Token is the id of the token: "admin" for the administrator's, empty for an anonymous reader.
func (r *Reader) Token() string { return r.id }

// Owner is the id of the token's owner, or empty.
func (r *Reader) Owner() string { return r.owner }

// Anonymous reports whether there was no token.
func (r *Reader) Anonymous() bool { return r.id == "" }

// Can reports whether the reader may do what needs the role. Anonymous readers can read, or else Admit had refused
// them.
func (r *Reader) Can(role Role) bool {
	if r.role == "" {
		return role == RoleRead
	}
	return r.role.may(role)
}

// Restricted reports whether some answer to this reader differs from what an unrestricted one gets. Where one
// package is concerned, Sees, Versions and World say more.
func (r *Reader) Restricted() bool {
	return !r.everything || r.versions != "" || r.world != "" || len(r.frozen) > 0
}

// World is the view the reader is bound to, as a path like "snapshot/prod", "snapshot/20260301T120000Z" or
// "cooldown/7d"; empty when the reader may choose.
func (r *Reader) World() string { return r.world }

// Sees reports whether a package exists for the reader. Where it does not, the answer must be that of a package that
// nobody has heard of.
func (r *Reader) Sees(n composer.Name) bool {
	if !r.Can(RoleRead) {
		return false
	}
	if r.everything && r.frozen == nil || !r.private(n) {
		return true
	}
	if r.frozen != nil {
		if _, ok := r.frozen[n.String()]; !ok {
			return false
		}
	}
	return r.Within(n)
}

// Within reports whether a name, which may be private or not, lies within the patterns of the token and the grants of
// its owner: what a token that can upload or call a webhook may do that for.
func (r *Reader) Within(n composer.Name) bool {
	if r.everything {
		return true
	}
	if r.role == "" || len(r.packages) > 0 && !has(r.packages, n) {
		return false
	}
	if !r.granted {
		return true
	}
	for _, g := range r.grants {
		if g.pattern.has(n) {
			return true
		}
	}
	return false
}

// Versions is the constraint on a package's versions that the reader sees; empty means all of them. It says nothing
// about packages that the reader does not see.
func (r *Reader) Versions(n composer.Name) string {
	if r.versions == "" && r.frozen == nil && !r.granted {
		return ""
	}
	limit := r.frozen[n.String()]
	if !r.private(n) {
		return limit
	}
	limit = both(limit, r.versions)
	if !r.granted {
		return limit
	}
	opened, any := "", false
	for _, g := range r.grants {
		switch {
		case !g.pattern.has(n):
		case any:
			opened = either(opened, g.versions)
		default:
			opened, any = g.versions, true
		}
	}
	return both(limit, opened)
}

func has(list []pattern, n composer.Name) bool {
	for _, p := range list {
		if p.has(n) {
			return true
		}
	}
	return false
}

// live reports whether the reader's token has not expired.
func (r *Reader) live(now time.Time) bool { return r.expires.IsZero() || now.Before(r.expires) }

// used notes that the reader's token was accepted.
func (r *Reader) used(a *Access, now time.Time, req *http.Request) {
	if r.use != nil {
		r.use.note(now, req, a.o.TrustedProxies)
	}
}

// anonymous is the reader without a token.
func (o Options) anonymous() *Reader {
	return &Reader{private: o.Private, everything: o.Anonymous == PublicReadAll}
}

// administrator is the reader with the token of the configuration.
func (o Options) administrator() *Reader {
	return &Reader{id: admin, role: RoleAdmin, private: o.Private, everything: true}
}

// reader is the reader with a token, whose owner is nil if it has none.
func (o Options) reader(t Token, owner *Owner, u *use) *Reader {
	r := &Reader{
		id: t.ID, role: t.Role, owner: t.Owner, private: o.Private,
		versions: t.Versions, world: t.View, expires: t.ExpiresAt, use: u,
	}
	for _, p := range t.Packages {
		r.packages = append(r.packages, pattern(p))
	}
	if owner != nil {
		r.granted = true
		for _, g := range owner.Packages {
			r.grants = append(r.grants, grant{pattern(g.Package), g.Constraint})
		}
		if len(owner.FrozenVersions) > 0 {
			r.frozen = owner.FrozenVersions
		}
		// A freeze is stricter than the view of a token, which may be younger.
		if !owner.FrozenAt.IsZero() {
			r.world = "snapshot/" + owner.FrozenAt.UTC().Format("20060102T150405Z")
		}
	}
	r.everything = !r.granted && len(r.packages) == 0 && t.Role.may(RoleRead)
	return r
}
