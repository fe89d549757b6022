package upstream

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// authFile is Composer's auth.json as far as it is understood here.
type authFile struct {
	GitHubOAuth   map[string]string          `json:"github-oauth"`
	GitLabOAuth   map[string]json.RawMessage `json:"gitlab-oauth"`
	GitLabToken   map[string]json.RawMessage `json:"gitlab-token"`
	HTTPBasic     map[string]basicPair       `json:"http-basic"`
	Bearer        map[string]string          `json:"bearer"`
	CustomHeaders map[string][]string        `json:"custom-headers"`
}

type basicPair struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type gitLabPair struct {
	Username string `json:"username"`
	Token    string `json:"token"`
}

// ParseAuthJSON reads credentials in the format of Composer's auth.json: http-basic, bearer,
// github-oauth, gitlab-oauth, gitlab-token and custom-headers. Other sections are listed by
// Ignored. Empty input, an empty object and PHP's empty list are an empty table.
//
// A key is a host or host:port, as in Composer, and stands for https. Credentials travel over
// plain http only where the key says so: "http://satis.corp:8080". A key with a path, such as the
// address of a repository, is for what lies below that path; where several keys cover an address,
// the one with the longest path counts. As in Composer, github.com covers api.github.com (never
// codeload.github.com) and packagist.org covers repo.packagist.org. Where several sections give
// one key an Authorization, the last of github-oauth, gitlab-oauth, gitlab-token, http-basic,
// bearer and custom-headers counts.
func ParseAuthJSON(data []byte) (*Auth, error) {
	table, ignored, err := parseAuth(data)
	if err != nil {
		return nil, err
	}
	a := NewAuth()
	a.base, a.ignored = table, ignored
	return a, nil
}

func parseAuth(data []byte) (table authTable, ignored []string, err error) {
	table = authTable{}
	if trimmed := strings.Join(strings.Fields(string(data)), ""); trimmed == "" || trimmed == "[]" {
		return table, nil, nil
	}
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(data, &sections); err != nil {
		return nil, nil, errors.New("auth.json is not a JSON object")
	}
	var file authFile
	for name, raw := range sections {
		target, known := file.section(name)
		if !known {
			ignored = append(ignored, name)
			continue
		}
		if compact := strings.Join(strings.Fields(string(raw)), ""); compact == "[]" {
			continue
		}
		// The decoder's own message may quote the value, which is a secret.
		if err := json.Unmarshal(raw, target); err != nil {
			return nil, nil, fmt.Errorf("auth.json: the section %s does not have the form Composer gives it", name)
		}
	}
	slices.Sort(ignored)
	if err := table.fill(&file); err != nil {
		return nil, nil, fmt.Errorf("auth.json: %w", err)
	}
	return table, ignored, nil
}

func (f *authFile) section(name string) (target any, known bool) {
	switch name {
	case "github-oauth":
		return &f.GitHubOAuth, true
	case "gitlab-oauth":
		return &f.GitLabOAuth, true
	case "gitlab-token":
		return &f.GitLabToken, true
	case "http-basic":
		return &f.HTTPBasic, true
	case "bearer":
		return &f.Bearer, true
	case "custom-headers":
		return &f.CustomHeaders, true
	}
	return nil, false
}

func (t authTable) fill(f *authFile) error {
	return errors.Join(
		each("github-oauth", f.GitHubOAuth, func(key, token string) error {
			return t.set(key, "Authorization", "token ", token)
		}),
		each("gitlab-oauth", f.GitLabOAuth, func(key string, raw json.RawMessage) error {
			pair, err := readGitLab(raw)
			if err != nil {
				return err
			}
			return t.set(key, "Authorization", "Bearer ", pair.Token)
		}),
		each("gitlab-token", f.GitLabToken, func(key string, raw json.RawMessage) error {
			pair, err := readGitLab(raw)
			if err != nil {
				return err
			}
			if pair.Username != "" { // a deploy token
				return t.set(key, "Authorization", "Basic ", basic(pair.Username, pair.Token))
			}
			return t.set(key, "Private-Token", "", pair.Token)
		}),
		each("http-basic", f.HTTPBasic, func(key string, pair basicPair) error {
			if pair.Username == "" && pair.Password == "" {
				return errors.New("username and password are missing")
			}
			return t.set(key, "Authorization", "Basic ", basic(pair.Username, pair.Password))
		}),
		each("bearer", f.Bearer, func(key, token string) error {
			return t.set(key, "Authorization", "Bearer ", token)
		}),
		each("custom-headers", f.CustomHeaders, func(key string, lines []string) error {
			for _, line := range lines {
				name, value, ok := strings.Cut(line, ":")
				name = http.CanonicalHeaderKey(strings.TrimSpace(name))
				if !ok || !httpguts.ValidHeaderFieldName(name) {
					return errors.New(`want header lines such as "X-Token: value"`)
				}
				if slices.Contains(framingHeaders, name) {
					return fmt.Errorf("the header %s is not free to be set", name)
				}
				if err := t.set(key, name, "", strings.TrimSpace(value)); err != nil {
					return err
				}
			}
			return nil
		}),
	)
}

// framingHeaders belong to the transport.
var framingHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Host", "Keep-Alive",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// each calls set for every key in order, so that errors and precedence do not depend on map order.
func each[V any](section string, entries map[string]V, set func(key string, v V) error) error {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := set(key, entries[key]); err != nil {
			return fmt.Errorf("%s for %q: %w", section, redactUserinfo(key), err)
		}
	}
	return nil
}

func readGitLab(raw json.RawMessage) (gitLabPair, error) {
	var pair gitLabPair
	if json.Unmarshal(raw, &pair.Token) == nil {
		return pair, nil
	}
	if err := json.Unmarshal(raw, &pair); err != nil || pair.Token == "" {
		return pair, errors.New("want a token, or an object with username and token")
	}
	return pair, nil
}

func basic(username, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
}

func redactUserinfo(key string) string {
	if i := strings.LastIndex(key, "@"); i >= 0 {
		return "..." + key[i:]
	}
	return key
}
