package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"stasis/config"
)

// load reads a configuration from an environment, and from a YAML and a .env text where given.
func load(t *testing.T, environ []string, yaml, dotenv string, args ...string) (config.Loaded, error) {
	t.Helper()
	o := config.Options{Environ: environ, Version: "1.2.3", Flags: pflag.NewFlagSet("", pflag.ContinueOnError)}
	dir := t.TempDir()
	if yaml != "" {
		o.File = filepath.Join(dir, "stasis.yaml")
		write(t, o.File, yaml)
	}
	o.Dotenv = filepath.Join(dir, ".env")
	if dotenv != "" {
		write(t, o.Dotenv, dotenv)
	}
	config.AddFlags(o.Flags)
	if err := o.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(o)
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	}
	return loaded, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultsAreThePromisedOnes(t *testing.T) {
	c := config.Default()
	got := []any{
		c.Server.Host, c.Server.Port, c.Server.BaseURL, c.Proxy.Enabled, c.Proxy.MetadataTTL, c.Proxy.ArchiveTTL,
		c.Proxy.MaxCacheSize, c.Proxy.PackagistURL, c.Proxy.UpstreamTimeout, c.Proxy.CleanupInterval,
		c.Proxy.UpstreamConcurrency, c.Proxy.StaleWhileRevalidate, c.Proxy.RevalidateWait, c.Proxy.NegativeTTL,
		c.Proxy.NotifyUpstream, c.Proxy.DistMode, c.Proxy.FeedInterval, c.Proxy.MaxPinnedSize, c.Proxy.MaxArchiveSize,
		c.Proxy.HotSize, c.Store.Path, c.Store.Archives, c.Server.H2C, c.Server.ShutdownTimeout, c.Admin.Token.IsSet(),
	}
	want := []any{
		"0.0.0.0", 8080, "", true, time.Hour, 24 * time.Hour,
		config.Size(10737418240), "https://repo.packagist.org", time.Minute, time.Hour,
		10, time.Hour, 3 * time.Second, 5 * time.Minute,
		false, "rewrite", time.Minute, config.Size(0), config.Size(2 << 30),
		config.Size(128 << 20), "./data", "badger", false, 30 * time.Second, false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n got %v\nwant %v", got, want)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestUserAgentNamesTheVersion(t *testing.T) {
	loaded, err := load(t, nil, "", "")
	if err != nil || !strings.HasPrefix(loaded.Config.Proxy.UserAgent, "Stasis/1.2.3 (") {
		t.Errorf("user agent %q, error %v", loaded.Config.Proxy.UserAgent, err)
	}
}

func TestFlagBeatsEnvironmentBeatsDotenvBeatsFileBeatsDefault(t *testing.T) {
	const yaml = "port: 1\nproxy_negative_ttl: 1\nproxy: {feed_interval: 1, hot_size: 1}\nstore: {path: file}\n"
	const dotenv = "PORT=2\nPROXY_NEGATIVE_TTL=2\nPROXY_FEED_INTERVAL=2\n"
	environ := []string{"PORT=3", "PROXY_NEGATIVE_TTL=3", "STORE_PATH="}
	loaded, err := load(t, environ, yaml, dotenv, "--port=4")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, v := range loaded.Values {
		sources[v.Name] = v.Text + " from " + filepath.Base(v.Source)
	}
	for name, want := range map[string]string{
		"PORT":                "4 from flag",
		"PROXY_NEGATIVE_TTL":  "3s from environment",
		"PROXY_FEED_INTERVAL": "2s from .env",
		"PROXY_HOT_SIZE":      "1 from stasis.yaml",
		"STORE_PATH":          "file from stasis.yaml", // the variable is empty
		"HOST":                "0.0.0.0 from default",
	} {
		if sources[name] != want {
			t.Errorf("%s is %s, want %s", name, sources[name], want)
		}
	}
	if c := loaded.Config; c.Server.Port != 4 || c.Proxy.NegativeTTL != 3*time.Second || c.Proxy.HotSize != 1 {
		t.Errorf("the struct does not agree: %+v", c)
	}
}

func TestFileSpeaksYAML(t *testing.T) {
	const yaml = `
PORT: 81
trusted_proxies: [10.0.0.0/8, "::1"]
private:
  vendors: acme/*, Other-Co, acme/tool-*
proxy:
  enabled: no
  max_cache_size: 64MB
  metadata_ttl: 90
  archive_ttl: 1.5
  user_agent:
admin_token_hash: $argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g
`
	loaded, err := load(t, nil, yaml, "")
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config
	got := fmt.Sprint(c.Server.Port, c.Server.TrustedProxies, c.Private.Vendors, c.Proxy.Enabled,
		int64(c.Proxy.MaxCacheSize), c.Proxy.MetadataTTL, c.Proxy.ArchiveTTL, c.Admin.TokenHash.IsSet())
	want := "81 [10.0.0.0/8 ::1/128] [acme/* other-co acme/tool-*] false 64000000 1m30s 1.5s true"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEveryMistakeIsOneSentence(t *testing.T) {
	for _, test := range []struct {
		name         string
		environ      []string
		yaml, dotenv string
		args         []string
		want         []string
	}{
		{
			name:    "several at once, whatever their kind",
			environ: []string{"PORT=http", "PROXY_METADATA_TTL=soon", "PROXY_MAX_CACHE_SIZE=10G", "PROXY_ENABLED=maybe"},
			args:    []string{"--log-level=loud", "--tls-cert-file=a.pem"},
			want: []string{
				`PORT="http" (environment) must be a whole number.`,
				`PROXY_ENABLED="maybe" (environment) must be true or false.`,
				`PROXY_METADATA_TTL="soon" (environment) must be a number of seconds, or numbers with the units d, h, m, s or ms, such as 90s, 1h30m or 7d.`,
				`PROXY_MAX_CACHE_SIZE="10G" (environment) must be a number of bytes, or a number with one of the units KB, MB, GB, TB (decimal) or KiB, MiB, GiB, TiB (binary).`,
				`LOG_LEVEL="loud" (flag) must be debug, info, warn or error.`,
				`TLS_CERT_FILE="a.pem" (flag) must come together with TLS_KEY_FILE.`,
			},
		},
		{
			name:    "values out of bounds",
			environ: []string{"PORT=70000", "PROXY_UPSTREAM_CONCURRENCY=0", "PROXY_MAX_CACHE_SIZE=1", "PROXY_CLEANUP_INTERVAL=0"},
			want: []string{
				`PORT="70000" (environment) must be a number from 0 to 65535.`,
				`PROXY_MAX_CACHE_SIZE="1" (environment) must be a size, at least 1MiB.`,
				`PROXY_UPSTREAM_CONCURRENCY="0" (environment) must be a number from 1 to 1000.`,
				`PROXY_CLEANUP_INTERVAL="0" (environment) must be a duration, at least 1s.`,
			},
		},
		{
			name: "a typo in the file",
			yaml: "proxy:\n  metadta_ttl: 5\nwhatever: 1\n",
			want: []string{
				`stasis.yaml sets "proxy: metadta_ttl", which is no setting; PROXY_METADATA_TTL is one.`,
				`stasis.yaml sets "whatever", which is no setting; docs/configuration.md lists them.`,
			},
		},
		{
			name: "a value that YAML does not take for text",
			yaml: "admin_token: 0123\n",
			want: []string{`ADMIN_TOKEN="[hidden]" (stasis.yaml) must be written in quotes, because YAML takes it for something other than text.`},
		},
		{
			name: "a setting given in both forms",
			yaml: "proxy_enabled: true\nproxy: {enabled: false}\n",
			want: []string{`stasis.yaml sets PROXY_ENABLED twice, once flat and once nested; only one can hold.`},
		},
		{
			name: "a map where a text belongs",
			yaml: "proxy_auth_json: {github-oauth: {github.com: secret}}\n",
			want: []string{`stasis.yaml sets "proxy_auth_json: github-oauth: github.com", but PROXY_AUTH_JSON takes text and not a map.`},
		},
		{
			name:   "a broken .env, of which nothing is quoted",
			dotenv: "ADMIN_TOKEN=\"hunter2\nPORT 80",
			want:   []string{`The file .env cannot be parsed; each line must be NAME=value, with quotes around a value that has spaces, # or $ in it.`},
		},
		{
			name:    "addresses",
			environ: []string{"BASE_URL=packages.example.com", "PROXY_PACKAGIST_URL=https://u:p@host", "TRUSTED_PROXIES=10.0.0.0/8,lb", "HOST=1.2.3.4:80", "PROXY_ALLOWED_HOSTS=git.lan, http://x"},
			want: []string{
				`TRUSTED_PROXIES="10.0.0.0/8,lb" (environment) must be a comma-separated list of addresses and CIDR ranges such as 10.0.0.0/8, which "lb" is not.`,
				`HOST="1.2.3.4:80" (environment) must be an address or a host name, without a port.`,
				`BASE_URL="packages.example.com" (environment) must be an http or https URL with a host, without credentials, query and fragment.`,
				`PROXY_PACKAGIST_URL="https://u:p@host" (environment) must be an http or https URL with a host, without credentials, query and fragment.`,
				`PROXY_ALLOWED_HOSTS="git.lan,http://x" (environment) must be a list of host names, *.domain, addresses (each with a port or without) and CIDR ranges, which "http://x" is not.`,
			},
		},
		{
			name:    "secrets that cannot work, without showing them",
			environ: []string{"ADMIN_TOKEN=two words", "ADMIN_TOKEN_HASH=$v=19", "PROXY_AUTH_JSON={", "PRIVATE_VENDORS=*/b", "ENCRYPTION_KEY=0a0a", "ENCRYPTION_KEY_OLD=hunter2", "GITHUB_WEBHOOK_SECRET=It's a secret"},
			want: []string{
				`ADMIN_TOKEN="[hidden]" (environment) must be printable ASCII without spaces, because it travels in an HTTP header.`,
				`ADMIN_TOKEN_HASH="[hidden]" (environment) must be an argon2id hash in PHC form, $argon2id$v=19$m=…,t=…,p=…$salt$hash; where $ has a meaning, as in .env and compose.yaml, it must be quoted or doubled.`,
				`ENCRYPTION_KEY="[hidden]" (environment) must be 256 bits as 64 hex digits, as openssl rand -hex 32 makes them.`,
				`ENCRYPTION_KEY_OLD="[hidden]" (environment) must be 256 bits as 64 hex digits, as openssl rand -hex 32 makes them.`,
				`PROXY_AUTH_JSON="[hidden]" (environment) must be a JSON object as in Composer's auth.json, or the path of a file that holds one.`,
				`PRIVATE_VENDORS="*/b" (environment) must be a list of vendor names or patterns such as acme, acme/* and acme/tool-*, which "*/b" is not.`,
				`GITHUB_WEBHOOK_SECRET="[hidden]" (environment) must be a secret of at least 16 characters without spaces, or two with a space between them.`,
			},
		},
		{
			name:    "an auth.json that is not there",
			environ: []string{"PROXY_AUTH_JSON=/nowhere/auth.json"},
			want:    []string{`PROXY_AUTH_JSON="[hidden]" (environment) must name a file that can be read, or be the JSON text itself (no such file or directory).`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.environ, test.yaml, test.dotenv, test.args...)
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if got := strings.Split(err.Error(), "\n"); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

func TestAMissingConfigurationFileIsAMistakeAndAMissingDotenvIsNone(t *testing.T) {
	_, err := config.Load(config.Options{File: "nowhere.yaml", Dotenv: "nowhere.env"})
	if err == nil || !strings.HasPrefix(err.Error(), "The configuration file nowhere.yaml cannot be read: ") {
		t.Errorf("got %v", err)
	}
	if _, err := config.Load(config.Options{Dotenv: "nowhere.env"}); err != nil {
		t.Error(err)
	}
}

func TestValidateChecksAConfigThatWasNotLoaded(t *testing.T) {
	c := config.Default()
	c.Server.Port = -1
	c.Proxy.MetadataTTL = -time.Second
	c.Proxy.DistMode = "both"
	c.Store.Path = ""
	err := c.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want four mistakes, got %v", err)
	}
}

func TestNearlyRightVariablesAreWarnedAbout(t *testing.T) {
	loaded, err := load(t, []string{"PROXY_METADTA_TTL=5", "HOME=/root", "PROXY_PASSWORD=x"}, "", "STORE_PATHS=x\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"STORE_PATHS is set in .env but is no setting; STORE_PATH is one.",
		"PROXY_METADTA_TTL is set in the environment but is no setting; PROXY_METADATA_TTL is one.",
	}
	if !reflect.DeepEqual(loaded.Warnings, want) {
		t.Errorf("got %q, want %q", loaded.Warnings, want)
	}
}

func TestSecretsNeverShow(t *testing.T) {
	loaded, err := load(t, []string{"ADMIN_TOKEN=hunter2-hunter2-hunter2", `PROXY_AUTH_JSON={"bearer":{"x":"hunter2"}}`}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+"\n", loaded.Config.Admin)
		fmt.Fprintf(&b, verb+"\n", &loaded)
	}
	encoded, err := json.Marshal(loaded)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(encoded)
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "config", loaded.Config, "token", loaded.Config.Admin.Token)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "config", loaded.Config, "token", loaded.Config.Admin.Token)
	if strings.Contains(b.String(), "hunter") || strings.Contains(b.String(), fmt.Sprintf("%x", "hunter")) {
		t.Errorf("a secret shows in %s", b.String())
	}
	if got := loaded.Config.Admin.Token.Reveal(); got != "hunter2-hunter2-hunter2" {
		t.Errorf("Reveal returned %q", got)
	}
}

func TestAuthJSONIsReadFromTextAndFile(t *testing.T) {
	const text = `{"github-oauth":{"github.com":"x"}}`
	path := filepath.Join(t.TempDir(), "auth.json")
	write(t, path, text)
	for _, value := range []string{text, path} {
		p := config.Proxy{AuthJSON: config.NewSecret(value)}
		if got, err := p.ReadAuthJSON(); string(got) != text || err != nil {
			t.Errorf("%s: got %q, %v", value, got, err)
		}
	}
	if got, err := (config.Proxy{}).ReadAuthJSON(); got != nil || err != nil {
		t.Errorf("without credentials: got %q, %v", got, err)
	}
}
