package satis

import (
	"net/url"
	"strings"

	"stasis/proxy/composer"
)

// credentials reads those that Composer's configuration holds by host. Secrets are not mentioned in notes.
func (p *parser) credentials() {
	p.hosts = map[string]Credentials{}
	config := object(p.config.Get("config"))
	for _, section := range config {
		for _, m := range object(section.Value) {
			key, host := "config."+section.Key+"."+m.Key, strings.ToLower(m.Key)
			var c Credentials
			token, o := text(m.Value), object(m.Value)
			switch section.Key {
			case "http-basic":
				c = Credentials{o.Text("username"), o.Text("password")}
			case "bearer":
				c = Credentials{"", token}
			case "github-oauth":
				c = Credentials{"x-access-token", token}
			case "gitlab-oauth":
				if token == "" {
					token = o.Text("token")
				}
				c = Credentials{"oauth2", token}
			case "gitlab-token", "forgejo-token":
				c = Credentials{"private-token", token}
				if token == "" {
					c = Credentials{o.Text("username"), o.Text("token")}
				}
			case "bitbucket-oauth", "custom-headers", "client-certificate":
				p.lost(key, "Credentials of this kind are not supported; give the sources on %s a username and a password or token.", host)
				continue
			default:
				continue
			}
			if c.Password == "" {
				p.lost(key, "There is no secret in it; give the sources on %s their credentials.", host)
				continue
			}
			if _, ok := p.hosts[host]; !ok { // http-basic and the like name one each
				p.hosts[host] = c
			}
		}
	}
	for _, m := range config {
		if !isCredentials(m.Key) {
			p.note("config."+m.Key, "It configures the Composer that Satis runs, and is not needed.")
		}
	}
}

func isCredentials(section string) bool {
	switch section {
	case "http-basic", "bearer", "github-oauth", "gitlab-oauth", "gitlab-token", "forgejo-token", "bitbucket-oauth", "custom-headers", "client-certificate":
		return true
	}
	return false
}

// attach gives a source the credentials in its address, in its options, or of its host. It reports whether the address
// can be shown afterwards.
func (p *parser) attach(key string, r composer.Object, src *Source) bool {
	p.options(key, object(r.Get("options")), src)
	if !strings.Contains(src.URL, "://") {
		return true // a path, or user@host:path, which has no room for a secret
	}
	u, err := url.Parse(src.URL)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Scheme != "file" {
		p.lost(key, "%s is left out: the address cannot be read.", withoutUser(src.URL))
		return false
	}
	web := strings.EqualFold(u.Scheme, "http") || strings.EqualFold(u.Scheme, "https")
	user := u.User.Username()
	password, has := u.User.Password()
	switch {
	case !web && has:
		p.lost(key, "The password in the address of %s is left out; give the source a key for SSH.", withoutUser(src.URL))
	case has:
		src.Credentials = &Credentials{user, password}
	case web && looksSecret(user):
		src.Credentials = &Credentials{"x-access-token", user}
	}
	if u.User != nil {
		if u.User = nil; !web && user != "" {
			u.User = url.User(user)
		}
		src.URL = u.String()
	}
	if !web || src.Credentials != nil {
		return true
	}
	for _, host := range []string{strings.ToLower(u.Host), strings.ToLower(u.Hostname())} {
		if c, ok := p.hosts[host]; ok {
			src.Credentials = &c
			break
		}
	}
	return true
}

// looksSecret reports whether a user in front of a host is a token, as GitHub and others take it, and not the name of
// somebody, as Bitbucket writes it into the addresses that it shows.
func looksSecret(user string) bool {
	for _, prefix := range []string{"ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "gldt-", "ATBB", "ATCTT"} {
		if strings.HasPrefix(user, prefix) {
			return true
		}
	}
	return len(user) >= 40 && strings.Trim(user, "0123456789abcdef") == ""
}

func (p *parser) options(key string, options composer.Object, src *Source) {
	for _, header := range texts(object(options.Get("http")).Get("header")) {
		name, value, _ := strings.Cut(header, ":")
		name = strings.TrimSpace(name)
		scheme, token, ok := strings.Cut(strings.TrimSpace(value), " ")
		if strings.EqualFold(name, "Authorization") && strings.EqualFold(scheme, "Bearer") && ok && src.Type == "composer" {
			src.Credentials = &Credentials{"", strings.TrimSpace(token)}
			continue
		}
		p.lost(key+".options.http.header", "The header %.40q is not sent; give the source a username and a password or token.", name)
	}
	for _, o := range options {
		if o.Key != "http" {
			p.lost(key+".options."+o.Key, "It is not carried over; a key for SSH is given to the source itself.")
		}
	}
}

// withoutUser is an address that may be shown.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil || u.Scheme == "" {
		if _, rest, ok := strings.Cut(address, "://"); ok && strings.Contains(rest, "@") {
			return "(an address with credentials)"
		}
		return address
	}
	u.User = nil
	return u.String()
}
