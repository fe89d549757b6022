package config

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// Validate checks the values, also of a Config that was not made by Load. Its error is Mistakes.
func (c Config) Validate() error {
	var mistakes Mistakes
	for _, s := range Settings() {
		if s.Kind == "secret" {
			continue
		}
		text := s.format(&c)
		if err := s.parse(new(Config), text); err != nil {
			mistakes = append(mistakes, s.mistake(text, "", err))
		}
	}
	if mistakes = append(mistakes, c.mistakes(nil)...); len(mistakes) > 0 {
		return mistakes
	}
	return nil
}

// normalize brings values into the one form that the rest of the program expects.
func (c *Config) normalize(version string) {
	c.Server.BaseURL = strings.TrimRight(c.Server.BaseURL, "/")
	c.Proxy.PackagistURL = strings.TrimRight(c.Proxy.PackagistURL, "/")
	c.Client.URL = strings.TrimRight(c.Client.URL, "/")
	c.Proxy.UserAgent = strings.ReplaceAll(c.Proxy.UserAgent, "{version}", version)
	for i, vendor := range c.Private.Vendors {
		c.Private.Vendors[i] = strings.ToLower(vendor)
	}
}

// mistakes checks what types, bounds and lists of names cannot express.
func (c Config) mistakes(sources map[string]string) Mistakes {
	var found Mistakes
	check := func(name string, err error) {
		if err != nil {
			s, _ := settingNamed(name)
			found = append(found, s.mistake(s.format(&c), sources[s.key()], err))
		}
	}
	check("HOST", checkHost(c.Server.Host))
	check("BASE_URL", checkURL(c.Server.BaseURL, true))
	check("TLS_CERT_FILE", checkPair(c.Server.TLSCertFile, c.Server.TLSKeyFile, "TLS_KEY_FILE"))
	check("TLS_KEY_FILE", checkPair(c.Server.TLSKeyFile, c.Server.TLSCertFile, "TLS_CERT_FILE"))
	if c.Server.H2C && c.Server.TLSCertFile != "" {
		check("H2C", errors.New("must be false when TLS_CERT_FILE is set, because TLS brings HTTP/2 already"))
	}
	check("ADMIN_TOKEN", checkToken(c.Admin.Token.Reveal()))
	check("ADMIN_TOKEN_HASH", checkTokenHash(c.Admin.TokenHash.Reveal()))
	check("ENCRYPTION_KEY", checkKey(c.Access.EncryptionKey.Reveal()))
	check("ENCRYPTION_KEY_OLD", checkKey(c.Access.EncryptionKeyOld.Reveal()))
	check("ENCRYPTION_KEY_OLD", checkPair(c.Access.EncryptionKeyOld.Reveal(), c.Access.EncryptionKey.Reveal(), "ENCRYPTION_KEY"))
	check("PROXY_PACKAGIST_URL", checkURL(c.Proxy.PackagistURL, false))
	check("PROXY_USER_AGENT", checkUserAgent(c.Proxy.UserAgent))
	check("PROXY_ALLOWED_HOSTS", checkEach(c.Proxy.AllowedHosts, isHost, "a list of host names, *.domain, addresses (each with a port or without) and CIDR ranges"))
	_, err := c.Proxy.ReadAuthJSON()
	check("PROXY_AUTH_JSON", err)
	check("PRIVATE_VENDORS", checkEach(c.Private.Vendors, ourNames.MatchString, "a list of vendor names or patterns such as acme, acme/* and acme/tool-*"))
	check("GITHUB_WEBHOOK_SECRET", checkHookSecret(c.Private.GitHubSecret.Reveal()))
	check("GITLAB_WEBHOOK_SECRET", checkHookSecret(c.Private.GitLabSecret.Reveal()))
	check("GITEA_WEBHOOK_SECRET", checkHookSecret(c.Private.GiteaSecret.Reveal()))
	check("FORGEJO_WEBHOOK_SECRET", checkHookSecret(c.Private.ForgejoSecret.Reveal()))
	check("BITBUCKET_WEBHOOK_SECRET", checkHookSecret(c.Private.BitbucketSecret.Reveal()))
	if c.Store.Path == "" {
		check("STORE_PATH", errors.New("must name a folder"))
	}
	check("STASIS_URL", checkURL(c.Client.URL, true))
	return found
}

// warnings are sentences about what is allowed and rarely meant.
func (c Config) warnings() []string {
	var sentences []string
	if token := c.Admin.Token.Reveal(); token != "" && len(token) < 16 {
		sentences = append(sentences, "ADMIN_TOKEN is short enough to be guessed; use 16 characters or more, drawn at random.")
	}
	if strings.HasPrefix(c.Proxy.PackagistURL, "http://") {
		sentences = append(sentences, "PROXY_PACKAGIST_URL is not https, so what is recorded is only as true as the network on the way.")
	}
	return sentences
}

