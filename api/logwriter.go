package api

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// logBuffer is the number of bytes that may wait for a slow log: a few thousand lines.
	logBuffer = 1 << 20
	// logLinger is how long access lines wait for company, so that a busy server makes tens of writes a
	// second and not thousands. It is also what a killed process loses at most.
	logLinger = 50 * time.Millisecond
)

// LogWriter stands between log handlers and a slow writer. Each Write is one line or several, and lines
// are never torn. It has two sides over one buffer, so that lines keep their order: Write, for what the
// program has to say, waits for room when the log cannot keep up; Lossy, for access lines, drops the line
// instead and counts it. Both are safe for concurrent use.
type LogWriter struct {
	out     io.Writer
	dropped atomic.Uint64
	wake    chan struct{} // capacity 1: there is something to write
	hurry   chan struct{} // capacity 1: it should not linger
	done    chan struct{} // closed when the writing goroutine has ended

	mu      sync.Mutex // guards what follows
	room    sync.Cond  // signalled when buf was emptied
	buf     []byte
	closing bool
	err     error // the first error of out
}

// NewLogWriter starts a LogWriter, which runs until Close. The metric of dropped lines goes to reg, which
// may be nil.
func NewLogWriter(out io.Writer, reg prometheus.Registerer) *LogWriter {
	w := &LogWriter{out: out, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	w.room.L = &w.mu
	promauto.With(reg).NewCounterFunc(prometheus.CounterOpts{
		Name: "stasis_log_dropped_lines_total",
		Help: "Access lines that were not logged because the log could not keep up.",
	}, func() float64 { return float64(w.dropped.Load()) })
	go w.run()
	return w
}

// Write keeps the line, if necessary after waiting for room. After Close it writes directly.
func (w *LogWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > 0 && len(w.buf)+len(line) > logBuffer && !w.closing {
		w.room.Wait()
	}
	w.add(line)
	signal(w.hurry)
	return len(line), nil
}

// Lossy returns the side that drops lines rather than waiting.
func (w *LogWriter) Lossy() io.Writer { return lossyWriter{w} }

type lossyWriter struct{ w *LogWriter }

func (l lossyWriter) Write(line []byte) (int, error) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf)+len(line) > logBuffer {
		w.dropped.Add(1)
		return len(line), nil
	}
	w.add(line)
	if len(w.buf) > logBuffer/2 {
		signal(w.hurry)
	}
	return len(line), nil
}

// add is called with mu held.
func (w *LogWriter) add(line []byte) {
	select {
	case <-w.done: // nobody else would write it
		_, err := w.out.Write(line)
		w.keep(err)
		return
	default:
	}
	w.buf = append(w.buf, line...)
	signal(w.wake)
}

// Dropped returns the number of lines that were not logged.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() }

// Close writes what is buffered and returns the first error there was in writing. Lines that come later
// are written directly.
func (w *LogWriter) Close() error {
	w.mu.Lock()
	w.closing = true
	w.room.Broadcast()
	w.mu.Unlock()
	signal(w.hurry)
	signal(w.wake)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *LogWriter) run() {
	var chunk []byte
	for {
		<-w.wake
		timer := time.NewTimer(logLinger)
		select {
		case <-w.hurry:
		case <-timer.C:
		}
		timer.Stop()

		w.mu.Lock()
		chunk, w.buf = w.buf, chunk[:0]
		w.room.Broadcast()
		if w.closing && len(chunk) == 0 {
			close(w.done) // with mu held, so that no line can be buffered after the last look
			w.mu.Unlock()
			return
		}
		closing := w.closing
		w.mu.Unlock()

		if len(chunk) > 0 {
			if _, err := w.out.Write(chunk); err != nil {
				w.mu.Lock()
				w.keep(err)
				w.mu.Unlock()
			}
		}
		if closing {
			signal(w.hurry)
			signal(w.wake)
		}
	}
}

// keep is called with mu held.
func (w *LogWriter) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
