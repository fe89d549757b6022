package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"stasis/config"
)

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute // for what clients send; what they receive may take as long as it takes
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
)

// newServer returns the HTTP server around a handler. There is no write timeout, because an archive may be large and a client
// slow; steadyListener ends the answers that clients do not take.
func newServer(c config.Server, handler http.Handler, logger *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(c.H2C)
	return &http.Server{
		Handler:           limitBodyTime(handler),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          serverLog(logger),
		Protocols:         protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			SendPingTimeout:      30 * time.Second,
			WriteByteTimeout:     time.Minute,
		},
	}
}

// limitBodyTime lets no client take for ever to send a body. http.Server.ReadTimeout cannot do it: it goes on running
// after the body has arrived, and then ends the context of a request whose answer takes longer.
func limitBodyTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			control := http.NewResponseController(w)
			if control.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
				r.Body = timedBody{r.Body, control}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline once the body has arrived.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// listen takes the socket that the service manager holds open, if it does: then no client is refused while the program is
// restarted, only kept waiting. Otherwise it listens on HOST and PORT.
func listen(ctx context.Context, c config.Server) (net.Listener, error) {
	passed, err := activation.Listeners()
	switch {
	case err != nil:
		return nil, fmt.Errorf("the sockets that the service manager passes cannot be used: %w", err)
	case len(passed) == 1 && passed[0] != nil:
		return passed[0], nil
	case len(passed) > 0:
		return nil, fmt.Errorf("the service manager passes %d sockets, and Stasis takes exactly one TCP socket that listens; see stasis.socket", len(passed))
	}
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("stasis cannot listen on %s (HOST and PORT): %w", address, err)
	}
	return listener, nil
}

// start serves on the listener in a goroutine that ends with the server, and reports why it ended.
func start(srv *http.Server, listener net.Listener, cert *certificate) <-chan error {
	ended := make(chan error, 1)
	go func() {
		if cert == nil {
			ended <- srv.Serve(listener)
			return
		}
		srv.TLSConfig = cert.config()
		ended <- srv.ServeTLS(listener, "", "")
	}()
	return ended
}

// drain stops accepting and lets requests in flight finish until the timeout passes or another signal comes. Then they
// are cut off.
func drain(srv *http.Server, timeout time.Duration, signals <-chan os.Signal, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				if s != syscall.SIGHUP {
					cancel()
				}
			}
		}
	}()
	if err := srv.Shutdown(ctx); err != nil {
		logger.Warn("requests in flight were cut off", "timeout", timeout.String())
		_ = srv.Close()
	}
}