func checkHost(host string) error {
	if host != "" && !strings.ContainsAny(host, "/ \t") && (!strings.Contains(host, ":") || isAddr(host)) {
		return nil
	}
	return errors.New("must be an address or a host name, without a port")
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func checkURL(text string, mayBeEmpty bool) error {
	if text == "" && mayBeEmpty {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("must be an http or https URL with a host, without credentials, query and fragment")
	}
	return nil
}

func checkPair(file, other, otherName string) error {
	if file != "" && other == "" {
		return fmt.Errorf("must come together with %s", otherName)
	}
	return nil
}

func checkToken(token string) error {
	switch {
	case strings.HasPrefix(token, "$argon2"):
		return checkTokenHash(token)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("must be printable ASCII without spaces, because it travels in an HTTP header")
	}
	return nil
}

// checkHookSecret refuses secrets that could be guessed, and those that were torn apart at a space.
func checkHookSecret(secrets string) error {
	const enough = 16
	for _, s := range strings.Fields(secrets) {
		if len(s) < enough {
			return fmt.Errorf("must be a secret of at least %d characters without spaces, or two with a space between them", enough)
		}
	}
	return nil
}

var phc = regexp.MustCompile(`^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

// checkTokenHash checks the form; the management API refuses parameters that would cost too much.
func checkTokenHash(hash string) error {
	if hash == "" {
		return nil
	}
	m := phc.FindStringSubmatch(hash)
	if m == nil {
		return errors.New("must be an argon2id hash in PHC form, $argon2id$v=19$m=…,t=…,p=…$salt$hash; where $ has a meaning, as in .env and compose.yaml, it must be quoted or doubled")
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(m[4])
	sum, sumErr := base64.RawStdEncoding.DecodeString(m[5])
	if saltErr != nil || sumErr != nil || len(salt) < 8 || len(sum) < 16 || m[2] == "0" || m[3] == "0" {
		return errors.New("must be a whole argon2id hash, with a salt of at least 8 and a hash of at least 16 bytes")
	}
	return nil
}

func checkKey(text string) error {
	if raw, err := hex.DecodeString(text); err != nil || text != "" && len(raw) != 32 {
		return errors.New("must be 256 bits as 64 hex digits, as openssl rand -hex 32 makes them")
	}
	return nil
}

func checkUserAgent(agent string) error {
	if strings.TrimSpace(agent) == "" || strings.ContainsFunc(agent, unicode.IsControl) {
		return errors.New("must be one line of text that names who is asking")
	}
	return nil
}

func checkEach(list []string, valid func(string) bool, what string) error {
	for _, item := range list {
		if !valid(item) {
			return fmt.Errorf("must be %s, which %q is not", what, item)
		}
	}
	return nil
}

var (
	ourNames = regexp.MustCompile(`^[a-z0-9]([_.-]?[a-z0-9]+)*(/[a-z0-9_.*-]+)?$`)
	hostName = regexp.MustCompile(`^(?i)(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?(:[0-9]{1,5})?$`)
)

func isHost(s string) bool {
	_, prefixErr := netip.ParsePrefix(s)
	_, portErr := netip.ParseAddrPort(s)
	return prefixErr == nil || portErr == nil || isAddr(strings.Trim(s, "[]")) || hostName.MatchString(s)
}

// ReadAuthJSON returns the credentials as JSON text, read from the file that AuthJSON names or taken from AuthJSON
// itself. Without any it returns nil. Its errors quote neither.
func (p Proxy) ReadAuthJSON() ([]byte, error) {
	if !p.AuthJSON.IsSet() {
		return nil, nil
	}
	text := []byte(p.AuthJSON.Reveal())
	if !strings.HasPrefix(strings.TrimSpace(p.AuthJSON.Reveal()), "{") {
		file, err := os.Open(p.AuthJSON.Reveal())
		if err != nil {
			return nil, fmt.Errorf("must name a file that can be read, or be the JSON text itself (%w)", errors.Unwrap(err))
		}
		defer file.Close()
		if text, err = io.ReadAll(io.LimitReader(file, 1<<20)); err != nil {
			return nil, fmt.Errorf("must name a file that can be read, or be the JSON text itself (%w)", errors.Unwrap(err))
		}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil {
		return nil, errors.New("must be a JSON object as in Composer's auth.json, or the path of a file that holds one")
	}
	return text, nil
}
