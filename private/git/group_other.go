//go:build !unix

package git

import "os/exec"

// Without process groups only git itself is killed; what it started ends when its pipes break.
func ownGroup(*exec.Cmd) {}

func killGroup(*exec.Cmd) {}
