package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"stasis/config"
)

func TestLogFormatAndLevel(t *testing.T) {
	var b bytes.Buffer
	logger := newLogger(&b, config.Log{Format: "auto", Level: "warn"})
	logger.Info("unheard")
	logger.Warn("heard", "package", "a/b")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "heard" || line["package"] != "a/b" {
		t.Errorf("not one JSON line: %s", b.String())
	}
	b.Reset()
	newLogger(&b, config.Log{Format: "text", Level: "debug"}).Debug("heard")
	if !strings.Contains(b.String(), "level=DEBUG msg=heard") {
		t.Errorf("not a text line: %s", b.String())
	}
}

func TestLoggedTextCannotSteerATerminal(t *testing.T) {
	const evil = "a\x1b[2Jb\nlevel=ERROR\u202egnp\u009b"
	for _, format := range []string{"json", "text"} {
		var b bytes.Buffer
		newLogger(&b, config.Log{Format: format, Level: "info"}).Info("x",
			"s", evil, "e", errors.New(evil), slog.Group("g", "s", evil), "long", strings.Repeat("é", maxText))
		var text string
		if format == "json" {
			var line struct {
				S, E string
				G    struct{ S string }
			}
			if err := json.Unmarshal(b.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			text = line.S + line.E + line.G.S
		}
		text += b.String()
		if strings.ContainsAny(strings.TrimSuffix(text, "\n"), "\x1b\n\u202e\u009b") {
			t.Errorf("%s: a control character passed: %q", format, text)
		}
		if b.Len() > 2*maxText {
			t.Errorf("%s: a line of %d bytes", format, b.Len())
		}
	}
}

func TestServerLogTellsNoiseFromTrouble(t *testing.T) {
	var b bytes.Buffer
	l := serverLog(newLogger(&b, config.Log{Format: "text", Level: "warn"}))
	l.Print("http: TLS handshake error from 127.0.0.1:5: EOF")
	if b.Len() != 0 {
		t.Errorf("a failed handshake is a warning: %s", b.String())
	}
	l.Print("http: Accept error: too many open files")
	if !strings.Contains(b.String(), "too many open files") {
		t.Errorf("an accept error is none: %s", b.String())
	}
}
