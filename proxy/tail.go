package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"stasis/proxy/archive"
)

// fileBlob is a stored body that is a file, which the kernel can send.
type fileBlob interface{ File() *os.File }

// countingWriter counts a body and notes why it broke off. It passes ReadFrom
// on, so that files still go out through the kernel.
type countingWriter struct {
	http.ResponseWriter
	n   int64
	err error
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (c *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.n += n
	if err != nil {
		c.err = err
	}
	return n, err
}

// Unwrap lets http.ResponseController find the writer below.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// tail passes an archive on while it holds back its end, until it is known
// whether the whole looks complete.
type tail struct {
	typ  string
	r    io.Reader
	held []byte // not yet passed on; at least holdBack bytes unless at the end
	eof  bool
}

// newTail looks at the first bytes.
func newTail(typ string, r io.Reader) (*tail, error) {
	t := &tail{typ: typ, r: r, held: make([]byte, 0, holdBack+copySize)}
	if err := t.fill(); err != nil {
		return nil, err
	}
	if err := archive.Sniff(typ, t.held[:min(len(t.held), archive.SniffSize)]); err != nil {
		return nil, err
	}
	return t, t.checkEnd()
}

// fill reads until more than holdBack bytes are held, or the end.
func (t *tail) fill() error {
	for len(t.held) < cap(t.held) && !t.eof {
		n, err := t.r.Read(t.held[len(t.held):cap(t.held)])
		t.held = t.held[:len(t.held)+n]
		if errors.Is(err, io.EOF) {
			t.eof = true
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (t *tail) checkEnd() error {
	if t.eof && t.typ == "zip" && !archive.CompleteZip(t.held) {
		return fmt.Errorf("the zip archive has no end record")
	}
	return nil
}

// WriteTo implements io.WriterTo.
func (t *tail) WriteTo(w io.Writer) (sent int64, err error) {
	for {
		n := len(t.held)
		if !t.eof {
			n -= holdBack
		}
		m, err := w.Write(t.held[:n])
		sent += int64(m)
		if err != nil || t.eof {
			return sent, err
		}
		t.held = t.held[:copy(t.held, t.held[n:])]
		if err := t.fill(); err != nil {
			return sent, err
		}
		if err := t.checkEnd(); err != nil {
			return sent, err
		}
	}
}
