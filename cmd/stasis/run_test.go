package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stasis/config"
)

// TestMain holds the tests to this machine.
func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).Proxy = nil
	os.Exit(m.Run())
}

// outcome is what a command left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// stasis runs the program as a person would, with an environment of its own.
func stasis(t *testing.T, environ []string, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, environ, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestExitCodesTellUseFromFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		code int
		said string // on standard error
	}{
		{"no command", nil, exitOK, ""},
		{"help", []string{"help", "serve"}, exitOK, ""},
		{"unknown command", []string{"fly"}, exitUsage, `Unknown command "fly" for "stasis".`},
		{"unknown flag", []string{"serve", "--fly"}, exitUsage, "Unknown flag: --fly."},
		{"too many arguments", []string{"status", "now"}, exitUsage, `"now"`},
		{"too few arguments", []string{"freeze"}, exitUsage, "Requires at least 1 arg"},
		{"a name that is none", []string{"freeze", "nonsense"}, exitUsage, "nonsense"},
		{"a date that is none", []string{"freeze", "a/b", "--at", "soon"}, exitUsage, `--at="soon" must be a date`},
		{"purge without saying what", []string{"purge"}, exitUsage, "Purge needs either a package or --all."},
		{"a setting that is wrong", []string{"config", "--port", "http"}, exitUsage, `PORT="http" (flag) must be a whole number.`},
		{"a file that is not there", []string{"config", "--config", "nowhere.yaml"}, exitUsage, "The configuration file nowhere.yaml cannot be read"},
		{"a certificate that is not there", []string{"serve", "--tls-cert-file", "nowhere.pem", "--tls-key-file", "nowhere.key"}, exitUsage,
			`The certificate in TLS_CERT_FILE="nowhere.pem" with the key in TLS_KEY_FILE="nowhere.key" cannot be used: `},
		{"nobody there", []string{"status", "--stasis-url", "http://127.0.0.1:1"}, exitFailure, "No Stasis can be reached at http://127.0.0.1:1 (STASIS_URL): "},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := stasis(t, nil, "", test.args...)
			if got.code != test.code || !strings.Contains(got.stderr, test.said) {
				t.Errorf("exit code %d, want %d, with %q on standard error, which is %q", got.code, test.code, test.said, got.stderr)
			}
		})
	}
}

func TestServeCommandRunsLogsAndTellsTheServiceManager(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	told := func() string {
		buf := make([]byte, 100)
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	environ := []string{
		"NOTIFY_SOCKET=" + socket.LocalAddr().String(), "STORE_PATH=" + filepath.Join(dir, "data"),
		"HOST=127.0.0.1", "PORT=0", "PROXY_FEED_INTERVAL=0", "PROXY_PACKAGIST_URL=http://127.0.0.1:1",
		`PROXY_AUTH_JSON={"bitbucket-oauth":{}}`,
	}
	code := make(chan int, 1)
	stderr := make(logLines, 100)
	go func() { code <- run(ctx, []string{"serve"}, environ, strings.NewReader(""), io.Discard, stderr) }()
	stderr.await(t, `"ignored":["bitbucket-oauth"]`)
	var listening struct {
		Message string `json:"msg"`
		Address string
	}
	for listening.Message != "listening" {
		if err := json.Unmarshal([]byte(<-stderr), &listening); err != nil {
			t.Fatal(err)
		}
	}
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	resp, err := http.Get("http://" + listening.Address + "/nothing/here")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stderr.await(t, "/nothing/here") // the access log
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
}

func TestConfigPrintsValuesAndSourcesWithoutSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, ".env", "PROXY_METADATA_TTL=90\nPORT=1\n")
	writeFile(t, "stasis.yaml", "log: {level: debug}\n")
	environ := []string{"PORT=81", "ADMIN_TOKEN=correct-horse-battery"}
	got := stasis(t, environ, "", "config", "--config", "stasis.yaml", "--h2c")
	if got.code != exitOK {
		t.Fatal(got)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(got.stdout) {
		fields := strings.Fields(line)
		lines[fields[0]] = strings.Join(fields[1:], " ")
	}
	for name, want := range map[string]string{
		"PORT": "81 environment", "PROXY_METADATA_TTL": "1m30s .env", "LOG_LEVEL": "debug stasis.yaml",
		"H2C": "true flag", "PROXY_MAX_CACHE_SIZE": "10GiB default", "ADMIN_TOKEN": "[hidden] environment",
	} {
		if lines[name] != want {
			t.Errorf("%s: got %q, want %q", name, lines[name], want)
		}
	}

	got = stasis(t, environ, "", "config", "--json")
	var shown []shownSetting
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || len(shown) != len(config.Settings()) {
		t.Errorf("%d settings in JSON, want %d: %v", len(shown), len(config.Settings()), err)
	}
	if strings.Contains(got.stdout, "correct-horse") {
		t.Error("the token is printed")
	}
}

