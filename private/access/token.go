package access

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stasis/proxy/composer"
)

// Role says what a token is for.
type Role string

// The roles. Each but the last may also do what those below it may.
const (
	RoleAdmin     Role = "admin"     // everything, the management API included
	RoleDeveloper Role = "developer" // read, upload, and ask for a sync
	RoleRead      Role = "read"      // what Composer does
	RoleWebhook   Role = "webhook"   // say that something changed, and nothing else
)

var roles = []Role{RoleAdmin, RoleDeveloper, RoleRead, RoleWebhook}

// may reports whether somebody with role r may do what needs role other.
func (r Role) may(other Role) bool {
	switch r {
	case RoleAdmin:
		return true
	case RoleDeveloper:
		return other != RoleAdmin
	}
	return r == other
}

// Token is what is known of a token, which is everything but its text. Times are UTC; a zero time means never.
type Token struct {
	// ID names the token and is part of its text.
	ID string `json:"id"`
	// Name says for people what the token is for.
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Owner is the id of the owner whose state and grants limit the token; empty for none.
	Owner string `json:"owner,omitempty"`
	// Packages are patterns of the private packages the token is for; empty means all.
	Packages []string `json:"packages"`
	// Versions is a constraint on the versions of private packages; empty means all.
	Versions string `json:"versions,omitempty"`
	// View is the world the token is bound to, as a path: "snapshot/prod", "cooldown/7d"; empty leaves the choice to
	// the client.
	View string `json:"view,omitempty"`
	// ExpiresAt is when the token ends by itself.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	// RotatedAt is when the token last got a new text.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	// LastUsedAt is when the token was last accepted, to the second, and LastUsedFrom the address that sent it. A
	// crash loses up to a minute of them.
	LastUsedAt   time.Time `json:"last_used_at,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty"`
}

const (
	maxText     = 200 // characters of names, patterns and the like
	maxPatterns = 500
	maxVersions = 4 << 10 // bytes of a constraint
)

// check brings the fields that a client chooses into form. Its errors are sentences for the client.
func (t *Token) check(now time.Time, checkView func(string) error) error {
	if err := plain("name", t.Name, true); err != nil {
		return err
	}
	if !slices.Contains(roles, t.Role) {
		return wrongf("The role %.50q is not known; it must be admin, developer, read or webhook.", t.Role)
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) {
		return wrongf("A token must not expire before it is made.")
	}
	limited := len(t.Packages) > 0 || t.Versions != "" || t.View != "" || t.Owner != ""
	switch {
	case t.Role == RoleAdmin && limited:
		return wrongf("A token of the role admin manages everything, so it takes no owner, packages, versions or view.")
	case t.Role == RoleWebhook && (t.Versions != "" || t.View != ""):
		return wrongf("A token of the role webhook reads nothing, so it takes neither versions nor a view.")
	}
	var err error
	if t.Packages, err = checkPatterns(t.Packages); err != nil {
		return err
	}
	if t.Versions, err = checkVersions(t.Versions); err != nil {
		return err
	}
	t.View, err = checkedView(t.View, checkView)
	return err
}

func checkPatterns(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		p, err := parsePattern(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, string(p)) {
			out = append(out, string(p))
		}
	}
	if len(out) > maxPatterns {
		return nil, wrongf("There are more than %d patterns.", maxPatterns)
	}
	return out, nil
}

// checkVersions accepts constraints that can be put together with others: no aliases, references and stability flags.
func checkVersions(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || s == "*" {
		return "", nil
	}
	if len(s) > maxVersions || strings.ContainsAny(s, "#@") || strings.Contains(s, " as ") {
		return "", wrongf("The constraint %.100q must be a range of versions such as ^1.2 || >=3.0 <3.4.", s)
	}
	if _, err := composer.ParseConstraint(s); err != nil {
		return "", wrongf("The constraint %.100q is not understood: it must be a range of versions such as ^1.2 || >=3.0 <3.4.", s)
	}
	return s, nil
}

func checkedView(view string, check func(string) error) (string, error) {
	view = strings.Trim(strings.TrimSpace(view), "/")
	if view == "" {
		return "", nil
	}
	kind, which, _ := strings.Cut(view, "/")
	if kind != "snapshot" && kind != "cooldown" || which == "" || len(view) > maxText || strings.ContainsAny(which, "/?#% ") {
		return "", wrongf("The view %.100q must be snapshot/ and a date, snapshot or channel, or cooldown/ and an age like 7d.", view)
	}
	if check != nil {
		if err := check(view); err != nil {
			return "", wrongf("The view %.100q cannot be used: %v.", view, err)
		}
	}
	return view, nil
}

// plain checks a line of text for people.
func plain(field, s string, needed bool) error {
	switch {
	case needed && strings.TrimSpace(s) == "":
		return wrongf("The field %s must say something.", field)
	case utf8.RuneCountInString(s) > maxText:
		return wrongf("The field %s is longer than %d characters.", field, maxText)
	case strings.ContainsFunc(s, unicode.IsControl):
		return wrongf("The field %s must not contain control characters.", field)
	}
	return nil
}
