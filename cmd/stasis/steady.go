package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// stallTimeout is half of how long a client may take nothing of what is sent to it. Whoever takes a little now and then may
// take as long as it likes; who takes nothing holds a connection, a goroutine and perhaps an open archive for no use.
const stallTimeout = 30 * time.Second

// steadyListener gives the connections it accepts a write deadline that moves with every byte a client takes.
// http.Server.WriteTimeout cannot do that: it bounds the whole answer, however large and however slow the client.
type steadyListener struct {
	net.Listener
	stall time.Duration
}

func (l steadyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &steadyConn{TCPConn: tcp, stall: l.stall}, nil
	}
	return conn, err
}

// steadyConn fails a write when twice the stall time passes without a byte being taken.
type steadyConn struct {
	*net.TCPConn
	stall time.Duration
	until atomic.Int64 // the deadline in force
}

// renew moves the deadline when half of its time is over, so that most writes cost a comparison.
func (c *steadyConn) renew() {
	now := time.Now()
	if c.until.Load()-now.UnixNano() > int64(c.stall/2) {
		return
	}
	until := now.Add(c.stall)
	if c.SetWriteDeadline(until) == nil {
		c.until.Store(until.UnixNano())
	}
}

// patience counts the attempts in a row in which a client took nothing. One is no proof: the kernel announces room in its
// buffer only when a third of it is free, so that a slow client may have taken much without a word.
type patience int

// more reports whether to go on after an attempt that got n bytes away and ended with err.
func (p *patience) more(n int64, err error) bool {
	if n > 0 {
		*p = 0
	} else {
		*p++
	}
	return *p < 2 && errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *steadyConn) Write(b []byte) (int, error) {
	var p patience
	for sent := 0; ; {
		c.renew()
		n, err := c.TCPConn.Write(b[sent:])
		if sent += n; err == nil || !p.more(int64(n), err) {
			return sent, err
		}
	}
}

// filePiece bounds what one call hands to the kernel. Where a call that ran out of time does not tell what was sent
// (Windows), the client must take this much within the stall time.
const filePiece = 1 << 20

// ReadFrom sends files without copying them, as net/http asks for.
func (c *steadyConn) ReadFrom(r io.Reader) (sent int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(writeOnly{c}, r)
	}
	file, ok := limited.R.(*os.File)
	if !ok {
		return io.Copy(writeOnly{c}, r)
	}
	begin, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	var p patience
	for limited.N > 0 {
		c.renew()
		piece := io.LimitedReader{R: file, N: min(limited.N, filePiece)}
		n, err := c.TCPConn.ReadFrom(&piece)
		sent += n
		limited.N -= n
		if err != nil && p.more(n, err) {
			// What was read and not sent would be missing in what the client gets.
			if at, seekErr := file.Seek(0, io.SeekCurrent); seekErr == nil && at == begin+sent {
				continue
			}
		}
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}

// writeOnly hides ReadFrom from io.Copy.
type writeOnly struct{ io.Writer }
