package main

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"stasis/config"
)

// chooseFormat decides LOG_FORMAT=auto: text when w is a terminal, JSON when it is not.
func chooseFormat(c config.Log, w io.Writer) config.Log {
	switch {
	case c.Format != "auto":
	case isTerminal(w):
		c.Format = "text"
	default:
		c.Format = "json"
	}
	return c
}

// newLogger returns a logger that writes to w.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[c.Level]
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: cleanAttr}
	if chooseFormat(c, w).Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// lockedWriter lets several loggers write to w, one line after the other.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(line)
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cleanAttr makes texts printable before a handler sees them. Names, addresses and errors come from strangers; the
// handlers escape line ends, but a terminal or a log viewer that undoes the escaping would obey what is inside.
func cleanAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if text := a.Value.String(); !isPrintable(text) {
			a.Value = slog.StringValue(printable(text))
		}
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(printable(v.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(printable(v.String()))
		}
	}
	return a
}

// maxText is the length from which a text in the log is cut.
const maxText = 4096

// printable replaces what a terminal would act on, and cuts what no reader would finish.
func printable(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if harmless(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

func isPrintable(text string) bool {
	return len(text) <= maxText && utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0
}

// harmless runes are those that show as themselves: no control characters, and no format characters, which can reverse
// or hide what follows.
func harmless(r rune) bool { return !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r) }

// serverLog passes on what net/http has to say. Failed handshakes are the work of strangers and no warning.
func serverLog(logger *slog.Logger) *log.Logger { return log.New(serverLogWriter{logger}, "", 0) }

type serverLogWriter struct{ logger *slog.Logger }

func (w serverLogWriter) Write(line []byte) (int, error) {
	text := strings.TrimRight(string(line), "\n")
	if strings.HasPrefix(text, "http: TLS handshake error") || strings.HasPrefix(text, "http2: ") {
		w.logger.Debug("connection refused", "reason", text)
	} else {
		w.logger.Warn("HTTP server", "message", text)
	}
	return len(line), nil
}
