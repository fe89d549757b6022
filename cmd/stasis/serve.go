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
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"stasis/config"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve Composer clients",
		Long: "Serves Composer clients until SIGTERM or SIGINT; a second signal ends requests in flight at once. SIGHUP reads " +
			"the TLS certificate again. Every flag is also a setting for the environment, .env and the file given with --config.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			loaded.Config.Log = chooseFormat(loaded.Config.Log, p.stderr)
			stderr := &lockedWriter{w: p.stderr} // the access log is written from elsewhere
			logger := newLogger(stderr, loaded.Config.Log)
			for _, warning := range loaded.Warnings {
				logger.Warn("configuration", "warning", warning)
			}
			ready := make(chan net.Addr, 1)
			service := newNotifier(p.environ)
			go func() {
				if _, listening := <-ready; listening {
					service.tell("READY=1")
				}
			}()
			defer service.tell("STOPPING=1")
			return serve(cmd.Context(), loaded.Config, logger, stderr, ready)
		},
	}
	config.AddFlags(cmd.Flags())
	return cmd
}

// serve runs Stasis until ctx ends or a signal asks it to end. Access lines go to access. It sends the address it listens
// on to ready, unless that is nil, and closes it.
func serve(ctx context.Context, cfg config.Config, logger *slog.Logger, access io.Writer, ready chan<- net.Addr) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	return serveUntil(ctx, signals, cfg, logger, access, ready)
}

// serveUntil builds, listens, waits, and takes down in reverse order.
func serveUntil(ctx context.Context, signals <-chan os.Signal, cfg config.Config, logger *slog.Logger, access io.Writer, ready chan<- net.Addr) (err error) {
	if ready == nil {
		ready = make(chan net.Addr, 1)
	}
	defer close(ready)

	var cert *certificate
	if cfg.Server.TLSCertFile != "" {
		if cert, err = loadCertificate(cfg.Server.TLSCertFile, cfg.Server.TLSKeyFile); err != nil {
			return config.Mistakes{sentence(err)}
		}
	}
	limitMemory(cfg.Server.MemoryLimit, os.DirFS("/"), logger)

	working, stop := context.WithCancel(ctx)
	defer stop()
	handler, parts, err := buildHandler(working, cfg, logger, access)
	if err != nil {
		return err
	}
	defer func() {
		stop() // the parts wait for their background work
		if closeErr := parts.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("shutdown: %w", closeErr))
		}
	}()
	listener, err := listen(ctx, cfg.Server)
	if err != nil {
		return err
	}
	srv := newServer(cfg.Server, handler, logger)
	ended := start(srv, steadyListener{listener, stallTimeout}, cert)
	logger.Info("listening", "address", listener.Addr().String(), "tls", cert != nil, "version", readBuild().Version)
	ready <- listener.Addr()

	for {
		select {
		case err := <-ended:
			return fmt.Errorf("stopped accepting connections: %w", err)
		case s := <-signals:
			if s == syscall.SIGHUP {
				reload(cert, logger)
				continue
			}
			logger.Info("shutting down", "signal", s.String())
		case <-ctx.Done():
			logger.Info("shutting down")
		}
		stop()
		drain(srv, cfg.Server.ShutdownTimeout, signals, logger)
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// reload obeys SIGHUP.
func reload(cert *certificate, logger *slog.Logger) {
	if cert == nil {
		logger.Info("nothing to reload: there is no TLS certificate")
		return
	}
	if err := cert.reload(); err != nil {
		logger.Error("the certificate in use stays", "error", err)
		return
	}
	logger.Info("certificate reloaded", "file", cert.certFile)
}
