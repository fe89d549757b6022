package store

import (
	"fmt"
	"log/slog"
	"strings"
)

// badgerLog passes Badger's log on. What it calls information (every
// compaction, every rotated file) is debugging to us.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.log.Error("badger", "message", message(format, args))
}

func (l badgerLog) Warningf(format string, args ...any) {
	l.log.Warn("badger", "message", message(format, args))
}

func (l badgerLog) Infof(format string, args ...any) {
	l.log.Debug("badger", "message", message(format, args))
}

func (l badgerLog) Debugf(string, ...any) {}

func message(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
