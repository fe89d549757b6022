package main

import "syscall"

// dieTogether lets the kernel end servers when this program is killed.
func dieTogether() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
