package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"stasis/private/access"
	"stasis/proxy/origin"
)

// IssuedToken is a token with its text, which is shown this once.
type IssuedToken struct {
	Token access.Token `json:"token"`
	// PlainToken is the text.
	PlainToken string `json:"plain_token"`
	// ComposerAuth is what goes into Composer's auth.json.
	ComposerAuth ComposerAuth `json:"composer_auth"`
}

// ComposerAuth is a Composer client's http-basic credential for this repository.
type ComposerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	RepositoryURL string `json:"repository_url,omitempty"`
}

// tokens lists all tokens, or those of the customer in the path.
func (m *management) tokens(c *call) (any, error) {
	q, err := c.query("owner", "page", "per_page")
	if err != nil {
		return nil, err
	}
	owner := q.Get("owner")
	if id := c.param("customer"); id != "" {
		if owner = id; q.Has("owner") {
			return nil, invalid("The parameter owner is not known here: the path names the customer.")
		}
	}
	if owner != "" {
		if _, err := m.access.Owner(owner); err != nil {
			return nil, missing(err, noCustomer)
		}
	}
	return paged(c, m.access.Tokens(owner))
}

func (m *management) createToken(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	body, err := c.object(maxBody, "name", "role", "owner", "packages", "versions", "view", "expires_at")
	if err != nil {
		return nil, err
	}
	t, err := tokenFrom(body)
	if err != nil {
		return nil, err
	}
	if id := c.param("customer"); id != "" {
		if _, given := body["owner"]; given {
			return nil, invalid("The field owner is not known here: the path names the customer.")
		}
		t.Owner = id
	}
	t, text, err := m.access.CreateToken(t)
	if err != nil {
		return nil, missing(err, noCustomer)
	}
	c.subject, c.details = t.ID, about(t)
	return m.issued(c, t, text), nil
}

// tokenFrom reads what a new token is to be.
func tokenFrom(body map[string]json.RawMessage) (t access.Token, err error) {
	text := map[string]string{}
	for name, raw := range body {
		if name == "packages" {
			if t.Packages, err = textsOf(name, raw); err != nil {
				return t, err
			}
			continue
		}
		if text[name], err = textOf(name, raw); err != nil {
			return t, err
		}
	}
	t.Name, t.Role, t.Owner, t.Versions, t.View = text["name"], access.Role(text["role"]), text["owner"], text["versions"], text["view"]
	if t.Role == "" {
		t.Role = access.RoleRead
	}
	expires, err := instant(text, "expires_at")
	if expires != nil {
		t.ExpiresAt = *expires
	}
	return t, err
}

// about is what the audit log says of a token.
func about(t access.Token) map[string]string {
	details := map[string]string{"name": loggable(t.Name, maxOwner), "role": string(t.Role)}
	for key, value := range map[string]string{"owner": t.Owner, "packages": strings.Join(t.Packages, ","), "versions": t.Versions, "view": t.View} {
		if value != "" {
			details[key] = loggable(value, maxLoggedPath)
		}
	}
	if !t.ExpiresAt.IsZero() {
		details["expires_at"] = t.ExpiresAt.Format(time.RFC3339)
	}
	return details
}

func (m *management) issued(c *call, t access.Token, text string) IssuedToken {
	base, err := origin.BaseURL(c.r, m.base, m.trusted)
	if err != nil {
		base = "" // the client knows where it sent the request
	}
	return IssuedToken{Token: t, PlainToken: text, ComposerAuth: ComposerAuth{Username: "token", Password: text, RepositoryURL: base}}
}

const noToken = "There is no token with this id."

// tokenNamed finds the token in the path, which must be the customer's if the path names one.
func (m *management) tokenNamed(c *call) (access.Token, error) {
	t, err := m.access.Token(c.param("token"))
	if owner := c.param("customer"); err == nil && owner != "" && owner != t.Owner {
		return t, notFound(noToken)
	}
	return t, missing(err, noToken)
}

func (m *management) token(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	t, err := m.tokenNamed(c)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (m *management) revokeToken(c *call) (any, error) {
	t, err := m.tokenToChange(c)
	if err != nil {
		return nil, err
	}
	if t, err = m.access.RevokeToken(t.ID); err != nil {
		return nil, missing(err, noToken)
	}
	return t, nil
}

func (m *management) rotateToken(c *call) (any, error) {
	t, err := m.tokenToChange(c)
	if err != nil {
		return nil, err
	}
	t, text, err := m.access.RotateToken(t.ID)
	if err != nil {
		return nil, missing(err, noToken)
	}
	return m.issued(c, t, text), nil
}

// tokenToChange is tokenNamed for operations that take nothing but a path.
func (m *management) tokenToChange(c *call) (access.Token, error) {
	if err := c.empty(); err != nil {
		return access.Token{}, err
	}
	t, err := m.tokenNamed(c)
	if err == nil {
		c.subject, c.details = t.ID, about(t)
	}
	return t, err
}

// empty refuses query parameters and members of the body.
func (c *call) empty() error {
	if _, err := c.query(); err != nil {
		return err
	}
	_, err := c.body()
	return err
}

// textsOf is the value of a member that has to be a list of strings.
func textsOf(name string, raw json.RawMessage) ([]string, error) {
	var values []*string
	if json.Unmarshal(raw, &values) != nil || values == nil {
		return nil, invalid(fmt.Sprintf("The field %q must be a list of strings.", name))
	}
	out := make([]string, len(values))
	for i, v := range values {
		if v == nil {
			return nil, invalid(fmt.Sprintf("The field %q must be a list of strings.", name))
		}
		out[i] = *v
	}
	return out, nil
}
