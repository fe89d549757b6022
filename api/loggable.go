package api

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bytes of hostile text that reach the log at most.
const (
	maxLoggedPath  = 512
	maxLoggedAgent = 160
	maxLoggedError = 1024
)

// loggedPath is the path as the client wrote it, without the query string, where tokens might be.
func loggedPath(r *http.Request) string {
	path := r.RequestURI
	if !strings.HasPrefix(path, "/") { // the absolute form may carry credentials
		path = r.URL.EscapedPath()
	}
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	return loggable(path, maxLoggedPath)
}

// loggable shortens s to limit bytes and replaces what could fool a terminal or a log reader: control
// characters, line separators, invisible and direction-changing characters, broken UTF-8. Plain text is
// returned as it is, without a copy.
func loggable(s string, limit int) string {
	if len(s) > limit {
		cut := limit
		for cut > limit-utf8.UTFMax && cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return strings.Map(func(r rune) rune {
				if !unicode.IsPrint(r) { // no control, format, separator or private characters
					return utf8.RuneError
				}
				return r
			}, s)
		}
	}
	return s
}
