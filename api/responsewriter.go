package api

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// responseWriter counts what passes through it: the only wrapper around net/http's own writer.
//
// ReadFrom hands the source to the inner writer directly, so that a file still goes out by sendfile;
// through io.Copy the inner writer would see a wrapped source and copy by hand.
type responseWriter struct {
	http.ResponseWriter
	status int       // 0 until the header is written
	bytes  int64     // of the body
	failed bool      // a write to the client failed
	id     [1]string // backs the request id's header value
}

// Unwrap lets http.ResponseController reach deadlines and the like.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	// Informational answers come before the real one; 101 is final.
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.wrote(int64(n), err)
	return n, err
}

func (w *responseWriter) WriteString(s string) (int, error) {
	n, err := io.WriteString(w.ResponseWriter, s)
	w.wrote(int64(n), err)
	return n, err
}

func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		if w.status == 0 {
			w.status = http.StatusOK
		}
		n, err := rf.ReadFrom(src)
		w.wrote(n, err)
		return n, err
	}
	// HTTP/2 has no ReadFrom. Write does the counting.
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(writeOnly{w}, src, buf[:])
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// writeOnly hides ReadFrom from io.CopyBuffer.
type writeOnly struct{ io.Writer }

func (w *responseWriter) wrote(n int64, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.bytes += n
	if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		w.failed = true
	}
}

// Flush sends what is buffered, where the inner writer can.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController looks for first.
func (w *responseWriter) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
