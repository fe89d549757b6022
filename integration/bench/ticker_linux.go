package main

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ticker is a timer that the poller waits for as for a socket. Go's own timers
// are waited for in whole milliseconds, longer than most answers take.
type ticker struct{ file *os.File }

func newTicker(every time.Duration) (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	spec := unix.NsecToTimespec(every.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: spec, Value: spec}, nil); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return &ticker{os.NewFile(uintptr(fd), "timerfd")}, nil
}

// wait returns how many ticks there were since it returned last, at least one.
func (t *ticker) wait() (uint64, error) {
	var buf [8]byte
	if _, err := t.file.Read(buf[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(buf[:]), nil
}

func (t *ticker) close() { _ = t.file.Close() }
