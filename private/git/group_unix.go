//go:build unix

package git

import (
	"os/exec"
	"syscall"
)

// ownGroup puts git into a process group, so that what it starts ends with it: git-remote-https, ssh
// and index-pack do not end by themselves when git is killed.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		killGroup(cmd)
		return nil
	}
}

// killGroup ends what is left of the group. While one process of it lives, its number is not given
// to another; afterwards there is nobody to be found.
func killGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