func TestVersionNamesTheProgram(t *testing.T) {
	if got := stasis(t, nil, "", "version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "stasis ") {
		t.Errorf("got %+v", got)
	}
	var b build
	got := stasis(t, nil, "", "version", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &b); err != nil || b.Version == "" || b.Go == "" {
		t.Errorf("got %s: %v", got.stdout, err)
	}
}

func TestHashTokenMakesWhatTheAPIAccepts(t *testing.T) {
	got := stasis(t, nil, "a token from a pipe\n", "hash-token")
	hash := strings.TrimSpace(got.stdout)
	c := config.Default()
	c.Admin.TokenHash = config.NewSecret(hash)
	if err := c.Validate(); got.code != exitOK || hash == "" || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := stasis(t, nil, "", "hash-token"); got.code != exitFailure || got.stderr != "There is no token on standard input.\n" {
		t.Errorf("got %+v", got)
	}
	if got := stasis(t, nil, "", "hash-token", "--generate"); !strings.HasPrefix(got.stdout, "ADMIN_TOKEN=") ||
		!strings.Contains(got.stdout, "\nADMIN_TOKEN_HASH='$argon2id$") {
		t.Errorf("got %+v", got)
	}
}

func TestHealthcheckFindsTheServerByItsSettings(t *testing.T) {
	dir := t.TempDir()
	for _, tls := range []bool{false, true} {
		c := testConfig(t)
		if tls {
			c.Server.TLSCertFile, c.Server.TLSKeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			writeCertificate(t, c.Server, 1)
		}
		r := serveForTest(t, c, discard)
		_, port, _ := net.SplitHostPort(r.addr.String())
		environ := []string{"PORT=" + port, "TLS_CERT_FILE=" + c.Server.TLSCertFile, "TLS_KEY_FILE=" + c.Server.TLSKeyFile}
		if got := stasis(t, environ, "", "healthcheck"); got.code != exitOK || got.stdout != "alive\n" {
			t.Errorf("tls=%v: got %+v", tls, got)
		}
		if !tls {
			continue
		}
		// Another certificate in the file than the one that is shown: somebody else listens there.
		writeCertificate(t, c.Server, 2)
		if got := stasis(t, environ, "", "healthcheck"); got.code != exitFailure || !strings.Contains(got.stderr, "is not the one in") {
			t.Errorf("with another certificate: got %+v", got)
		}
	}
}

func TestHealthcheckFailsWhenTheServerIsNotWell(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	if got := stasis(t, []string{"STASIS_URL=" + srv.URL}, "", "healthcheck"); got.code != exitFailure {
		t.Errorf("got %+v", got)
	}
}

func TestLocalURLFollowsTheSettings(t *testing.T) {
	for want, c := range map[string]config.Server{
		"http://127.0.0.1:8080": {Host: "0.0.0.0", Port: 8080},
		"http://[::1]:81":       {Host: "::", Port: 81},
		"http://10.0.0.1:8080":  {Host: "10.0.0.1", Port: 8080},
		"https://localhost:443": {Host: "localhost", Port: 443, TLSCertFile: "x"},
	} {
		if got := localURL(c); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestVerifyReadsTheDataFolder(t *testing.T) {
	c := testConfig(t)
	environ := []string{"STORE_PATH=" + c.Store.Path}
	r := serveForTest(t, c, discard)
	if got := stasis(t, environ, "", "verify"); got.code != exitFailure || !strings.Contains(got.stderr, "is used by another process") {
		t.Errorf("beside a running Stasis: got %+v", got)
	}
	r.signals <- os.Interrupt
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	if got := stasis(t, environ, "", "verify"); got.code != exitOK || !strings.Contains(got.stdout, " 0 damaged\n") {
		t.Errorf("got %+v", got)
	}
	var report verifyReport
	got := stasis(t, environ, "", "verify", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || report.Problems == nil {
		t.Errorf("got %+v: %v", got, err)
	}
	got = stasis(t, []string{"STORE_PATH=" + filepath.Join(c.Store.Path, "typo")}, "", "verify")
	if got.code != exitFailure || !strings.HasPrefix(got.stderr, "There is no data folder to verify (STORE_PATH)") {
		t.Errorf("got %+v", got)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
