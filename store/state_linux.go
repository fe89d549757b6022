package store

import (
	"os"
	"syscall"
)

func stateOf(info os.FileInfo) fileState {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{}
	}
	return fileState{size: info.Size(), changed: st.Ctim.Nano(), inode: st.Ino}
}
