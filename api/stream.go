package api

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// stream is an answer outside the envelope: bytes that mean something as they are.
type stream struct {
	contentType string
	filename    string // what a browser should call it; may be empty
	length      int64  // of the body; negative when it is not known before
	write       func(w io.Writer) error
}

// stream answers with s. An error before the first byte is answered as any other; after that the connection
// is broken, so that nobody takes a part for the whole.
func (m *management) stream(w http.ResponseWriter, r *http.Request, s *stream) {
	out := &lateHeader{w: w, s: s}
	if r.Method == http.MethodHead {
		out.begin()
		return
	}
	err := s.write(out)
	switch {
	case err == nil:
		out.begin()
	case !out.begun:
		m.fail(w, r, err)
	default:
		if r.Context().Err() == nil {
			m.log.LogAttrs(r.Context(), slog.LevelError, "a management answer was broken off",
				slog.String("path", loggable(r.URL.Path, maxLoggedPath)),
				slog.String("request_id", w.Header().Get(requestIDHeader)), slog.String("error", loggable(err.Error(), maxLoggedError)))
		}
		panic(http.ErrAbortHandler)
	}
}

// lateHeader writes the header before the first byte of the body.
type lateHeader struct {
	w     http.ResponseWriter
	s     *stream
	begun bool
}

func (l *lateHeader) begin() {
	if l.begun {
		return
	}
	l.begun = true
	h := l.w.Header()
	h.Set("Content-Type", l.s.contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if l.s.filename != "" {
		h.Set("Content-Disposition", `attachment; filename="`+l.s.filename+`"`)
	}
	if l.s.length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(l.s.length, 10))
	}
	l.w.WriteHeader(http.StatusOK)
}

func (l *lateHeader) Write(p []byte) (int, error) {
	l.begin()
	return l.w.Write(p)
}

// idleBody is how long the sender of a long body may pause.
const idleBody = time.Minute

// steady reads a body that may take as long as it takes, as long as it goes on coming.
type steady struct {
	body    io.Reader
	control *http.ResponseController
}

func (c *call) steady() io.Reader { return steady{c.r.Body, http.NewResponseController(c.w)} }

func (s steady) Read(p []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(idleBody)) // where there are no deadlines, none is needed
	n, err := s.body.Read(p)
	if err != nil {
		_ = s.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
