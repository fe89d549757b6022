package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/config"
)

// client talks to a running Stasis.
type client struct {
	base  string
	token string
	http  *http.Client
}

// maxAnswer bounds the answers of the management API; Stasis may be a stranger behind a wrong STASIS_URL.
const maxAnswer = 64 << 20

// connect makes the client that the settings describe.
func (p *program) connect(cmd *cobra.Command) (*client, error) {
	loaded, err := p.load(cmd)
	if err != nil {
		return nil, err
	}
	return newClient(loaded.Config), nil
}

func newClient(c config.Config) *client {
	base := c.Client.URL
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   warmWorkers,
		ResponseHeaderTimeout: 10 * time.Minute, // an archive may have to come from far away first
		ForceAttemptHTTP2:     true,
	}
	if base == "" {
		base = localURL(c.Server)
		if c.Server.TLSCertFile != "" {
			transport.TLSClientConfig = pinned(c.Server.TLSCertFile)
		}
	}
	return &client{base: base, token: c.Admin.Token.Reveal(), http: &http.Client{
		Transport: transport,
		// The API redirects nowhere, and the token must not follow whoever does.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// localURL is where a Stasis with these settings is reached from the same machine.
func localURL(c config.Server) string {
	scheme, host := "http", c.Host
	if c.TLSCertFile != "" {
		scheme = "https"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(c.Port))
}

// pinned trusts the certificate of the local Stasis itself: it is not issued for the name localhost, but the file says
// what it must be.
func pinned(certFile string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the whole certificate instead
		VerifyConnection: func(state tls.ConnectionState) error {
			text, err := os.ReadFile(certFile)
			if err != nil {
				return err
			}
			leaf, err := leafOf(text)
			if err != nil {
				return err
			}
			if !bytes.Equal(leaf, state.PeerCertificates[0].Raw) {
				return fmt.Errorf("the certificate shown is not the one in %s; set STASIS_URL to the name it is issued for", certFile)
			}
			return nil
		},
	}
}

// call asks the management API and decodes the data of the answer into out, unless that is nil. It returns the data as it
// came.
func (c *client) call(ctx context.Context, method, path string, in, out any) (json.RawMessage, error) {
	if in == nil {
		return c.upload(ctx, method, path, "", nil, out)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return c.upload(ctx, method, path, "application/json", bytes.NewReader(text), out)
}

// upload is call with a body that is sent as it is.
func (c *client) upload(ctx context.Context, method, path, contentType string, body io.Reader, out any) (json.RawMessage, error) {
	resp, err := c.request(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return c.decode(resp, out)
}

// download writes an answer that is not in the envelope to w.
func (c *client) download(ctx context.Context, path string, w io.Writer) (int64, error) {
	resp, err := c.request(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, err := c.decode(resp, nil)
		return 0, err
	}
	n, err := io.Copy(w, resp.Body)
	if err != nil {
		return n, fmt.Errorf("the transfer from %s broke off, and what was written is worth nothing: %w", c.base, err)
	}
	return n, nil
}

// request sends a request to the management API. A path that begins with a slash lies below /api/v1, any other below
// /api/v1/proxy.
func (c *client) request(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/proxy/" + path
	}
	if strings.HasPrefix(c.token, "$argon2") {
		return nil, errors.New("ADMIN_TOKEN holds a hash; this command needs the token itself")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return c.do(req)
}

// decode takes the answer out of its envelope.
func (c *client) decode(resp *http.Response, out any) (json.RawMessage, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", c.base, err)
	}
	var envelope struct {
		Data  json.RawMessage `json:"data"`
		Error *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return nil, fmt.Errorf("what answers at %s (status %d) is not the management API of Stasis", c.base, resp.StatusCode)
	}
	switch {
	case envelope.Error != nil && resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return nil, fmt.Errorf("%s (set ADMIN_TOKEN to the token of %s)", trimStop(envelope.Error.Message), c.base)
	case envelope.Error != nil:
		return nil, &refusedError{envelope.Error.Code, envelope.Error.Message}
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered with status %d", c.base, resp.StatusCode)
	}
	if out != nil {
		if err := json.Unmarshal(envelope.Data, out); err != nil {
			return nil, fmt.Errorf("%s answered with data of another form, as another version of Stasis would", c.base)
		}
	}
	return envelope.Data, nil
}

// refusedError is what the management API says when it does not do what it was asked.
type refusedError struct{ code, message string }

func (e *refusedError) Error() string { return trimStop(e.message) + " (" + e.code + ")" }

// do sends a request and explains what keeps it from being answered.
func (c *client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("no Stasis can be reached at %s (STASIS_URL): %w", c.base, err)
	}
	return resp, nil
}

func trimStop(text string) string { return strings.TrimSuffix(printable(text), ".") }
